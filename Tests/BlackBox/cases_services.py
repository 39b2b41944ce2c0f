"""What the host does for a plugin, seen through the plugin probe-services."""

import collections
import pathlib
import signal
import time

import host
import shared
import toolchain
import wire
from shared import GONE, INVALID_ARGUMENT, OK, WRONG_STATE


def text(target):
    return wire.text(shared.probes().port, target)


def codes(target):
    return [int(code) for code in text(target).split()]


def test_settings():
    """--set PLUGIN.KEY=VALUE reaches that plugin"""
    assert text("/setting/color") == "blue"
    assert text("/setting/equation") == "a=b"
    assert wire.get(shared.probes().port, "/setting/absent").status == 404


def test_identity():
    """a plugin is told its name, version and process"""
    assert text("/identity") == "probe-services 1.0.0 0 1"


def test_worker_slots():
    """each thread has an index below the count, and a slot of its own"""
    last_call = {}
    for number in range(200):
        index, count, calls = codes("/worker" if number % 2 else "/inline/worker")
        assert index < count, (index, count)
        expected = last_call.get(index, calls - 1) + 1
        assert calls == expected, f"thread {index} counts {calls}, not {expected}"
        last_call[index] = calls
    assert len(last_call) >= 2, "inline and worker routes ran on one thread"


def workers_wait(pid):
    """Whether every worker of a process sleeps."""
    stats = [path.read_text() for path in pathlib.Path(f"/proc/{pid}/task").glob("*/stat")]
    return all(stat.rpartition(")")[2].split()[0] == "S" for stat in stats if "(mews-worker" in stat)


def test_low_load_stays_on_one_worker():
    """requests that come one after the other are all handled by the worker that was last awake"""
    with host.Host(toolchain.probe_plugins(), "--workers", "8") as server, wire.Connection(server.port) as connection:
        workers = collections.Counter()
        for _ in range(100):
            workers[connection.get("/worker").body.split()[0]] += 1
            # Low load: the worker waits again when the next request comes.
            host.wait_until(lambda: workers_wait(server.worker_pid()), "the workers wait")
    # A worker that is held up on its way back may miss its turn, and another one stays the last awake.
    assert workers.most_common(1)[0][1] >= 80, workers


def test_foreign_worker():
    """a thread of the plugin's own has no index and no slot"""
    assert codes("/foreign-worker") == [1, 0]


def test_log():
    """log lines carry the plugin's name; line breaks are escaped"""
    assert text("/log") == "logged"
    probes = shared.probes()
    probes.expect_line(r"probe-services.*said at level info: 42")
    probes.expect_line(r"probe-services.*said at level warning")
    probes.expect_line(r"probe-services.*first line.*forged line")
    assert not probes.find_lines(r"^forged line"), probes.log


def test_timer_from_start():
    """a timer that start began fires once the host serves"""
    shared.probes().expect_line(r"probe-services.*timer fired: from start, on a thread of the host: 1")


def test_timer_from_handler():
    """a timer fires once"""
    before = codes("/timer-count")[0]
    assert codes("/timer") == [OK, 1]
    host.wait_until(lambda: codes("/timer-count")[0] > before, "the timer")
    assert codes("/timer-count")[0] == before + 1


def test_timer_cancel():
    """a cancelled timer is gone, and delays have a limit"""
    assert codes("/timer-cancel") == [OK, OK, GONE, GONE, INVALID_ARGUMENT]


def test_clocks():
    """the clocks are those of the machine"""
    monotonic, wall = codes("/clocks")
    assert abs(monotonic - time.monotonic_ns()) < 10**10
    assert abs(wall - time.time_ns()) < 10**10


def test_late_route():
    """a route after start answers MEWS_E_WRONG_STATE"""
    assert codes("/late-route") == [WRONG_STATE]
    assert wire.get(shared.probes().port, "/too-late").status == 404


def test_bad_routes():
    """malformed methods and patterns are refused"""
    assert text("/refusals") == "rrrrrrrr"


def test_stop_function():
    """a plugin's stop function is called when the host stops"""
    with host.Host(toolchain.probe_plugins()) as server:
        server.signal(signal.SIGTERM)
        assert server.wait() == 0, server.log
        server.expect_line(r"probe-services.*stop was called")
