"""`kube.library`: a part of kubernetes-asyncio, and no more."""

import subprocess
import sys

_SCRIPT = """
import sys
from ipvsctl.kube.library import library
found = library()
assert found.ApiClient.__module__ == "kubernetes_asyncio.client.api_client"
assert not [name for name in sys.modules if name.startswith("kubernetes_asyncio")]
import gc
assert not [c for c in gc.get_objects() if isinstance(c, type)
            and str(c.__module__).startswith("kubernetes_asyncio.client.models")]
import kubernetes_asyncio.client
assert kubernetes_asyncio.client.V1Service
"""


def test_no_models() -> None:
    """No model is imported, and who imports the library later gets all of it."""
    subprocess.run([sys.executable, "-c", _SCRIPT], check=True)
