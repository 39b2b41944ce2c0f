"""Routes that declare nothing: how their class is learned, and what mews routes says of it."""

import json
import os
import re
import signal
import socket
import threading

import host
import toolchain
import wire
from host import run_mews

SETTLING_TIMEOUT = 60


def routes(server):
    """What mews routes says of a server, by pattern."""
    done = run_mews("routes", "--json", server.pid)
    assert done.returncode == 0 and done.stderr == "", done
    report = json.loads(done.stdout)
    return report, {route["pattern"]: route for route in report["routes"]}


def send_until(server, target, connections, condition):
    """Sends requests over several connections until a condition holds."""
    enough = threading.Event()
    failures = []

    def send():
        try:
            with wire.Connection(server.port) as connection:
                while not enough.is_set():
                    assert connection.get(target).status == 200
        except Exception as failure:
            failures.append(failure)

    threads = [threading.Thread(target=send) for _ in range(connections)]
    for thread in threads:
        thread.start()
    try:
        return host.wait_until(lambda: failures or condition(), f"requests to {target}", SETTLING_TIMEOUT)
    finally:
        enough.set()
        for thread in threads:
            thread.join()
        assert not failures, failures


def expect_class(server, pattern, expected):
    return lambda: routes(server)[1][pattern]["class"] == expected


def test_short_handler():
    """a short handler becomes inline where another thread can take over, and stays on workers elsewhere"""
    with host.Host(host.SAMPLE_PLUGINS) as server:
        report, before = routes(server)
        assert before["/auto/plaintext"]["class"] == "worker", before
        assert before["/plaintext"] | {"inline_runs": 0} == {
            "method": "GET", "pattern": "/plaintext", "plugin": "bench", "declared": "inline", "class": "inline",
            "why": "declared", "inline_runs": 0, "worker_runs": 0, "changes": 0, "inline_waits": 0,
        }
        if report["may_promote"]:
            send_until(server, "/auto/plaintext", 1, expect_class(server, "/auto/plaintext", "inline"))
            server.expect_line(r"info bench: GET /auto/plaintext runs inline from now on: \d+ runs in a row were short")
        else:
            send_until(server, "/auto/plaintext", 1, lambda: routes(server)[1]["/auto/plaintext"]["worker_runs"] > 600)
            assert routes(server)[1]["/auto/plaintext"]["class"] == "worker"
        learned = routes(server)[1]["/auto/plaintext"]
        assert learned["declared"] == "auto" and learned["worker_runs"] >= 256, learned
        assert len(server.find_lines("/auto/plaintext runs")) == learned["changes"] <= 1, server.log


def test_sleeping_handler():
    """a handler that sleeps becomes blocking, which the log says once, and then sleeps side by side"""
    with host.Host(host.SAMPLE_PLUGINS, "--workers", "1") as server:
        send_until(server, "/auto/sleep/2", 4, expect_class(server, "/auto/sleep/{ms}", "blocking"))
        # Nobody is let go: it is the one handler of the server that may run.
        slow = [wire.Connection(server.port) for _ in range(16)]
        for connection in slow:
            connection.send("GET /auto/sleep/500 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert wire.text(server.port, "/spin/0") == "spun 0 us\n"
        for connection in slow:
            with connection:
                assert connection.read().body == b"slept 500 ms\n"
        assert len(server.find_lines(r"GET /auto/sleep/\{ms\} runs as blocking from now on: ")) == 1, server.log


def test_burning_handler():
    """a handler that uses the CPU for long stays on workers; one that begins to when it is inline goes back to them"""
    with host.Host(host.SAMPLE_PLUGINS) as server:
        send_until(server, "/auto/spin/2000", 2, lambda: routes(server)[1]["/auto/spin/{us}"]["worker_runs"] > 100)
        assert routes(server)[1]["/auto/spin/{us}"]["class"] == "worker"
        if not routes(server)[0]["may_promote"]:
            return
        send_until(server, "/auto/spin/0", 1, expect_class(server, "/auto/spin/{us}", "inline"))
        assert wire.text(server.port, "/auto/spin/300000") == "spun 300000 us\n"
        spin = routes(server)[1]["/auto/spin/{us}"]
        assert spin["class"] == "worker" and "had not returned after" in spin["why"], spin
        server.expect_line(r"GET /auto/spin/\{us\} runs on workers from now on: an inline run had not returned after")


def test_execution_declared():
    """--execution declared learns nothing, --execution worker overrules inline"""
    with host.Host(host.SAMPLE_PLUGINS, "--execution", "declared") as server:
        with wire.Connection(server.port) as connection:
            for _ in range(600):
                assert connection.get("/auto/plaintext").status == 200
        ordered = routes(server)[1]["/auto/plaintext"]
        assert (ordered["class"], ordered["why"]) == ("worker", "ordered by --execution"), ordered
    with host.Host(host.SAMPLE_PLUGINS, "--execution", "worker") as server:
        assert routes(server)[1]["/plaintext"]["class"] == "worker"


def test_routes_table():
    """mews routes prints a line for each route"""
    with host.Host(host.SAMPLE_PLUGINS) as server:
        done = run_mews("routes", server.pid)
        assert done.returncode == 0 and done.stderr == "", done
        lines = done.stdout.splitlines()
        assert re.match(r"METHOD +PATTERN +PLUGIN +DECLARED +CLASS +RUNS +CHANGES +WHY$", lines[0]), done.stdout
        assert any(re.match(r"GET +/plaintext +bench +inline +inline +0 +0 +declared$", line) for line in lines), lines
        assert any(re.match(r"GET +/hello/\{name\} +hello-c +auto +worker +0 ", line) for line in lines), lines


def test_routes_without_supervisor():
    """mews routes asks a server without a supervisor by its own process id, too"""
    directory = toolchain.new_directory()
    toolchain.minimal_plugin(directory, "sound")
    with host.Host(directory, "--no-supervisor") as server:
        host.wait_until(lambda: run_mews("routes", server.pid).returncode == 0, "an answer")
        assert list(routes(server)[1]) == ["/sound"]


def test_routes_after_a_restart():
    """mews routes asks the worker process that took the place of one that died, by the same process id"""
    directory = toolchain.new_directory()
    toolchain.minimal_plugin(directory, "sound")
    with host.Host(directory) as server:
        assert wire.text(server.port, "/sound") == "sound"
        first = server.worker_pid()
        server.expect_line(r"listening on")
        os.kill(first, signal.SIGKILL)
        host.wait_until(lambda: host.children_of(server.pid) not in ([], [first]), "another worker process")
        host.wait_until(lambda: run_mews("routes", server.pid).returncode == 0, "an answer")
        assert routes(server)[1]["/sound"]["class"] == "worker"


def test_routes_of_several_servers():
    """mews routes asks for a process id when several servers run, and lists them"""
    directory = toolchain.new_directory()
    toolchain.minimal_plugin(directory, "sound")
    with host.Host(directory) as first, host.Host(directory) as second:
        for server in (first, second):
            host.wait_until(lambda: run_mews("routes", server.pid).returncode == 0, "an answer")
        done = run_mews("routes")
        assert done.returncode == 1 and done.stdout == "", done
        assert "several servers are running" in done.stderr, done
        for server in (first, second):
            assert re.search(rf"^  {server.pid}  .*mews run {directory}", done.stderr, re.MULTILINE), done


def test_routes_of_no_server():
    """mews routes says that there is no such server, and takes nothing but a process id"""
    done = run_mews("routes", os.getpid())
    assert (done.returncode, done.stdout) == (1, "") and f"no server with the process id {os.getpid()}" in done.stderr
    for arguments in (["x"], ["0"], ["1", "2"], ["--yaml"]):
        done = run_mews("routes", *arguments)
        assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done


def test_routes_and_bad_clients():
    """clients that ask nothing, something else, or too much hold up neither the server nor who asks"""
    with host.Host(host.SAMPLE_PLUGINS) as server:
        host.wait_until(lambda: run_mews("routes", server.pid).returncode == 0, "an answer")
        name = f"\0mews.{server.pid}.0"
        clients = [socket.socket(socket.AF_UNIX) for _ in range(4)]
        for client, text in zip(clients, (b"", b"routes", b"routes xml\n", b"x" * 100_000)):
            client.connect(name)
            try:
                client.sendall(text)
            except BrokenPipeError:
                pass
        assert wire.get(server.port, "/plaintext").status == 200
        assert routes(server)[0]["routes"]
        for client in clients:
            client.close()


def answer_length(name, user):
    """How much of an answer another user gets: 0 or 1 bytes. Asked by a child process."""
    child = os.fork()
    if child == 0:
        status = 2
        try:
            os.setgid(user)
            os.setuid(user)
            client = socket.socket(socket.AF_UNIX)
            client.settimeout(host.TIMEOUT)
            client.connect(name)
            try:
                client.sendall(b"routes json\n")
                status = len(client.recv(1))
            except (BrokenPipeError, ConnectionResetError):
                status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_routes_for_other_users():
    """other users are not told"""
    if os.geteuid() != 0:
        return
    with host.Host(host.SAMPLE_PLUGINS) as server:
        host.wait_until(lambda: run_mews("routes", server.pid).returncode == 0, "an answer")
        assert answer_length(f"\0mews.{server.pid}.0", 0) == 1
        assert answer_length(f"\0mews.{server.pid}.0", 65534) == 0
