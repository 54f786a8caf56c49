"""`connect.library`: a part of kubernetes-asyncio, and no more."""

import subprocess
import sys

_SCRIPT = """
import sys
from ipvsctl.kube.connect.library import rest_client_class
found = rest_client_class()
assert found.__module__ == "kubernetes_asyncio.client.rest"
assert not [name for name in sys.modules if name.startswith("kubernetes_asyncio")]
import gc
assert not [c for c in gc.get_objects() if isinstance(c, type)
            and str(c.__module__).startswith("kubernetes_asyncio.client.models")]
import kubernetes_asyncio.client
assert kubernetes_asyncio.client.V1Service
assert kubernetes_asyncio.client.rest.RESTClientObject
"""

_ELSEWHERE = """
import sys
from ipvsctl.kube.connect import library
library._FILES = ("kubernetes_asyncio.client.no_such_file", *library._FILES)
found = library.rest_client_class()
import kubernetes_asyncio.client.rest
assert kubernetes_asyncio.client.rest.RESTClientObject is found
"""


def test_no_models() -> None:
    """No model is imported, and who imports the library later gets all of it."""
    subprocess.run([sys.executable, "-c", _SCRIPT], check=True)


def test_another_layout() -> None:
    """A library whose files are elsewhere is imported as usual."""
    subprocess.run([sys.executable, "-c", _ELSEWHERE], check=True)
