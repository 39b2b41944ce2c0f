"""HTTP/1.1 as a client sees it: framing, connections, methods, targets."""

import email.utils
import select
import socket
import time

import shared
import wire

HELLO = "GET /hello/{} HTTP/1.1\r\nHost: localhost\r\n\r\n"


def connect():
    return wire.Connection(shared.samples().port)


def test_date_and_server():
    """every response has Date, Server and Content-Length"""
    for target, status in (("/plaintext", 200), ("/no-such-path", 404)):
        response = wire.get(shared.samples().port, target)
        assert response.status == status and response.version == "HTTP/1.1", response
        date = response.field("Date")
        moment = email.utils.parsedate_to_datetime(date)
        assert email.utils.format_datetime(moment, usegmt=True) == date, f"{date} is no IMF-fixdate"
        assert abs(moment.timestamp() - time.time()) < 5, date
        assert response.field("Server"), response
        assert response.field("Content-Length") == str(len(response.body)), response


def test_head():
    """HEAD answers the head of GET, without a body"""
    with connect() as connection:
        got = connection.get("/plaintext")
        head = connection.get("/plaintext", method="HEAD")
        assert head.status == 200, head
        undated = [[field for field in response.fields if field[0] != "Date"] for response in (got, head)]
        assert undated[0] == undated[1], undated
        missing = connection.get("/no-such-path", method="HEAD")
        assert missing.status == 404, missing
        assert connection.get("/plaintext").body == b"Hello, World!"


def test_keep_alive():
    """a connection serves many requests"""
    with connect() as connection:
        for number in range(200):
            assert connection.get(f"/hello/{number}").body == f"Hello, {number}!\n".encode()


def test_connection_close():
    """Connection: close is answered with the same, and the connection ends"""
    for value in ("close", "Close", "foo, close"):
        with connect() as connection:
            response = connection.get("/plaintext", f"Connection: {value}")
            assert response.body == b"Hello, World!", response
            assert response.field("Connection") == "close", response
            connection.expect_closed()


def test_http_1_0():
    """HTTP/1.0 ends the connection after the response"""
    with connect() as connection:
        response = connection.request("GET /plaintext HTTP/1.0\r\n\r\n")
        assert response.status == 200 and response.body == b"Hello, World!", response
        connection.expect_closed()


def test_http_1_0_keep_alive():
    """HTTP/1.0 with Connection: keep-alive stays open, and says so"""
    with connect() as connection:
        for _ in range(3):
            response = connection.request("GET /plaintext HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            assert response.body == b"Hello, World!", response
            assert response.field("Connection").lower() == "keep-alive", response


def test_pipelining():
    """requests sent in one write are answered in order"""
    with connect() as connection:
        connection.send("".join(HELLO.format(number) for number in range(100)))
        for number in range(100):
            assert connection.read().body == f"Hello, {number}!\n".encode()


def test_pipelining_order_of_slow_and_fast():
    """an answer waits for the ones before it, inline or from a worker"""
    targets = ["/sleep/40", "/plaintext", "/sleep/1", "/json", "/hello/x", "/plaintext"]
    with connect() as connection:
        connection.send("".join(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n" for target in targets))
        bodies = [connection.read().body for _ in targets]
    assert bodies[:3] == [b"slept 40 ms\n", b"Hello, World!", b"slept 1 ms\n"], bodies
    assert bodies[3:] == [b'{"message":"Hello, World!"}', b"Hello, x!\n", b"Hello, World!"], bodies


def test_pipelining_after_close():
    """nothing behind a request with Connection: close is answered"""
    with connect() as connection:
        connection.send("GET /plaintext HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" + HELLO.format("late"))
        assert connection.read().body == b"Hello, World!"
        connection.expect_closed()


PIPELINE = (
    "POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde"
    "POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    "3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nT: 1\r\n\r\n"
    "GET /hello/split HTTP/1.1\r\nHost: a\r\n\r\n"
)
PIPELINE_BODIES = [b"5\n", b"7\n", b"Hello, split!\n"]


def test_split_everywhere():
    """requests are understood wherever the segments are cut"""
    with connect() as connection:
        for place in range(1, len(PIPELINE)):
            connection.send_in_pieces(PIPELINE, place)
            bodies = [connection.read().body for _ in PIPELINE_BODIES]
            assert bodies == PIPELINE_BODIES, (place, bodies)


def test_byte_by_byte():
    """requests are understood when every byte comes alone"""
    with connect() as connection:
        connection.send_in_pieces(PIPELINE, *range(1, len(PIPELINE)))
        assert [connection.read().body for _ in PIPELINE_BODIES] == PIPELINE_BODIES


def test_body_in_pieces():
    """a body may come in pieces, later than its head"""
    with connect() as connection:
        connection.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n")
        for piece in ("Hello", ", ", "body"):
            time.sleep(0.02)
            connection.send(piece)
        assert connection.read().body == b"Hello, body"


def test_chunked_upload():
    """a chunked body arrives whole, with extensions and trailers"""
    with connect() as connection:
        connection.send(
            "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n"
            "5\r\nHello\r\n1;a;b=c;d=\"e\"\r\n,\r\n006\r\n chunk\r\nA\r\n0123456789\r\n000\r\nX-Trailer: 1\r\n\r\n"
        )
        assert connection.read().body == b"Hello, chunk0123456789"
        assert connection.get("/plaintext").status == 200


def test_chunked_upload_large():
    """a chunked body of 4 MB arrives unchanged"""
    body = bytes(index % 251 for index in range(4_000_037))
    with connect() as connection:
        connection.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        for start in range(0, len(body), 10_007):
            part = body[start : start + 10_007]
            connection.send(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        connection.send("0\r\n\r\n")
        assert connection.read().body == body


def test_large_upload():
    """a body of 10 MB is counted and sent back"""
    body = bytes(index % 251 for index in range(10_000_019))
    with connect() as connection:
        assert connection.post("/upload", body).body == b"10000019\n"
        assert connection.post("/echo", body).body == body


def test_expect_continue():
    """Expect: 100-continue gets its answer"""
    with connect() as connection:
        connection.send("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc")
        response = connection.read()
        if response.status == 100:
            response = connection.read()
        assert response.body == b"3\n", response


def test_client_leaves_early():
    """a client that leaves at any moment does no harm"""
    for place in range(1, len(PIPELINE), 7):
        with connect() as connection:
            connection.send(PIPELINE[:place])
    with connect() as connection:
        connection.send("GET /sleep/20 HTTP/1.1\r\nHost: a\r\n\r\n")
    with connect() as connection:
        connection.expect_open()


def test_half_close():
    """a client that closes its sending side still gets its answers"""
    with connect() as connection:
        connection.send(HELLO.format("a") + "GET /sleep/20 HTTP/1.1\r\nHost: a\r\n\r\n" + HELLO.format("b"))
        connection.socket.shutdown(1)
        bodies = [connection.read().body for _ in range(3)]
        assert bodies == [b"Hello, a!\n", b"slept 20 ms\n", b"Hello, b!\n"], bodies
        connection.expect_closed()


def test_many_connections():
    """500 connections are served side by side"""
    connections = [connect() for _ in range(500)]
    try:
        for number, connection in enumerate(connections):
            connection.send(HELLO.format(number))
        for number, connection in enumerate(connections):
            assert connection.read().body == f"Hello, {number}!\n".encode()
    finally:
        for connection in connections:
            connection.socket.close()


def test_absolute_form():
    """a target in absolute form is understood"""
    with connect() as connection:
        response = connection.get("http://localhost/hello/absolute?x=1")
        assert response.body == b"Hello, absolute!\n", response


def test_path_normalization():
    """paths are decoded and dot segments removed before routing"""
    port = shared.samples().port
    assert wire.text(port, "/%70laintext") == "Hello, World!"
    assert wire.text(port, "/hello/./x/../world") == "Hello, world!\n"
    assert wire.text(port, "/a/b/../../hello/%77orld?query") == "Hello, world!\n"
    assert wire.text(port, "/../../hello/top") == "Hello, top!\n"
    assert wire.text(port, "/hello/a%2Fb") == "Hello, a%2Fb!\n"
    assert wire.text(port, "/hello/%C3%A4%20b") == "Hello, ä b!\n"


def test_unread_responses():
    """a client that reads no answers is read from no more, and gets all of them once it reads"""
    body = bytes(range(256)) * 64
    request = f"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    limit = 64 << 20
    with wire.Connection(shared.samples().port, receive_buffer=4096) as connection:
        connection.socket.setblocking(False)
        sent = 0
        while sent < limit and select.select([], [connection.socket], [], 2)[1]:
            sent += connection.socket.send(request[sent % len(request) :])
        assert sent < limit, "the server takes whatever comes"
        connection.socket.settimeout(wire.TIMEOUT)
        connection.socket.shutdown(socket.SHUT_WR)
        for _ in range(sent // len(request)):
            assert connection.read().body == body
        connection.expect_closed()


def test_slow_reader():
    """a client that reads slowly gets all of a large response"""
    with wire.Connection(shared.probes().port, receive_buffer=4096) as connection:
        connection.send("GET /reference/8000000 HTTP/1.1\r\nHost: a\r\n\r\n")
        time.sleep(0.2)
        assert wire.get(shared.probes().port, "/releases").status == 200, "others are served meanwhile"
        body = connection.read().body
        assert body == (bytes(range(251)) * 31873)[:8_000_000]
