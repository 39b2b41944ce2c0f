"""Load at a fixed rate: h2load, which logs the time of every request, and what to make of its log."""

import math
import re
import subprocess
import tempfile

import harness

# In the first second connections are made, one after the other: made at once, they would all send at the same moments.
SETTLE_SECONDS = 1
CONNECTING_MILLISECONDS = 800
# How far from its rate a client may be.
TOLERANCE = 0.1


class TooBusy(harness.BenchmarkError):
    """A client could not keep its rate."""


def capacity(port, path, connections, seconds):
    """Requests a second, as fast as the server answers."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", f"http://127.0.0.1:{port}{path}"]
    output = subprocess.run(command, capture_output=True, text=True).stdout
    match = re.search(r"Requests/sec:\s*([\d.]+)", output)
    if match is None or "Non-2xx" in output:
        raise harness.BenchmarkError(f"wrk on {path} failed\n{output}")
    return float(match[1])


class Client:
    """A running h2load that sends requests for one path at a fixed rate, and logs the time of each.

    connection_rate: requests a second of one connection. h2load's clocks tick every 10 ms: one that is to send more often
    sends bursts.
    """

    def __init__(self, port, path, rate, seconds, connection_rate=100):
        self.path, self.rate = path, rate
        count = math.ceil(rate / connection_rate)
        requests = count * round(rate / count * seconds)
        self.log = tempfile.NamedTemporaryFile("r", suffix=".log")
        command = [
            "h2load", "--h1", "-t1", f"-c{count}", f"-n{requests}", f"--rps={rate / count:.3f}", "--rate-period=1ms",
            f"-r{math.ceil(count / CONNECTING_MILLISECONDS)}", f"--log-file={self.log.name}",
            f"http://127.0.0.1:{port}{path}",
        ]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def times(self, start, end):
        """The response times in seconds of the requests that were sent between two times since the epoch, in order."""
        times, failed = [], 0
        for line in self.log:
            began, status, duration = (int(field) for field in line.split()[:3])
            if start <= began / 1e6 < end:
                times.append(duration / 1e6)
                failed += status != 200
        self.log.close()
        if failed:
            raise harness.BenchmarkError(f"{failed} of {len(times)} requests to {self.path} failed")
        if abs(len(times) / (end - start) / self.rate - 1) > TOLERANCE:
            achieved = f"{len(times) / (end - start):,.0f} of {self.rate:,.0f} requests a second"
            raise TooBusy(f"the client of {self.path} made {achieved}: the machine is too busy")
        return sorted(times)


def percentile(ordered, percent):
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]
