"""Starts the mews command and other servers, reads what they say, and ends them by their process ids."""

import os
import pathlib
import re
import signal
import subprocess
import threading
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("MEWS_BUILD", TOP / "build")).resolve()
MEWS = BUILD / "bin" / "mews"
SAMPLE_PLUGINS = BUILD / "plugins"
TIMEOUT = 20

_running = []


def wait_until(condition, what, timeout=TIMEOUT):
    """Waits for a condition; answers what it answered."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {timeout} s in vain: {what}"
        time.sleep(0.01)
    return value


def children_of(pid):
    children = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            children += pathlib.Path(f"/proc/{pid}/task/{thread}/children").read_text().split()
    except OSError:
        pass
    return [int(child) for child in children]


def descendants_of(pid):
    return [one for child in children_of(pid) for one in (child, *descendants_of(child))]


def has_ended(pid):
    """Whether a process is gone, or only waits to be collected by its parent."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
    return stat.rpartition(")")[2].split()[0] in "ZX"


class Program:
    """A running server. What it writes, to either stream, is gathered line by line."""

    def __init__(self, command, listening=r"listening on \S*:(\d+)", environment=None):
        self.lines = []
        self._changed = threading.Condition()
        self._ended = False
        self.process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
        )
        _running.append(self)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.port = int(self.expect_line(listening)[1])

    def _read(self):
        for line in self.process.stdout:
            with self._changed:
                self.lines.append(line.decode("utf-8", "replace").rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    @property
    def pid(self):
        return self.process.pid

    @property
    def log(self):
        with self._changed:
            return "\n".join(self.lines)

    def find_lines(self, pattern):
        with self._changed:
            return [match for line in self.lines if (match := re.search(pattern, line))]

    def expect_line(self, pattern, timeout=TIMEOUT):
        """Waits for a line that matches; answers the match."""
        deadline = time.monotonic() + timeout
        while not (found := self.find_lines(pattern)):
            with self._changed:
                over = self._ended or not self._changed.wait(max(0, deadline - time.monotonic()))
            if over and not self.find_lines(pattern):
                raise AssertionError(f"no line matches {pattern!r} in:\n{self.log}")
        return found[0]

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, timeout=TIMEOUT):
        """Waits for the end; answers the exit status."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout} s:\n{self.log}") from None

    def stop(self):
        """Asks it to stop; fails when it does not do so cleanly."""
        self.signal(signal.SIGINT)
        status = self.wait()
        assert status == 0, f"exit status {status} after SIGINT:\n{self.log}"

    def kill(self):
        """Ends what is left of it, whatever its state."""
        left = descendants_of(self.pid) if self.process.poll() is None else []
        for pid in [self.pid, *left]:
            if not has_ended(pid):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        if self in _running:
            _running.remove(self)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            if kind is None and self.process.poll() is None:
                self.stop()
        finally:
            self.kill()


class Host(Program):
    """mews run DIRECTORY, on a port that the kernel picked."""

    def __init__(self, directory, *arguments, listen="http://127.0.0.1:0"):
        super().__init__([MEWS, "run", directory, "--listen", listen, *arguments])

    def worker_pid(self):
        """The one worker process below the supervisor."""
        children = children_of(self.pid)
        assert len(children) == 1, f"the supervisor has {len(children)} children"
        return children[0]


def run_mews(*arguments, timeout=TIMEOUT):
    """Runs a command that is to end by itself."""
    command = [str(MEWS), *(str(argument) for argument in arguments)]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout)


def kill_all():
    for program in list(_running):
        program.kill()
