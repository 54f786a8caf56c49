"""The kernel's listing of flows, as values.

    nlmsghdr | nfgenmsg | TUPLE_ORIG { IP {} PROTO {} } | TUPLE_REPLY { ... } | ID ...

Numbers are in network order; no attribute says so.
Source: nf_conntrack_netlink.c.
"""

from typing import Final

from ipvsctl.model.errors import WireError
from ipvsctl.model.net import IPFamily, Protocol
from ipvsctl.wire.conntrack.attributes import (
    ADDRESSES,
    NFGENMSG,
    CtaAttr,
    CtaProto,
    CtaTuple,
)
from ipvsctl.wire.conntrack.flows import Flow
from ipvsctl.wire.netlink.attributes import Table, TableReader

_NO_ZONE: Final = b"\0\0"


def _listed(family: IPFamily) -> Table:
    source, destination = ADDRESSES[family]
    return {
        CtaAttr.TUPLE_ORIG: {
            CtaTuple.IP: {source: "s", destination: "s"},
            CtaTuple.PROTO: {
                CtaProto.NUM: "B",
                CtaProto.SRC_PORT: "s",
                CtaProto.DST_PORT: "s",
            },
            CtaTuple.ZONE: "s",
        },
        CtaAttr.TUPLE_REPLY: {
            CtaTuple.IP: {source: "s"},
            CtaTuple.PROTO: {CtaProto.SRC_PORT: "s"},
        },
        CtaAttr.ID: "s",
        CtaAttr.ZONE: "s",
    }


class FlowReplies:
    """Decodes the payloads of a listing of one family.

    The method takes the buffer and where a payload starts and ends in it.
    """

    def __init__(self, family: IPFamily) -> None:
        self._family = family
        self._reader = TableReader(_listed(family))

    def udp_flow(self, buffer: bytes, start: int, end: int) -> Flow | None:
        """A UDP flow; None for another flow, or one in a zone of its own.

        Packets are in a zone (rule target CT) before or after they are in the node's
        own; IPVS acts in the latter.

        Raises:
            WireError: the bytes are no such payload.
        """
        (
            source,
            destination,
            protocol,
            source_port,
            port,
            tuple_zone,
            target,
            target_port,
            identity,
            zone,
        ) = self._reader.read(buffer, start + NFGENMSG.size, end)
        if protocol != Protocol.UDP or tuple_zone or zone not in {None, _NO_ZONE}:
            return None
        if None in {source, destination, source_port, port, target, target_port}:
            raise WireError(offset=start, reason="a UDP flow without its ends")
        return Flow(
            self._family,
            source + source_port,
            destination + port,
            target + target_port,
            identity,
        )
