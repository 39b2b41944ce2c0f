"""Short storms over the completion port and over a server in the same process. `make soak` runs long ones."""

import re
import subprocess
import time

import toolchain

PROGRAMS = toolchain.HERE / "programs"
SECONDS = 6


def run_storm(name, *more, arguments=()):
    """Runs a storm with a seed of its own, which a failure shows."""
    program = toolchain.new_directory() / name
    parts = [PROGRAMS / f"{part}.c" for part in more]
    toolchain.build_program(PROGRAMS / f"{name}.c", program, *toolchain.PROGRAM_OPTIONS, *parts)
    command = [str(program), str(SECONDS), str(time.time_ns() // 1000), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, env=toolchain.environment())
    assert done.returncode == 0 and re.search("; nothing left, ", done.stdout), (command, done)


def test_port_storm():
    """connects, resets, half-closes, cancels and shutdowns over a port: one packet each, nothing lost, nothing left"""
    run_storm("port-storm", "port-storm-tasks")


def test_server_storm():
    """clients that break off at any byte, and servers that end under them: nothing lost, nothing left"""
    run_storm("server-storm", "server-storm-handlers", "server-storm-clients")


def test_takeover_storm():
    """handlers that block their I/O thread at random: every answer comes, whole and in order, and no connection is lost"""
    run_storm("takeover-storm", arguments=["epoll"])
