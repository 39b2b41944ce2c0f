"""Hosts that many cases use: started by the first that asks, ended with the suite, started anew when one has died."""

import toolchain
from host import SAMPLE_PLUGINS, Host

# The result codes of mews/base.h.
OK = 0
INVALID_ARGUMENT = -2
GONE = -4
WRONG_THREAD = -5
WRONG_STATE = -6
LIMIT = -9

SETTINGS = ["--set", "probe-services.color=blue", "--set", "probe-services.equation=a=b", "--set", "other.color=red"]

_hosts = {}


def _shared(name, start):
    if name not in _hosts or _hosts[name].process.poll() is not None:
        _hosts[name] = start()
    return _hosts[name]


def samples():
    """The host with the sample plugins."""
    return _shared("samples", lambda: Host(SAMPLE_PLUGINS))


def probes():
    """The host with the plugins in plugins/, which show what the interface answers."""
    return _shared("probes", lambda: Host(toolchain.probe_plugins(), *SETTINGS))
