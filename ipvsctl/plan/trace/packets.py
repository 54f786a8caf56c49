"""Follows a packet through a node's state: chains, sets and virtual servers.

The order of hooks is the kernel's. A rule, match, target or set that is not understood
ends the trace with an error, so that a rule nobody modelled never looks harmless.

    from a link      mangle, nat PREROUTING -> routing -+-> mangle, filter INPUT -> IPVS
                                                        '-> mangle, filter FORWARD
    from the host    mangle, nat OUTPUT -> IPVS -> (not taken) filter OUTPUT
    taken by IPVS    mangle, filter OUTPUT with the endpoint as destination
    leaving          mangle, nat POSTROUTING

IPVS sits after filter in INPUT and between nat and filter in OUTPUT, and sends what it
takes through OUTPUT once more (ip_vs_core.c:ip_vs_ops4, ip_vs_xmit.c:
ip_vs_nat_send_or_cont); nat is passed once for each direction of translation.

An answer is a packet of its own, from the endpoint to the client, ESTABLISHED and from
a link: it passes FORWARD, after whose rules IPVS gives it back the address that the
client has asked (ip_vs_core.c:ip_vs_ops4, NF_INET_FORWARD).
"""

from collections.abc import Collection, Iterator
from collections.abc import Set as AbstractSet
from typing import Final

import msgspec

from ipvsctl.model.errors import TraceError
from ipvsctl.model.ipvs import ForwardingMethod, RealServerKey, VirtualServerKey
from ipvsctl.model.net import IPAddress, Protocol
from ipvsctl.model.rules import ChainRef, Masquerade, Reject, Table, Verdict
from ipvsctl.model.state import EMPTY, NodeState
from ipvsctl.plan.trace.chain_walk import Walker
from ipvsctl.plan.trace.outcome import Delivery, Fate, Outcome, ServerStep, Step
from ipvsctl.plan.trace.packet import Packet
from ipvsctl.plan.union.ownership import OwningEntries

_MODELLED: Final = {ForwardingMethod.MASQUERADE, ForwardingMethod.TUNNEL}

_FTP: Final = 21
_FTP_DATA: Final = 20
_FIRST_UNPRIVILEGED: Final = 1024


def trace(
    state: NodeState,
    packet: Packet,
    *,
    host_addresses: Collection[IPAddress] = (),
    foreign: AbstractSet[VirtualServerKey] = frozenset(),
) -> Outcome:
    """Follow a packet through a node.

    Args:
        state: chains, sets with entries, virtual and real servers, bound and routed
            addresses; desired or observed.
        packet: as it enters the node or is made there.
        host_addresses: addresses of the node's links other than the VIP link.
        foreign: virtual servers that are known to be others', in the state or not. One
            in the state without an owning entry is another's, too.

    Raises:
        TraceError: something on the way is missing or not modelled.
    """
    return _Trace(state, frozenset(host_addresses), foreign).run(packet)


class _Ended(Exception):
    """The packet goes nowhere else."""

    def __init__(self, fate: Fate) -> None:
        super().__init__(fate)
        self.fate = fate


class _Trace:
    def __init__(
        self,
        state: NodeState,
        host_addresses: frozenset[IPAddress],
        foreign: AbstractSet[VirtualServerKey],
    ) -> None:
        self._state = state
        self._host_addresses = host_addresses
        self._foreign = foreign
        self._walker = Walker(state, host_addresses)
        self._steps: list[Step] = []
        """Up to IPVS or to the end."""
        self._after: list[Step] = []
        """After IPVS, on the way that is followed at present."""
        self._compared: int | None = None
        """How many rules up to IPVS; None if it has not come there."""
        self._virtual_server: VirtualServerKey | None = None
        self._deliveries: list[Delivery] = []

    def run(self, packet: Packet) -> Outcome:
        masqueraded = False
        try:
            if packet.in_interface:
                fate, masqueraded = self._from_link(packet)
            else:
                fate, masqueraded = self._from_host(packet)
        except _Ended as end:
            fate = end.fate
        except TraceError as error:
            path = tuple(map(str, (*self._steps, *self._after)))
            raise TraceError(error.reason, path=path) from None
        compared = self._walker.compared if self._compared is None else self._compared
        return Outcome(
            fate=fate,
            virtual_server=self._virtual_server,
            deliveries=tuple(self._deliveries),
            masqueraded=masqueraded,
            steps=tuple(self._steps),
            compared=compared,
        )

    def _from_link(self, packet: Packet) -> tuple[Fate, bool]:
        packet, _ = self._hook(packet, "PREROUTING", Table.MANGLE, Table.NAT)
        if not self._walker.is_local(packet.destination):
            packet, _ = self._hook(packet, "FORWARD", Table.MANGLE, Table.FILTER)
            return Fate.ROUTED, self._leave(packet)
        packet, _ = self._hook(packet, "INPUT", Table.MANGLE, Table.FILTER)
        return self._balance(packet) or Fate.LOCAL, False

    def _from_host(self, packet: Packet) -> tuple[Fate, bool]:
        packet, _ = self._hook(packet, "OUTPUT", Table.MANGLE, Table.NAT)
        fate = self._balance(packet)
        if fate is not None:
            return fate, False
        packet, _ = self._hook(packet, "OUTPUT", Table.FILTER)
        masqueraded = self._leave(packet)
        if not self._walker.is_local(packet.destination):
            return Fate.ROUTED, masqueraded
        self._loop(packet)
        return Fate.LOCAL, masqueraded

    def _balance(self, packet: Packet) -> Fate | None:
        """Have IPVS take a packet; None if there is no virtual server for it."""
        key = self._find_server(packet)
        if key is None:
            return None
        self._virtual_server = key
        self._compared = self._walker.compared
        self._steps.append(ServerStep(key))
        if self._is_foreign(key):
            return Fate.NOT_OURS
        for endpoint in self._usable(key):
            self._deliveries.append(self._deliver(packet, endpoint))
        fates = {delivery.fate for delivery in self._deliveries}
        return fates.pop() if len(fates) == 1 else Fate.BALANCED

    def _deliver(self, packet: Packet, endpoint: RealServerKey) -> Delivery:
        """Follow a packet from IPVS to one endpoint."""
        self._after = []
        if self._is_tunnelled(endpoint):
            # It leaves as it came, in a packet of this host's to the other node.
            return Delivery(
                endpoint=endpoint,
                masqueraded=False,
                fate=Fate.BALANCED,
                steps=(),
                is_tunnelled=True,
            )
        packet = msgspec.structs.replace(
            packet, destination=endpoint.address, port=endpoint.port
        )
        fate, masqueraded = Fate.BALANCED, False
        before = self._walker.compared
        try:
            masqueraded = self._send(packet)
        except _Ended as end:
            fate = end.fate
        return Delivery(
            endpoint=endpoint,
            masqueraded=masqueraded,
            fate=fate,
            steps=tuple(self._after),
            compared=self._walker.compared - before,
        )

    def _is_tunnelled(self, endpoint: RealServerKey) -> bool:
        """Whether a real server of the virtual server is another node."""
        if self._virtual_server is None:
            return False
        server = self._state.real_servers[self._virtual_server][endpoint]
        return server.forwarding is ForwardingMethod.TUNNEL

    def _send(self, packet: Packet) -> bool:
        """Send a packet out of IPVS; whether it is masqueraded."""
        is_local = self._walker.is_local(packet.destination)
        if packet.in_interface:
            if is_local:
                # A real server on this host gets the packet right here, in INPUT.
                return False
            packet = msgspec.structs.replace(packet, in_interface="")
            packet, _ = self._hook(packet, "OUTPUT", Table.MANGLE, Table.FILTER)
            return self._leave(packet)
        tables = (Table.FILTER,) if is_local else (Table.MANGLE, Table.FILTER)
        packet, _ = self._hook(packet, "OUTPUT", *tables)
        masqueraded = self._leave(packet)
        if is_local:
            self._loop(packet)
        return masqueraded

    def _loop(self, packet: Packet) -> None:
        """Come back in on lo; conntrack and nat know the packet already."""
        looped = msgspec.structs.replace(packet, in_interface="lo")
        looped, _ = self._hook(looped, "PREROUTING", Table.MANGLE)
        self._hook(looped, "INPUT", Table.MANGLE, Table.FILTER)

    def _leave(self, packet: Packet) -> bool:
        """Pass POSTROUTING; whether the packet is masqueraded there."""
        _, masqueraded = self._hook(packet, "POSTROUTING", Table.MANGLE, Table.NAT)
        return masqueraded

    def _hook(self, packet: Packet, chain: str, *tables: Table) -> tuple[Packet, bool]:
        """Pass a hook's tables; the packet with its mark, and whether masqueraded."""
        steps = self._steps if self._virtual_server is None else self._after
        masqueraded = False
        for table in tables:
            if table is Table.NAT and packet.ctstate != "NEW":
                continue
            packet, end = self._walker.walk(packet, ChainRef(table, chain), steps)
            if end is Verdict.DROP:
                raise _Ended(Fate.DROPPED)
            if isinstance(end, Reject):
                raise _Ended(Fate.REJECTED)
            masqueraded |= isinstance(end, Masquerade)
        return packet, masqueraded

    def _find_server(self, packet: Packet) -> VirtualServerKey | None:
        """The virtual server that takes a packet, in the state or known as foreign."""
        for key in _server_keys(packet):
            if key in self._state.virtual_servers or key in self._foreign:
                return key
        return None

    def _is_foreign(self, key: VirtualServerKey) -> bool:
        if key in self._foreign:
            return True
        return key not in OwningEntries(self._state, self._host_addresses)

    def _usable(self, key: VirtualServerKey) -> Iterator[RealServerKey]:
        """The real servers that a virtual server may choose from, sorted."""
        held = self._state.real_servers.get(key, EMPTY)
        usable = [found for found, server in held.items() if server.weight > 0]
        if not usable:
            # The kernel answers with an ICMP error (ip_vs_core.c:ip_vs_leave).
            raise _Ended(Fate.REJECTED)
        for found in sorted(usable):
            forwarding = held[found].forwarding
            if forwarding not in _MODELLED:
                raise TraceError(f"{key} -> {found}: {forwarding.name} is not modelled")
            yield found


def _server_keys(packet: Packet) -> Iterator[VirtualServerKey]:
    """The virtual servers that may take a packet, the first there is does.

    Marks win over addresses. A virtual server of port 21 takes the data connections of
    FTP, too, and one of port 0 all other ports (ip_vs_ctl.c:ip_vs_service_find).
    """
    if packet.protocol is None:
        return
    if packet.mark:
        yield VirtualServerKey(family=packet.family, fwmark=packet.mark)
    ports = [packet.port]
    is_data = packet.port == _FTP_DATA or packet.port >= _FIRST_UNPRIVILEGED
    if packet.protocol is Protocol.TCP and is_data:
        ports.append(_FTP)
    for port in (*ports, 0):
        yield VirtualServerKey(
            family=packet.family,
            protocol=packet.protocol,
            address=packet.destination,
            port=port,
        )
