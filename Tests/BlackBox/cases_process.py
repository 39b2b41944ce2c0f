"""Processes and signals: the supervisor with its worker, and the ways to end them."""

import os
import re
import signal
import socket
import subprocess
import time

import host
import toolchain
import wire
from host import Host, SAMPLE_PLUGINS, has_ended, wait_until

SLEEP = "GET /sleep/{} HTTP/1.1\r\nHost: a\r\n\r\n"


def start(*arguments):
    return Host(SAMPLE_PLUGINS, "--workers", "4", *arguments)


def serving_pid(server):
    children = host.children_of(server.pid)
    return children[0] if children else server.pid


def sleeping_request(server, milliseconds):
    """A connection whose request is being handled: its bytes have left the socket's receive queue of the server."""
    connection = wire.Connection(server.port)
    connection.send(SLEEP.format(milliseconds))
    local = connection.socket.getsockname()[1]
    wait_until(lambda: receive_queue(server.port, local) == 0, "the server reads the request")
    return connection


def receive_queue(server_port, client_port):
    """Unread bytes on the server's side of a connection; None while it is not established."""
    with open("/proc/net/tcp") as table:
        for line in table.readlines()[1:]:
            fields = line.split()
            local, remote = (int(address.split(":")[1], 16) for address in fields[1:3])
            if (local, remote) == (server_port, client_port):
                return int(fields[4].split(":")[1], 16)
    return None


def expect_graceful_end(number, *arguments):
    with start(*arguments) as server, sleeping_request(server, 500) as connection:
        server.signal(number)
        assert connection.read().body == b"slept 500 ms\n"
        connection.expect_closed()
        assert server.wait() == 0, server.log


def test_sigint():
    """SIGINT finishes the request in flight and exits 0"""
    expect_graceful_end(signal.SIGINT)


def test_sigterm():
    """SIGTERM finishes the request in flight and exits 0"""
    expect_graceful_end(signal.SIGTERM)


def test_sigint_without_supervisor():
    """SIGINT without a supervisor finishes the request in flight and exits 0"""
    expect_graceful_end(signal.SIGINT, "--no-supervisor")


def test_sigint_to_process_group():
    """Ctrl-C, which signals all processes at once, is one stop and not two"""
    with start() as server, sleeping_request(server, 500) as connection:
        for pid in (server.pid, server.worker_pid()):
            os.kill(pid, signal.SIGINT)
        assert connection.read().body == b"slept 500 ms\n"
        assert server.wait() == 0, server.log


def expect_immediate_end(*arguments):
    with start(*arguments) as server, sleeping_request(server, 20_000):
        pid = serving_pid(server)
        server.signal(signal.SIGINT)
        wait_until(lambda: wire.refuses_connections(server.port), "the first signal arrives")
        assert server.process.poll() is None, "did not wait for the request in flight"
        started = time.monotonic()
        server.signal(signal.SIGINT)
        server.wait(5)
        assert time.monotonic() - started < 3, "the second signal did not end it at once"
        wait_until(lambda: has_ended(pid), "the worker ends as well")


def test_second_sigint():
    """a second SIGINT exits at once"""
    expect_immediate_end()


def test_second_sigint_without_supervisor():
    """a second SIGINT without a supervisor exits at once"""
    expect_immediate_end("--no-supervisor")


def test_stop_with_idle_connections():
    """idle connections do not hold up a stop"""
    with start() as server:
        connections = [wire.Connection(server.port) for _ in range(10)]
        for connection in connections[:5]:
            assert connection.get("/plaintext").status == 200
        started = time.monotonic()
        server.stop()
        assert time.monotonic() - started < 5, "waited for idle connections"
        for connection in connections:
            connection.expect_closed()
            connection.socket.close()


def test_stop_takes_no_more_connections():
    """after a stop no connection is taken, and requests in flight on workers finish"""
    with start() as server, sleeping_request(server, 800) as connection:
        server.signal(signal.SIGTERM)
        wait_until(lambda: wire.refuses_connections(server.port), "the port is closed")
        assert connection.read().body == b"slept 800 ms\n"
        assert server.wait() == 0


def test_worker_process():
    """the supervisor has one thread and one worker process, and runs no plugin code"""
    with start() as server:
        worker = server.worker_pid()
        assert len(os.listdir(f"/proc/{server.pid}/task")) == 1, "the supervisor has several threads"
        maps = {pid: open(f"/proc/{pid}/maps").read() for pid in (server.pid, worker)}
        assert "/hello-c.so" not in maps[server.pid], "the supervisor has mapped a plugin"
        assert "/hello-c.so" in maps[worker], "the worker has not mapped the plugin"


def socket_inodes(pid):
    inodes = set()
    for descriptor in os.listdir(f"/proc/{pid}/fd"):
        try:
            match = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(f"/proc/{pid}/fd/{descriptor}"))
        except OSError:
            continue
        if match:
            inodes.add(int(match[1]))
    return inodes


def listening_inodes(port):
    with open("/proc/net/tcp") as table:
        rows = [line.split() for line in table.readlines()[1:]]
    return {int(row[9]) for row in rows if row[3] == "0A" and int(row[1].split(":")[1], 16) == port}


def test_supervisor_owns_the_sockets():
    """the listening sockets are the supervisor's, inherited by the worker"""
    with start() as server:
        inodes = listening_inodes(server.port)
        assert inodes, "no listening socket"
        assert inodes <= socket_inodes(server.pid), "the supervisor does not hold the sockets"
        assert inodes <= socket_inodes(server.worker_pid()), "the worker does not hold the sockets"


def test_no_supervisor():
    """--no-supervisor runs in one process"""
    with start("--no-supervisor") as server:
        assert host.children_of(server.pid) == []
        assert wire.text(server.port, "/hello/world") == "Hello, world!\n"
        assert wire.text(server.port, "/plaintext") == "Hello, World!"


def test_worker_ends_with_supervisor():
    """the worker ends when the supervisor is killed"""
    with start() as server:
        worker = server.worker_pid()
        server.signal(signal.SIGKILL)
        server.wait()
        wait_until(lambda: has_ended(worker), "the worker ends")
        wait_until(lambda: wire.refuses_connections(server.port), "the port is free")


def test_no_descriptor_leaks():
    """connections and requests leave no descriptor behind"""
    with start() as server:
        worker = server.worker_pid()

        def descriptors():
            return len(os.listdir(f"/proc/{worker}/fd"))

        wire.get(server.port, "/hello/world")
        before = wait_until(descriptors, "descriptors")
        for _ in range(200):
            wire.get(server.port, "/hello/world", "Connection: close")
        wait_until(lambda: descriptors() <= before + 1, f"{descriptors()} descriptors become {before} again")


def test_no_plugin_file_stays_open():
    """the worker keeps no descriptor of a plugin's file"""
    with start() as server:
        worker = server.worker_pid()
        assert wire.get(server.port, "/plaintext").status == 200
        for descriptor in os.listdir(f"/proc/{worker}/fd"):
            try:
                target = os.readlink(f"/proc/{worker}/fd/{descriptor}")
            except OSError:
                continue  # closed meanwhile
            assert not target.endswith(".so"), f"descriptor {descriptor} is still open on {target}"


def test_many_stops():
    """twenty hosts start and stop under load, each with exit status 0"""
    directory = toolchain.new_directory()
    toolchain.minimal_plugin(directory, "sound")
    for _ in range(20):
        with Host(directory) as server:
            connections = [wire.Connection(server.port) for _ in range(8)]
            for connection in connections:
                connection.send("GET /sound HTTP/1.1\r\nHost: a\r\n\r\n" * 10)
            assert connections[0].read().body == b"sound"
            server.stop()
            for connection in connections:
                connection.socket.close()


def start_with_errors_to(descriptor, directory):
    """A host whose standard error is a descriptor of this process, or closed; answers its process and its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [host.MEWS, "run", directory, "--listen", f"http://127.0.0.1:{port}"],
        stdin=subprocess.DEVNULL,
        stderr=descriptor,
        preexec_fn=None if descriptor is not None else lambda: os.close(2),
    )
    wait_until(lambda: not wire.refuses_connections(port), "the host listens")
    return process, port


def test_closed_standard_error():
    """with the standard error closed, no socket takes its place"""
    process, port = start_with_errors_to(None, SAMPLE_PLUGINS)
    try:
        assert wire.text(port, "/plaintext") == "Hello, World!"
        for pid in (process.pid, *host.children_of(process.pid)):
            assert os.readlink(f"/proc/{pid}/fd/2") == "/dev/null"
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(host.TIMEOUT) == 0


def test_unread_log():
    """a log that nobody reads holds nothing up: lines are dropped, and the next that is read says how many"""
    reader, writer = os.pipe()
    process, port = start_with_errors_to(writer, toolchain.probe_plugins())
    os.close(writer)
    try:
        with wire.Connection(port) as connection:
            for _ in range(2000):
                assert connection.get("/inline/silent").status == 500
            os.set_blocking(reader, False)
            while len(os.read(reader, 1 << 20)) == 1 << 20:
                pass
            assert connection.get("/inline/silent").status == 500
        wait_until(lambda: b"lines of the log were dropped" in os.read(reader, 1 << 20), "the log says what is missing")
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(host.TIMEOUT) == 0
        os.close(reader)
