"""Importing less of a library than it would import by itself.

A daemon is on every node, and commands are run by hand: what a library brings along
for others costs memory there for as long as the daemon runs, and time at each start.
Only what Python documents is used, and a library that is imported already is left as
it is. `tests/libraries/test_parts.py` counts what is loaded.
"""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, TypeVar

Parts = TypeVar("Parts")


@contextmanager
def without(name: str) -> Iterator[None]:
    """Have a library that is imported in the block do without an optional one.

    Args:
        name: of a module that it can do without. Outside of the block it can be
            imported as usual. ("If the value is None, then a ModuleNotFoundError is
            raised": the Python language reference, "The module cache".)
    """
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]  # see above
    try:
        yield
    finally:
        del sys.modules[name]


def in_part(package: str, import_parts: Callable[[], Parts]) -> Parts:
    """Import modules of a package, but not all that its `__init__.py` imports.

    The package is there without having been run. It is run as soon as somebody asks for
    a name that is in none of its modules, so nobody who imports it later misses
    anything. Where the modules cannot be imported alone, in another release, they are
    imported as usual: larger, but right.

    Args:
        package: its name.
        import_parts: imports them, and returns what is wanted of them.

    Raises:
        ImportError: there is no such package, or part of it.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or package in sys.modules:
        return import_parts()
    sys.modules[package] = _not_run(spec)
    try:
        return import_parts()
    except ImportError:
        for name in [*sys.modules]:
            if name == package or name.startswith(f"{package}."):
                del sys.modules[name]
        return import_parts()


def _not_run(spec: ModuleSpec) -> ModuleType:
    package = importlib.util.module_from_spec(spec)

    def find(name: str) -> Any:  # noqa: ANN401  # whatever is of that name
        module = f"{spec.name}.{name}"
        if importlib.util.find_spec(module) is not None:
            return importlib.import_module(module)
        if "__getattr__" in vars(package):
            del package.__getattr__
            if spec.loader is not None:
                spec.loader.exec_module(package)
        return getattr(package, name)

    package.__getattr__ = find  # type: ignore[method-assign]  # PEP 562
    return package
