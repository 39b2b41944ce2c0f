"""io_uring: which features are used, what is said of them, and that every one can be done without."""

import functools
import os
import random
import re
import subprocess

import host
import toolchain
import wire

# How many requests are sent without each feature; a sanitizer makes them slow.
REQUESTS = int(os.environ.get("MEWS_RING_REQUESTS", "100000"))
REQUIRED = ("single-issuer", "defer-taskrun", "timeout", "no-drop", "multishot-poll", "cancel")
OPTIONAL = (
    "taskrun-flag", "submit-all", "registered-ring", "no-iowait", "multishot-accept", "buffer-ring",
    "multishot-receive", "send", "files", "takeover",
)


@functools.cache
def has_ring():
    """Whether this machine lets a process have rings."""
    done = run_refused("--io", "io_uring", os.devnull)
    return "cannot read the plugin directory" in done.stderr


def run_refused(*arguments, **environment):
    """A start that comes to nothing."""
    command = [host.MEWS, "run", "--no-supervisor", "--listen", "http://127.0.0.1:0", *arguments]
    variables = {name: value for name, value in os.environ.items() if name != "MEWS_IO"}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=host.TIMEOUT, env={**variables, **environment})


def send_requests(port, requests, depth):
    """Sends so many requests over 64 connections, and checks every answer."""
    client = toolchain.scratch() / "fixed_requests"
    if not client.exists():
        done = toolchain.cc("-O2", host.TOP / "Benchmarks" / "client" / "fixed_requests.c", "-o", client)
        assert done.returncode == 0, done.stderr
    command = [client, port, 64, requests, depth, "/plaintext=Hello, World!", "/hello/ring=Hello, ring!\n"]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=100)
    assert re.search(rf"{requests} requests, 0 failed", done.stdout), done


def send_bodies(port):
    """Sends bodies of all sizes and reads them back."""
    with wire.Connection(port) as connection:
        for size in (1, 1_000, 4_095, 4_096, 4_097, 70_000, 1_000_000, *random.sample(range(200_000), 8)):
            body = random.randbytes(size)
            answer = connection.post("/echo", body)
            assert answer.body == body, f"{size} bytes came back as {len(answer.body)}"


def serve_without(name):
    """Many requests to a host whose rings do without a feature."""
    with host.Host(host.SAMPLE_PLUGINS, "--io", "io_uring", "--io-without", name) as server:
        server.expect_line(rf"I/O by io_uring \(asked for; .*\b{name}\b")
        send_requests(server.port, REQUESTS // 5, 1)
        send_requests(server.port, REQUESTS - REQUESTS // 5, 16)
        send_bodies(server.port)


def test_without_each():
    """many requests, and bodies of all sizes, are answered without each feature that can be done without"""
    if not has_ring():
        return
    for name in OPTIONAL:
        serve_without(name)


def test_without_all():
    """the same without all of them at once"""
    if not has_ring():
        return
    with host.Host(host.SAMPLE_PLUGINS, "--io", "io_uring", "--io-without", ",".join(OPTIONAL)) as server:
        send_requests(server.port, REQUESTS, 16)
        send_bodies(server.port)


def test_required():
    """without a feature that a ring cannot do without, io_uring is refused by name, and a program gets epoll"""
    for name in REQUIRED:
        done = run_refused("--io", "io_uring", "--io-without", name, host.SAMPLE_PLUGINS)
        assert done.returncode == 1 and f"--io io_uring: no io_uring without {name}" in done.stderr, done
    done = run_refused("--io", "io_uring", host.SAMPLE_PLUGINS, MEWS_IO_WITHOUT="send,cancel")
    assert done.returncode == 1 and "no io_uring without cancel" in done.stderr, done


def test_wrong_names():
    """a name that no feature has is an error of the command line, and told of the environment"""
    done = run_refused("--io-without", "sendfile", host.SAMPLE_PLUGINS)
    assert done.returncode == 2 and "--io-without: expected names out of " in done.stderr, done
    with host.Program(
        [host.MEWS, "run", host.SAMPLE_PLUGINS, "--no-supervisor", "--listen", "http://127.0.0.1:0"],
        environment={**os.environ, "MEWS_IO": "kqueue", "MEWS_IO_WITHOUT": "sendfile"},
    ) as server:
        server.expect_line(
            "warning mews: I/O by epoll .*; MEWS_IO is kqueue, which is none of auto, io_uring, epoll; "
            "MEWS_IO_WITHOUT names sendfile, which is no feature"
        )


def test_environment():
    """MEWS_IO decides where nothing was asked for, and only there"""
    variables = {**os.environ, "MEWS_IO": "epoll"}
    command = [host.MEWS, "run", host.SAMPLE_PLUGINS, "--no-supervisor", "--listen", "http://127.0.0.1:0"]
    with host.Program(command, environment=variables) as server:
        server.expect_line(r"I/O by epoll \(MEWS_IO asks for it\)")
    if has_ring():
        with host.Program([*command, "--io", "io_uring"], environment=variables) as server:
            server.expect_line(r"I/O by io_uring \(asked for; ")
