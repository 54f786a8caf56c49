"""UDP flows: requests another decoder understands, and what a kernel lists."""

from contextlib import suppress
from typing import Any

import pytest
from pyroute2.netlink.nfnetlink.nfctsocket import (
    FILTER_FLAG_CTA_PROTO_NUM,
    NFCTAttrTuple,
    nfct_msg,
)

from ipvsctl.model.errors import WireError
from ipvsctl.model.net import IPAddress, IPFamily, Protocol, family_of
from ipvsctl.wire.conntrack.attributes import CtaAttr, CtaTuple
from ipvsctl.wire.conntrack.flows import Flow, pack_host_port, unpack_host_port
from ipvsctl.wire.conntrack.replies import FlowReplies
from ipvsctl.wire.conntrack.requests import delete_flow, list_udp_flows
from ipvsctl.wire.netlink.attributes import NLA_F_NESTED, attribute
from tests.wire.golden import each_kernel, payloads
from tests.wire.samples import CLIENT, CLIENT6, FLOWS, POD, POD6, VIP, VIP6

IDENTITY = bytes.fromhex("2af23a30")


def flow(client: IPAddress, vip: IPAddress, pod: IPAddress) -> Flow:
    """A flow from port 40000 to port 53, answered from port 5353."""
    return Flow(
        family_of(vip),
        pack_host_port(client, 40000),
        pack_host_port(vip, 53),
        pack_host_port(pod, 5353),
        IDENTITY,
    )


FLOW = flow(CLIENT, VIP, POD)
FLOW6 = flow(CLIENT6, VIP6, POD6)


def decoded(request: bytes) -> Any:
    """The request as pyroute2 reads it."""
    message = nfct_msg(request)
    message.decode()
    return message


def listed(read: Flow, *extra: bytes) -> bytes:
    """The payload of a listing's message about a flow."""
    answer = Flow(read.family, read.target, read.source, read.destination, IDENTITY)
    asked = delete_flow(read)[20:-8]
    replied = delete_flow(answer)[24:-8]
    return b"".join(
        (
            bytes(4),
            asked,
            attribute(NLA_F_NESTED | CtaAttr.TUPLE_REPLY, replied),
            *extra,
            attribute(CtaAttr.ID, read.identity),
        )
    )


def read_one(payload: bytes, family: IPFamily = IPFamily.IPV4) -> Flow | None:
    """The flow in a payload."""
    return FlowReplies(family).udp_flow(payload, 0, len(payload))


@pytest.mark.parametrize("family", IPFamily)
def test_listing_asks_for_udp_alone(family: IPFamily) -> None:
    """The kernel is to compare one thing, the protocol of the question."""
    message = decoded(list_udp_flows(family))
    assert message["header"]["type"] == 0x101
    assert message["header"]["flags"] == 0x301
    assert message["nfgen_family"] == family
    ends = message.get_attr("CTA_TUPLE_ORIG")
    assert ends.get_attr("CTA_TUPLE_IP") is None
    protocol = ends.get_attr("CTA_TUPLE_PROTO")
    assert protocol.get_attr("CTA_PROTO_NUM") == Protocol.UDP
    chosen = message.get_attr("CTA_FILTER").get_attr("CTA_FILTER_ORIG_FLAGS")
    assert chosen == FILTER_FLAG_CTA_PROTO_NUM


@pytest.mark.parametrize("victim", [FLOW, FLOW6], ids=["IPv4", "IPv6"])
def test_deleting_names_one_flow_and_no_later_one(victim: Flow) -> None:
    """Both ends of the question, and the flow's identity."""
    message = decoded(delete_flow(victim))
    assert message["header"]["type"] == 0x102
    assert message["header"]["flags"] == 5
    assert message["nfgen_family"] == victim.family
    client, vip = (CLIENT, VIP) if victim is FLOW else (CLIENT6, VIP6)
    ends = NFCTAttrTuple(
        family=victim.family,
        saddr=str(client),
        daddr=str(vip),
        proto=Protocol.UDP,
        sport=40000,
        dport=53,
    )
    assert ends.nla_eq(victim.family, message.get_attr("CTA_TUPLE_ORIG"))
    assert message.get_attr("CTA_ID") == int.from_bytes(IDENTITY)


@pytest.mark.parametrize("read", [FLOW, FLOW6], ids=["IPv4", "IPv6"])
def test_a_listed_flow_is_read(read: Flow) -> None:
    """Whatever else the kernel says about it."""
    more = attribute(NLA_F_NESTED | 20, attribute(1, bytes(8)))
    assert read_one(listed(read), read.family) == read
    assert read_one(listed(read, more), read.family) == read


def test_other_protocols_are_passed_over() -> None:
    """A kernel before Linux 5.8 lists them all; ICMP has no ports."""
    tcp = listed(FLOW).replace(
        attribute(1, bytes([Protocol.UDP])), attribute(1, bytes([Protocol.TCP]))
    )
    assert tcp != listed(FLOW)
    assert read_one(tcp) is None
    icmp = bytes(4) + attribute(
        NLA_F_NESTED | CtaAttr.TUPLE_ORIG,
        attribute(NLA_F_NESTED | CtaTuple.PROTO, attribute(1, b"\x01")),
    )
    assert read_one(icmp) is None


def test_flows_in_another_zone_are_not_ours() -> None:
    """A network plugin tracks the same packets again, untranslated, in its zone."""
    assert read_one(listed(FLOW, attribute(CtaAttr.ZONE, b"\0\7"))) is None
    assert read_one(listed(FLOW, attribute(CtaAttr.ZONE, b"\0\0"))) == FLOW
    inside = attribute(CtaTuple.ZONE, b"\0\7")
    payload = listed(FLOW)
    asked = delete_flow(FLOW)[24:-8]
    zoned = attribute(NLA_F_NESTED | CtaAttr.TUPLE_ORIG, asked + inside)
    assert read_one(bytes(4) + zoned + payload[4 + 4 + len(asked) :]) is None


def test_a_flow_without_its_ends() -> None:
    """It is refused."""
    payload = listed(FLOW)
    half = payload[: 4 + 4 + len(delete_flow(FLOW)[24:-8])]
    with pytest.raises(WireError, match="without its ends"):
        read_one(half)


@pytest.mark.parametrize("length", range(4, 100, 7))
def test_truncated_flows(length: int) -> None:
    """A message cut anywhere is refused or says nothing; it is never a flow."""
    cut = listed(FLOW)[:length]
    with suppress(WireError):
        assert read_one(cut) is None


@pytest.mark.parametrize("address", [VIP, VIP6])
def test_host_and_port_survive_the_wire(address: IPAddress) -> None:
    """They are 6 or 18 bytes."""
    packed = pack_host_port(address, 256)
    assert packed[-2:] == b"\1\0"
    assert unpack_host_port(family_of(address), packed) == (address, 256)


@each_kernel
@pytest.mark.parametrize("family", IPFamily)
def test_flows_of_a_kernel(kernel: str, family: IPFamily) -> None:
    """What a kernel was given, and nothing of TCP."""
    replies = FlowReplies(family)
    read = [replies.udp_flow(*p) for p in payloads(kernel, f"flows-{family.label}")]
    seen = {
        (
            *unpack_host_port(family, found.source),
            *unpack_host_port(family, found.destination),
            *unpack_host_port(family, found.target),
        )
        for found in read
        if found is not None
    }
    assert len(read) == len(seen)
    assert seen == {f for f in FLOWS if family_of(f.address) is family}
