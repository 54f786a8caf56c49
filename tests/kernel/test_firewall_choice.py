"""Which firewall a node has, and why."""

import errno
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from ipvsctl.kernel import firewall_choice
from ipvsctl.kernel.firewall_choice import IPTABLES_MODULES, choose_firewall
from ipvsctl.kernel.iptables_firewall import IptablesFirewall
from ipvsctl.kernel.nftables_firewall import NftablesFirewall
from ipvsctl.model.config import Compatibility, FirewallKind, ProxyConfig
from ipvsctl.model.errors import KernelError, NotFound
from ipvsctl.model.net import IPFamily

BOTH = tuple(IPFamily)


class Opened:
    """A firewall that does nothing but open."""

    def __init__(self, fault: str = "") -> None:
        self.fault = fault
        self.is_closed = False

    def check(self) -> None:
        """See `IptablesFirewall`."""
        if self.fault:
            raise KernelError.of(errno.EINVAL, "iptables-save", self.fault)

    def close(self) -> None:
        """See `Firewall`."""
        self.is_closed = True


@pytest.fixture(name="node")
def _node(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What this node has; a KernelError instead is why it has it not."""
    node: dict[str, Any] = {
        "iptables": Opened(),
        "nftables": Opened(),
        "modules": None,
        "loaded": [],
        "files": {},
    }

    def opening(name: str) -> Callable[[Sequence[IPFamily]], object]:
        def opened(_families: Sequence[IPFamily]) -> object:
            if isinstance(node[name], KernelError):
                raise node[name]
            return node[name]

        return opened

    def load(names: Sequence[str]) -> None:
        node["loaded"] += names
        if node["modules"] is not None:
            raise node["modules"]

    monkeypatch.setattr(IptablesFirewall, "open", opening("iptables"))
    monkeypatch.setattr(NftablesFirewall, "open", opening("nftables"))

    def find(names: Sequence[str]) -> dict[str, bool | None]:
        return {name: node["files"].get(name) for name in names}

    monkeypatch.setattr(firewall_choice, "load_modules", load)
    monkeypatch.setattr(firewall_choice, "find_modules", find)
    return node


MISSING = KernelError.of(errno.ENOENT, "iptables", "not installed, or not on PATH")
NO_MODULE = NotFound(errno=errno.ENOENT, op="load kernel modules xt_set", reason="none")
NO_NFTABLES = KernelError.of(errno.EINVAL, "nftables", "this kernel has none")


@pytest.mark.parametrize(
    ("wanted", "fact", "kind", "reason"),
    [
        ("auto", {}, "iptables", "iptables and ipset work here"),
        ("auto", {"iptables": MISSING}, "nftables", "not installed, or not on PATH"),
        ("auto", {"modules": NO_MODULE}, "nftables", "xt_set"),
        ("auto", {"iptables": Opened("no table")}, "nftables", "no table"),
        ("iptables", {"nftables": NO_NFTABLES}, "iptables", "configured"),
        ("nftables", {"iptables": MISSING}, "nftables", "configured"),
        ("nftables", {}, "nftables", "configured"),
    ],
)
def test_the_one_that_is(
    node: dict[str, Any],
    wanted: str,
    fact: dict[str, Any],
    kind: str,
    reason: str,
) -> None:
    """As it is asked for, or as the node can."""
    node |= fact
    chosen = choose_firewall(FirewallKind(wanted), BOTH, may_load=True)
    assert chosen.kind is FirewallKind(kind)
    assert chosen.firewall is node[kind]
    assert reason in chosen.reason


@pytest.mark.parametrize(
    ("wanted", "fact", "reasons"),
    [
        ("iptables", {"iptables": MISSING}, ["not installed"]),
        ("iptables", {"modules": NO_MODULE}, ["xt_set"]),
        ("nftables", {"nftables": NO_NFTABLES}, ["this kernel has none"]),
        (
            "auto",
            {"iptables": MISSING, "nftables": NO_NFTABLES},
            ["not installed", "this kernel has none"],
        ),
    ],
)
def test_one_that_cannot_be(
    node: dict[str, Any], wanted: str, fact: dict[str, Any], reasons: list[str]
) -> None:
    """The error has every reason in it, and nobody takes another in silence."""
    node |= fact
    with pytest.raises(KernelError) as error:
        choose_firewall(FirewallKind(wanted), BOTH, may_load=True)
    assert all(reason in str(error.value) for reason in reasons)


@pytest.mark.parametrize(
    ("there", "kind"), [(True, "iptables"), (None, "iptables"), (False, "nftables")]
)
def test_who_may_load_nothing_sees_what_there_is(
    node: dict[str, Any], *, there: bool | None, kind: str
) -> None:
    """Sets without the match for rules are of no use; where nothing tells, it is tried.

    Of RHEL's packages one may be there without the other.
    """
    node["files"] = {"ip_set_hash_ip": True, "xt_set": there}
    chosen = choose_firewall(FirewallKind.AUTO, BOTH, may_load=False)
    assert chosen.kind is FirewallKind(kind)
    assert ("xt_set" in chosen.reason) is (there is False)


def test_iptables_that_does_not_work_is_closed(node: dict[str, Any]) -> None:
    """Its socket would stay open beside the other firewall's."""
    node["iptables"] = Opened("no table")
    choose_firewall(FirewallKind.AUTO, BOTH, may_load=True)
    assert node["iptables"].is_closed


def test_modules_are_loaded_only_for_iptables(node: dict[str, Any]) -> None:
    """And only by who may."""
    choose_firewall(FirewallKind.NFTABLES, BOTH, may_load=True)
    choose_firewall(FirewallKind.IPTABLES, BOTH, may_load=False)
    assert node["loaded"] == []
    choose_firewall(FirewallKind.IPTABLES, BOTH, may_load=True)
    assert node["loaded"] == [*IPTABLES_MODULES]


def test_compatibility_is_iptables() -> None:
    """Whatever else is configured: kube-proxy has no other in IPVS mode."""
    config = ProxyConfig(
        firewall=FirewallKind.NFTABLES, compatibility=Compatibility.KUBE_PROXY
    )
    assert config.wanted_firewall is FirewallKind.IPTABLES
    assert ProxyConfig().wanted_firewall is FirewallKind.AUTO
