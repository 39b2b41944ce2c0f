"""mews doctor: what it finds on this machine, and under limits that are put on it."""

import json
import os
import pathlib
import re
import resource
import subprocess

import host
from host import run_mews

SUBJECTS = (
    "kernel", "processors", "descriptors", "locked memory", "listen queue", "io_uring switch", "seccomp", "membarrier",
    "thread states", "system calls", "--io auto", "supervisor", "worker monitor", "takeover",
)


def findings(**limits):
    """The findings by subject, and the exit status."""
    done = subprocess.run(
        [host.MEWS, "doctor", "--json"], capture_output=True, text=True, timeout=host.TIMEOUT, **limits)
    assert done.stderr == "", done
    report = json.loads(done.stdout)
    assert report["can_run"] == (done.returncode == 0), done
    return {finding["subject"]: finding for finding in report["findings"]}, done.returncode


def test_lines():
    """doctor prints a line for each finding, with its mark, and ends with 0 where mews runs"""
    done = run_mews("doctor")
    assert done.returncode == 0 and done.stderr == "", done
    lines = done.stdout.splitlines()
    for subject in SUBJECTS:
        pattern = rf"(ok|note) +{re.escape(subject)} +\S"
        assert any(re.match(pattern, line) for line in lines), f"{subject} is missing in {done.stdout}"
    assert lines[-1].startswith("mews can run here"), done.stdout


def test_json():
    """doctor --json prints the same findings as one object"""
    found, status = findings()
    assert status == 0 and set(SUBJECTS) <= set(found), found
    for finding in found.values():
        assert finding["mark"] in ("ok", "note") and finding["text"], finding
        assert finding["advice"] is None or finding["advice"], finding
    assert run_mews("doctor").stdout.count(found["kernel"]["text"]) == 1


def test_kernel_release():
    """doctor names the kernel that runs"""
    assert os.uname().release in findings()[0]["kernel"]["text"]


def test_ring_features():
    """doctor lists the features of io_uring, and those that are switched off"""
    found, status = findings()
    names = [subject.removeprefix("ring ") for subject in found if subject.startswith("ring ")]
    assert "io_uring" in found and status == 0, found
    for name in names:
        environment = {**os.environ, "MEWS_IO": "auto", "MEWS_IO_WITHOUT": name}
        without, status = findings(env=environment)
        assert status == 0 and without[f"ring {name}"]["text"].startswith("switched off"), without
    environment = {**os.environ, "MEWS_IO": "io_uring", "MEWS_IO_WITHOUT": "cancel"}
    refused, status = findings(env=environment)
    assert status == 1 and refused["--io auto"]["text"] == "MEWS_IO=io_uring: no io_uring without cancel", refused


def test_affinity():
    """doctor sees the affinity mask that it was started with"""
    one = {min(os.sched_getaffinity(0))}
    found, _ = findings(preexec_fn=lambda: os.sched_setaffinity(0, one))
    assert found["processors"]["text"].startswith("1 in the affinity mask"), found["processors"]


def test_few_descriptors():
    """few descriptors are a note that says how to have more, and whether root has to raise the hard limit"""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    found, status = findings(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard)))
    assert status == 0 and found["descriptors"]["mark"] == "note", found["descriptors"]
    assert "ulimit -n" in found["descriptors"]["advice"], found["descriptors"]
    found, status = findings(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32)))
    assert status == 0 and found["descriptors"]["mark"] == "note", found["descriptors"]
    assert "the hard limit is 32" in found["descriptors"]["advice"], found["descriptors"]


def test_listen_queue():
    """doctor knows the limit on listening sockets' queues"""
    length = pathlib.Path("/proc/sys/net/core/somaxconn").read_text().strip()
    assert f"somaxconn is {length}" in findings()[0]["listen queue"]["text"]
