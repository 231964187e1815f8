"""Packages whose names load on first use: torch, Lightning and torchvision take seconds to import."""

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def lazy_names(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """A `__getattr__` for a package's `__init__`.

    Args:
        package: The package's `__name__`.
        homes: The module of each public name, relative to the package (`.models.folding` is in the one above); an
            empty one is a submodule of that name.

    Returns:
        A function from a name to what it stands for, which is kept, so that it runs once a name.
    """

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home = importlib.import_module(f".{homes[name] or name}", package)
        found = getattr(home, name) if homes[name] else home
        setattr(sys.modules[package], name, found)
        return found

    return find
