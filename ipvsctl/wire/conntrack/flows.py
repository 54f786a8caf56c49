"""Connection tracking: listing the UDP flows of a node, and deleting some.

    nlmsghdr | nfgenmsg | TUPLE_ORIG { IP {} PROTO {} } | TUPLE_REPLY { ... } | ID ...

The original tuple is the question as the client sent it, the reply tuple the answer
as it is to come. A flow that IPVS forwards keeps the virtual server as destination of
the first and has the real server as source of the second
(ip_vs_nfct.c:ip_vs_update_conntrack).

Numbers are in network order; no attribute says so.
Source: uapi/linux/netfilter/nfnetlink_conntrack.h; nf_conntrack_netlink.c.
"""

from enum import IntEnum, IntFlag
from struct import Struct
from typing import Final, NamedTuple

from ipvsctl.model.errors import WireError
from ipvsctl.model.net import IPAddress, IPFamily, Protocol
from ipvsctl.wire.netlink.addresses import unpack_address
from ipvsctl.wire.netlink.attributes import NLA_F_NESTED, Table, TableReader, attribute
from ipvsctl.wire.netlink.messages import NLM_F_DUMP, message_header

NFNL_SUBSYS_CTNETLINK: Final = 1

_NFGENMSG: Final = Struct("=BBH")
_FLAGS: Final = Struct("=I")
_NO_ZONE: Final = b"\0\0"


class ConntrackCmd(IntEnum):
    """IPCTNL_MSG_CT_*."""

    GET = 1
    DELETE = 2


class CtaAttr(IntEnum):
    """CTA_*."""

    TUPLE_ORIG = 1
    TUPLE_REPLY = 2
    ID = 12
    ZONE = 18
    FILTER = 25


class CtaTuple(IntEnum):
    """CTA_TUPLE_*."""

    IP = 1
    PROTO = 2
    ZONE = 3


class CtaIp(IntEnum):
    """CTA_IP_*."""

    V4_SRC = 1
    V4_DST = 2
    V6_SRC = 3
    V6_DST = 4


class CtaProto(IntEnum):
    """CTA_PROTO_*."""

    NUM = 1
    SRC_PORT = 2
    DST_PORT = 3


class CtaFilter(IntEnum):
    """CTA_FILTER_*."""

    ORIG_FLAGS = 1


class CtaFilterFlag(IntFlag):
    """CTA_FILTER_F_CTA_*: what of a tuple must be equal."""

    PROTO_NUM = 1 << 3


class Flow(NamedTuple):
    """A UDP flow, in the kernel's form: thousands are read, a few are looked at.

    Attributes:
        source, destination: of the question, as the client sent it: an address and a
            port (see `pack_host_port`).
        target: where the answer is to come from.
        identity: what tells it from a later flow between the same ends; 4 bytes.
    """

    family: IPFamily
    source: bytes
    destination: bytes
    target: bytes
    identity: bytes


def pack_host_port(address: IPAddress, port: int) -> bytes:
    """An address and a port as a `Flow` has them: 6 or 18 bytes, network order."""
    return address.packed + port.to_bytes(2)


def unpack_host_port(family: IPFamily, packed: bytes) -> tuple[IPAddress, int]:
    """The reverse of `pack_host_port`."""
    return unpack_address(family, packed[:-2]), int.from_bytes(packed[-2:])


def list_udp_flows(family: IPFamily) -> bytes:
    """Dump the flows of a family, of UDP alone if the kernel can choose (Linux 5.8).

    An older one passes over the choice and lists every protocol.
    """
    only = _FLAGS.pack(CtaFilterFlag.PROTO_NUM)
    protocol = attribute(CtaProto.NUM, bytes([Protocol.UDP]))
    attributes = attribute(
        NLA_F_NESTED | CtaAttr.TUPLE_ORIG,
        attribute(NLA_F_NESTED | CtaTuple.PROTO, protocol),
    ) + attribute(NLA_F_NESTED | CtaAttr.FILTER, attribute(CtaFilter.ORIG_FLAGS, only))
    return _request(ConntrackCmd.GET, family, attributes, NLM_F_DUMP)


def delete_flow(flow: Flow) -> bytes:
    """Forget a flow; ENOENT if it is gone, whatever took its place."""
    ports = (
        attribute(CtaProto.NUM, bytes([Protocol.UDP]))
        + attribute(CtaProto.SRC_PORT, flow.source[-2:])
        + attribute(CtaProto.DST_PORT, flow.destination[-2:])
    )
    source, destination = _ADDRESSES[flow.family]
    addresses = attribute(source, flow.source[:-2])
    addresses += attribute(destination, flow.destination[:-2])
    ends = attribute(NLA_F_NESTED | CtaTuple.IP, addresses)
    ends += attribute(NLA_F_NESTED | CtaTuple.PROTO, ports)
    return _request(
        ConntrackCmd.DELETE,
        flow.family,
        attribute(NLA_F_NESTED | CtaAttr.TUPLE_ORIG, ends)
        + attribute(CtaAttr.ID, flow.identity),
    )


def _request(
    command: ConntrackCmd, family: IPFamily, attributes: bytes, flags: int = 0
) -> bytes:
    body = _NFGENMSG.pack(family, 0, 0) + attributes
    kind = NFNL_SUBSYS_CTNETLINK << 8 | command
    return message_header(kind, flags, len(body)) + body


_ADDRESSES: Final = {
    IPFamily.IPV4: (CtaIp.V4_SRC, CtaIp.V4_DST),
    IPFamily.IPV6: (CtaIp.V6_SRC, CtaIp.V6_DST),
}


def _listed(family: IPFamily) -> Table:
    source, destination = _ADDRESSES[family]
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
    """Decodes the payloads of a listing of one family."""

    def __init__(self, family: IPFamily) -> None:
        self._family = family
        self._reader = TableReader(_listed(family))

    def udp_flow(self, buffer: bytes, start: int, end: int) -> Flow | None:
        """A UDP flow; None for one that is not, or that is in a zone of its own.

        Packets are in a zone (rule target CT) before or after they are in the node's
        own; IPVS acts in the latter.

        Args:
            buffer: what was received.
            start: where the payload starts in it.
            end: where it ends.

        Raises:
            WireError: it is not such a payload.
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
        ) = self._reader.read(buffer, start + _NFGENMSG.size, end)
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
