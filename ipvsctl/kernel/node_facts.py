"""Reading what a node is like; without IPVS, a daemon or an API server.

Each part is read alone: one that cannot be read is named, and the others are there.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from ipvsctl.kernel.capabilities import kernel_families, kernel_release
from ipvsctl.kernel.firewall_choice import IPTABLES_MODULES, choose_firewall
from ipvsctl.kernel.iptables import Iptables, choose_flavour
from ipvsctl.kernel.iptables_firewall import IptablesFirewall
from ipvsctl.kernel.modules import SYS, find_modules
from ipvsctl.kernel.neighbours import read_neighbours
from ipvsctl.kernel.netlink import NetlinkSocket
from ipvsctl.kernel.partial import PartialReading
from ipvsctl.kernel.processes import list_running
from ipvsctl.kernel.sockets import read_sockets_in_steps
from ipvsctl.libraries.pyroute import IPRoute
from ipvsctl.model.config import FirewallKind
from ipvsctl.model.errors import KernelError, NotFound
from ipvsctl.model.net import IPAddress, IPFamily
from ipvsctl.model.node_facts import NodeFacts
from ipvsctl.model.state import EMPTY
from ipvsctl.model.steps import finish
from ipvsctl.wire.netlink.messages import NetlinkProtocol
from ipvsctl.wire.route.replies import AddressReplies
from ipvsctl.wire.route.requests import list_addresses

OTHER_PROXIES: Final = frozenset(
    {"kube-proxy", "cilium-agent", "kube-router", "calico-node"}
)

FIREWALL_MODULES: Final = {
    FirewallKind.IPTABLES: IPTABLES_MODULES,
    FirewallKind.NFTABLES: (
        "nf_tables",
        "nft_ct",
        "nft_fib_ipv4",
        "nft_fib_ipv6",
        "nft_chain_nat",
        "nft_masq",
        "nft_nat",
        "nft_reject_ipv4",
        "nft_reject_ipv6",
    ),
}
"""What the rules of each firewall need of the kernel [net/*/netfilter/Makefile]."""


def read_node_facts(
    modules: Iterable[str],
    sysctls: Iterable[str],
    proc_sys: Path,
    wanted: FirewallKind = FirewallKind.AUTO,
    firewall_modules: Mapping[FirewallKind, Iterable[str]] = EMPTY,
) -> NodeFacts:
    """Read everything.

    Args:
        modules: names to look for.
        sysctls: names to read.
        proc_sys: where sysctls are.
        wanted: the firewall that is asked for.
        firewall_modules: more names to look for, by the firewall that needs them; of
            none that works, those of each that is asked for.
    """
    reading = PartialReading()
    part = reading.part
    families = kernel_families()
    kind = None
    try:
        chosen = choose_firewall(wanted, families, may_load=False)
    except KernelError as error:
        reason = str(error)
        neighbours = read_neighbours(None, frozenset(), proc_sys)
    else:
        kind, reason = chosen.kind, chosen.reason
        with closing(chosen.firewall), closing(chosen.former):
            neighbours = read_neighbours(chosen.firewall, frozenset(), proc_sys)
    needed = {*modules, *_needed(kind or wanted, firewall_modules, families)}
    return NodeFacts(
        release=kernel_release(),
        modules=part("modules", lambda: find_modules(needed)),
        sysctls=dict(_sysctls(sysctls, proc_sys)),
        links=part("links", _links),
        mtus=part("MTUs", _mtus),
        bridges=part("bridges", _bridges),
        processes=part("processes", _proxies),
        sockets=part("sockets", lambda: finish(read_sockets_in_steps(families))),
        firewall=kind,
        firewall_reason=reason,
        chains=part("iptables", lambda: _chain_names(families)),
        flavours=part("iptables flavours", IptablesFirewall.count_rules),
        neighbours=neighbours,
        # IPVS' connections are no part of it.
        unread=(
            *reading.unread,
            *(line for line in neighbours.unread if not line.startswith("IPVS")),
        ),
    )


def read_bridge_facts(sysctls: Iterable[str], proc_sys: Path) -> NodeFacts:
    """Of the same only bridges and sysctls, which takes no time."""
    reading = PartialReading()
    return NodeFacts(
        sysctls=dict(_sysctls(sysctls, proc_sys)),
        bridges=reading.part("bridges", _bridges),
    )


def _needed(
    kind: FirewallKind,
    modules: Mapping[FirewallKind, Iterable[str]],
    families: Sequence[IPFamily],
) -> Iterable[str]:
    has_ipv6 = IPFamily.IPV6 in families
    for firewall, names in modules.items():
        if kind in {firewall, FirewallKind.AUTO}:
            yield from (n for n in names if has_ipv6 or not n.endswith("_ipv6"))


def _chain_names(families: Sequence[IPFamily]) -> frozenset[str] | None:
    """Everybody's chains of iptables; None where it is not installed."""
    flavour = choose_flavour()
    try:
        tools = [Iptables(family, flavour=flavour) for family in families]
    except NotFound:
        return None
    return frozenset().union(*(tool.read_chain_names() for tool in tools))


def _sysctls(names: Iterable[str], root: Path) -> Iterable[tuple[str, str]]:
    for name in names:
        try:
            yield name, (root / name).read_text(encoding="ascii").strip()
        except OSError:
            continue


def _links() -> tuple[str, ...]:
    return tuple(sorted(path.name for path in (SYS / "class" / "net").iterdir()))


def _mtus() -> Mapping[IPAddress, int]:
    with IPRoute() as ip:
        mtus = {link["index"]: link.get_attr("IFLA_MTU") for link in ip.link("dump")}
    with closing(NetlinkSocket.open(NetlinkProtocol.ROUTE)) as opened:
        listed = opened.dump(
            list_addresses(), AddressReplies().address, "list addresses"
        )
    return {
        item.address: mtus[item.ifindex]
        for item in listed
        if item is not None and item.ifindex in mtus
    }


def _bridges() -> tuple[str, ...]:
    found = (SYS / "class" / "net").glob("*/brif")
    return tuple(sorted(path.parent.name for path in found if any(path.iterdir())))


def _proxies() -> tuple[str, ...]:
    return tuple(sorted({process.name for process in list_running(OTHER_PROXIES)}))
