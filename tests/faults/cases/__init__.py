"""The cases, by what is broken."""

import importlib

MODULES = ("kernel", "files", "limits", "realshell", "log", "policies", "cgroups", "namespaces", "callers", "sweep")


def load() -> None:
    """Registers every case."""
    for module in MODULES:
        importlib.import_module(f"{__name__}.{module}")
