"""The request side of the interface, seen through the plugin probe-request."""

import shared
import wire


def lines(target, *fields, method="GET"):
    response = wire.get(shared.probes().port, target, *fields, method=method)
    assert response.status == 200, response
    return response.body.decode().splitlines()


def test_request_line():
    """method, target, path, query and version are as sent, the path decoded"""
    assert lines("/request/a%20b?c=%64", method="PURGE") == [
        "method=PURGE",
        "target=/request/a%20b?c=%64",
        "path=/request/a b",
        "query=c=%64",
        "name=a b",
        "rest absent",
        "unknown absent",
        "version=11",
        "body=0",
    ]


def test_query_absent_and_empty():
    """no query is absent, an empty one is empty"""
    assert "query absent" in lines("/request/x")
    assert "query=" in lines("/request/x?")


def test_version_1_0():
    """the version of an HTTP/1.0 request is 10"""
    with wire.Connection(shared.probes().port) as connection:
        assert b"version=10\n" in connection.request("GET /request/x HTTP/1.0\r\n\r\n").body


def test_rest_parameter():
    """a rest parameter takes any number of segments, none included"""
    for target, rest in (("/rest/", ""), ("/rest/a", "a"), ("/rest/a/b%20c/d", "a/b c/d"), ("/rest/a%2Fb/", "a%2Fb/")):
        assert f"rest={rest}" in lines(target), target


def test_route_choice():
    """a literal wins over a parameter, a parameter over a rest"""
    port = shared.probes().port
    assert wire.text(port, "/choice/literal") == "literal"
    assert wire.text(port, "/choice/other") == "parameter"
    assert wire.text(port, "/choice/other/more") == "rest"
    assert wire.text(port, "/choice/literal/more") == "rest"


def test_methods():
    """one path has a handler for each method, and * for those that are left"""
    port = shared.probes().port
    for method, path, label in (
        ("GET", "/methods", b"GET"),
        ("PUT", "/methods", b"PUT"),
        ("POST", "/any", b"POST"),
        ("GET", "/any", b"any"),
        ("BREW", "/any", b"any"),
    ):
        assert wire.get(port, path, method=method).body == label, (method, path)
    response = wire.get(port, "/methods", method="DELETE")
    assert response.status == 405, response
    assert {method.strip() for method in response.field("Allow").split(",")} == {"GET", "HEAD", "PUT"}, response


def test_request_headers():
    """header fields are given in order, with repetitions, by any case of name"""
    fields = ["X-First: 1", "X-Repeated: one", "x-ODD-case:  padded \t", "x-repeated: two", "X-Empty:"]
    assert lines("/headers", *fields) == [
        "Host: localhost",
        "X-First: 1",
        "X-Repeated: one",
        "x-ODD-case: padded",
        "x-repeated: two",
        "X-Empty: ",
        "beyond absent",
        "lower-case=one",
        "repeated=one",
        "repeated=two",
        "repeated absent",
        "repeated absent",
    ]


def test_query_parameters():
    """query parameters are decoded; the first of several counts"""
    query = "a=1%262+3&a=second&empty=&bare&two+words=%E2%82%AC&%C3%A4=umlaut&=nameless&&x"
    assert lines(f"/query?{query}") == ["a=1&2 3", "empty=", "bare=", "two words=€", "absent absent", "ä=umlaut"]
    assert lines("/query") == [f"{name} absent" for name in ("a", "empty", "bare", "two words", "absent", "ä")]


def test_large_header():
    """a header of several kilobytes arrives whole, also cut into pieces"""
    value = "v" * 6000
    request = f"GET /headers HTTP/1.1\r\nHost: a\r\nX-Large: {value}\r\n\r\n"
    with wire.Connection(shared.probes().port) as connection:
        for places in ((), (30,), (4096,), (4095, 4097), (len(request) - 1,)):
            connection.send_in_pieces(request, *places)
            assert f"X-Large: {value}\n".encode() in connection.read().body, places
