"""Sysctls are files."""

import errno
from pathlib import Path

import pytest

from ipvsctl.kernel.sysctls import Sysctls
from ipvsctl.plan.diff.ops import FailedOp, SetSysctl

NAME = "net/ipv4/vs/conntrack"


def sysctls(root: Path, *names: str) -> Sysctls:
    """A tree with one sysctl in it."""
    (root / "net/ipv4/vs").mkdir(parents=True)
    (root / NAME).write_text("0\n", encoding="ascii")
    return Sysctls(names, root)


def test_those_that_can_be_read_are(tmp_path: Path) -> None:
    """Values come without their newline; what is not there is left out."""
    assert sysctls(tmp_path, NAME, "net/none").read() == {NAME: "0"}


@pytest.mark.parametrize(("mode", "expected"), [(0o644, True), (0o444, False)])
def test_what_is_the_hosts_is_read_only(
    tmp_path: Path, mode: int, *, expected: bool
) -> None:
    """As the kernel shows it in all network namespaces but the first."""
    tree = sysctls(tmp_path, NAME)
    (tmp_path / NAME).chmod(mode)
    assert tree.may_be_set(NAME) is expected
    assert tree.may_be_set("net/none")


def test_a_failure_stops_no_other(tmp_path: Path) -> None:
    """Each sysctl is written for itself; one that is not there is not made."""
    tree = sysctls(tmp_path, NAME)
    missing = SetSysctl("net/none/conntrack", "1")
    failed = tree.run((missing, SetSysctl(NAME, "1")))
    assert failed == [
        FailedOp(op=missing, errno=errno.ENOENT, reason="ENOENT (not there)")
    ]
    assert tree.read() == {NAME: "1"}
