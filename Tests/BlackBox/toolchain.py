"""Builds plugins and programs against the tree under test, with the commands that the documentation gives."""

import atexit
import functools
import os
import pathlib
import re
import shlex
import shutil
import struct
import subprocess
import tempfile

from host import BUILD

HERE = pathlib.Path(__file__).resolve().parent
PROGRAM_OPTIONS = ("-O2", "-g", "-Wall", "-Wextra", "-Werror", "-pthread")
OWNER = b"Mews\0\0\0\0"

# Makes one plugin of one handler: what a case adds is what it is about.
MINIMAL = """
#include <mews/plugin.h>
static mews_result answer(mews_exchange *exchange, void *state) {
    (void)state;
    return mews_respond(exchange, 200, "text/plain", "NAME", sizeof "NAME" - 1);
}
static mews_result start(mews_plugin *self, void **state) {
    (void)state;
    return mews_route(self, "GET", "PATH", answer);
}
MEWS_PLUGIN("NAME", "1.0.0", start)
"""


@functools.cache
def scratch():
    """A folder for everything that the suite makes; removed at the end."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="mews-blackbox-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


def new_directory():
    return pathlib.Path(tempfile.mkdtemp(dir=scratch()))


def environment():
    """For programs that were linked with pkg-config's flags."""
    return {**os.environ, "LD_LIBRARY_PATH": str(BUILD / "lib"), "PKG_CONFIG_PATH": str(BUILD / "lib" / "pkgconfig")}


@functools.cache
def flags():
    command = ["pkg-config", "--cflags", "--libs", "mews"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, f"pkg-config does not find mews: {done.stderr}"
    return shlex.split(done.stdout)


def cc(*arguments, compiler=("cc",)):
    """Runs the C compiler; answers the finished process."""
    return subprocess.run([*compiler, *(str(argument) for argument in arguments)], capture_output=True, text=True)


def link_plugin(source, output):
    """The documented command line."""
    return cc("-shared", "-fPIC", "-Wl,-z,defs", source, "-o", output, *flags())


def build(source, output, *extra):
    """Builds a plugin."""
    done = cc(*extra, source, "-o", output, *flags())
    assert done.returncode == 0, f"{source} does not build:\n{done.stderr}"
    return output


def build_program(source, output, *extra):
    """Builds a program with the compiler that MEWS_CC names, with its flags (cc): the library may need that one."""
    compiler = shlex.split(os.environ.get("MEWS_CC", "cc"))
    done = cc(*extra, source, "-o", output, *flags(), compiler=compiler)
    assert done.returncode == 0, f"{source} does not build:\n{done.stderr}"
    return output


def plugin(directory, code, file):
    """Compiles C text into a plugin in a directory."""
    source = new_directory() / (pathlib.Path(file).stem + ".c")
    source.write_text(code)
    done = link_plugin(source, directory / file)
    assert done.returncode == 0, f"{file} does not build:\n{done.stderr}"
    return directory / file


def minimal_plugin(directory, name, path=None, file=None):
    """A plugin that answers its name on a path of its own."""
    code = MINIMAL.replace("NAME", name).replace("PATH", path or f"/{name}")
    return plugin(directory, code, file or f"{name}.so")


@functools.cache
def probe_plugins():
    """A directory with the plugins in plugins/: they show to a client what the interface answers."""
    directory = new_directory()
    for source in sorted((HERE / "plugins").glob("*.c")):
        options = ["-shared", "-fPIC", "-Wl,-z,defs", "-Wall", "-Werror", "-pthread"]
        build(source, directory / f"{source.stem}.so", *options)
    return directory


def patch(path, offset, data):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)


def patch_machine(path, machine):
    """Makes an ELF file one for another machine: e_machine of its header."""
    patch(path, 18, struct.pack("<H", machine))


def patch_abi(path, major, minor):
    """Changes the ABI version in a plugin's note."""
    content = path.read_bytes()
    place = content.index(OWNER) + len(OWNER)
    patch(path, place, struct.pack("<II", major, minor))


def search_lines(pattern, text):
    return any(re.search(pattern, line) for line in text.splitlines())
