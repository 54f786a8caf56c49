"""Addresses and routes as `ip` shows them."""

from ipvsctl.model.net import IPFamily, family_of
from ipvsctl.model.state import NodeState
from ipvsctl.wire.route.attributes import RouteProtocol


def render_addresses(state: NodeState) -> list[str]:
    """Bound addresses, `inet ADDR/32` or `inet6 ADDR/128` each, sorted."""
    return sorted(
        f"inet {address}/32"
        if family_of(address) is IPFamily.IPV4
        else f"inet6 {address}/128"
        for address in state.addresses
    )


def render_routes(state: NodeState, link: str) -> list[str]:
    """Our routes as `ip route show table local` and `ip -6 route ...` print them.

    Sorted, on a VIP link of this name.
    """
    lines = []
    for address, source in state.routes.items():
        is_ipv4 = family_of(address) is IPFamily.IPV4
        words = [f"local {address} dev {link} proto {RouteProtocol.IPVSCTL.value}"]
        words += ["scope host"] if is_ipv4 else []
        words += [] if source is None else [f"src {source}"]
        words += [] if is_ipv4 else ["metric 1024 pref medium"]
        lines.append(" ".join(words))
    return sorted(lines)
