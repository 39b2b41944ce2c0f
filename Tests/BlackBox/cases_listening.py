"""Listening sockets: how many there are, who takes connections from them, and what happens when that fails."""

import collections
import errno
import os
import pathlib
import signal
import socket
import threading
import time

import host
import shared
import toolchain
import wire
from host import MEWS, SAMPLE_PLUGINS, Host, Program, run_mews, wait_until

REQUEST = "GET {} HTTP/1.1\r\nHost: localhost\r\n{}\r\n"
GREETING = b"Hello, World!"
# A preloaded library: accept4 fails with the errors of the environment's ACCEPT_ERRORS, in turn, and with the last one
# for ever when ACCEPT_FOR_EVER is set.
FAILING_ACCEPT = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>

static atomic_int calls;

int accept4(int listener, struct sockaddr *address, socklen_t *length, int flags) {
    char *next = getenv("ACCEPT_ERRORS");
    int error = 0, domain = AF_UNIX;
    socklen_t size = sizeof domain;
    getsockopt(listener, SOL_SOCKET, SO_DOMAIN, &domain, &size);
    /* Local sockets are not those of HTTP. */
    for (int left = domain == AF_UNIX ? -1 : atomic_fetch_add(&calls, 1); left >= 0; left--) {
        if (*next == '\\0') {
            if (getenv("ACCEPT_FOR_EVER") == NULL) error = 0;
            break;
        }
        error = (int)strtol(next, &next, 10);
        if (*next == ',') next++;
    }
    if (error != 0) {
        errno = error;
        return -1;
    }
    int (*real)(int, struct sockaddr *, socklen_t *, int) = dlsym(RTLD_NEXT, "accept4");
    return real(listener, address, length, flags);
}
"""


def listening_sockets(port):
    """The sockets that listen on a port, by their inodes."""
    with open("/proc/net/tcp") as table:
        rows = [line.split() for line in table.readlines()[1:]]
    return [row[9] for row in rows if row[3] == "0A" and int(row[1].split(":")[1], 16) == port]


def cpu_seconds(pid):
    return time.clock_gettime((~pid << 3) | 2)


def expect_quiet_second(server):
    """For a second the server takes next to no CPU time, and says no more than that it has a problem."""
    lines = len(server.find_lines("accept: "))
    used = cpu_seconds(server.pid)
    time.sleep(1)
    used = cpu_seconds(server.pid) - used
    lines = len(server.find_lines("accept: ")) - lines
    assert used < 0.1, f"{used:.3f} s of CPU time in a second"
    # Each of two I/O threads may say so once a second: at the beginning, and at the end, of this one.
    assert lines <= 4, f"{lines} lines in a second:\n{server.log}"


def serving_thread(connection):
    """The index of the I/O thread that a connection lives on."""
    return int(connection.get("/inline/worker").body.split()[0])


def test_number_of_sockets():
    """auto is one socket for few I/O threads and one each for many; shared and per-thread are what they say"""
    directory = toolchain.new_directory()
    toolchain.minimal_plugin(directory, "sound")
    for policy, threads, expected in (("auto", 4, 1), ("auto", 8, 8), ("shared", 8, 1), ("per-thread", 3, 3)):
        with Host(directory, "--listen-sockets", policy, "--io-threads", str(threads), "--workers", "1") as server:
            assert len(listening_sockets(server.port)) == expected, (policy, threads)
            assert (f"with {expected} sockets" in server.log) == (expected > 1), server.log
            assert wire.text(server.port, "/sound") == "sound"


def test_per_thread():
    """with a socket for each of four I/O threads, connections are spread over all four"""
    for arguments in ([], ["--no-supervisor"]):
        with Host(
            toolchain.probe_plugins(), "--listen-sockets=per-thread", "--io-threads=4", "--workers=1", *arguments
        ) as server:
            connections = [wire.Connection(server.port) for _ in range(128)]
            threads = collections.Counter(serving_thread(connection) for connection in connections)
            assert sorted(threads) == [0, 1, 2, 3], threads
            for connection in connections:
                connection.socket.close()


def expect_refusal(port, policy):
    done = run_mews(
        "run", toolchain.new_directory(), "--listen", f"http://127.0.0.1:{port}", "--listen-sockets", policy,
        "--io-threads", "2")
    assert done.returncode == 1 and f":{port}" in done.stderr and "in use" in done.stderr, done


def test_address_in_use():
    """an address in use is an error also where both servers would share it"""
    with Host(SAMPLE_PLUGINS, "--listen-sockets", "per-thread", "--io-threads", "2") as server:
        for policy in ("per-thread", "shared"):
            expect_refusal(server.port, policy)
        assert wire.text(server.port, "/plaintext").encode() == GREETING
    with socket.socket() as foreign:
        foreign.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        foreign.bind(("127.0.0.1", 0))
        foreign.listen()
        for policy in ("per-thread", "shared"):
            expect_refusal(foreign.getsockname()[1], policy)


def load(port, outcomes):
    """Makes one connection after the other, with one request each, until the first is refused."""
    while True:
        try:
            connection = wire.Connection(port)
        except ConnectionRefusedError:
            return
        except OSError as error:
            outcomes.append(error)
            return
        with connection:
            try:
                response = connection.request(REQUEST.format("/plaintext", "Connection: close\r\n"))
                connection.expect_closed()
                outcomes.append(response.body)
            except (OSError, AssertionError) as error:
                outcomes.append(error)


def expect_none_lost(outcomes):
    lost = [outcome for outcome in outcomes if outcome != GREETING]
    assert not lost, f"{len(lost)} of {len(outcomes)} connections lost, the first by {lost[0]!r}"


def test_stop_under_load():
    """a stop under load loses no connection that was let in, with shared sockets and with one a thread"""
    for policy in ("shared", "per-thread"):
        for arguments in ([], ["--no-supervisor"]):
            for _ in range(2):
                outcomes = []
                with Host(
                    SAMPLE_PLUGINS, "--listen-sockets", policy, "--io-threads", "4", *arguments
                ) as server:
                    clients = [threading.Thread(target=load, args=(server.port, outcomes)) for _ in range(8)]
                    for client in clients:
                        client.start()
                    wait_until(lambda: len(outcomes) > 200, "requests are answered")
                    server.stop()
                    for client in clients:
                        client.join()
                expect_none_lost(outcomes)


def test_worker_restart_under_load():
    """a worker that is asked to end finishes what it has, and its successor goes on without a connection lost"""
    for policy in ("shared", "per-thread"):
        outcomes = []
        with Host(SAMPLE_PLUGINS, "--listen-sockets", policy, "--io-threads", "4") as server:
            clients = [threading.Thread(target=load, args=(server.port, outcomes)) for _ in range(8)]
            for client in clients:
                client.start()
            for _ in range(3):
                worker, count = server.worker_pid(), len(outcomes)
                wait_until(lambda: len(outcomes) > count + 200, "requests are answered")
                os.kill(worker, signal.SIGTERM)
                wait_until(lambda: host.children_of(server.pid) not in ([worker], []), "another worker is started")
            count = len(outcomes)
            wait_until(lambda: len(outcomes) > count + 200, "the last worker serves")
            server.stop()
            for client in clients:
                client.join()
        expect_none_lost(outcomes)


def thread_states(pid):
    """The states of a process's threads, as letters of /proc/PID/task/*/stat."""
    stats = [path.read_text() for path in pathlib.Path(f"/proc/{pid}/task").glob("*/stat")]
    return {stat.rpartition(")")[2].split()[0] for stat in stats}


def test_worker_restart_keeps_the_queues():
    """what waits in the queues of a dead worker's sockets is served by the next worker"""
    with Host(SAMPLE_PLUGINS, "--listen-sockets", "per-thread", "--io-threads", "4") as server:
        worker = server.worker_pid()
        os.kill(worker, signal.SIGSTOP)
        wait_until(lambda: thread_states(worker) == {"T"}, "the worker has stopped")
        connections = [wire.Connection(server.port) for _ in range(64)]
        for connection in connections:
            connection.send(REQUEST.format("/plaintext", ""))
        os.kill(worker, signal.SIGKILL)
        for connection in connections:
            assert connection.read().body == GREETING
            connection.socket.close()
        assert server.worker_pid() != worker


def expect_answer(port):
    with wire.Connection(port) as connection:
        assert connection.get("/plaintext").body == GREETING


def test_descriptors_run_out():
    """without a free descriptor it does not spin, serves the connections it has, and takes new ones when it can"""
    command = ["sh", "-c", 'ulimit -n 64; exec "$@"', "sh", MEWS, "run", SAMPLE_PLUGINS]
    arguments = ["--listen", "http://127.0.0.1:0", "--no-supervisor", "--io-threads", "2", "--workers", "1"]
    with Program([*command, *arguments]) as server:
        first = wire.Connection(server.port)
        assert first.get("/plaintext").body == GREETING
        others = [wire.Connection(server.port) for _ in range(80)]
        server.expect_line("accept: Too many open files; taking no connections for a moment")
        expect_quiet_second(server)
        assert first.get("/plaintext").body == GREETING
        # Those that were taken go, and make room for those that wait.
        for connection in others[:60]:
            connection.socket.close()
        for connection in others[60:]:
            assert connection.get("/plaintext").body == GREETING
            connection.socket.close()
        expect_answer(server.port)
        first.socket.close()


def host_with_failing_accept(errors, **environment):
    """A host whose first calls of accept4 fail."""
    library = toolchain.scratch() / "failing-accept.so"
    if not library.exists():
        source = toolchain.new_directory() / "failing-accept.c"
        source.write_text(FAILING_ACCEPT)
        done = toolchain.cc("-shared", "-fPIC", source, "-o", library, "-ldl")
        assert done.returncode == 0, done.stderr
    preloaded = " ".join(filter(None, [os.environ.get("LD_PRELOAD"), str(library)]))
    variables = {"LD_PRELOAD": preloaded, "ACCEPT_ERRORS": ",".join(str(error) for error in errors)}
    command = [MEWS, "run", SAMPLE_PLUGINS, "--listen", "http://127.0.0.1:0", "--no-supervisor", "--io-threads", "1"]
    # A ring's own way to accept does not call the function.
    command += ["--io-without", "multishot-accept"]
    return Program(command, environment={**os.environ, **variables, **environment})


def test_errors_of_connections():
    """errors that accept passes on from a connection hold no other connection up"""
    errors = [
        errno.ECONNABORTED, errno.EPERM, errno.EPROTO, errno.ENOPROTOOPT, errno.EOPNOTSUPP, errno.ENETDOWN,
        errno.ENETUNREACH, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENONET, errno.ETIMEDOUT, errno.EINTR,
    ]
    with host_with_failing_accept(errors) as server:
        expect_answer(server.port)
        assert not server.find_lines("accept: "), server.log


def test_shortages():
    """memory, buffers and the system's descriptors running out are a pause, and said"""
    for shortage in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
        with host_with_failing_accept([shortage] * 3) as server:
            started = time.monotonic()
            expect_answer(server.port)
            assert time.monotonic() - started > 0.25, "three pauses take longer"
            assert len(server.find_lines(f"accept: {os.strerror(shortage)}")) == 1, server.log


def test_accept_never_works():
    """a process that may not accept at all does not spin, and stops"""
    for error in (errno.EPERM, errno.EINVAL):
        with host_with_failing_accept([error], ACCEPT_FOR_EVER="1") as server:
            with wire.Connection(server.port):
                server.expect_line("accept: ")
                expect_quiet_second(server)
