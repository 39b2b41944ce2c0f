"""Plugins that cannot be loaded: the host says which file and why, and serves the others."""

import shutil

import host
import toolchain
import wire
from toolchain import minimal_plugin, new_directory, plugin

AARCH64 = 183

WITHOUT_IDENTITY = "int answer(void) { return 42; }\n"

FAILING_START = """
#include <mews/plugin.h>
static mews_result start(mews_plugin *self, void **state) {
    (void)state;
    return mews_fail(self, "no database at %s", "/no/where");
}
MEWS_PLUGIN("failing", "1.0.0", start)
"""

SILENTLY_FAILING_START = """
#include <mews/plugin.h>
static mews_result start(mews_plugin *self, void **state) {
    (void)self, (void)state;
    return MEWS_E_NO_MEMORY;
}
MEWS_PLUGIN("silent", "1.0.0", start)
"""

NEEDS_A_FUNCTION = """
#include <mews/plugin.h>
extern mews_result mews_frobnicate(mews_plugin *self);
static mews_result start(mews_plugin *self, void **state) {
    (void)state;
    return mews_frobnicate(self);
}
MEWS_PLUGIN("frobnicator", "1.0.0", start)
"""

RUNS_CODE_WHEN_LOADED = """
#include <stdio.h>
#include <stdlib.h>
__attribute__((constructor)) static void run(void) { fputs("code of a refused plugin ran\\n", stderr); }
"""


def plugin_for_newer_host(directory, version_node, file):
    """Links a plugin with a library that has a function which this one has not."""
    work = new_directory()
    (work / "stub.c").write_text("int mews_frobnicate(void *self) { return self != 0; }\n")
    (work / "stub.map").write_text(f"{version_node} {{ global: mews_frobnicate; local: *; }};\n")
    (work / "plugin.c").write_text(NEEDS_A_FUNCTION)
    library = work / "libmews.so"
    script = f"-Wl,--version-script={work / 'stub.map'}"
    done = toolchain.cc("-shared", "-fPIC", "-Wl,-soname,libmews.so.0", script, work / "stub.c", "-o", library)
    assert done.returncode == 0, done.stderr
    include = [flag for flag in toolchain.flags() if flag.startswith("-I")]
    done = toolchain.cc(
        "-shared", "-fPIC", "-Wl,-z,defs", *include, work / "plugin.c", "-o", directory / file, library
    )
    assert done.returncode == 0, done.stderr


def write_text_file(directory):
    (directory / "text.so").write_text("I am no plugin.\n" * 100)


def write_empty_file(directory):
    (directory / "empty.so").write_bytes(b"")


def write_truncated(directory):
    path = minimal_plugin(directory, "truncated")
    path.write_bytes(path.read_bytes()[:1000])


def write_other_machine(directory):
    toolchain.patch_machine(minimal_plugin(directory, "foreign"), AARCH64)


def write_without_identity(directory):
    plugin(directory, WITHOUT_IDENTITY + RUNS_CODE_WHEN_LOADED, "anonymous.so")


def write_newer_abi(directory):
    code = toolchain.MINIMAL.replace("NAME", "modern").replace("PATH", "/modern")
    toolchain.patch_abi(plugin(directory, code + RUNS_CODE_WHEN_LOADED, "modern.so"), 99, 0)


def write_other_minor_abi(directory):
    toolchain.patch_abi(minimal_plugin(directory, "minor"), 0, 999)


def write_broken_link(directory):
    (directory / "dangling.so").symlink_to("no-such-file")


def write_duplicates(directory):
    minimal_plugin(directory, "twin", file="twin-1.so")
    minimal_plugin(directory, "twin", path="/other", file="twin-2.so")


def write_conflict(directory):
    minimal_plugin(directory, "first", path="/contested")
    minimal_plugin(directory, "second", path="/contested")


# What makes the broken file, and what the host must say of it: its name, and the cause in whatever words.
BROKEN = {
    "a text file": (write_text_file, r"text\.so.*ELF"),
    "an empty file": (write_empty_file, r"empty\.so.*(ELF|empty|short|small|truncated)"),
    "a truncated file": (write_truncated, r"truncated\.so.*"),
    "a file for another machine": (write_other_machine, r"foreign\.so.*(machine|architecture|aarch64|AArch64|183)"),
    "a file without identity": (write_without_identity, r"anonymous\.so.*(identity|note|plugin)"),
    "a file for a newer major ABI": (write_newer_abi, r"modern\.so.*ABI.*99"),
    "a file for another draft ABI": (write_other_minor_abi, r"minor\.so.*ABI.*999"),
    "a link to nothing": (write_broken_link, r"dangling\.so.*"),
    "a start that fails": (
        lambda to: plugin(to, FAILING_START, "failing.so"),
        r"failing\.so.*no database at /no/where",
    ),
    "a start that fails without a word": (
        lambda to: plugin(to, SILENTLY_FAILING_START, "quiet.so"),
        r"quiet\.so.*memory",
    ),
    "a function that this host has not": (
        lambda to: plugin_for_newer_host(to, "MEWS_0", "newer.so"),
        r"newer\.so.*mews_frobnicate",
    ),
    "a function of a newer version": (
        lambda to: plugin_for_newer_host(to, "MEWS_9.9", "newest.so"),
        r"newest\.so.*(mews_frobnicate|MEWS_9\.9)",
    ),
    "two files of one name": (write_duplicates, r"twin-2\.so.*twin-1\.so|twin-2\.so.*\"?twin\"?.*"),
    "two plugins with one route": (write_conflict, r"(?=.*\bfirst\b)(?=.*\bsecond\b).*/contested"),
}


def expect_survival(kind):
    write, pattern = BROKEN[kind]
    directory = new_directory()
    minimal_plugin(directory, "sound")
    write(directory)
    with host.Host(directory) as server:
        assert wire.text(server.port, "/sound") == "sound"
        server.expect_line(pattern)
        assert not server.find_lines("code of a refused plugin ran"), server.log


def expect_strict_failure(kind):
    write, pattern = BROKEN[kind]
    directory = new_directory()
    minimal_plugin(directory, "sound")
    write(directory)
    done = host.run_mews("run", directory, "--listen", "http://127.0.0.1:0", "--strict")
    assert done.returncode not in (0, 2), done
    assert toolchain.search_lines(pattern, done.stdout + done.stderr), done


def define_cases():
    """A case for each broken file, without and with --strict."""
    for kind in BROKEN:
        for check, title in (
            (expect_survival, f"{kind} is named, and the others serve"),
            (expect_strict_failure, f"{kind} is fatal with --strict"),
        ):

            def case(check=check, kind=kind):
                check(kind)

            case.__doc__ = title
            yield f"test_{check.__name__}_{kind.replace(' ', '_')}", case


globals().update(define_cases())


def test_all_broken_at_once():
    """a directory with one of each broken file serves the sound ones"""
    directory = new_directory()
    minimal_plugin(directory, "sound")
    for write, _ in BROKEN.values():
        part = new_directory()
        write(part)
        for path in part.iterdir():
            shutil.move(path, directory / path.name)
    with host.Host(directory) as server:
        assert wire.text(server.port, "/sound") == "sound"
        for _, pattern in BROKEN.values():
            server.expect_line(pattern)


def test_other_files_are_ignored():
    """files that are no shared objects are left alone, also with --strict"""
    directory = new_directory()
    minimal_plugin(directory, "sound")
    (directory / "README.txt").write_text("Plugins live here.\n")
    (directory / "sound.so.bak").write_text("not me\n")
    (directory / "folder").mkdir()
    with host.Host(directory, "--strict") as server:
        assert wire.text(server.port, "/sound") == "sound"


def test_empty_directory():
    """a directory without plugins serves 404"""
    with host.Host(new_directory()) as server:
        assert wire.get(server.port, "/").status == 404


def test_duplicate_keeps_the_first():
    """of two plugins with one name, the first in the order of file names serves"""
    directory = new_directory()
    write_duplicates(directory)
    with host.Host(directory) as server:
        assert wire.text(server.port, "/twin") == "twin"
        assert wire.get(server.port, "/other").status == 404


def test_conflict_keeps_the_first():
    """of two plugins with one route, the first in the order of file names serves"""
    directory = new_directory()
    write_conflict(directory)
    with host.Host(directory) as server:
        assert wire.text(server.port, "/contested") == "first"


def test_partial_start_leaves_no_route():
    """a plugin whose start failed after a route leaves no route behind"""
    directory = new_directory()
    code = toolchain.MINIMAL.replace("NAME", "half").replace("PATH", "/half")
    code = code.replace('return mews_route(self, "GET", "/half", answer);', """
        mews_result result = mews_route(self, "GET", "/half", answer);
        return result == MEWS_OK ? mews_fail(self, "changed my mind") : result;""")
    plugin(directory, code, "half.so")
    with host.Host(directory) as server:
        server.expect_line(r"half\.so.*changed my mind")
        assert wire.get(server.port, "/half").status == 404


def test_typo_fails_at_link_time():
    """a typo in a function's name fails when the plugin is linked"""
    directory = new_directory()
    source = directory / "typo.c"
    source.write_text(toolchain.MINIMAL.replace("mews_respond", "mews_respnod"))
    done = toolchain.link_plugin(source, directory / "typo.so")
    assert done.returncode != 0, "it was linked"
    assert "mews_respnod" in done.stderr, done.stderr
    assert not (directory / "typo.so").exists()


def test_exit_in_start():
    """a plugin that calls exit in its start ends the command with an error, whatever the status it gave"""
    for given, answered in ((0, 1), (3, 3)):
        directory = new_directory()
        code = toolchain.MINIMAL.replace("NAME", "leaver").replace("PATH", "/leaver")
        code = "#include <stdlib.h>\n" + code.replace("return mews_route(", f"exit({given});\n    return mews_route(")
        plugin(directory, code, "leaver.so")
        done = host.run_mews("run", directory, "--listen", "http://127.0.0.1:0")
        assert done.returncode == answered and "before it served" in done.stderr, done
