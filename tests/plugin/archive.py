"""Makes what krew installs: `python -m tests.plugin.archive DIRECTORY [URL]`.

An archive with the plugin as one file, and the manifest that has the archive's sum.
The URL is of the place where the archive will be; without one, the manifest is for
`kubectl krew install --manifest ... --archive ...`.
"""

import gzip
import hashlib
import io
import sys
import tarfile
import tempfile
import zipapp
from pathlib import Path
from typing import Final

import yaml

from ipvsctl import __version__

NAME: Final = "kubectl-ipvs"
_ROOT: Final = Path(__file__).parents[2]
_FILES: Final = ("ipvsctl/__init__.py", "ipvsctl/plugin")


def build(directory: Path, url: str = "") -> tuple[Path, Path]:
    """Make both; the archive is the same, byte for byte, whenever it is made.

    Args:
        directory: where to.
        url: of the directory that the archive will be in.

    Returns:
        The archive and the manifest.
    """
    archive = directory / f"{NAME}-v{__version__}.tar.gz"
    with tempfile.TemporaryDirectory() as scratch:
        program = Path(scratch, NAME)
        make_program(program)
        members = {NAME: program, "LICENSE": _ROOT / "LICENSE"}
        archive.write_bytes(_packed(members))
    manifest = directory / "ipvs.yaml"
    place = f"{url.rstrip('/')}/{archive.name}" if url else archive.absolute().as_uri()
    text = yaml.safe_dump(_manifest(archive, place), sort_keys=False)
    manifest.write_text(text, encoding="utf-8")
    return archive, manifest


def make_program(path: Path) -> None:
    """Write the plugin as one file that Python runs."""
    with tempfile.TemporaryDirectory() as scratch:
        for name in _FILES:
            found = _ROOT / name
            for source in sorted(found.glob("*.py")) if found.is_dir() else [found]:
                target = Path(scratch, source.relative_to(_ROOT))
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(source.read_bytes())
        entry = "ipvsctl.plugin.__main__:main"
        python = "/usr/bin/env python3"
        zipapp.create_archive(scratch, path, interpreter=python, main=entry)


def _packed(members: dict[str, Path]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, path in members.items():
            content = path.read_bytes()
            member = tarfile.TarInfo(name)
            member.size = len(content)
            member.mode = 0o755 if name == NAME else 0o644
            tar.addfile(member, io.BytesIO(content))
    return gzip.compress(packed.getvalue(), mtime=0)


def _manifest(archive: Path, place: str) -> dict[str, object]:
    systems = {"key": "os", "operator": "In", "values": ["darwin", "linux"]}
    return {
        "apiVersion": "krew.googlecontainertools.github.com/v1alpha2",
        "kind": "Plugin",
        "metadata": {"name": "ipvs"},
        "spec": {
            "version": f"v{__version__}",
            "shortDescription": "Explain Services that IPVS serves",
            "description": (
                "Runs ipvsctl on the nodes of a cluster: the Services of a node, or of"
                " all of them,\nwhy one does not answer for a pod, and what differs"
                " from what should be.\n"
            ),
            "caveats": "Needs Python 3.11 or later, and ipvsctl in the cluster.\n",
            "platforms": [
                {
                    "selector": {"matchExpressions": [systems]},
                    "uri": place,
                    "sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
                    "bin": NAME,
                    "files": [
                        {"from": NAME, "to": "."},
                        {"from": "LICENSE", "to": "."},
                    ],
                }
            ],
        },
    }


if __name__ == "__main__":
    print(*build(Path(sys.argv[1]), *sys.argv[2:]), sep="\n")
