"""A Swift plugin that uses what plain Swift code uses, built outside the package as a user builds one."""

import functools
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import time

import host
import toolchain
import wire

PACKAGE = pathlib.Path(__file__).resolve().parent.parent / "Plugins" / "swift-features"


@functools.cache
def directory():
    """A plugin directory that holds swift-features alone."""
    done = subprocess.run(
        ["swift", "build", "--quiet", "-c", "release", "--package-path", PACKAGE],
        capture_output=True, text=True)
    assert done.returncode == 0, f"swift-features does not build:\n{done.stdout}{done.stderr}"
    plugins = toolchain.new_directory()
    shutil.copy(PACKAGE / ".build" / "release" / "libswift-features.so", plugins / "swift-features.so")
    return plugins


@functools.cache
def features():
    """The host with swift-features, for all cases."""
    return host.Host(directory(), "--set", "swift-features.greeting=hi").__enter__()


def text(target):
    return wire.text(features().port, target)


def test_request():
    """a Swift handler sees method, target, path, parameters, query and headers"""
    with wire.Connection(features().port) as connection:
        response = connection.get("/features/request/a%20b/c/d?q=x%2By", "X-Two: 1", "X-Other: z", "X-Two: 2")
    lines = dict(line.split(" ", 1) for line in response.body.decode().splitlines() if line)
    assert lines["method"] == "GET" and lines["target"] == "/features/request/a%20b/c/d?q=x%2By", lines
    assert lines["name"] == "a b" and lines["rest"] == "c/d" and lines["absent"] == "-", lines
    assert lines["q"] == "x+y" and lines["x-two"] == "1,2", lines
    assert lines["fields"].endswith("X-Two=1;X-Other=z;X-Two=2"), lines


def test_bodies():
    """bodies reach a Swift handler and come back, by copy and by reference"""
    with wire.Connection(features().port) as connection:
        echoed = connection.post("/features/echo", b"\0\1\2" * 5000, "Content-Type: a/b")
        assert echoed.body == b"\0\1\2" * 5000 and echoed.field("Content-Type") == "a/b", echoed
        assert echoed.field("X-Echo") == "yes", echoed
        assert connection.post("/features/sum", bytes([1, 2, 250])).body == b"253\n"
        for _ in range(3):
            assert connection.get("/features/shared").body == b"m" * 100_000


def test_response_headers():
    """a Swift handler sets headers, repeated ones in order"""
    with wire.Connection(features().port) as connection:
        response = connection.get("/features/headers")
    assert response.status == 204 and response.all("X-First") == ["1", "3"], response
    assert response.field("X-Second") == "2", response


def test_language():
    """classes, generics, dictionaries, protocols and casts work in a plugin"""
    with wire.Connection(features().port) as connection:
        assert connection.post("/features/words", b"b a b").body == b"a=1 b=2\n"
        assert connection.get("/features/shapes").body == b"square of 2.0,circle of 1.0 1\n"


def test_services():
    """name, version, worker index and timers reach a Swift plugin"""
    host.wait_until(lambda: text("/features/host") == "swift-features 0.1.0 true 1\n", "the timer fires once")


def test_errors():
    """errors that a Swift handler throws become responses and log lines"""
    with wire.Connection(features().port) as connection:
        assert connection.get("/features/throws").status == 500
        features().expect_line(r"swift-features.*on purpose")
        teapot = connection.get("/features/teapot")
        assert teapot.status == 418 and b"short and stout" in teapot.body, teapot
        assert connection.get("/features/bad-header").status == 500
        assert connection.get("/features/twice").status == 200


def test_async():
    """asynchronous handlers, with actors, child tasks and sleeps, answer"""
    with wire.Connection(features().port) as connection:
        for number in range(1, 4):
            response = connection.post("/features/async/ann?q=z", b"12345")
            assert response.body == f"{number} {number * 2} z 5\n".encode(), response
        assert connection.get("/features/async-throws").status == 409


def sleepers(port):
    """How many asynchronous handlers have begun to sleep, and how many have ended."""
    return tuple(int(count) for count in wire.text(port, "/features/async-sleepers").split())


def begin_sleeping(connection, port, milliseconds):
    """Sends a request whose handler is suspended when this returns."""
    begun, _ = sleepers(port)
    connection.send(f"GET /features/async-sleep/{milliseconds} HTTP/1.1\r\nHost: localhost\r\n\r\n")
    host.wait_until(lambda: sleepers(port)[0] == begun + 1, "the handler begins")


def test_async_threads():
    """the pieces of a task, its child tasks and tasks of the plugin's own run on the host's workers"""
    for _ in range(20):
        assert text("/features/async-threads") == "true true true true\n"


def test_async_suspended_tasks_occupy_no_thread():
    """a hundred suspended handlers and a plain one share one worker"""
    with host.Host(directory(), "--workers", "1", "--workers-max", "2") as server:
        started = time.monotonic()
        connections = [wire.Connection(server.port) for _ in range(100)]
        for connection in connections:
            connection.send("GET /features/async-sleep/1000 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        host.wait_until(lambda: sleepers(server.port) == (100, 0), "all are suspended, and others are served")
        for connection in connections:
            assert connection.read().body == b"slept\n"
            connection.socket.close()
        assert time.monotonic() - started < 50, "one after the other they take a hundred seconds"


def test_async_throw_after_suspension():
    """an error that is thrown after a suspension becomes the response"""
    with wire.Connection(features().port) as connection:
        response = connection.get("/features/async-late-throw/http/5")
        assert response.status == 409 and response.body == b"late\n", response
        response = connection.get("/features/async-late-throw/other/5")
        assert response.status == 500 and b"on purpose" not in response.body, response
        features().expect_line(r"swift-features.*async-late-throw.*late, on purpose")
        assert connection.get("/features/shapes").status == 200


def test_async_client_gone():
    """the task of a client that has left runs to its end, and nothing is said of it"""
    port = features().port
    connection = wire.Connection(port)
    begin_sleeping(connection, port, 300)
    _, ended = sleepers(port)
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.socket.close()
    host.wait_until(lambda: sleepers(port)[1] == ended + 1, "the task ends")
    assert text("/features/shapes").startswith("square")
    assert not features().find_lines(" (warning|error) .*async-sleep"), features().log


def test_late():
    """a handler that takes longer than its timeout is answered with 504, be it asynchronous or not"""
    for path in ("late", "late-async"):
        with wire.Connection(features().port) as connection:
            assert connection.get(f"/features/{path}/10").body == b"in time\n"
            _, ended = sleepers(features().port)
            response = connection.get(f"/features/{path}/300")
            assert response.status == 504 and response.field("Connection") == "close", response
            connection.expect_closed()
    host.wait_until(lambda: sleepers(features().port)[1] == ended + 1, "the task ends")
    assert not features().find_lines(" error .*/features/late"), features().log


def test_async_stop_while_suspended():
    """a host that stops waits for a suspended handler and sends its response"""
    with host.Host(directory()) as server, wire.Connection(server.port) as connection:
        begin_sleeping(connection, server.port, 500)
        server.signal(signal.SIGTERM)
        response = connection.read()
        assert response.body == b"slept\n" and response.field("Connection") == "close", response
        assert server.wait() == 0, server.log


def test_async_stop_with_a_forgotten_task():
    """a task that goes on when its host has stopped keeps nothing from ending"""
    for _ in range(5):
        with host.Host(directory()) as server:
            assert wire.text(server.port, "/features/async-forgotten-task") == "started\n"
            server.stop()


def test_refusal():
    """a Swift plugin whose initializer throws is refused with its words"""
    with host.Host(directory(), "--set", "swift-features.refuse=no licence") as server:
        server.expect_line(r"swift-features\.so.*no licence")
        assert wire.get(server.port, "/features/shapes").status == 404


def test_needs_no_swift():
    """a Swift plugin needs no library of a Swift toolchain"""
    done = subprocess.run(
        ["readelf", "-d", directory() / "swift-features.so"], capture_output=True, text=True, env=os.environ)
    assert "libmews.so.0" in done.stdout and "libswift" not in done.stdout, done.stdout
