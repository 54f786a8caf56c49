"""Conntrack entries of UDP Services: where they lead, and deleting stale ones.

One reading serves any number of virtual servers: it is the table that is long.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Final, NamedTuple, Self

from ipvsctl.kernel.applier import failed_op
from ipvsctl.kernel.netlink import NetlinkSocket
from ipvsctl.model.conntrack import ConntrackFill
from ipvsctl.model.errors import KernelError, NotFound
from ipvsctl.model.ipvs import RealServerKey, VirtualServerKey
from ipvsctl.model.net import IPFamily, Protocol
from ipvsctl.plan.diff.ops import DeleteStaleFlows, FailedOp, Op
from ipvsctl.wire.conntrack.flows import Flow, pack_host_port, unpack_host_port
from ipvsctl.wire.conntrack.replies import FlowReplies
from ipvsctl.wire.conntrack.requests import delete_flow, list_udp_flows
from ipvsctl.wire.netlink.messages import Ack, NetlinkProtocol

_READ_FLOWS: Final = "list UDP flows"


def read_fill(proc_sys: Path) -> ConntrackFill:
    """How full the table of the caller's network namespace is.

    Args:
        proc_sys: where sysctls are.

    Raises:
        OSError: there is none.
        ValueError: what it says of itself is no number.
    """
    count, limit = (
        int((proc_sys / "net/netfilter" / name).read_text(encoding="ascii"))
        for name in ("nf_conntrack_count", "nf_conntrack_max")
    )
    return ConntrackFill(count, limit)


class Conntrack:
    """The connection tracking table of one network namespace.

    Args:
        socket: of the NETFILTER protocol; it is closed with this.
    """

    def __init__(self, socket: NetlinkSocket) -> None:
        self._socket = socket
        self._replies = {family: FlowReplies(family) for family in IPFamily}

    @classmethod
    def open(cls) -> Self:
        """The table of the caller's network namespace.

        Raises:
            KernelError: the socket cannot be opened.
        """
        return cls(NetlinkSocket.open(NetlinkProtocol.NETFILTER))

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def read(
        self, keys: Iterable[VirtualServerKey]
    ) -> Mapping[VirtualServerKey, AbstractSet[RealServerKey]]:
        """For each UDP virtual server, the real servers its flows point to.

        Raises:
            KernelError: flows cannot be read.
        """
        wanted = {_packed(key): key for key in keys if key.protocol is Protocol.UDP}
        found: dict[VirtualServerKey, set[bytes]] = {}
        for flow in self._flows({key.family for key in wanted.values()}):
            key = wanted.get(flow.destination)
            if key is not None:
                found.setdefault(key, set()).add(flow.target)
        return {
            key: frozenset(
                RealServerKey(*unpack_host_port(key.family, target))
                for target in targets
            )
            for key, targets in found.items()
        }

    def run(self, ops: Sequence[Op]) -> list[FailedOp]:
        """See `applier.Transport`."""
        wanted = {}
        for op in ops:
            if not isinstance(op, DeleteStaleFlows):
                raise TypeError(op)
            keep = frozenset(pack_host_port(k.address, k.port) for k in op.keep)
            wanted[_packed(op.virtual_server)] = _Wanted(op, keep)
        families = {wish.op.virtual_server.family for wish in wanted.values()}
        try:
            stale = [
                flow
                for flow in self._flows(families)
                if flow.destination in wanted
                and flow.target not in wanted[flow.destination].keep
            ]
        except KernelError as error:
            ack = Ack(error.errno, f"{error.op}: {error.reason}")
            return [failed_op(op, ack) for op in ops]
        refused: dict[bytes, Ack] = {}
        for place, ack in self._socket.apply(map(delete_flow, stale)).items():
            if not isinstance(KernelError.of(ack.errno, ""), NotFound):
                refused.setdefault(stale[place].destination, ack)
        return [failed_op(wanted[key].op, ack) for key, ack in refused.items()]

    def _flows(self, families: AbstractSet[IPFamily]) -> Iterator[Flow]:
        for family in sorted(families):
            decode = self._replies[family].udp_flow
            for flow in self._socket.stream(
                list_udp_flows(family), decode, _READ_FLOWS
            ):
                if flow is not None:
                    yield flow


class _Wanted(NamedTuple):
    op: DeleteStaleFlows
    keep: frozenset[bytes]


def _packed(key: VirtualServerKey) -> bytes:
    """The destination of its flows; none has that of a fwmark."""
    return b"" if key.address is None else pack_host_port(key.address, key.port)
