"""The sample plugins, as their comments say."""

import json
import re
import shutil
import subprocess
import time

import shared
import wire
from host import SAMPLE_PLUGINS


def expect(response, status, content_type, body):
    assert response.status == status, response
    assert response.field("Content-Type") == content_type, response
    assert response.body == body, response


def test_hello_c():
    """hello-c greets by name"""
    expect(wire.get(shared.samples().port, "/hello/world"), 200, "text/plain", b"Hello, world!\n")


def test_hello_cpp():
    """hello-cpp greets by name and counts its visitors"""
    port = shared.samples().port
    numbers = []
    for _ in range(2):
        match = re.fullmatch(r"Hello, world! You are number (\d+)\.\n", wire.text(port, "/cpp/hello/world"))
        assert match is not None
        numbers.append(int(match[1]))
    assert numbers[1] == numbers[0] + 1, numbers


def test_hello_swift():
    """hello-swift greets by name"""
    assert (SAMPLE_PLUGINS / "hello-swift.so").exists(), "hello-swift.so was not built"
    assert wire.text(shared.samples().port, "/swift/hello/world") == "Hello, world!\n"


def test_bench_plaintext():
    """/plaintext answers 13 bytes of text"""
    response = wire.get(shared.samples().port, "/plaintext")
    expect(response, 200, "text/plain", b"Hello, World!")
    assert response.field("Content-Length") == "13", response


def test_bench_json():
    """/json answers a JSON object"""
    response = wire.get(shared.samples().port, "/json")
    expect(response, 200, "application/json", b'{"message":"Hello, World!"}')
    assert json.loads(response.body) == {"message": "Hello, World!"}


def test_bench_echo():
    """/echo sends the body back with its content type"""
    port = shared.samples().port
    body = bytes(range(256)) * 8
    expect(wire.post(port, "/echo", body, "Content-Type: application/x-test"), 200, "application/x-test", body)
    expect(wire.post(port, "/echo", b""), 200, None, b"")


def test_bench_upload():
    """/upload counts the bytes of the body"""
    for size in (0, 1, 4095, 4096, 4097, 65536, 100_003):
        expect(wire.post(shared.samples().port, "/upload", b"u" * size), 200, "text/plain", f"{size}\n".encode())


def test_bench_sleep():
    """/sleep really blocks for that long"""
    started = time.monotonic()
    expect(wire.get(shared.samples().port, "/sleep/80"), 200, "text/plain", b"slept 80 ms\n")
    assert time.monotonic() - started >= 0.08


def test_bench_sleep_does_not_block_others():
    """/plaintext is answered while every worker sleeps"""
    port = shared.samples().port
    sleepers = [wire.Connection(port) for _ in range(16)]
    try:
        for sleeper in sleepers:
            sleeper.send("GET /sleep/700 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        started = time.monotonic()
        assert wire.get(port, "/plaintext").status == 200
        assert time.monotonic() - started < 0.6, "waited for a sleeper"
        for sleeper in sleepers:
            assert sleeper.read().status == 200
    finally:
        for sleeper in sleepers:
            sleeper.socket.close()


def test_bench_spin():
    """/spin keeps the CPU busy for that long"""
    started = time.monotonic()
    expect(wire.get(shared.samples().port, "/spin/30000"), 200, "text/plain", b"spun 30000 us\n")
    assert time.monotonic() - started >= 0.03


def test_bench_bad_numbers():
    """/sleep and /spin answer 400 to what is no number in range"""
    too_large = "/sleep/99999999999999999999"
    for target in ("/sleep/-1", "/sleep/60001", "/sleep/1x", too_large, "/spin/abc", "/spin/60000001"):
        response = wire.get(shared.samples().port, target)
        assert response.status == 400, (target, response)


def test_curl():
    """curl gets an answer, also to an upload of 10 MB"""
    assert shutil.which("curl"), "curl is not installed"
    port = shared.samples().port
    got = subprocess.run(["curl", "-sSf", f"http://127.0.0.1:{port}/hello/curl"], capture_output=True, timeout=30)
    assert got.stdout == b"Hello, curl!\n", got
    command = ["curl", "-sSf", "--data-binary", "@-", f"http://127.0.0.1:{port}/upload"]
    got = subprocess.run(command, input=b"x" * 10_000_000, capture_output=True, timeout=60)
    assert got.stdout == b"10000000\n", got


def test_load_generators():
    """wrk and ab see no failure"""
    port = shared.samples().port
    if shutil.which("wrk"):
        command = ["wrk", "-t1", "-c16", "-d1s", f"http://127.0.0.1:{port}/plaintext"]
        output = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout
        assert re.search(r"[1-9]\d* requests in", output), output
        assert "Non-2xx" not in output and "Socket errors" not in output, output
    if shutil.which("ab"):
        for keep_alive in ([], ["-k"]):
            command = ["ab", "-q", "-n", "2000", "-c", "16", *keep_alive, f"http://127.0.0.1:{port}/hello/ab"]
            output = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout
            assert re.search(r"Complete requests:\s+2000\b", output), output
            assert re.search(r"Failed requests:\s+0\b", output) and "Non-2xx" not in output, output
