"""Conntrack conversations: one reading for any number of virtual servers."""

import errno

from ipvsctl.kernel.conntrack import Conntrack
from ipvsctl.kernel.netlink import NetlinkSocket
from ipvsctl.model.ipvs import RealServerKey, VirtualServerKey
from ipvsctl.model.net import IPFamily, IPv4Address, Protocol
from ipvsctl.plan.diff.ops import DeleteStaleFlows
from ipvsctl.wire.conntrack.flows import Flow, pack_host_port
from ipvsctl.wire.netlink.messages import NLM_F_DUMP
from tests.addresses import later
from tests.kernel.contract_ipvs import KEY6, POD, VIP, key_of
from tests.kernel.test_netlink import (
    Answer,
    Script,
    ScriptedEndpoint,
    ack,
    done,
    message,
)
from tests.wire.conntrack.test_flows import FLOW, listed

GONE = RealServerKey(POD, 5353)
KEPT = RealServerKey(later(POD, 1), 5353)
DNS = key_of(VIP, Protocol.UDP, 53)
OTHER_DNS = key_of(later(VIP, 1), Protocol.UDP, 53)


def flow(key: VirtualServerKey, target: RealServerKey) -> Flow:
    """A flow to a virtual server."""
    assert isinstance(key.address, IPv4Address)
    return FLOW._replace(
        destination=pack_host_port(key.address, key.port),
        target=pack_host_port(target.address, target.port),
    )


def lists(*flows: Flow) -> Script:
    """The kernel lists these."""

    def answer(headers: list[tuple[int, int]]) -> list[Answer]:
        ((flags, sequence),) = headers
        assert flags & NLM_F_DUMP == NLM_F_DUMP
        return [*(message(sequence, listed(f)) for f in flows), done(sequence)]

    return answer


def deletes(*codes: int) -> Script:
    """The kernel answers each deletion with its errno."""

    def answer(headers: list[tuple[int, int]]) -> list[Answer]:
        return [
            ack(sequence, code)
            for (_, sequence), code in zip(headers, codes, strict=True)
        ]

    return answer


def conversation(*scripts: Script) -> tuple[Conntrack, ScriptedEndpoint]:
    """A table behind a scripted socket."""
    endpoint = ScriptedEndpoint(*scripts)
    return Conntrack(NetlinkSocket(endpoint, "test")), endpoint


def op(key: VirtualServerKey = DNS) -> DeleteStaleFlows:
    """Only KEPT has flows of a virtual server."""
    return DeleteStaleFlows(key, frozenset({KEPT}))


def test_many_virtual_servers_are_one_reading() -> None:
    """A plan with many such ops lists flows once, and deletes in one batch."""
    table, endpoint = conversation(
        lists(
            flow(DNS, GONE),
            flow(DNS, KEPT),
            flow(OTHER_DNS, GONE),
            flow(key_of(later(VIP, 2), Protocol.UDP, 53), GONE),
        ),
        deletes(0, 0),
    )
    assert table.run([op(), op(OTHER_DNS)]) == []
    assert [len(batch) for batch in endpoint.sent] == [1, 2]


def test_each_family_is_read_if_it_is_meant() -> None:
    """IPv6 flows are not looked for on account of an IPv4 virtual server."""
    table, endpoint = conversation(lists(), lists())
    ipv6 = VirtualServerKey(
        family=IPFamily.IPV6, protocol=Protocol.UDP, address=KEY6.address, port=53
    )
    assert table.run([op(), op(ipv6)]) == []
    assert len(endpoint.sent) == 2


def test_a_flow_that_ended_meanwhile() -> None:
    """It is as if it had been deleted."""
    table, _ = conversation(lists(flow(DNS, GONE)), deletes(errno.ENOENT))
    assert table.run([op()]) == []


def test_a_refused_deletion_is_told_of_its_op() -> None:
    """Once, however many flows of one virtual server are refused."""
    table, _ = conversation(
        lists(flow(DNS, GONE), flow(DNS, GONE), flow(OTHER_DNS, GONE)),
        deletes(errno.EBUSY, errno.EBUSY, 0),
    )
    (failed,) = table.run([op(OTHER_DNS), op()])
    assert (failed.op, failed.errno) == (op(), errno.EBUSY)


def test_without_a_listing_every_op_fails() -> None:
    """And says what could not be done."""

    def refuse(headers: list[tuple[int, int]]) -> list[Answer]:
        return [ack(headers[0][1], errno.EPERM)]

    table, _ = conversation(refuse)
    failed = table.run([op(), op(OTHER_DNS)])
    assert [item.op for item in failed] == [op(), op(OTHER_DNS)]
    assert {item.errno for item in failed} == {errno.EPERM}
    assert "list UDP flows" in failed[0].reason


def test_reading_says_where_flows_lead() -> None:
    """Each target once; flows of others, and those to TCP ports, are left out."""
    table, _ = conversation(
        lists(
            flow(DNS, GONE),
            flow(DNS, GONE),
            flow(DNS, KEPT),
            flow(OTHER_DNS, GONE),
            flow(key_of(VIP), GONE),
        )
    )
    fwmark = VirtualServerKey(family=IPFamily.IPV4, fwmark=7)
    assert table.read([DNS, key_of(VIP), fwmark]) == {DNS: {GONE, KEPT}}


def test_nothing_is_read_without_udp_services() -> None:
    """A node that balances TCP alone never lists its flows."""
    table, endpoint = conversation(lists())
    assert table.read([key_of(VIP), KEY6]) == {}
    assert endpoint.sent == []
