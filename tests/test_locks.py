"""What is installed is pinned, and every place that installs it says the same."""

import re
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).parents[1]
LOCKS: Final = sorted(ROOT.joinpath("locks").iterdir())
PROJECT: Final[dict[str, Any]] = tomllib.loads(
    ROOT.joinpath("pyproject.toml").read_text("utf-8")
)
GROUPS: Final[dict[str, list[str]]] = PROJECT["dependency-groups"]
DEPENDENCIES: Final = [
    ("runtime", line) for line in PROJECT["project"]["dependencies"]
] + [(name, line) for name, lines in GROUPS.items() for line in lines]


def pins(name: str) -> dict[str, set[str]]:
    """Versions by package in a lock; several where they depend on the Python."""
    found: dict[str, set[str]] = {}
    text = ROOT.joinpath("locks", f"{name}.txt").read_text("utf-8")
    for package, version in re.findall(r"^([a-z0-9.-]+)==(\S+)", text, re.MULTILINE):
        found.setdefault(package, set()).add(version)
    return found


def test_there_is_a_lock_for_each_group() -> None:
    """And one for the program."""
    assert {path.name for path in LOCKS} == {f"{n}.txt" for n in ("runtime", *GROUPS)}


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
def test_a_lock_is_of_versions_and_hashes(path: Path) -> None:
    """Nothing else is in one: no index, no address, no path of a machine."""
    text = path.read_text("utf-8").replace(" \\\n", "")
    head, *lines = text.splitlines()
    assert head == "# Made by `nox -s lock`."
    assert lines
    pin = r"[a-z0-9.-]+==[\w.+!]+( ; [\w .'<>=!()]+)?(    --hash=sha256:[0-9a-f]{64})+"
    assert [line for line in lines if not re.fullmatch(pin, line)] == []


@pytest.mark.parametrize(("name", "line"), DEPENDENCIES)
def test_pins_are_what_the_project_asks_for(name: str, line: str) -> None:
    """Each dependency is pinned within its bounds."""
    wanted = Requirement(line)
    package = canonicalize_name(wanted.name)
    versions = pins(name).get(package) or pins("runtime")[package]
    assert versions
    assert [v for v in versions if not wanted.specifier.contains(v)] == []


def test_no_two_sessions_differ() -> None:
    """A package has the same versions in every lock that it is in."""
    locks = [pins(path.stem) for path in LOCKS]
    for package in {package for lock in locks for package in lock}:
        assert len({frozenset(lock[package]) for lock in locks if package in lock}) == 1


def test_what_builds_the_package_is_locked() -> None:
    """Nothing is fetched for a build: it is not isolated."""
    assert {*PROJECT["build-system"]["requires"]} <= {*GROUPS["build"]}


def test_ci_runs_what_the_readme_says() -> None:
    """The README's test command is CI's, and its others begin like that one."""
    readme = ROOT.joinpath("README.md").read_text("utf-8").splitlines()
    ci = ROOT.joinpath(".ci", "run").read_text("utf-8").splitlines()
    install = "python3 -m venv .venv && .venv/bin/pip install"
    before = f"apt-get update && apt-get install -y python3-venv && {install}"
    locked = f"{before} --require-hashes -r locks/nox.txt && .venv/bin/nox"
    assert [line for line in readme if ".venv/bin/nox" in line] == [
        f"{locked} -s demo",
        locked,
    ]
    assert [line for line in ci if line.startswith("apt-get")] == [locked]
    assert ci[-1] == locked
    contributing = ROOT.joinpath("CONTRIBUTING.md").read_text("utf-8")
    assert f"{install} --require-hashes -r locks/nox.txt\n" in contributing
