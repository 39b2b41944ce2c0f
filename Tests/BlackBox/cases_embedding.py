"""The library in somebody's C program, found as the documentation says."""

import shutil
import signal
import subprocess
import time

import host
import toolchain
import wire
from host import BUILD, TOP, Program

EXAMPLES = TOP / "examples-c"
PROGRAMS = TOP / "Tests/BlackBox/programs"


def example(name):
    """Builds an example with pkg-config's flags."""
    return toolchain.build_program(EXAMPLES / name / f"{name}.c", toolchain.new_directory() / name)


def run_example(command):
    return Program([*command, "http://127.0.0.1:0"], r"listening on port (\d+)", toolchain.environment())


def expect_hello_server(program):
    for number in (signal.SIGINT, signal.SIGTERM):
        with run_example([program]) as server:
            assert wire.text(server.port, "/hello/world") == "Hello, world!\n"
            server.signal(number)
            assert server.wait() == 0, server.log
            server.expect_line(r"^stopped$")


def test_hello_server_with_pkg_config():
    """hello-server, built with pkg-config, serves and stops on SIGINT and SIGTERM"""
    expect_hello_server(example("hello-server"))


def test_hello_server_with_cmake():
    """hello-server, built with CMake's find_package, serves and stops on SIGINT and SIGTERM"""
    assert shutil.which("cmake"), "cmake is not installed"
    tree = toolchain.new_directory()
    configure = ["cmake", "-S", EXAMPLES / "hello-server", "-B", tree, f"-DCMAKE_PREFIX_PATH={BUILD}"]
    for command in (configure, ["cmake", "--build", tree]):
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, done.stdout + done.stderr
    expect_hello_server(tree / "hello-server")


def test_hello_server_finishes_requests():
    """hello-server answers keep-alive and pipelined requests, and closes idle connections when it stops"""
    with run_example([example("hello-server")]) as server, wire.Connection(server.port) as connection:
        connection.send("GET /hello/a HTTP/1.1\r\nHost: a\r\n\r\n" * 50)
        for _ in range(50):
            assert connection.read().body == b"Hello, a!\n"
        server.stop()
        connection.expect_closed()


def test_hello_server_errors():
    """hello-server says what is wrong with its address, and fails"""
    program = example("hello-server")
    for url in ("nonsense", "http://256.0.0.1:80"):
        done = subprocess.run(
            [program, url], capture_output=True, text=True, timeout=20, env=toolchain.environment()
        )
        assert done.returncode == 1 and url in done.stderr, done
        assert done.stdout == "", done


def test_embedded():
    """embedded serves beside its own loop, logs through its own function, and stops"""
    with run_example([example("embedded")]) as server:
        def measurements():
            return int(wire.text(server.port, "/measurements").split()[0])

        first = measurements()
        host.wait_until(lambda: measurements() > first, "the main loop goes on")
        server.expect_line(r"^info .*: \d+ measurements, [1-9]\d* requests")
        started = time.monotonic()
        server.stop()
        assert time.monotonic() - started < 5, "the stop took long"


TWO_SERVERS = """
#include <mews/mews.h>
#include <stdio.h>

static mews_result answer(mews_exchange *exchange, void *state) {
    return mews_respond_format(exchange, 200, "text/plain", "%s", (const char *)state);
}

int main(void) {
    mews_server *servers[2] = {NULL, NULL};
    const char *names[2] = {"first", "second"};
    uint16_t ports[2];
    for (int i = 0; i < 2; i++) {
        if (mews_server_create(NULL, &servers[i]) != MEWS_OK) return 1;
        if (mews_server_route(servers[i], "GET", "/", answer, (void *)names[i]) != MEWS_OK) return 2;
        if (mews_server_start(servers[i]) != MEWS_E_WRONG_STATE) return 3;
        if (mews_server_listen(servers[i], "http://127.0.0.1:0", &ports[i]) != MEWS_OK) return 4;
        if (mews_server_start(servers[i]) != MEWS_OK) return 5;
        if (mews_server_route(servers[i], "GET", "/late", answer, NULL) != MEWS_E_WRONG_STATE) return 6;
    }
    printf("ports %d %d\\n", ports[0], ports[1]);
    fflush(stdout);
    getchar();
    for (int i = 0; i < 2; i++) {
        if (mews_server_stop(servers[i]) != MEWS_OK || mews_server_wait(servers[i]) != MEWS_OK) return 7;
        mews_server_destroy(servers[i]);
    }
    return 0;
}
"""


def test_two_servers():
    """one process has two servers, each with its routes, and the library writes to no stream"""
    source = toolchain.new_directory() / "two.c"
    source.write_text(TWO_SERVERS)
    program = toolchain.build_program(source, source.with_suffix(""))
    with subprocess.Popen(
        [program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=toolchain.environment(),
    ) as process:
        try:
            ports = process.stdout.readline().split()[1:]
            assert [wire.text(int(port), "/") for port in ports] == ["first", "second"]
            output, errors = process.communicate("\n", timeout=20)
            assert process.returncode == 0, (process.returncode, errors)
            assert output == "" and errors == "", (output, errors)
        finally:
            process.kill()


def test_restarted_server():
    """servers are created and destroyed many times without a leak of descriptors or threads"""
    source = toolchain.new_directory() / "again.c"
    source.write_text(
        """
#include <dirent.h>
#include <mews/mews.h>
#include <stdio.h>
#include <unistd.h>

static int count_entries(const char *path) {
    DIR *directory = opendir(path);
    int count = 0;
    while (readdir(directory) != NULL) count++;
    closedir(directory);
    return count;
}

/* The kernel takes a thread off its list a moment after it has been joined. A sanitizer's own thread stays. */
static int count_threads(int expected) {
    int count = count_entries("/proc/self/task");
    for (int attempt = 0; count > expected && attempt < 1000; attempt++) {
        usleep(1000);
        count = count_entries("/proc/self/task");
    }
    return count;
}

int main(void) {
    int descriptors = 0, threads = 0;
    for (int round = 0; round < 100; round++) {
        mews_server *server = NULL;
        if (mews_server_create(NULL, &server) != MEWS_OK) return 1;
        if (mews_server_listen(server, "http://127.0.0.1:0", NULL) != MEWS_OK) return 2;
        if (mews_server_start(server) != MEWS_OK) return 3;
        mews_server_destroy(server);
        if (round == 0) {
            descriptors = count_entries("/proc/self/fd");
            threads = count_threads(1);
        }
    }
    mews_server_destroy(NULL);
    printf("%d %d\\n", count_entries("/proc/self/fd") - descriptors, count_threads(threads) - threads);
    return 0;
}
"""
    )
    program = toolchain.build_program(source, source.with_suffix(""))
    done = subprocess.run([program], capture_output=True, text=True, timeout=60, env=toolchain.environment())
    assert done.returncode == 0 and done.stdout == "0 0\n", done


def run_program(code):
    """Builds a C program and runs it to its end."""
    source = toolchain.new_directory() / "program.c"
    source.write_text(code)
    program = toolchain.build_program(source, source.with_suffix(""))
    return subprocess.run([program], capture_output=True, text=True, timeout=60, env=toolchain.environment())


def test_server_limit():
    """the 65th server of a process is refused, and destroying one makes room"""
    done = run_program(
        """
#include <mews/mews.h>

int main(void) {
    mews_server *servers[64], *more = NULL;
    for (int i = 0; i < 64; i++) {
        if (mews_server_create(NULL, &servers[i]) != MEWS_OK) return 1;
    }
    if (mews_server_create(NULL, &more) != MEWS_E_LIMIT || more != NULL) return 2;
    mews_server_destroy(servers[0]);
    if (mews_server_create(NULL, &servers[0]) != MEWS_OK) return 3;
    for (int i = 0; i < 64; i++) mews_server_destroy(servers[i]);
    return 0;
}
"""
    )
    assert done.returncode == 0, done


def test_listen_sockets():
    """a program chooses how many sockets listen on an address; another number than those of the header is refused"""
    done = run_program(
        """
#include <mews/mews.h>
#include <stdio.h>
#include <unistd.h>

/* How many descriptors it takes to listen, with four I/O threads; -1 when the server is refused. */
static int descriptors_to_listen(mews_listen_sockets sockets) {
    mews_server_options options = MEWS_SERVER_OPTIONS_INIT;
    options.io_threads = 4;
    options.listen_sockets = sockets;
    mews_server *server = NULL;
    if (mews_server_create(&options, &server) != MEWS_OK) return -1;
    uint16_t port = 0;
    int before = dup(0);
    mews_result result = mews_server_listen(server, "http://127.0.0.1:0", &port);
    int after = dup(0);
    char again[64];
    snprintf(again, sizeof again, "http://127.0.0.1:%u", (unsigned)port);
    if (mews_server_listen(server, again, NULL) != MEWS_E_CONFLICT) result = MEWS_E_FAILED;
    close(before);
    close(after);
    mews_server_destroy(server);
    return result == MEWS_OK && port != 0 ? after - before - 1 : -2;
}

int main(void) {
    printf("%d %d %d %d", descriptors_to_listen(MEWS_LISTEN_AUTO), descriptors_to_listen(MEWS_LISTEN_SHARED),
        descriptors_to_listen(MEWS_LISTEN_PER_THREAD), descriptors_to_listen(MEWS_LISTEN_PER_THREAD + 1));
    return 0;
}
"""
    )
    assert done.returncode == 0 and done.stdout == "1 1 4 -1", done


def test_start_without_descriptors():
    """a start that runs out of descriptors fails, and the server is destroyed at once, without a leak"""
    done = run_program(
        """
#include <mews/mews.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static struct rlimit all;

static int first_free_descriptor(void) {
    int descriptor = dup(0);
    close(descriptor);
    return descriptor;
}

/* Whether a server can be started with so many descriptors; -1 when it left one open. */
static int starts_with(int descriptors) {
    int before = first_free_descriptor();
    struct rlimit few = {(rlim_t)(before + descriptors), all.rlim_max};
    mews_server_options options = MEWS_SERVER_OPTIONS_INIT;
    options.io_threads = 2;
    mews_server *server = NULL;
    setrlimit(RLIMIT_NOFILE, &few);
    int starts = mews_server_create(&options, &server) == MEWS_OK &&
                 mews_server_listen(server, "http://127.0.0.1:0", NULL) == MEWS_OK &&
                 mews_server_start(server) == MEWS_OK;
    mews_server_destroy(server);
    setrlimit(RLIMIT_NOFILE, &all);
    return first_free_descriptor() == before ? starts : -1;
}

int main(void) {
    getrlimit(RLIMIT_NOFILE, &all);
    time_t start = time(NULL);
    int descriptors = 0, starts;
    while ((starts = starts_with(descriptors)) == 0 && descriptors < 100) descriptors++;
    printf("%d %d %d", starts, descriptors > 3, time(NULL) - start < 10);
    return 0;
}
"""
    )
    assert done.returncode == 0 and done.stdout == "1 1 1", done


def test_text_that_is_not_utf8():
    """methods and patterns that are not UTF-8 are refused, not changed"""
    done = run_program(
        """
#include <mews/mews.h>

static mews_result answer(mews_exchange *exchange, void *state) {
    (void)state;
    return mews_respond(exchange, 200, NULL, NULL, 0);
}

int main(void) {
    mews_server *server = NULL;
    if (mews_server_create(NULL, &server) != MEWS_OK) return 1;
    if (mews_server_route(server, "GET", "/\\xff", answer, NULL) != MEWS_E_INVALID_ARGUMENT) return 2;
    if (mews_server_route(server, "\\xff", "/", answer, NULL) != MEWS_E_INVALID_ARGUMENT) return 3;
    if (mews_server_listen(server, "http://\\xff:1", NULL) != MEWS_E_INVALID_ARGUMENT) return 4;
    mews_server_destroy(server);
    return 0;
}
"""
    )
    assert done.returncode == 0, done


def test_stop_before_start():
    """a stop that was asked for before the start is not lost"""
    done = run_program(
        """
#include <mews/mews.h>

int main(void) {
    mews_server *server = NULL;
    if (mews_server_create(NULL, &server) != MEWS_OK) return 1;
    if (mews_server_listen(server, "http://127.0.0.1:0", NULL) != MEWS_OK) return 2;
    if (mews_server_stop(server) != MEWS_OK || mews_server_stop(server) != MEWS_OK) return 3;
    if (mews_server_run(server) != MEWS_OK) return 4;
    mews_server_destroy(server);
    return 0;
}
"""
    )
    assert done.returncode == 0, done


def test_forked_child():
    """in the child of a fork every function of a server is refused, and the parent's server goes on"""
    program = toolchain.new_directory() / "forked-child"
    toolchain.build_program(PROGRAMS / "forked-child.c", program, "-pthread")
    done = subprocess.run([program], capture_output=True, text=True, timeout=60, env=toolchain.environment())
    assert done.returncode == 0 and done.stderr == "", done
