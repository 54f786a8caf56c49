"""What krew installs."""

import hashlib
import subprocess
import sys
import tarfile
from pathlib import Path

import yaml

from ipvsctl import __version__
from tests.plugin.archive import NAME, build


def test_the_program_needs_python_alone(tmp_path: Path) -> None:
    """It runs where none of our packages is, and has a licence beside it."""
    archive, _ = build(tmp_path)
    with tarfile.open(archive) as tar:
        assert tar.getnames() == [NAME, "LICENSE"]
        # Debian 12's Python 3.11.2 is without filters; these names were just looked at.
        if hasattr(tarfile, "data_filter"):
            tar.extraction_filter = tarfile.data_filter
        tar.extractall(tmp_path / "out")  # noqa: S202 - see above
    program = tmp_path / "out" / NAME
    assert program.stat().st_mode & 0o111
    done = subprocess.run(
        [sys.executable, "-I", "-S", program, "--help"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert done.stdout.startswith("usage: kubectl ipvs COMMAND")


def test_the_manifest(tmp_path: Path) -> None:
    """Version, place and sum are the archive's, which is always the same."""
    archive, manifest = build(tmp_path, "https://example.org/r/")
    found = yaml.safe_load(manifest.read_text())
    assert (found["kind"], found["metadata"]["name"]) == ("Plugin", "ipvs")
    assert found["spec"]["version"] == f"v{__version__}"
    (platform,) = found["spec"]["platforms"]
    assert platform["uri"] == f"https://example.org/r/{archive.name}"
    assert platform["sha256"] == hashlib.sha256(archive.read_bytes()).hexdigest()
    assert [file["from"] for file in platform["files"]] == [NAME, "LICENSE"]
    # krew asks for no more than this.
    assert len(found["spec"]["shortDescription"]) <= 50
    first = archive.read_bytes()
    for source in Path(__file__).parents[2].glob("ipvsctl/plugin/*.py"):
        source.touch()
    build(tmp_path)
    assert archive.read_bytes() == first
