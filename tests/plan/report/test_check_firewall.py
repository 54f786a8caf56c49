"""What is found about the firewall of a node."""

from typing import Any

import msgspec
import pytest

from ipvsctl.model.config import Compatibility, FirewallKind, ProxyConfig
from ipvsctl.model.neighbours import FilterTable, Neighbours
from ipvsctl.model.net import IPFamily
from ipvsctl.model.node_facts import NodeFacts
from ipvsctl.plan.report.check_firewall import check_filters, check_firewall
from ipvsctl.plan.report.findings import Severity

IPTABLES = NodeFacts(
    release=(6, 1),
    firewall=FirewallKind.IPTABLES,
    firewall_reason="iptables and ipset work here",
)
NFTABLES = NodeFacts(
    release=(6, 12),
    firewall=FirewallKind.NFTABLES,
    firewall_reason="iptables-save: not installed",
)
WANTED = ProxyConfig(firewall=FirewallKind.NFTABLES)
AS_KUBE_PROXY = ProxyConfig(compatibility=Compatibility.KUBE_PROXY)


def but(facts: NodeFacts, **found: Any) -> NodeFacts:
    """The same node, but for these."""
    return msgspec.structs.replace(facts, **found)


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        (IPTABLES, ["iptables (iptables and ipset work here)"]),
        (NFTABLES, ["nftables (iptables-save: not installed)"]),
        (NodeFacts(), []),
    ],
)
def test_which_it_is(facts: NodeFacts, told: list[str]) -> None:
    """And why; nothing, if that was not looked at."""
    found = [*check_firewall(facts, ProxyConfig())]
    assert [f.found for f in found] == told
    assert all(f.severity is Severity.OK for f in found)


@pytest.mark.parametrize(
    ("config", "advice"),
    [
        (ProxyConfig(), "load the kernel's modules of nftables, or install iptables"),
        (ProxyConfig(firewall=FirewallKind.IPTABLES), "or set firewall: nftables"),
        (WANTED, "or set firewall: iptables"),
        (AS_KUBE_PROXY, "or set compatibility: none and firewall: nftables"),
    ],
)
def test_none_works(config: ProxyConfig, advice: str) -> None:
    """That is a problem, and what to do depends on what was asked for."""
    facts = but(NFTABLES, firewall=None, firewall_reason="none of them")
    (finding,) = check_firewall(facts, config)
    assert finding.severity is Severity.PROBLEM
    assert finding.found == "none of them"
    assert advice in finding.advice


def test_compatibility_wins() -> None:
    """What is set and has no effect is said."""
    config = msgspec.structs.replace(AS_KUBE_PROXY, firewall=FirewallKind.NFTABLES)
    facts = but(IPTABLES, firewall_reason="configured")
    (finding,) = check_firewall(facts, config)
    assert finding.severity is Severity.NOTE
    assert finding.found == "iptables (configured)"
    assert "compatibility: kube-proxy is always iptables" in finding.advice
    assert [f.severity for f in check_firewall(facts, AS_KUBE_PROXY)] == [Severity.OK]


@pytest.mark.parametrize(
    ("facts", "is_too_old"),
    [
        (but(NFTABLES, release=(5, 5)), True),
        (but(NFTABLES, release=(5, 6)), False),
        (but(NFTABLES, release=()), False),
        (but(IPTABLES, release=(5, 4)), False),
    ],
)
def test_a_kernel_too_old_for_nftables(facts: NodeFacts, *, is_too_old: bool) -> None:
    """It has nftables, and not the sets that are needed."""
    found = [f.severity for f in check_firewall(facts, ProxyConfig())]
    assert (Severity.PROBLEM in found) is is_too_old


@pytest.mark.parametrize(
    ("flavours", "found"),
    [
        ({"nft": 12, "legacy": 3000}, ["nft 12 rules, legacy 3,000 rules"]),
        ({"nft": 12, "legacy": 0}, []),
        ({"nft": 12}, []),
        (None, []),
    ],
)
def test_two_flavours_of_iptables(
    flavours: dict[str, int] | None, found: list[str]
) -> None:
    """One that is installed and not used is in nobody's way."""
    findings = check_filters(but(IPTABLES, flavours=flavours), ProxyConfig())
    assert [f.found for f in findings] == found
    assert [*check_filters(but(NFTABLES, flavours=flavours), ProxyConfig())] == []


@pytest.mark.parametrize(
    ("facts", "advice"),
    [
        (IPTABLES, "answers of pods pass by rules of ipvsctl"),
        (NodeFacts(), "answers of pods pass by rules of ipvsctl"),
        (NFTABLES, "must accept what has the mark 0x4000/0x4000"),
    ],
)
def test_a_policy_of_others(facts: NodeFacts, advice: str) -> None:
    """What nftables accepts in one table another may drop; in iptables nobody may."""
    dropping = FilterTable(policies={"FORWARD": "DROP"})
    filters = {IPFamily.IPV4: (FilterTable(policies={}), dropping)}
    neighbours = Neighbours(filters=filters)
    (finding,) = check_filters(but(facts, neighbours=neighbours), ProxyConfig())
    assert (finding.severity, finding.found) == (Severity.NOTE, "DROP")
    assert advice in finding.advice
