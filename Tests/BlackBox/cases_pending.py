"""Responses that a handler leaves pending, and what completes them, seen through the plugin probe-pending."""

import os
import pathlib
import re
import signal
import socket
import struct
import subprocess
import threading
import time

import host
import shared
import toolchain
import wire
from shared import GONE, OK, WRONG_STATE

THREADS = ("inline", "worker")
PROGRAMS = pathlib.Path(__file__).resolve().parent / "programs"
# How many requests the race makes; more takes longer, and finds more.
RACE_REQUESTS = os.environ.get("MEWS_RACE_REQUESTS", "10000")


def text(target):
    return wire.text(shared.probes().port, target)


def codes(target):
    return [int(code) for code in text(target).split()]


def counts():
    return codes("/pending/inline/counts")


def abandon(port, target):
    """Sends a request and leaves with a reset, when the handler has run."""
    connection = wire.Connection(port)
    connection.send(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n")
    host.wait_until(lambda: wire.text(port, "/pending/inline/held-status") == str(OK), "the request is held")
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.socket.close()


def test_later():
    """another thread completes a response: after the handler, with its header fields, and before the next request"""
    for thread in THREADS:
        with wire.Connection(shared.probes().port) as connection:
            for delay in (0, 0, 1, 30):
                response = connection.get(f"/pending/{thread}/later?ms={delay}")
                assert response.status == 200 and response.body == b"later", response
                assert response.field("X-Pending") == "yes" and response.field("Content-Type") == "text/plain", response
            assert connection.get(f"/pending/{thread}/later", method="HEAD").field("Content-Length") == "5"
            connection.send(f"GET /pending/{thread}/later?ms=5 HTTP/1.1\r\nHost: localhost\r\n\r\n" * 5)
            for _ in range(5):
                assert connection.read().body == b"later"


def test_no_thread():
    """a pending request occupies no thread: many wait together, and others are served meanwhile"""
    for thread in THREADS:
        connections = [wire.Connection(shared.probes().port) for _ in range(100)]
        started = time.monotonic()
        for connection in connections:
            connection.send(f"GET /pending/{thread}/later?ms=300 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert wire.text(shared.probes().port, "/pending/worker/counts")
        for connection in connections:
            assert connection.read().body == b"later"
            connection.socket.close()
        assert time.monotonic() - started < 10, "they waited one after the other"


def test_early():
    """a completion before the handler has returned is held back until it has"""
    for thread in THREADS:
        response = wire.get(shared.probes().port, f"/pending/{thread}/early")
        assert response.status == 201 and response.body == b"early", response
        assert response.field("Content-Type") is None, response


def test_reference():
    """a completion by reference is sent whole, and its bytes are given back once"""
    for thread in THREADS:
        before = counts()[0]
        assert wire.get(shared.probes().port, f"/pending/{thread}/reference").body == b"l" * 300000
        host.wait_until(lambda: counts()[0] == before + 1, "the bytes are given back")


def test_continue():
    """a continued request is whole, and its handler is called once"""
    for thread in THREADS:
        for size in (0, 10, 100_000):
            before = counts()[1]
            with wire.Connection(shared.probes().port) as connection:
                response = connection.post(f"/pending/{thread}/continue", b"b" * size)
            assert response.body == b"b" * size and response.field("X-State") == "from the thread", response
            assert counts()[1] == before + 1


def test_nobody():
    """a pending response that nobody can complete is a 500 and a line with plugin and path"""
    for thread in THREADS:
        with wire.Connection(shared.probes().port) as connection:
            for path in ("none", "dropped"):
                assert connection.get(f"/pending/{thread}/{path}").status == 500
                shared.probes().expect_line(rf"probe-pending.*GET /pending/{thread}/{path}: .*(token)")


def test_twice():
    """the first completion counts, later ones are refused and leave their tokens"""
    for thread in THREADS:
        before = counts()[0]
        with wire.Connection(shared.probes().port) as connection:
            connection.send(f"GET /pending/{thread}/hold HTTP/1.1\r\nHost: localhost\r\n\r\n")
            host.wait_until(lambda: text("/pending/inline/held-status") == str(OK), "the request is held")
            status, first, second, third, *released = codes(f"/pending/{thread}/held")
            assert connection.read().body == b"held"
        assert (status, first) == (OK, OK)
        assert second in (WRONG_STATE, GONE) and third in (WRONG_STATE, GONE), (second, third)
        # WRONG_STATE leaves the token, GONE spends it.
        spent = [second, third].count(GONE)
        assert sorted(released) == sorted([OK] * (2 - spent) + [GONE] * (1 + spent)), (second, third, released)
        assert counts()[0] == before + 1, "refused bytes are given back at once"


def test_client_left():
    """when the client has left, tokens say so, and a completion spends its token"""
    for thread in THREADS:
        before = counts()[:2]
        abandon(shared.probes().port, f"/pending/{thread}/hold")
        host.wait_until(lambda: text("/pending/inline/held-status") == str(GONE), "the token tells that the client left")
        assert codes(f"/pending/{thread}/held") == [GONE] * 7
        assert counts()[:2] == [before[0] + 1, before[1]]


def test_client_finished():
    """a client that has ended its side is still answered"""
    for thread in THREADS:
        with wire.Connection(shared.probes().port) as connection:
            connection.send(f"GET /pending/{thread}/later?ms=50 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            connection.socket.shutdown(socket.SHUT_WR)
            assert connection.read().body == b"later"
            connection.expect_closed()


def test_work():
    """work is done on a worker, once, also when it was given before the host served"""
    shared.probes().expect_line(r"work given in start runs: yes")
    before = counts()[2]
    for thread in THREADS:
        assert text(f"/pending/{thread}/work") == "worked"
    assert counts()[2] == before + 2


def test_invalid():
    """what is no response, no token or no function is refused, and leaves the token"""
    for thread in THREADS:
        assert codes(f"/pending/{thread}/invalid") == [1, 1, OK]


def test_stop_waits():
    """a stop waits for pending requests, and answers them"""
    with host.Host(toolchain.probe_plugins()) as server:
        with wire.Connection(server.port) as first, wire.Connection(server.port) as second:
            first.send("GET /pending/worker/later?ms=700 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            second.send("POST /pending/inline/continue HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\n")
            # The request is whole when the stop has begun.
            timer = threading.Timer(0.2, lambda: second.send("body"))
            timer.start()
            host.wait_until(lambda: wire.get(server.port, "/pending/inline/counts").status == 200, "it serves")
            server.signal(signal.SIGINT)
            response = first.read()
            assert response.body == b"later" and response.field("Connection") == "close", response
            assert second.read().body == b"body"
            timer.join()
        assert server.wait() == 0, server.log
        server.expect_line(r"after the stop: nothing was held, work -4")


def test_late_completion():
    """after the stop a token is gone, and so is work"""
    with host.Host(toolchain.probe_plugins()) as server:
        abandon(server.port, "/pending/worker/hold")
        host.wait_until(
            lambda: wire.text(server.port, "/pending/inline/held-status") == str(GONE), "the client has left")
        server.stop()
        server.expect_line(r"after the stop: -4 -4 -4 -4 -4 -4 -4, work -4")


def test_race():
    """completions race clients that leave and servers that stop: one outcome each, nothing lost, nothing twice"""
    program = toolchain.new_directory() / "pending-race"
    toolchain.build_program(PROGRAMS / "pending-race.c", program, *toolchain.PROGRAM_OPTIONS)
    done = subprocess.run(
        [program, RACE_REQUESTS], capture_output=True, text=True, timeout=110, env=toolchain.environment())
    assert done.returncode == 0 and re.match(r"\d+ requests on \d+ servers: ", done.stdout), done
