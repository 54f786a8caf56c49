"""Findings about tunnels between nodes."""

from collections.abc import Iterator
from typing import Final

from ipvsctl.model.capabilities import Capabilities
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.net import IPFamily
from ipvsctl.model.node_facts import NodeFacts
from ipvsctl.model.objects import NodeContext
from ipvsctl.model.state import NodeState, Observed
from ipvsctl.model.tunnel import TUNNEL_LINKS
from ipvsctl.plan.report.findings import Finding, Severity
from ipvsctl.plan.service.tunnels import GUE_FIXED

_SUBJECT: Final = "tunnels between nodes"

_WRAPPING: Final = {IPFamily.IPV4: 20 + 8 + 4, IPFamily.IPV6: 40 + 8 + 4}
"""Bytes that a packet gets more: IP, UDP and Generic UDP Encapsulation."""

_LEAST: Final = {IPFamily.IPV4: 576, IPFamily.IPV6: 1280}
"""Bytes of a packet that every network takes (RFC 791, RFC 8200)."""


def check_tunnels(
    observed: Observed,
    desired: NodeState,
    capabilities: Capabilities,
    config: ProxyConfig,
    context: NodeContext | None,
) -> Iterator[Finding]:
    """Whether other nodes can send to this one; nothing where they are not to.

    Args:
        observed: what the kernel holds.
        desired: what it is to hold.
        capabilities: of the same kernel.
        config: the settings.
        context: has what nodes say of themselves; None if that is not known.
    """
    if not config.has_tunnel:
        return
    if capabilities.release < GUE_FIXED:
        yield Finding(
            severity=Severity.PROBLEM,
            subject=_SUBJECT,
            found="the kernel has none in UDP for real servers",
            advice="Linux 5.3 has; all packets are masqueraded here",
        )
        return
    if context is not None:
        yield _check_offers(context)
    for family, end in desired.tunnel_ends.items():
        held = observed.state.tunnel_ends.get(family)
        is_there = held == end
        yield Finding(
            severity=Severity.OK if is_there else Severity.PROBLEM,
            subject=f"{_SUBJECT}, {family.label}",
            found=f"{'end at' if is_there else 'no whole end at'} {end}",
            advice=""
            if is_there
            else "other nodes masquerade for this one; the log of ipvsctl run says why"
            f" link {TUNNEL_LINKS[family]} cannot be made",
        )


def check_tunnel_mtus(facts: NodeFacts, desired: NodeState) -> Iterator[Finding]:
    """How long a packet may be that goes through a tunnel whole.

    Longer ones are refused by ICMP, or cut up, as by any router
    (ip_vs_xmit.c:ip_vs_tunnel_xmit). No network may take less than IP asks for.

    Args:
        facts: of this node.
        desired: what the kernel is to hold.
    """
    for family, end in desired.tunnel_ends.items():
        mtu = (facts.mtus or {}).get(end.address)
        if mtu is None:
            continue
        inside = mtu - _WRAPPING[family]
        is_enough = inside >= _LEAST[family]
        yield Finding(
            severity=Severity.OK if is_enough else Severity.PROBLEM,
            subject=f"MTU of tunnels, {family.label}",
            found=f"packets of up to {inside:,} bytes go whole, of {mtu:,} on the link",
            advice=""
            if is_enough
            else f"{family.label} needs {_LEAST[family]:,}: the MTU between nodes must"
            f" be {_LEAST[family] + _WRAPPING[family]:,} at least",
        )


def _check_offers(context: NodeContext) -> Finding:
    """Whether others have heard of this node."""
    if context.name not in context.tunnel_offers:
        return Finding(
            severity=Severity.NOTE,
            subject=_SUBJECT,
            found="other nodes have not heard that this one takes part",
            advice="ipvsctl run says so in a Lease of namespace ipvsctl-tunnels, if it"
            " may; all packets are masqueraded here until then",
        )
    others = len(context.tunnel_offers) - 1
    return Finding(
        severity=Severity.OK,
        subject=_SUBJECT,
        found=f"with {others} other node{'' if others == 1 else 's'}",
    )
