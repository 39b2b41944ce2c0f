"""Handlers that take longer than they may, seen through the plugin probe-deadline."""

import os
import re
import signal
import socket
import struct
import subprocess
import time

import host
import shared
import toolchain
import wire
from cases_pending import PROGRAMS
from shared import GONE, OK

# How many requests the race makes; more takes longer, and finds more.
RACE_REQUESTS = os.environ.get("MEWS_RACE_REQUESTS", "10000")
CLASSES = ("worker", "blocking", "inline")
BODY = b"504 Gateway Timeout: there was no response in time\n"


def port():
    return shared.probes().port


def counts():
    """Handlers that were called, that have returned, that were told they are late, that found their request changed."""
    return [int(number) for number in wire.text(port(), "/deadline/counts").split()]


def expect_late(connection, method="GET"):
    """The next response is the 504, and the last one."""
    response = connection.read(method)
    assert response.status == 504 and response.reason == "Gateway Timeout", response
    assert response.field("Connection") == "close" and response.field("Content-Type") == "text/plain", response
    assert response.body == (b"" if method == "HEAD" else BODY), response
    connection.expect_closed()


def expect_returned(before, late):
    """Late handlers return, know that they are late, and have read nobody else's bytes."""
    host.wait_until(lambda: counts()[1] == before[1] + late, "the handlers return")
    assert counts()[2:] == [before[2] + late, before[3]], counts()


def test_late():
    """a handler that takes too long is answered with 504 in its place, in time, and its response is dropped"""
    for kind in CLASSES:
        before = counts()
        with wire.Connection(port()) as connection:
            started = time.monotonic()
            connection.send(f"GET /deadline/{kind}?ms=600 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            response = connection.read()
            passed = time.monotonic() - started
            assert response.status == 504 and response.body == BODY, response
            assert 0.1 <= passed < 0.5, passed
            connection.expect_closed()
        expect_returned(before, 1)
        shared.probes().expect_line(rf"warning probe-deadline: \* /deadline/{kind}: answered with 504 after 100 ms")


def test_stuck_inline():
    """an inline handler that gets stuck is answered with 504, and the I/O thread goes on meanwhile"""
    with host.Host(toolchain.probe_plugins(), "--io-threads", "1") as server:
        with wire.Connection(server.port) as stuck, wire.Connection(server.port) as other:
            stuck.send("POST /deadline/inline?ms=1500 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\naaaaa")
            stuck.send("GET /deadline/counts HTTP/1.1\r\nHost: localhost\r\n\r\n")
            started = time.monotonic()
            expect_late(stuck)
            while time.monotonic() - started < 0.5:
                assert other.post("/deadline/inline", b"z" * 3000).body == b"z"
            called, returned, *_ = other.get("/deadline/counts").body.split()
            assert int(called) == int(returned) + 1, "it is still stuck"
        host.wait_until(
            lambda: len(set(wire.text(server.port, "/deadline/counts").split()[:2])) == 1, "the handler returns")
        assert wire.text(server.port, "/deadline/counts").endswith(" 1 0")


def test_head():
    """the 504 to HEAD has no body"""
    before = counts()
    with wire.Connection(port()) as connection:
        connection.send("HEAD /deadline/blocking?ms=400 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        expect_late(connection, "HEAD")
    expect_returned(before, 1)


def test_curl():
    """curl gets the 504, and opens another connection for the next request"""
    before = counts()
    url = f"http://127.0.0.1:{port()}/deadline"
    done = subprocess.run(
        ["curl", "-sS", "-w", "%{http_code} %{num_connects}\n", "-o", "/dev/null", f"{url}/blocking?ms=400",
         "-o", "/dev/null", f"{url}/none?ms=1"],
        capture_output=True, text=True, timeout=20)
    assert done.returncode == 0 and done.stdout == "504 1\n200 1\n", done
    host.wait_until(lambda: counts()[1] == before[1] + 2, "the handlers return")


def test_in_time():
    """requests that are answered in time keep their connection, however long it lives"""
    with wire.Connection(port()) as connection:
        # Far from the second that each may take, and together longer.
        for milliseconds in (0, 100, 200, 200, 200, 200, 200, 0):
            response = connection.post(f"/deadline/second?ms={milliseconds}", b"t" * 100)
            assert response.status == 200 and response.body == b"t", response
        assert connection.get("/deadline/blocking").status == 200
        time.sleep(0.3)
        assert connection.get("/deadline/none?ms=300").status == 200
        connection.expect_open()


def test_pipelined():
    """what was pipelined before a late request is answered, what stands behind it is not run"""
    before = counts()
    with wire.Connection(port()) as connection:
        request = "GET /deadline/{} HTTP/1.1\r\nHost: localhost\r\n\r\n"
        connection.send(
            request.format("none") * 3 + request.format("blocking?ms=400") + request.format("none") * 20)
        for _ in range(3):
            assert connection.read().status == 200
        expect_late(connection)
    host.wait_until(lambda: counts()[1] == before[1] + 4, "the late handler returns")
    assert counts()[0] == before[0] + 4


def test_body_in_flight():
    """a client in the middle of sending its next request's body gets the 504"""
    before = counts()
    with wire.Connection(port()) as connection:
        connection.send("GET /deadline/worker?ms=400 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        connection.send("POST /deadline/none HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3000000\r\n\r\n")
        connection.send(b"b" * 1_000_000)
        expect_late(connection)
    expect_returned(before, 1)
    assert counts()[0] == before[0] + 1


def test_large_body():
    """a late handler still reads its own body, wherever that lies, while others come and go"""
    before = counts()
    for size in (100, 3000, 1_000_000):
        with wire.Connection(port()) as connection:
            connection.send(
                f"POST /deadline/blocking?ms=400 HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n")
            connection.send(b"a" * size)
            expect_late(connection)
    for _ in range(50):
        assert wire.post(port(), "/deadline/none", b"z" * 3000).body == b"z"
    host.wait_until(lambda: counts()[1] == before[1] + 53, "the handlers return")
    assert counts()[2:] == [before[2] + 3, before[3]], counts()


def test_client_gone():
    """a client that has left gets nothing, before and after the deadline"""
    before = counts()
    for leaves_after in (0.02, 0.2):
        with wire.Connection(port()) as connection:
            connection.send("GET /deadline/blocking?ms=300 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            time.sleep(leaves_after)
            connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    expect_returned(before, 2)


def test_client_finished():
    """a client that has ended its side gets the 504"""
    before = counts()
    with wire.Connection(port()) as connection:
        connection.send("GET /deadline/worker?ms=400 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        connection.socket.shutdown(socket.SHUT_WR)
        expect_late(connection)
    expect_returned(before, 1)


def test_late_failure():
    """what a late handler fails with is not in the log"""
    before = counts()
    with wire.Connection(port()) as connection:
        connection.send("GET /deadline/worker?ms=400&fail=1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        expect_late(connection)
    expect_returned(before, 1)
    assert not shared.probes().find_lines(r"/deadline/worker: the handler returned"), shared.probes().log


def test_pending():
    """a pending response that is late is answered with 504; its token is gone"""
    for path in ("hold", "hold-inline"):
        with wire.Connection(port()) as connection:
            connection.send(f"GET /deadline/{path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
            expect_late(connection)
        assert wire.text(port(), "/deadline/held") == f"{GONE} {GONE} {GONE}"
        shared.probes().expect_line(rf"/deadline/{path}: answered with 504 after 100 ms, it is pending")
        with wire.Connection(port()) as connection:
            connection.send(f"GET /deadline/{path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
            host.wait_until(lambda: wire.text(port(), "/deadline/held").startswith(str(OK)), "it is completed in time")
            assert connection.read().body == b"held"
            connection.expect_open()


def test_queued():
    """a request that has waited for a worker for too long is answered with 504, and its handler is not called"""
    arguments = ("--workers", "1", "--workers-max", "1", "--io-threads", "1")
    with host.Host(toolchain.probe_plugins(), *arguments) as server:
        text = "GET /deadline/{} HTTP/1.1\r\nHost: localhost\r\n\r\n"
        with wire.Connection(server.port) as first, wire.Connection(server.port) as second:
            first.send(text.format("long?ms=700"))
            host.wait_until(lambda: wire.text(server.port, "/deadline/counts").startswith("1 0"), "the worker is busy")
            second.send(text.format("worker"))
            expect_late(second)
            server.expect_line(r"/deadline/worker: answered with 504 after 100 ms, the handler was not called yet")
            assert first.read().status == 200
        assert wire.text(server.port, "/deadline/none") == "-"
        assert wire.text(server.port, "/deadline/counts").startswith("2 2")
        server.stop()
        server.expect_line(r"/deadline/worker: requests answered with 504 in all: 1")


def test_host_timeout():
    """--handler-timeout holds for routes that say nothing of it"""
    with host.Host(toolchain.probe_plugins(), "--handler-timeout", "150") as server:
        server.expect_line(r"\* /deadline/host \(blocking, 504 after 150 ms\)")
        server.expect_line(r"\* /deadline/long \(blocking, 504 after 60000 ms\)")
        server.expect_line(r"\* /deadline/none \(blocking\)")
        for path, status in {"host": 504, "none": 200, "long": 200, "worker": 504}.items():
            response = wire.get(server.port, f"/deadline/{path}?ms=400")
            assert response.status == status, (path, response)
        server.expect_line(r"/deadline/host: answered with 504 after 150 ms")


def test_rate_of_lines():
    """the log names a route once a second at most, and counts what it leaves out"""
    with host.Host(toolchain.probe_plugins()) as server:
        for _ in range(2):
            connections = [wire.Connection(server.port) for _ in range(20)]
            for connection in connections:
                connection.send("GET /deadline/blocking?ms=400 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            for connection in connections:
                expect_late(connection)
                connection.socket.close()
            time.sleep(1.1)
        server.stop()
        lines = [match.string for match in server.find_lines(r"/deadline/blocking: answered with 504")]
        assert len(lines) == 2 and "so were 19 more" in lines[1], lines
        server.expect_line(r"/deadline/blocking: requests answered with 504 in all: 40")


def test_stop():
    """a stop waits for a late handler, whose client has its 504 already"""
    with host.Host(toolchain.probe_plugins()) as server:
        with wire.Connection(server.port) as connection:
            connection.send("GET /deadline/worker?ms=900 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            expect_late(connection)
            server.signal(signal.SIGINT)
            assert server.wait() == 0, server.log
    with host.Host(toolchain.probe_plugins()) as server:
        with wire.Connection(server.port) as connection:
            connection.send("GET /deadline/worker?ms=700 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            host.wait_until(lambda: wire.text(server.port, "/deadline/counts").startswith("1"), "the handler runs")
            server.signal(signal.SIGINT)
            expect_late(connection)
            assert server.wait() == 0, server.log


def test_race():
    """deadlines race handlers, completions, clients that leave and servers that stop: one response each"""
    program = toolchain.new_directory() / "deadline-race"
    toolchain.build_program(PROGRAMS / "deadline-race.c", program, *toolchain.PROGRAM_OPTIONS)
    done = subprocess.run(
        [program, RACE_REQUESTS], capture_output=True, text=True, timeout=110, env=toolchain.environment())
    assert done.returncode == 0 and re.match(r"\d+ requests on \d+ servers: ", done.stdout), done
