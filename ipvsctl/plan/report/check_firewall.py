"""Findings about the firewall of a node: which one it is, and what else filters there.

What is wrong with iptables alone is no finding where nftables is used.
"""

from collections.abc import Iterator
from typing import Final

from ipvsctl.model.config import FirewallKind, ProxyConfig
from ipvsctl.model.node_facts import NodeFacts
from ipvsctl.plan.report.findings import Finding, Severity

_OLDEST_FOR_NFTABLES: Final = (5, 6)
"""Where keys of several fields may end in a network [NFT_SET_CONCAT]."""

_REMEDIES: Final = {
    FirewallKind.AUTO: "load the kernel's modules of nftables, or install iptables and"
    " the kernel's modules of ipset",
    FirewallKind.IPTABLES: "install iptables and the kernel's modules of ipset, or set"
    " {first}firewall: nftables",
    FirewallKind.NFTABLES: "load the kernel's modules of nftables, or set"
    " firewall: iptables",
}


def check_firewall(facts: NodeFacts, config: ProxyConfig) -> Iterator[Finding]:
    """Which firewall it is, and why; that there is none.

    Args:
        facts: with the firewall that `config` leads to on this node.
        config: the settings it is to be served with.
    """
    kind = facts.firewall
    if kind is None:
        if facts.firewall_reason:
            remedy = _REMEDIES[config.wanted_firewall]
            first = "compatibility: none and " if config.is_kube_proxy else ""
            yield Finding(
                severity=Severity.PROBLEM,
                subject="firewall",
                found=facts.firewall_reason,
                advice="ipvsctl cannot serve this node without one:"
                f" {remedy.format(first=first)}",
            )
        return
    found = f"{kind} ({facts.firewall_reason})"
    if kind is not config.firewall is FirewallKind.NFTABLES:
        yield Finding(
            severity=Severity.NOTE,
            subject="firewall",
            found=found,
            advice="compatibility: kube-proxy is always iptables: set compatibility:"
            " none and firewall: nftables, or leave firewall out",
        )
        return
    yield Finding(severity=Severity.OK, subject="firewall", found=found)
    if kind is FirewallKind.NFTABLES and (0,) < facts.release < _OLDEST_FOR_NFTABLES:
        yield Finding(
            severity=Severity.PROBLEM,
            subject="kernel release",
            found=f"{'.'.join(map(str, facts.release))}, and nftables is used",
            advice="its sets of networks, for loadBalancerSourceRanges, need Linux 5.6:"
            " run that or newer, or use iptables",
        )


def check_filters(facts: NodeFacts, config: ProxyConfig) -> Iterator[Finding]:
    """What else filters: rules of two flavours, and policies.

    Args:
        facts: what the node is like.
        config: the settings it is to be served with.
    """
    is_nftables = facts.firewall is FirewallKind.NFTABLES
    if not is_nftables:
        yield from _flavours(facts)
    for family, tables in (facts.neighbours.filters or {}).items():
        policies = {table.policies.get("FORWARD", "ACCEPT") for table in tables}
        for policy in sorted(policies - {"ACCEPT"}):
            yield Finding(
                severity=Severity.NOTE,
                subject=f"{family.label} FORWARD policy",
                found=policy,
                advice=_beside_nftables(config.masquerade_mark)
                if is_nftables
                else "answers of pods pass by rules of ipvsctl; packets between pods"
                " need rules of the network plugin",
            )


def _beside_nftables(mark: int) -> str:
    """What others' rules have to do, which ours cannot do for them."""
    return (
        "a packet that a table of ipvsctl accepts still meets that chain: rules in it"
        f" must accept what has the mark {mark:#x}/{mark:#x}, what is established, and"
        " packets to pods"
    )


def _flavours(facts: NodeFacts) -> Iterator[Finding]:
    used = {name: count for name, count in (facts.flavours or {}).items() if count}
    if len(used) > 1:
        found = ", ".join(f"{name} {count:,} rules" for name, count in used.items())
        yield Finding(
            severity=Severity.NOTE,
            subject="iptables flavours",
            found=found,
            advice="packets meet the rules of both, and each program sees those of one:"
            " have all agents use the same",
        )
