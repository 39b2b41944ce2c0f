"""What the benchmarks share: building the C programs, starting and ending servers, measuring their CPU time.

Everything runs on 127.0.0.1, on ports that the kernel picked, and every process is ended by its own id.
"""

import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parent
BUILD = pathlib.Path(os.environ.get("MEWS_BUILD", TOP / "build"))
PROGRAMS = BUILD / "benchmarks"
MEWS = BUILD / "bin" / "mews"
PLUGINS = BUILD / "plugins"
START_TIMEOUT = 60
STOP_TIMEOUT = 60

_running = []


class BenchmarkError(Exception):
    """Something without which there is no figure: said in one line, without a trace."""


def require(*tools):
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        raise BenchmarkError("not installed: " + ", ".join(missing))


def run_main(main):
    """Runs a benchmark's main; ends all its servers, however it is left."""

    def interrupted(number, _):
        raise BenchmarkError(f"ended by {signal.Signals(number).name}")

    signal.signal(signal.SIGTERM, interrupted)
    signal.signal(signal.SIGINT, interrupted)
    try:
        status = main()
    except BenchmarkError as error:
        print(f"{pathlib.Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        status = 1
    finally:
        for server in list(_running):
            server.stop()
    sys.exit(status)


# ---- Programs in C --------------------------------------------------------------------------------------------------


def compile_program(source, *flags):
    """Compiles one C file of this folder where it is newer than its program; returns the program's path."""
    source = HERE / source
    program = PROGRAMS / source.stem
    inputs = [source, *source.parent.glob("*.h")]
    if program.exists() and program.stat().st_mtime > max(path.stat().st_mtime for path in inputs):
        return program
    PROGRAMS.mkdir(parents=True, exist_ok=True)
    command = ["cc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-o", program, source, *flags]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise BenchmarkError(f"{source.name} does not compile\n{done.stderr}")
    return program


def epoll_floor():
    return compile_program("floor/epoll_limit.c", "-pthread")


def uring_floor():
    return compile_program("floor/uring_limit.c", "-pthread", "-luring")


def fixed_requests():
    return compile_program("client/fixed_requests.c")


# ---- Servers --------------------------------------------------------------------------------------------------------


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def accepts(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def children_of(pid):
    children = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children") as file:
                children += [int(child) for child in file.read().split()]
    except OSError:
        pass
    return children


def process_tree(pid):
    tree = [pid]
    for child in children_of(pid):
        tree += process_tree(child)
    return tree


def cpu_seconds(pids):
    """User and system time of processes, all threads, those that have ended included.

    This is the utime + stime of /proc/PID/stat, read from the process's CPU clock (clock_getcpuclockid(3)), which
    counts nanoseconds where the file counts ticks of ten milliseconds.
    """
    return sum(time.clock_gettime((~pid << 3) | 2) for pid in pids)


def resident_kib(pid):
    with open(f"/proc/{pid}/status") as file:
        for line in file:
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
    raise BenchmarkError(f"process {pid} has no resident memory")


class Server:
    """A server process that listens on `port`."""

    def __init__(self, command, port):
        self.port = port
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log
        )
        _running.append(self)
        deadline = time.monotonic() + START_TIMEOUT
        while not accepts(port):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise BenchmarkError(f"{command[0]} does not listen on port {port}\n{self.log_text()}")
            time.sleep(0.02)
        self.pids = process_tree(self.process.pid)

    def log_text(self):
        self.log.seek(0)
        return self.log.read()

    def cpu_seconds(self):
        return cpu_seconds(self.pids)

    def serving_pid(self):
        """The process that serves: the leaf of the tree, below a supervisor, strace or valgrind."""
        return process_tree(self.process.pid)[-1]

    def stop(self):
        """Interrupts the process that serves, or its supervisor, and waits for all of it."""
        _running.remove(self)
        if self.process.poll() is None:
            target = self.process.pid
            if pathlib.Path(os.readlink(f"/proc/{target}/exe")).name == "strace":
                target = children_of(target)[0]
            os.kill(target, signal.SIGINT)
            try:
                self.process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                for pid in process_tree(self.process.pid):
                    os.kill(pid, signal.SIGKILL)
                self.process.wait()
                print(f"warning: {self.process.args[0]} did not end on SIGINT", file=sys.stderr)
        self.log.close()


def floor_server(program, threads, under=()):
    port = free_port()
    return Server([*under, program, port, threads], port)


def mews_server(*arguments, under=()):
    if not MEWS.exists():
        raise BenchmarkError(f"{MEWS} is missing: run make build first")
    port = free_port()
    return Server([*under, MEWS, "run", PLUGINS, "--listen", f"http://127.0.0.1:{port}", *arguments], port)


# ---- Clients --------------------------------------------------------------------------------------------------------


def fetch(port, path):
    """The status and the body of one GET request."""
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while part := connection.recv(65536):
            answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def send_fixed(port, connections, requests, depth, *expectations):
    """Sends exactly `requests` requests and checks every answer; returns how many failed."""
    command = [fixed_requests(), port, connections, requests, depth, *expectations]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    match = re.search(r"(\d+) requests, (\d+) failed", done.stdout)
    if match is None:
        raise BenchmarkError(f"fixed_requests: {done.stderr.strip() or done.stdout}")
    if done.stderr:
        print(done.stderr, end="", file=sys.stderr)
    return int(match[2])
