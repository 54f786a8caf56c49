"""The file of kubernetes-asyncio that opens connections, and no other of the library.

An ordinary import of any module of the library first runs `kubernetes_asyncio/
__init__.py`, and that imports all APIs and some 700 models: 34 MB on every node, and
0.2 s of its start, for nothing, since bodies are decoded by msgspec. Connections need
two files. Each is imported from its own path ("Importing a source file directly" in the
documentation of importlib); whoever imports the library later gets all of it as usual.
"""

import importlib
import importlib.util
import sys
from functools import cache
from pathlib import Path
from typing import Any, Final

_PACKAGE: Final = "kubernetes_asyncio"
_REST: Final = f"{_PACKAGE}.client.rest"

_FILES: Final = (f"{_PACKAGE}.client.exceptions", _REST)
"""In order: the second imports the first."""


@cache
def rest_client_class() -> Any:  # noqa: ANN401  # of a library without such types
    """`RESTClientObject`: TLS, and a session of aiohttp.

    With a release of the library whose files are elsewhere, or need others, this is an
    ordinary import, in part or whole: larger, but right.

    Raises:
        ImportError: there is no such module.
    """
    if _PACKAGE not in sys.modules:
        try:
            return _rest_alone()
        except (ImportError, FileNotFoundError):
            pass
    return importlib.import_module(_REST).RESTClientObject


def _rest_alone() -> Any:  # noqa: ANN401  # see above
    """The class, out of its file.

    Raises:
        ImportError, FileNotFoundError: there is no library, or not this file.
    """
    try:
        for name in _FILES:
            _import_file(name)
        return sys.modules[_REST].RESTClientObject
    finally:
        if _PACKAGE not in sys.modules:
            # The package, when it is imported, is to find its modules itself.
            for name in _FILES:
                sys.modules.pop(name, None)


def _import_file(name: str) -> None:
    package = importlib.util.find_spec(_PACKAGE)
    (home,) = (package and package.submodule_search_locations) or ("",)
    path = Path(home, *name.split(".")[1:]).with_suffix(".py")
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(name)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
