"""Exchanges, tokens and memory, seen through the plugin probe-lifetime."""

import host
import shared
import wire
from shared import GONE, OK, WRONG_THREAD


def text(target):
    return wire.text(shared.probes().port, target)


def codes(target):
    return [int(code) for code in text(target).split()]


def test_token_in_handler():
    """tokens are taken, asked and released inside the handler"""
    assert codes("/token") == [OK, OK, OK, OK, OK, 1]


def test_token_invalid():
    """what never was a token answers MEWS_E_GONE"""
    assert codes("/token-invalid") == [GONE] * 4


def test_late_use():
    """after the exchange its pointer answers an error, and a token keeps its memory"""
    assert text("/keep") == "kept"
    host.wait_until(lambda: codes("/kept-status") == [GONE], "the token tells that the exchange is over")
    for number in range(200):
        wire.get(shared.probes().port, f"/no-such-path/{number}")  # would overwrite memory that was given back
    response, header, method_absent, no_memory, memory_kept, path_kept = codes("/late")
    assert response in (GONE, WRONG_THREAD) and header in (GONE, WRONG_THREAD), (response, header)
    assert method_absent and no_memory, "the late pointer still reads or allocates"
    assert memory_kept and path_kept, "memory behind a token was used again"
    assert codes("/release-kept") == [OK, GONE]


def test_foreign_thread():
    """another thread's use of the pointer answers MEWS_E_WRONG_THREAD; the token serves it"""
    assert codes("/foreign-thread") == [WRONG_THREAD, WRONG_THREAD, WRONG_THREAD, OK, 1]


def test_memory():
    """mews_alloc gives aligned memory of any size up to its limit"""
    for _ in range(50):
        assert codes("/memory") == [1, 1, 1, 1]


def test_null_arguments():
    """NULL where an argument is required is answered, not crashed on"""
    assert codes("/null-arguments") == [1, 1]
