"""What is used of kubernetes-asyncio, without its 700 models of API objects.

Importing any part of it imports all of them, which is 36 MB on every node and 0.2 s of
its start, for nothing: bodies are decoded by msgspec. So the parts are imported with
bare packages in place of its own, which only import everything.
"""

import importlib
import importlib.util
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import msgspec

_NAME: Final = "kubernetes_asyncio"


class Library(msgspec.Struct, frozen=True, kw_only=True):
    """Its parts, by their own names."""

    Configuration: Any
    ApiClient: Any
    load_kube_config: Any
    load_incluster_config: Any


@cache
def library() -> Library:
    """Import what is used; as the library means it if its layout is another one."""
    # It tells its errors twice, the other time to its log.
    logging.getLogger(_NAME).addHandler(logging.NullHandler())
    if _NAME in sys.modules:
        return _parts()
    try:
        with _bare_packages():
            return _parts()
    except (ImportError, AttributeError):
        return _parts()


def _parts() -> Library:
    def part(module: str, name: str) -> Any:  # noqa: ANN401  # of an untyped library
        return getattr(importlib.import_module(f"{_NAME}.{module}"), name)

    configuration = part("client.configuration", "Configuration")
    client = sys.modules[f"{_NAME}.client"]
    client.Configuration = configuration  # type: ignore[attr-defined]  # see above
    api_client = part("client.api_client", "ApiClient")
    client.ApiClient = api_client  # type: ignore[attr-defined]  # see above
    return Library(
        Configuration=configuration,
        ApiClient=api_client,
        load_kube_config=part("config.kube_config", "load_kube_config"),
        load_incluster_config=part("config.incluster_config", "load_incluster_config"),
    )


@contextmanager
def _bare_packages() -> Iterator[None]:
    """Packages that import nothing; nobody else sees them, or what they hold."""
    spec = importlib.util.find_spec(_NAME)
    (home,) = (spec and spec.submodule_search_locations) or ("",)
    for name in (_NAME, f"{_NAME}.client", f"{_NAME}.config"):
        package = ModuleType(name)
        package.__path__ = [str(Path(home, *name.split(".")[1:]))]
        sys.modules[name] = package
    models = f"{_NAME}.client.models"
    sys.modules[models] = ModuleType(models)
    sys.modules[_NAME].client = sys.modules[f"{_NAME}.client"]  # type: ignore[attr-defined]  # what an import does
    try:
        yield
    finally:
        for name in [n for n in sys.modules if n.partition(".")[0] == _NAME]:
            del sys.modules[name]
