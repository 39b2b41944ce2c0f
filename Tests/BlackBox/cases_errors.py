"""What is refused, how, and that nothing is smuggled past a refusal."""

import shared
import wire

NEXT = "GET /hello/smuggled HTTP/1.1\r\nHost: a\r\n\r\n"


def connect():
    return wire.Connection(shared.samples().port)


def expect_text(response, status):
    assert response.status == status, response
    assert (response.field("Content-Type") or "").startswith("text/plain"), response
    assert 0 < len(response.body) < 200, f"no short text: {response}"
    assert response.field("Date") and response.field("Server"), response


def expect_refused(request, status):
    """The request is answered with that status, and the connection ends: what follows is not read as a request."""
    with connect() as connection:
        connection.send(request)
        try:
            connection.send(NEXT)
        except OSError:
            pass  # it has closed already
        response = connection.read()
        assert response.status == status, f"{request[:200]!r}: {response}"
        expect_text(response, status)
        assert response.field("Connection") == "close", response
        connection.expect_closed()


def refuse_each(status, *requests):
    for request in requests:
        expect_refused(request, status)


def head(*fields, line="GET /plaintext HTTP/1.1", host="Host: a\r\n"):
    return f"{line}\r\n{host}" + "".join(field + "\r\n" for field in fields) + "\r\n"


def test_404():
    """404 for a path that no plugin has, and the connection goes on"""
    with connect() as connection:
        for target in ("/no-such-path", "/hello", "/hello/", "/hello/a/b", "/", "/PLAINTEXT", "/plaintext/"):
            expect_text(connection.get(target), 404)
        assert connection.get("/plaintext").status == 200


def test_405():
    """405 with Allow for a method that the path has not, and the connection goes on"""
    with connect() as connection:
        response = connection.post("/plaintext", b"body")
        expect_text(response, 405)
        allowed = {method.strip() for method in response.field("Allow").split(",")}
        assert allowed == {"GET", "HEAD"}, allowed
        response = connection.get("/upload")
        expect_text(response, 405)
        assert response.field("Allow") == "POST", response
        assert connection.get("/plaintext").status == 200


def test_request_lines():
    """400 for malformed request lines"""
    refuse_each(
        400,
        head(line="GET /plaintext"),
        head(line="GET  /plaintext HTTP/1.1"),
        head(line="GET /plain text HTTP/1.1"),
        head(line="GET /plaintext HTTP/1.1 "),
        head(line=" GET /plaintext HTTP/1.1"),
        head(line="G\x01T /plaintext HTTP/1.1"),
        head(line="GET plaintext HTTP/1.1"),
        head(line="GET /plaintext FTP/1.1"),
        head(line="GET /plaintext HTTP/1.x"),
        head(line="GET /\x01 HTTP/1.1"),
        head(line="(GET) /plaintext HTTP/1.1"),
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    )


def test_paths():
    """400 for paths with broken or dangerous percent-encoding"""
    refuse_each(400, *(head(line=f"GET /hello/{path} HTTP/1.1") for path in ("%", "%4", "%zz", "a%00b")))


def test_host():
    """400 without Host, with two, and with one that is no host"""
    refuse_each(
        400,
        head(host=""),
        head("Host: b"),
        head(host="Host: a b\r\n"),
        head(host="Host: a/b\r\n"),
    )


def test_header_syntax():
    """400 for malformed header fields"""
    refuse_each(
        400,
        head("X-Space : 1"),
        head(" X-Folded: 1"),
        head("X-A: 1\r\n folded"),
        head("No-Colon"),
        head(": no name"),
        head("X(y): 1"),
        head("X-Nul: a\x00b"),
        head("X-Control: a\x01b"),
        head("X-Return: a\rb"),
    )


def test_bare_line_feeds():
    """400 for lines that end in a bare line feed"""
    refuse_each(400, "GET /plaintext HTTP/1.1\nHost: a\n\n", head("X-A: 1\nX-B: 2"))


def test_content_length():
    """400 for lengths that are no number, or contradict each other"""
    lengths = ("-1", "+5", "0x5", "5,6", "abc", "", "5 5", "99999999999999999999999")
    for length in lengths[:-1]:
        expect_refused(head(f"Content-Length: {length}", line="POST /upload HTTP/1.1"), 400)
    expect_refused(head("Content-Length: 3", "Content-Length: 5", line="POST /upload HTTP/1.1") + "abcde", 400)
    with connect() as connection:
        connection.send(head(f"Content-Length: {lengths[-1]}", line="POST /upload HTTP/1.1"))
        assert connection.read().status in (400, 413)
        connection.expect_closed()


def test_smuggling():
    """400 for Content-Length beside Transfer-Encoding, and for chunked that is not last"""
    post = "POST /upload HTTP/1.1"
    refuse_each(
        400,
        head("Content-Length: 5", "Transfer-Encoding: chunked", line=post) + "0\r\n\r\n",
        head("Transfer-Encoding: chunked", "Content-Length: 5", line=post) + "0\r\n\r\n",
        head("Transfer-Encoding: chunked, chunked", line=post) + "0\r\n\r\n",
        head("Transfer-Encoding: chunked", "Transfer-Encoding: chunked", line=post) + "0\r\n\r\n",
        head("Transfer-Encoding: chunked", line="POST /upload HTTP/1.0") + "0\r\n\r\n",
    )


def test_chunks():
    """400 for malformed chunks"""
    start = head("Transfer-Encoding: chunked", line="POST /upload HTTP/1.1")
    sizes = ("x", "-1", " 3", "3 ", "0x3", "3;", "4")
    refuse_each(400, *(f"{start}{size}\r\nabc\r\n0\r\n\r\n" for size in sizes))
    refuse_each(400, start + "3\r\nabcd\r\n0\r\n\r\n", start + "3\nabc\n0\n\n")
    refuse_each(400, start + "11111111111111111\r\n", start + "\r\n", start + "3\r\nabc\r\n0\r\nBad Trailer: 1\r\n\r\n")


def test_413():
    """413 for a body above the limit, announced before it is sent"""
    refuse_each(413, head("Content-Length: 1000000000000", line="POST /upload HTTP/1.1"))


def test_413_chunked():
    """413 for a chunk whose size is above the limit"""
    refuse_each(413, head("Transfer-Encoding: chunked", line="POST /upload HTTP/1.1") + "e8d4a51000\r\n")


def test_414():
    """414 for a target that is too long"""
    expect_refused(head(line="GET /" + "a" * 100_000 + " HTTP/1.1"), 414)


def test_431():
    """431 for header fields that are too large or too many"""
    expect_refused(head("X-Large: " + "a" * 100_000), 431)
    expect_refused(head(*(f"X-{number}: 1" for number in range(1000))), 431)


def test_501():
    """501 for a transfer coding that is not implemented"""
    refuse_each(400, head("Transfer-Encoding: gzip, chunked", line="POST /upload HTTP/1.1") + "0\r\n\r\n")


def test_505():
    """505 for another major version of HTTP"""
    refuse_each(505, head(line="GET /plaintext HTTP/2.0"), head(line="GET /plaintext HTTP/3.0"))


def test_error_behind_good_requests():
    """requests before a bad one are answered first"""
    with connect() as connection:
        connection.send("GET /sleep/30 HTTP/1.1\r\nHost: a\r\n\r\n" + "BROKEN\r\n\r\n" + NEXT)
        assert connection.read().body == b"slept 30 ms\n"
        assert connection.read().status == 400
        connection.expect_closed()


def test_refusal_reaches_a_client_that_is_sending():
    """a client still sending its body reads the 413 instead of a reset"""
    with connect() as connection:
        connection.send(head("Content-Length: 1000000000000", line="POST /upload HTTP/1.1"))
        try:
            for _ in range(50):
                connection.send(b"x" * 10_000)
        except OSError:
            pass
        assert connection.read().status == 413
