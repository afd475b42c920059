"""The cases, one file a subject."""

import importlib
import os


def load() -> None:
    """Imports every file of this folder: importing registers its cases."""
    for name in sorted(os.listdir(os.path.dirname(__file__))):
        if name.endswith(".py") and name != "__init__.py":
            importlib.import_module(f"{__name__}.{name[:-3]}")
