"""Findings about tunnels between nodes."""

from collections.abc import Iterator
from typing import Final

from ipvsctl.model.capabilities import Capabilities
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.state import NodeState, Observed
from ipvsctl.model.tunnel import TUNNEL_LINKS
from ipvsctl.plan.report.findings import Finding, Severity
from ipvsctl.plan.service.tunnels import GUE_FIXED

_SUBJECT: Final = "tunnels between nodes"


def check_tunnels(
    observed: Observed,
    desired: NodeState,
    capabilities: Capabilities,
    config: ProxyConfig,
) -> Iterator[Finding]:
    """Whether other nodes can send to this one; nothing where they are not to.

    Args:
        observed: what the kernel holds.
        desired: what it is to hold.
        capabilities: of the same kernel.
        config: the settings.
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
    elif not desired.tunnel_ends:
        yield Finding(
            severity=Severity.NOTE,
            subject=_SUBJECT,
            found="this Node does not say that it takes part",
            advice='annotate it with ipvsctl.io/tunnel: "true" when all nodes have'
            " tunnelPort; until then all packets are masqueraded here",
        )
    for family, end in desired.tunnel_ends.items():
        held = observed.state.tunnel_ends.get(family)
        is_there = held == end
        yield Finding(
            severity=Severity.OK if is_there else Severity.PROBLEM,
            subject=f"{_SUBJECT}, {family.label}",
            found=f"{'end at' if is_there else 'no whole end at'} {end}",
            advice=""
            if is_there
            else f"what other nodes send is lost: see why link {TUNNEL_LINKS[family]}"
            " cannot be made, or take the annotation ipvsctl.io/tunnel off this Node",
        )
