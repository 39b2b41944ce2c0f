"""Handlers that block the one I/O thread, seen through the plugin probe-takeover: others are served meanwhile, and the
handlers' own requests, when they are let go."""

import errno
import re
import signal
import socket
import struct

import host
import toolchain
import wire


def started(*options):
    return host.Host(toolchain.probe_plugins(), "--io-threads", "1", *options)


def begin(connection, target="/takeover/block", body=b""):
    head = f"POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.send(head.encode() + body)


def await_waiting(port, count):
    """Waits until so many handlers wait. Every request of it is served by the same I/O thread."""
    host.wait_until(lambda: wire.text(port, "/takeover/waiting") == str(count), f"{count} handlers wait")


def release(port):
    with wire.Connection(port) as connection:
        begin(connection, "/takeover/release")
        assert connection.read().body == b"released"


def test_others_are_served():
    """while an inline handler waits for ever, requests of other connections are answered, and one of them lets it go"""
    server = started()
    for _ in range(20):
        with wire.Connection(server.port) as stuck:
            begin(stuck, "/takeover/block?tag=it")
            await_waiting(server.port, 1)
            release(server.port)
            response = stuck.read()
            assert response.status == 200 and response.body == b"waited it", response
            assert response.field("X-Tag") == "waited", response
            assert stuck.get("/takeover/waiting").body == b"0", "the connection goes on"
    server.stop()


def test_order():
    """requests that were sent behind the one whose handler waits are answered after it, in their order"""
    server = started()
    with wire.Connection(server.port) as stuck:
        begin(stuck, "/takeover/block?tag=1")
        stuck.send("GET /takeover/index HTTP/1.1\r\nHost: localhost\r\n\r\n" * 10)
        begin(stuck, "/takeover/block?tag=2")
        await_waiting(server.port, 1)
        release(server.port)
        assert stuck.read().body == b"waited 1"
        assert [stuck.read().status for _ in range(10)] == [200] * 10
        await_waiting(server.port, 1)
        release(server.port)
        assert stuck.read().body == b"waited 2"
    server.stop()


def test_many():
    """forty handlers wait at once, each on a thread of its own, and all are answered"""
    server = started()
    connections = [wire.Connection(server.port) for _ in range(40)]
    for number, connection in enumerate(connections):
        begin(connection, f"/takeover/block?tag={number}")
        await_waiting(server.port, number + 1)
    release(server.port)
    for number, connection in enumerate(connections):
        assert connection.read().body == f"waited {number}".encode()
        connection.socket.close()
    server.stop()


def test_bodies():
    """what a waiting handler was sent stays as it was while others are served, wherever it lies"""
    server = started()
    for size in (100, 3000, 10_000, 200_000):
        body = bytes((index * 31 + size) % 251 for index in range(size))
        with wire.Connection(server.port) as stuck:
            begin(stuck, body=body)
            await_waiting(server.port, 1)
            for _ in range(50):
                assert wire.get(server.port, "/takeover/index").status == 200
            release(server.port)
            assert stuck.read().body == body
    server.stop()


def test_declared():
    """mews_blocking_begin hands the I/O thread over"""
    server = started()
    with wire.Connection(server.port) as stuck:
        begin(stuck, "/takeover/block?says_so=1&tag=so")
        await_waiting(server.port, 1)
        release(server.port)
        assert stuck.read().body == b"waited so"
    server.stop()


def test_after_the_response():
    """a handler that waits after its response, or ends without one, leaves no half of it behind"""
    server = started()
    for target, status, body in (("late=1&tag=x", 200, b"early x"), ("silent=1", 500, None)):
        with wire.Connection(server.port) as stuck:
            begin(stuck, f"/takeover/block?{target}")
            await_waiting(server.port, 1)
            release(server.port)
            response = stuck.read()
            assert response.status == status and body in (None, response.body), response
            assert stuck.get("/takeover/waiting").body == b"0"
    server.stop()


def test_client_leaves():
    """the client of a waiting handler leaves, with a reset or without: nobody else notices"""
    server = started()
    for has_reset in (False, True):
        stuck = wire.Connection(server.port)
        begin(stuck, body=b"x" * 5000)
        await_waiting(server.port, 1)
        if has_reset:
            stuck.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stuck.socket.close()
        assert wire.get(server.port, "/takeover/index").status == 200
        release(server.port)
        await_waiting(server.port, 0)
    server.stop()


def test_threads():
    """after a takeover handlers run on another thread, whose worker slot is its own"""
    server = started()
    places = [wire.text(server.port, "/takeover/index").split() for _ in range(2)]
    assert [place[0] for place in places] == ["0", "0"] and int(places[1][1]) == int(places[0][1]) + 1, places
    with wire.Connection(server.port) as stuck:
        begin(stuck)
        await_waiting(server.port, 1)
        index, count = wire.text(server.port, "/takeover/index").split()
        assert index != "0" and count == "1", (index, count)
        release(server.port)
        assert stuck.read().body.startswith(b"waited")
    server.stop()


def test_stop():
    """a server that is told to stop while a handler waits lets it finish, and ends in order"""
    server = started()
    with wire.Connection(server.port) as stuck, wire.Connection(server.port) as other, \
            wire.Connection(server.port) as idle:
        begin(stuck, "/takeover/block?tag=last")
        await_waiting(server.port, 1)
        # Half of a request, which keeps its connection.
        other.send("POST /takeover/release HTTP/1.1\r\nHost: localhost\r\n")
        assert idle.get("/takeover/index").status == 200
        server.signal(signal.SIGINT)
        # The I/O thread closes what is idle when it knows.
        idle.expect_closed()
        other.send("Content-Length: 0\r\n\r\n")
        assert other.read().body == b"released"
        response = stuck.read()
        assert response.body == b"waited last" and response.field("Connection") == "close", response
    assert server.wait() == 0


def test_log():
    """the log names the handler that held up an I/O thread, its plugin, and for how long"""
    server = started()
    with wire.Connection(server.port) as stuck:
        begin(stuck)
        await_waiting(server.port, 1)
        release(server.port)
        stuck.read()
    line = server.expect_line(r"held up an I/O thread")[0]
    found = [line for line in server.lines if "held up an I/O thread" in line]
    assert re.search(r"probe-takeover.*POST /takeover/block: .* for \d+\.\d ms; another thread goes on", found[0]), line
    server.stop()


def test_nobody_left():
    """when handlers hold up every thread that could take over, the log says so, and all goes on once they are let go"""
    server = host.Host(toolchain.probe_plugins(), "--io-threads", "2", "--workers-max", "2", "--listen-sockets", "per-thread")
    stuck = [wire.Connection(server.port) for _ in range(3)]
    for number, connection in enumerate(stuck):
        begin(connection, f"/takeover/block?tag={number}")
    server.expect_line(r"error mews: I/O thread [01] waits for a handler that does not return: the 2 threads ")
    # One I/O thread has somebody left. Which one, and which connections it has, nobody can tell. With one socket for
    # both, the ring of the other one would keep the news of new connections to itself.
    others = [wire.Connection(server.port) for _ in range(20)]
    for connection in others:
        begin(connection, "/takeover/release")
    for number, connection in enumerate(stuck):
        assert connection.read().body == f"waited {number}".encode()
    for connection in others:
        assert connection.read().body == b"released"
    for connection in stuck + others:
        connection.socket.close()
    server.stop()


def test_port_is_free():
    """a server that stops while a handler is stuck refuses connections, and leaves its port to another"""
    server = started()
    with wire.Connection(server.port) as stuck, wire.Connection(server.port) as other:
        begin(stuck, "/takeover/block?tag=last")
        await_waiting(server.port, 1)
        other.send("POST /takeover/release HTTP/1.1\r\nHost: localhost\r\n")
        assert wire.get(server.port, "/takeover/index").status == 200
        server.signal(signal.SIGINT)
        host.wait_until(lambda: can_bind(server.port), "the port is free")
        other.send("Content-Length: 0\r\n\r\n")
        assert other.read().body == b"released"
        assert stuck.read().body == b"waited last"
    assert server.wait() == 0


def can_bind(port):
    with socket.socket() as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind(("127.0.0.1", port))
            candidate.listen()
        except OSError as error:
            assert error.errno == errno.EADDRINUSE, error
            return False
        return True
