"""Requests about UDP flows, as bytes.

    nlmsghdr | nfgenmsg | TUPLE_ORIG { IP {} PROTO {} } | ID, or FILTER {}

Numbers are in network order; no attribute says so. The answers are read in `replies`.
Source: nf_conntrack_netlink.c.
"""

from struct import Struct
from typing import Final

from ipvsctl.model.net import IPFamily, Protocol
from ipvsctl.wire.conntrack.attributes import (
    ADDRESSES,
    NFGENMSG,
    NFNL_SUBSYS_CTNETLINK,
    ConntrackCmd,
    CtaAttr,
    CtaFilter,
    CtaFilterFlag,
    CtaProto,
    CtaTuple,
)
from ipvsctl.wire.conntrack.flows import Flow
from ipvsctl.wire.netlink.attributes import NLA_F_NESTED, attribute
from ipvsctl.wire.netlink.messages import NLM_F_DUMP, message_header

_FLAGS: Final = Struct("=I")


def list_udp_flows(family: IPFamily) -> bytes:
    """Dump the flows of a family, of UDP alone if the kernel can choose (Linux 5.8).

    An older kernel passes over the choice and lists every protocol.
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
    source, destination = ADDRESSES[flow.family]
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
    body = NFGENMSG.pack(family, 0, 0) + attributes
    kind = NFNL_SUBSYS_CTNETLINK << 8 | command
    return message_header(kind, flags, len(body)) + body
