"""The job file says what the caller meant, whatever characters that takes."""

import subprocess
from pathlib import Path

import pytest

from tests.lab.job import read_status, write_job

_AWKWARD = "two words\n'\"$HOME`*"


def test_job_is_what_was_asked_for(tmp_path: Path) -> None:
    """Arguments, environment and directory survive the shell unchanged."""
    show = ("sh", "-c", 'printf "%s|%s|%s" "$1" "$WORD" "$PWD"', "sh", _AWKWARD)
    write_job(tmp_path, show, {"WORD": _AWKWARD, "PATH": "/usr/bin:/bin"}, tmp_path)
    done = subprocess.run(
        ["/bin/sh", tmp_path / "job.sh"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{_AWKWARD}|{_AWKWARD}|{tmp_path}"


def test_names_no_shell_can_export_are_left_out(tmp_path: Path) -> None:
    """An exported bash function in the caller's environment does not break the job."""
    write_job(tmp_path, ["true"], {"BASH_FUNC_f%%": "() { :; }"}, tmp_path)
    assert "BASH_FUNC" not in (tmp_path / "job.sh").read_text()


def test_job_file_is_private(tmp_path: Path) -> None:
    """The environment may hold secrets, so only the owner can read the file."""
    write_job(tmp_path, ["true"], {}, tmp_path)
    assert (tmp_path / "job.sh").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("content", "status"), [(None, None), ("", None), ("0\n", 0), ("137\n", 137)]
)
def test_status(tmp_path: Path, content: str | None, status: int | None) -> None:
    """A status that is missing or half written is no status."""
    if content is not None:
        (tmp_path / "status").write_text(content)
    assert read_status(tmp_path) == status
