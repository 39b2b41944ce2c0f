"""Short storms over the completion port and over a server in the same process. `make soak` runs long ones."""

import json
import re
import subprocess
import time

import host
import toolchain

PROGRAMS = toolchain.HERE / "programs"
SECONDS = 6


def run_storm(name, *more, arguments=(), **variables):
    """Runs a storm with a seed of its own, which a failure shows."""
    program = toolchain.new_directory() / name
    parts = [PROGRAMS / f"{part}.c" for part in more]
    toolchain.build_program(PROGRAMS / f"{name}.c", program, *toolchain.PROGRAM_OPTIONS, *parts)
    command = [str(program), str(SECONDS), str(time.time_ns() // 1000), *arguments]
    environment = {**toolchain.environment(), **variables}
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, env=environment)
    assert done.returncode == 0 and re.search("; nothing left, ", done.stdout), (command, done)


def test_port_storm():
    """connects, resets, half-closes, cancels and shutdowns over a port: one packet each, nothing lost, nothing left"""
    run_storm("port-storm", "port-storm-tasks")


def test_port_storm_over_io_uring():
    """the same over a port that does everything by io_uring, where the machine has it, and without its sends and files"""
    findings = json.loads(host.run_mews("doctor", "--json").stdout)["findings"]
    if any(finding["subject"] == "io_uring" and finding["mark"] == "ok" for finding in findings):
        run_storm("port-storm", "port-storm-tasks", MEWS_IO="io_uring")
        run_storm("port-storm", "port-storm-tasks", MEWS_IO="io_uring", MEWS_IO_WITHOUT="send,files")


def test_server_storm():
    """clients that break off at any byte, and servers that end under them: nothing lost, nothing left"""
    run_storm("server-storm", "server-storm-handlers", "server-storm-clients")


def test_takeover_storm():
    """handlers that block their I/O thread at random: every answer comes, whole and in order, and no connection is lost"""
    run_storm("takeover-storm")
