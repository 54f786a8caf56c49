"""Follows a packet through a node's state: chains, sets and virtual servers.

The order of hooks is the kernel's; the packet is the first of its flow. A rule, match,
target or set that is not understood fails the trace, so that a rule nobody
modelled never looks harmless.

    from a link      mangle, nat PREROUTING -> routing -+-> mangle, filter INPUT -> IPVS
                                                        '-> mangle, filter FORWARD
    from the host    mangle, nat OUTPUT -> IPVS -> (not taken) filter OUTPUT
    taken by IPVS    mangle, filter OUTPUT with the endpoint as destination
    leaving          mangle, nat POSTROUTING

IPVS sits after filter in INPUT and between nat and filter in OUTPUT, and sends what it
takes through OUTPUT once more (ip_vs_core.c:ip_vs_ops4, ip_vs_xmit.c:
ip_vs_nat_send_or_cont); nat is passed once for each direction of translation.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import StrEnum

from ipvsctl.model.ipvs import RealServerKey, VirtualServerKey
from ipvsctl.model.net import IPAddress
from ipvsctl.model.rules import ChainRef, Masquerade, Reject, Table, Verdict
from ipvsctl.model.state import NodeState
from tests.plan.trace.chain_walk import Matched, Packet, TraceError, Walker

__all__ = ["Delivery", "Fate", "Outcome", "Packet", "Step", "TraceError", "trace"]


class Fate(StrEnum):
    """Where a packet ends."""

    BALANCED = "sent to a real server by IPVS"
    LOCAL = "delivered to a process of this host"
    ROUTED = "forwarded or sent without IPVS"
    DROPPED = "dropped without an answer"
    REJECTED = "answered with port unreachable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One way a balanced packet may go."""

    endpoint: RealServerKey
    masqueraded: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A table that a packet passed at a hook, or the virtual server that took it.

    Attributes:
        place: the built-in chain, or the virtual server.
        matched: rules that held, in the order they were met.
        packet: as it went on.
    """

    place: ChainRef | VirtualServerKey
    matched: tuple[Matched, ...] = ()
    packet: Packet


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a packet.

    Attributes:
        deliveries: one for each real server that may be chosen, sorted; empty
            unless BALANCED.
        masqueraded: of a packet that was ROUTED.
        path: chains and verdicts, for the message of a failed test.
        steps: the same in full; those after a virtual server come once for each of
            its real servers.
    """

    fate: Fate
    deliveries: tuple[Delivery, ...] = ()
    masqueraded: bool = False
    path: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Where it may go, as text."""
        return tuple(str(delivery.endpoint) for delivery in self.deliveries)

    @property
    def is_masqueraded(self) -> bool:
        """True or False when that is the same for every endpoint.

        Raises:
            TraceError: it depends on the endpoint; look at `deliveries`.
        """
        answers = {delivery.masqueraded for delivery in self.deliveries}
        if not answers:
            return self.masqueraded
        if len(answers) > 1:
            raise TraceError(f"depends on the endpoint: {self.deliveries}")
        return answers.pop()


def trace(
    state: NodeState, packet: Packet, *, host_addresses: Collection[IPAddress] = ()
) -> Outcome:
    """Follow a packet through a node.

    Args:
        state: chains, sets with entries, virtual and real servers, bound addresses;
            desired or observed.
        packet: the first of its flow.
        host_addresses: addresses of the node's links other than the VIP link.

    Raises:
        TraceError: something on the way is not modelled.
    """
    return _Trace(state, frozenset(host_addresses)).run(packet)


class _Ended(Exception):
    """The packet goes nowhere else."""

    def __init__(self, fate: Fate) -> None:
        super().__init__(fate)
        self.fate = fate


class _Trace:
    def __init__(self, state: NodeState, host_addresses: frozenset[IPAddress]) -> None:
        self._state = state
        self._endpoints: list[Delivery] = []
        self._path: list[str] = []
        self._steps: list[Step] = []
        local = host_addresses | state.addresses
        self._walker = Walker(state, local, self._path, matched=[])

    def run(self, packet: Packet) -> Outcome:
        masqueraded = False
        try:
            if packet.in_interface:
                fate, masqueraded = self._from_link(packet)
            else:
                fate, masqueraded = self._from_host(packet)
        except _Ended as end:
            fate = end.fate
        key = sorted(self._endpoints, key=lambda delivery: delivery.endpoint)
        balanced = tuple(key) if fate is Fate.BALANCED else ()
        return Outcome(
            fate=fate,
            deliveries=balanced,
            masqueraded=masqueraded,
            path=tuple(self._path),
            steps=tuple(self._steps),
        )

    def _from_link(self, packet: Packet) -> tuple[Fate, bool]:
        packet, _ = self._hook(packet, "PREROUTING", Table.MANGLE, Table.NAT)
        if not self._walker.is_local(packet.destination):
            packet, _ = self._hook(packet, "FORWARD", Table.MANGLE, Table.FILTER)
            return self._leave(packet)
        packet, _ = self._hook(packet, "INPUT", Table.MANGLE, Table.FILTER)
        key = self._virtual_server(packet)
        if key is None:
            return Fate.LOCAL, False
        for endpoint in self._real_servers(key):
            balanced = _toward(packet, endpoint)
            masqueraded = False
            # A real server on this host gets the packet right here, in INPUT.
            if not self._walker.is_local(endpoint.address):
                balanced = replace(balanced, in_interface="")
                balanced, _ = self._hook(balanced, "OUTPUT", Table.MANGLE, Table.FILTER)
                _, masqueraded = self._leave(balanced)
            self._endpoints.append(Delivery(endpoint=endpoint, masqueraded=masqueraded))
        return Fate.BALANCED, False

    def _from_host(self, packet: Packet) -> tuple[Fate, bool]:
        packet, _ = self._hook(packet, "OUTPUT", Table.MANGLE, Table.NAT)
        key = self._virtual_server(packet)
        if key is None:
            packet, _ = self._hook(packet, "OUTPUT", Table.FILTER)
            fate, masqueraded = self._leave(packet)
            if self._walker.is_local(packet.destination):
                self._loop(packet)
                fate = Fate.LOCAL
            return fate, masqueraded
        for endpoint in self._real_servers(key):
            balanced = _toward(packet, endpoint)
            tables = [Table.FILTER]
            if not self._walker.is_local(endpoint.address):
                tables.insert(0, Table.MANGLE)
            balanced, _ = self._hook(balanced, "OUTPUT", *tables)
            _, masqueraded = self._leave(balanced)
            if self._walker.is_local(endpoint.address):
                self._loop(balanced)
            self._endpoints.append(Delivery(endpoint=endpoint, masqueraded=masqueraded))
        return Fate.BALANCED, False

    def _loop(self, packet: Packet) -> None:
        """Come back in on lo; conntrack and nat know the packet already."""
        looped = replace(packet, in_interface="lo")
        looped, _ = self._hook(looped, "PREROUTING", Table.MANGLE)
        self._hook(looped, "INPUT", Table.MANGLE, Table.FILTER)

    def _leave(self, packet: Packet) -> tuple[Fate, bool]:
        _, masqueraded = self._hook(packet, "POSTROUTING", Table.MANGLE, Table.NAT)
        return Fate.ROUTED, masqueraded

    def _virtual_server(self, packet: Packet) -> VirtualServerKey | None:
        """Marks win over addresses (ip_vs_ctl.c:ip_vs_service_find)."""
        if packet.protocol is None:
            return None
        by_mark = VirtualServerKey(family=packet.family, fwmark=packet.mark)
        by_address = VirtualServerKey(
            family=packet.family,
            protocol=packet.protocol,
            address=packet.destination,
            port=packet.port,
        )
        for key in (by_mark, by_address):
            if key in self._state.virtual_servers:
                self._path.append(f"IPVS {key}")
                self._steps.append(Step(place=key, packet=packet))
                return key
        return None

    def _real_servers(self, key: VirtualServerKey) -> list[RealServerKey]:
        servers = self._state.real_servers.get(key, {}).values()
        usable = [server.key for server in servers if server.weight > 0]
        if not usable:
            # The kernel answers with an ICMP error (ip_vs_core.c:ip_vs_leave).
            raise _Ended(Fate.REJECTED)
        return usable

    def _hook(self, packet: Packet, chain: str, *tables: Table) -> tuple[Packet, bool]:
        """Pass a hook's tables; the packet with its mark, and whether masqueraded."""
        masqueraded = False
        for table in tables:
            if table is Table.NAT and packet.ctstate != "NEW":
                continue
            place = ChainRef(table, chain)
            self._walker.matched.clear()
            packet, end = self._walker.walk(packet, place)
            matched = tuple(self._walker.matched)
            self._steps.append(Step(place=place, matched=matched, packet=packet))
            if end is Verdict.DROP:
                raise _Ended(Fate.DROPPED)
            if isinstance(end, Reject):
                raise _Ended(Fate.REJECTED)
            masqueraded |= isinstance(end, Masquerade)
        return packet, masqueraded


def _toward(packet: Packet, endpoint: RealServerKey) -> Packet:
    return replace(packet, destination=endpoint.address, port=endpoint.port)
