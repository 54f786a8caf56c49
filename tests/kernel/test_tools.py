"""Programs of the node: where they are found, and what they are run with."""

import errno
import os
from pathlib import Path

import pytest

from ipvsctl.kernel import tools
from ipvsctl.model.errors import KernelError, NotFound


def program(where: Path, text: str) -> Path:
    """A script in a directory of its own."""
    where.mkdir(exist_ok=True)
    script = where / "tool"
    script.write_text(f"#!/bin/sh\n{text}\n")
    script.chmod(0o755)
    return script


def test_a_program_is_found_by_an_absolute_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in the directory that somebody is in, whatever PATH says."""
    script = program(tmp_path / "bin", "")
    monkeypatch.chdir(script.parent)
    for path in ("", ".", "bin:.:", "../bin"):
        monkeypatch.setenv("PATH", path)
        assert tools.look_for("tool") is None
        with pytest.raises(NotFound, match="tool: not installed, or not on PATH"):
            tools.find("tool")
    monkeypatch.setenv("PATH", f".:{script.parent}")
    assert tools.find("tool") == str(script)
    assert tools.find("tool", str(script.parent)) == str(script)


def test_its_environment_is_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the daemon has been given chooses nothing of what a program loads."""
    for name in ("LD_PRELOAD", "LD_LIBRARY_PATH", "XTABLES_LIBDIR", "IFS"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    done = tools.run([str(program(tmp_path / "bin", "cat /proc/self/environ"))])
    said = dict(line.split("=", 1) for line in done.stdout.split("\0") if line)
    # Those that a shell adds of its own.
    assert {n: v for n, v in said.items() if n not in {"PWD", "SHLVL", "_"}} == dict(
        tools.ENVIRONMENT
    )


def test_no_shell_reads_its_arguments(tmp_path: Path) -> None:
    """Nor its input."""
    script = program(tmp_path / "bin", 'printf "%s|" "$@"; cat')
    done = tools.run([str(script), "$(id)", "; id", "a b"], "`id`\udcff")
    assert done.stdout == "$(id)|; id|a b|`id`\udcff"


def test_one_that_cannot_be_run(tmp_path: Path) -> None:
    """It says why, by its name."""
    with pytest.raises(KernelError, match="nonesuch") as error:
        tools.run([str(tmp_path / "nonesuch")])
    assert error.value.errno == errno.ENOENT


def test_one_that_hangs_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its time."""
    monkeypatch.setattr(tools, "TIMEOUT_S", 0.05)
    with pytest.raises(KernelError, match="tool: killed after 0 s") as error:
        tools.run([str(program(tmp_path / "bin", "exec sleep 600"))])
    assert error.value.errno == errno.ETIMEDOUT
