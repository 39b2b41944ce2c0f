"""The response side of the interface, seen through the plugin probe-response."""

import host
import shared
import wire
from shared import INVALID_ARGUMENT, LIMIT, WRONG_STATE


def get(target, method="GET"):
    return wire.get(shared.probes().port, target, method=method)


def pattern(size):
    return (bytes(range(251)) * (size // 251 + 1))[:size]


def releases():
    return int(wire.text(shared.probes().port, "/releases"))


def test_header_order():
    """response header fields are sent in order, with repetitions"""
    response = get("/order")
    expected = [("X-B", "1"), ("Set-Cookie", "a=1"), ("X-A", "2"), ("Set-Cookie", "b=2"), ("X-Empty", "")]
    names = {name for name, _ in expected}
    assert [field for field in response.fields if field[0] in names] == expected, response


def test_response_splitting():
    """header names and values that would split the response are refused"""
    response = get("/splitting")
    assert response.body == b"rrrrrrrr", response
    assert not any(name.startswith("X") for name, _ in response.fields), response


def test_bad_content_type():
    """a content type that would split the response is refused"""
    response = get("/bad-content-type")
    assert response.body == str(INVALID_ARGUMENT).encode(), response
    assert not response.all("X-Injected"), response


def test_own_fields():
    """the fields that are the server's own are refused"""
    response = get("/own-fields")
    assert response.body == b"rrrrr", response


def test_field_limit():
    """above 16 KiB of fields the limit is answered, and the response still goes out"""
    response = get("/too-many-fields")
    code, _, count = response.body.decode().partition(" after ")
    assert int(code) == LIMIT and 14 <= int(count) <= 16, response
    assert len(response.all("X-Long")) == int(count), response


def test_statuses():
    """statuses from 200 to 599 are sent, others are refused"""
    for status in (200, 201, 299, 301, 404, 418, 500, 503, 599):
        response = get(f"/status/{status}")
        assert response.status == status and response.body == b"body", response
    for status in (0, 99, 100, 199, 600, 9999):
        assert get(f"/status/{status}").body == f"refused {INVALID_ARGUMENT}".encode(), status


def test_statuses_without_body():
    """204 and 304 have no body, and the connection goes on"""
    with wire.Connection(shared.probes().port) as connection:
        for status in (204, 304):
            response = connection.get(f"/status/{status}")
            assert response.status == status, response
        assert not connection.get("/status/204").all("Content-Length")
        assert connection.get("/status/200").body == b"body"


def test_handler_error():
    """a handler that returns an error gets 500 and a log line, inline and on a worker"""
    for target in ("/failing", "/inline/failing"):
        response = get(target)
        assert response.status == 500 and response.body, response
        shared.probes().expect_line(rf"probe-response.*{target}\b|{target}\b.*probe-response")


def test_handler_without_response():
    """a handler that does not respond gets 500 and a log line, inline and on a worker"""
    for target in ("/silent", "/inline/silent"):
        response = get(target)
        assert response.status == 500 and response.body, response
        shared.probes().expect_line(rf"probe-response.*{target}\b|{target}\b.*probe-response")


def test_handler_error_after_response():
    """a response given before the handler failed is sent, and the failure logged"""
    assert get("/failing-late").body == b"responded"
    shared.probes().expect_line(r"probe-response.*/failing-late|/failing-late.*probe-response")


def test_second_response():
    """a second response answers MEWS_E_WRONG_STATE and changes nothing"""
    with wire.Connection(shared.probes().port) as connection:
        response = connection.get("/twice")
        assert response.body == b"first" and not response.all("X-Late"), response
        assert connection.get("/twice-results").body == f"{WRONG_STATE} {WRONG_STATE} {WRONG_STATE}".encode()


def test_format():
    """mews_respond_format makes bodies of any length"""
    for size in (1, 100, 1023, 1024, 1025, 4096, 5000, 100_000):
        body = get(f"/format/{size}").body
        assert body == b"0" * (size - 1) + b"7", (size, len(body))


def test_bodies_by_copy():
    """bodies by copy arrive unchanged at every size"""
    with wire.Connection(shared.probes().port) as connection:
        for size in (0, 1, 13, 4095, 4096, 4097, 65536, 1_000_003):
            response = connection.get(f"/copy/{size}")
            assert response.body == pattern(size), (size, len(response.body))


def test_bodies_by_reference():
    """bodies by reference arrive unchanged, and each is released once"""
    before = releases()
    sizes = (0, 1, 4096, 100_000, 3_000_017)
    for route in ("/reference", "/inline/reference"):
        with wire.Connection(shared.probes().port) as connection:
            for size in sizes:
                assert connection.get(f"{route}/{size}").body == pattern(size), (route, size)
    expect_releases(before + 2 * len(sizes))


def expect_releases(count):
    """As many and no more: requests made meanwhile give a second call the time to happen."""
    host.wait_until(lambda: releases() >= count, f"{count} releases")
    for _ in range(20):
        get("/order")
    assert releases() == count


def test_reference_constant():
    """a body by reference needs no release function"""
    assert get("/reference-constant").body == b"constant"


def test_reference_head():
    """a body by reference is released when the request was HEAD"""
    before = releases()
    response = get("/reference/5000", method="HEAD")
    assert response.field("Content-Length") == "5000", response
    expect_releases(before + 1)


def test_reference_reentrant():
    """a release function that responds again changes nothing, for GET and for HEAD"""
    before = releases()
    with wire.Connection(shared.probes().port) as connection:
        for method in ("GET", "HEAD", "GET"):
            response = connection.get("/reference-reentrant", method=method)
            assert response.status == 200 and response.field("Content-Length") == "8", response
            assert response.body == (b"constant" if method == "GET" else b""), response
        connection.expect_open()
    expect_releases(before + 3)


def test_reference_refused():
    """a body by reference is released when the response is refused"""
    before = releases()
    assert get("/reference-refused").body == b"first"
    expect_releases(before + 1)


def test_reference_client_gone():
    """a body by reference is released when the client has gone"""
    before = releases()
    for _ in range(5):
        with wire.Connection(shared.probes().port, receive_buffer=4096) as connection:
            connection.send("GET /reference/8000000 HTTP/1.1\r\nHost: a\r\n\r\n")
            connection.socket.recv(1000)
    expect_releases(before + 5)
