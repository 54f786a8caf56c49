"""Kernel modules are loaded, or named when they cannot be."""

import os
from pathlib import Path

import pytest

from ipvsctl.kernel.modules import (
    REQUIRED_MODULES,
    find_modules,
    load_modules,
    loaded_modules,
    scheduler_module,
)
from ipvsctl.model.errors import NotFound

MODULES = "ip_vs_rr 16384 7 - Live 0x0\nip_vs 200704 9 ip_vs_rr, Live 0x0\n"


def test_loaded_modules_need_no_modprobe(tmp_path: Path) -> None:
    """What /proc/modules lists is not loaded again."""
    (tmp_path / "modules").write_text(MODULES, encoding="ascii")
    load_modules(("ip_vs", scheduler_module("rr")), proc=tmp_path)
    assert loaded_modules(tmp_path) == {"ip_vs", "ip_vs_rr"}


def test_built_in_modules_need_no_modprobe(tmp_path: Path) -> None:
    """What /sys/module lists is there, although /proc/modules does not list it."""
    (tmp_path / "sys" / "module" / "nonesuch").mkdir(parents=True)
    load_modules(["nonesuch"], proc=tmp_path, sys=tmp_path / "sys")


def test_a_kernel_without_modules_has_none(tmp_path: Path) -> None:
    """A kernel in one piece has no /proc/modules."""
    assert loaded_modules(tmp_path) == frozenset()


@pytest.mark.parametrize(
    ("listing", "found"),
    [
        ("kernel/net/netfilter/xt_set.ko.xz: kernel/a.ko", True),
        ("kernel/net/netfilter/xt-set.ko", True),
        ("kernel/net/netfilter/xt_setting.ko", False),
        ("", False),
        (None, None),
    ],
)
def test_modules_are_looked_for_in_files(
    tmp_path: Path, listing: str | None, *, found: bool | None
) -> None:
    """None where there are no files to look into; what is loaded is there anyway."""
    tmp_path.joinpath("modules").write_text("ip_set 1 0 - Live 0x0\n")
    if listing is not None:
        directory = tmp_path / os.uname().release
        directory.mkdir()
        directory.joinpath("modules.dep").write_text(listing)
    asked = find_modules(
        ("xt_set", "ip_set"), proc=tmp_path, sys=tmp_path / "sys", files=tmp_path
    )
    assert asked == {"xt_set": found, "ip_set": True}


def built_in_modules() -> frozenset[str]:
    """Those of the running kernel."""
    listed = Path("/lib/modules", os.uname().release, "modules.builtin").read_text()
    return frozenset(Path(line).stem for line in listed.splitlines())


@pytest.mark.kernel
def test_required_modules_are_loaded() -> None:
    """Every required module exists under its name, and is there afterwards."""
    load_modules((*REQUIRED_MODULES, scheduler_module("mh")))
    there = loaded_modules() | built_in_modules()
    assert {*REQUIRED_MODULES, "ip_vs_mh"} <= there


@pytest.mark.kernel
def test_missing_modules_are_named() -> None:
    """One error names all modules that are missing, with what modprobe said."""
    with pytest.raises(NotFound, match="ip_vs_nonesuch, ip_vs_neither") as caught:
        load_modules(["ip_vs", "ip_vs_nonesuch", "ip_vs_neither"])
    assert "ip_vs_nonesuch" in caught.value.reason
