"""The command line of mews: what it prints, and how it ends."""

import re
import socket

import host
import shared
import toolchain
import wire
from host import run_mews


def expect_usage_error(*arguments):
    """One clear line on standard error, and exit status 2."""
    done = run_mews(*arguments)
    assert done.returncode == 2, f"{arguments}: {done}"
    assert done.stdout == "", f"{arguments}: {done}"
    assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith("mews"), f"{arguments}: {done}"
    return done.stderr


def test_version():
    """mews version says its version"""
    for argument in ("version", "--version"):
        done = run_mews(argument)
        assert done.returncode == 0 and done.stderr == "", done
        assert re.search(r"\b\d+\.\d+\.\d+\b", done.stdout), done


def test_help():
    """mews help names every command, mews help run every option"""
    options = (
        "--listen", "--listen-sockets", "--io", "--io-without", "--io-threads", "--workers", "--workers-max", "--set",
        "--strict", "--handler-timeout", "--no-supervisor",
    )
    for arguments, words in {
        ("help",): ("run", "doctor", "version", "help"),
        ("--help",): ("run", "doctor", "version", "help"),
        ("help", "doctor"): ("--json",),
        ("doctor", "--help"): ("--json",),
        ("help", "run"): options,
        ("run", "--help"): options,
    }.items():
        done = run_mews(*arguments)
        assert done.returncode == 0 and done.stderr == "", done
        for word in words:
            assert word in done.stdout, f"{word} is missing in {done.stdout}"


def test_no_arguments():
    """mews alone is a usage error"""
    assert run_mews().returncode == 2


def test_unknown_command():
    """an unknown command is a usage error that names it"""
    assert "frobnicate" in expect_usage_error("frobnicate")


def test_unknown_option():
    """an unknown option is a usage error that names it"""
    assert "--frobnicate" in expect_usage_error("run", toolchain.new_directory(), "--frobnicate")


def test_missing_directory_argument():
    """run without a directory is a usage error"""
    expect_usage_error("run")
    expect_usage_error("run", "a", "b")


def test_bad_option_values():
    """bad values of options are usage errors that name the option"""
    directory = toolchain.new_directory()
    for option, values in {
        "--listen": ("nonsense", "http://127.0.0.1:70000", "http://example.com:80", "ftp://127.0.0.1:80", ""),
        "--io": ("banana", ""),
        "--io-threads": ("0", "-1", "abc", "1x", "1025", "99999999999999999999"),
        "--listen-sockets": ("0", "many", ""),
        "--workers": ("0", "-1", "abc"),
        "--workers-max": ("0", "-1", "abc"),
        "--handler-timeout": ("-1", "1s", "86400001"),
        "--set": ("nonsense", "plugin=value", "=value", ".key=value"),
    }.items():
        for value in values:
            message = expect_usage_error("run", directory, option, value)
            assert option in message or (value and value in message), message
        expect_usage_error("run", directory, option)


def test_directory_that_is_not_there():
    """a directory that is not there is an error that names it"""
    done = run_mews("run", "/no/such/directory")
    assert done.returncode in (1, 2), done
    assert "/no/such/directory" in done.stderr and len(done.stderr.splitlines()) == 1, done


def test_start_report():
    """at start it says what it loaded, which I/O backend it uses, and where it listens"""
    samples = shared.samples()
    samples.expect_line(r"hello-c\.so")
    samples.expect_line(r"hello-c.*1\.0\.0")
    samples.expect_line(r"GET /hello/\{name\}")
    samples.expect_line(r"\b(epoll|io_uring)\b")
    assert samples.find_lines(rf"listening on http://127\.0\.0\.1:{samples.port}\b"), samples.log


def test_io_epoll():
    """--io epoll is taken, and said"""
    directory = toolchain.new_directory()
    toolchain.minimal_plugin(directory, "sound")
    with host.Host(directory, "--io", "epoll", "--io-threads", "1", "--workers", "1") as server:
        server.expect_line(r"\bepoll\b")
        assert wire.text(server.port, "/sound") == "sound"


def test_equals_sign():
    """an option's value may follow after an equals sign"""
    directory = toolchain.new_directory()
    toolchain.minimal_plugin(directory, "sound")
    with host.Host(directory, "--workers=2", "--io=epoll") as server:
        assert wire.text(server.port, "/sound") == "sound"


def test_several_endpoints():
    """--listen may be given several times"""
    directory = toolchain.new_directory()
    toolchain.minimal_plugin(directory, "sound")
    with host.Host(directory, "--listen", "http://127.0.0.1:0") as server:
        host.wait_until(lambda: len(server.find_lines(r"listening on .*:(\d+)")) == 2, "two endpoints")
        ports = {int(match[1]) for match in server.find_lines(r"listening on .*:(\d+)")}
        assert len(ports) == 2, server.log
        for port in ports:
            assert wire.text(port, "/sound") == "sound"


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
        return True
    except OSError:
        return False


def test_ipv6():
    """an IPv6 address in brackets is listened on, where the machine has IPv6"""
    if not has_ipv6():
        return
    with host.Host(toolchain.new_directory(), listen="http://[::1]:0") as server:
        with wire.Connection(server.port, "::1") as connection:
            assert connection.get("/").status == 404


def test_localhost():
    """localhost is listened on"""
    with host.Host(toolchain.new_directory(), listen="http://localhost:0") as server:
        assert wire.get(server.port, "/").status == 404


def test_port_in_use():
    """a port in use is an error that names the address, and exit status 1"""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        for arguments in ([], ["--no-supervisor"]):
            done = run_mews("run", toolchain.new_directory(), "--listen", f"http://127.0.0.1:{port}", *arguments)
            assert done.returncode == 1, done
            assert f"127.0.0.1:{port}" in done.stderr and "in use" in done.stderr, done


def test_two_hosts_on_one_port():
    """a second host on the port of a running one is refused"""
    port = shared.samples().port
    done = run_mews("run", toolchain.new_directory(), "--listen", f"http://127.0.0.1:{port}")
    assert done.returncode == 1 and f":{port}" in done.stderr, done
    assert wire.get(port, "/plaintext").status == 200


def test_setting_reaches_start():
    """a setting that a plugin refuses makes that plugin fail, with its words"""
    with host.Host(host.SAMPLE_PLUGINS, "--set", "bench.execution=banana") as server:
        server.expect_line(r"bench\.so.*banana")
        assert wire.get(server.port, "/plaintext").status == 404
        assert wire.get(server.port, "/hello/world").status == 200


def test_forced_workers():
    """routes forced to workers give the same answers"""
    for arguments in (["--set", "bench.execution=worker"], ["--execution", "worker"]):
        with host.Host(host.SAMPLE_PLUGINS, *arguments, "--workers", "2") as server:
            with wire.Connection(server.port) as connection:
                connection.send("GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n" * 200)
                for _ in range(200):
                    assert connection.read().body == b"Hello, World!"


def test_forced_workers_run_on_workers():
    """--execution worker moves inline routes off the I/O threads"""
    threads = {}
    for execution in ("declared", "worker"):
        with host.Host(toolchain.probe_plugins(), "--execution", execution, "--workers", "1") as server:
            threads[execution] = {
                target: wire.text(server.port, target).split()[0] for target in ("/worker", "/inline/worker")
            }
    assert threads["declared"]["/worker"] != threads["declared"]["/inline/worker"], threads
    assert threads["worker"]["/worker"] == threads["worker"]["/inline/worker"], threads
