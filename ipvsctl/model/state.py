"""The state of a node, held by the kernel or desired of it, as one value."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from types import MappingProxyType
from typing import Any

import msgspec

from ipvsctl.model.conntrack import ConntrackFill
from ipvsctl.model.former import FormerFirewall
from ipvsctl.model.host import HostNetwork, HostSocket
from ipvsctl.model.ipvs import (
    RealServer,
    RealServerKey,
    RealServerStats,
    Timeouts,
    TrafficStats,
    VirtualServer,
    VirtualServerKey,
)
from ipvsctl.model.net import IPAddress, IPFamily
from ipvsctl.model.parts import Part
from ipvsctl.model.rules import Chains
from ipvsctl.model.sets import Leftover, SetEntry, SetKey, SetShape
from ipvsctl.model.tunnel import TunnelEnd

EMPTY: Mapping[Any, Any] = MappingProxyType({})


class NodeState(msgspec.Struct, frozen=True, kw_only=True):
    """Desired and observed states are the same type, so a plan is their difference.

    Attributes:
        vip_link_up: the VIP link exists and is up.
        sysctls: name relative to `/proc/sys` (`net/ipv4/vs/conntrack`) to value.
            Desired: those that matter. Observed: those that could be read.
        timeouts: desired: 0 leaves the kernel's. Observed: 0 for a protocol that the
            kernel does not balance.
        sets: those that are there, or should be.
        entries: of the sets; one without entries may be absent.
        leftovers: other sets that are to go; desired: those that are to stay for now.
        former: another firewall that is to go; desired: the same.
        chains: by family, chains of ours and our jumps.
        virtual_servers: observed holds foreign ones as well.
        real_servers: by virtual server; one without real servers may be absent.
        addresses: on the VIP link, without IPv6 link-local ones.
        routes: of ours, on the VIP link, by the address they make the host's own, to
            the source of the host's own connections to it; None is the kernel's
            choice. Observed: the address itself when the kernel's own route to it,
            since it is bound, comes before ours.
        stand_ins: addresses with a route of ours on the loopback link; IPv4 only,
            and only while a plan runs.
        tunnel_ends: where packets of other nodes are unpacked. Observed: those whose
            link is there.
    """

    vip_link_up: bool = False
    sysctls: Mapping[str, str] = EMPTY
    timeouts: Timeouts = Timeouts()
    sets: Mapping[SetKey, SetShape] = EMPTY
    entries: Mapping[SetKey, AbstractSet[SetEntry]] = EMPTY
    leftovers: AbstractSet[Leftover] = frozenset()
    former: FormerFirewall | None = None
    chains: Mapping[IPFamily, Chains] = EMPTY
    virtual_servers: Mapping[VirtualServerKey, VirtualServer] = EMPTY
    real_servers: Mapping[VirtualServerKey, Mapping[RealServerKey, RealServer]] = EMPTY
    addresses: AbstractSet[IPAddress] = frozenset()
    routes: Mapping[IPAddress, IPAddress | None] = EMPTY
    stand_ins: AbstractSet[IPAddress] = frozenset()
    tunnel_ends: Mapping[IPFamily, TunnelEnd] = EMPTY

    def evidence(self, key: SetKey) -> AbstractSet[SetEntry]:
        """The entries of a set, and those that a former firewall has in it."""
        entries = self.entries.get(key, frozenset())
        if self.former is None:
            return entries
        return entries | self.former.entries.get(key, frozenset())


class Observed(msgspec.Struct, frozen=True, kw_only=True):
    """The kernel as it was read: the state, and facts that are not state.

    Attributes:
        connections: counters of each real server, by virtual server.
        traffic: counters of each virtual server.
        arrived: packets that each family's end of tunnels has let in since it was made.
        flows: where the UDP flows (conntrack entries) of each virtual server lead: to
            its real servers, and to stale ones; a virtual server without flows may be
            absent. None when they were not read.
        conntrack: how full that table is; None when that was not read.
        host: the rest of this node's network.
        sockets: of the host, those that wait for clients.
        vip_link_down: the VIP link exists, and is not up.
        unread: the parts that could not be read, and why. The state has nothing of
            them, which says nothing.
        skipped: the parts that were not to be read; the same holds of them.
    """

    state: NodeState
    connections: Mapping[VirtualServerKey, Mapping[RealServerKey, RealServerStats]] = (
        EMPTY
    )
    traffic: Mapping[VirtualServerKey, TrafficStats] = EMPTY
    arrived: Mapping[IPFamily, int] = EMPTY
    flows: Mapping[VirtualServerKey, AbstractSet[RealServerKey]] | None = None
    conntrack: ConntrackFill | None = None
    host: HostNetwork = HostNetwork()
    sockets: frozenset[HostSocket] = frozenset()
    vip_link_down: bool = False
    unread: Mapping[Part, str] = EMPTY
    skipped: frozenset[Part] = frozenset()

    @property
    def blind(self) -> frozenset[Part]:
        """The parts of which nothing is known."""
        return self.skipped | self.unread.keys()

    @property
    def host_addresses(self) -> frozenset[IPAddress]:
        """Addresses on this node's other links."""
        return self.host.addresses
