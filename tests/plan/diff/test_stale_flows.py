"""Which UDP flows end: one row a fact."""

import pytest

from ipvsctl.model.ipvs import (
    RealServer,
    RealServerKey,
    VirtualServer,
    VirtualServerKey,
)
from ipvsctl.model.net import IPFamily, IPv4Address, Protocol
from ipvsctl.model.state import NodeState, Observed
from ipvsctl.plan.diff.ops import DeleteStaleFlows
from ipvsctl.plan.diff.stale_flows import beside, plan_stale_flows

KEY = VirtualServerKey(
    family=IPFamily.IPV4,
    protocol=Protocol.UDP,
    address=IPv4Address("203.0.113.1"),
    port=53,
)
INSIDE = VirtualServerKey(family=IPFamily.IPV4, fwmark=0x10001)
POD, OTHER = (RealServerKey(IPv4Address(f"172.16.0.{n}"), 5353) for n in (5, 6))

Held = dict[VirtualServerKey, set[RealServerKey]]


def state(held: Held) -> NodeState:
    """Virtual servers with these real servers."""
    return NodeState(
        virtual_servers={
            key: VirtualServer(key=key, scheduler="rr", netmask_bits=32) for key in held
        },
        real_servers={
            key: {server: RealServer(key=server) for server in servers}
            for key, servers in held.items()
        },
    )


def plan(
    held: Held, wanted: Held, flows: set[RealServerKey] | None
) -> list[DeleteStaleFlows]:
    """The ops, when flows of KEY lead to `flows`."""
    observed = Observed(
        state=state(held), flows=None if flows is None else {KEY: flows}
    )
    desired = state(wanted)
    inside = beside({INSIDE: KEY}, desired)
    return list(plan_stale_flows(observed, desired, inside, desired.virtual_servers))


@pytest.mark.parametrize(
    ("fact", "held", "wanted", "flows", "is_stale"),
    [
        ("nothing changed, flows unknown", {POD}, {POD}, None, False),
        ("nothing changed, nobody asked", {POD}, {POD}, set(), False),
        ("every flow leads to a real server", {POD}, {POD}, {POD}, False),
        ("a flow leads elsewhere", {POD}, {POD}, {POD, OTHER}, True),
        ("an endpoint more", {POD}, {POD, OTHER}, None, False),
        ("an endpoint less", {POD, OTHER}, {POD}, None, True),
        ("flows begin until it goes", {POD, OTHER}, {POD}, {POD}, True),
        ("the first endpoint, flows unknown", set(), {POD}, None, True),
        ("the first endpoint, nobody asked", set(), {POD}, set(), False),
        ("the last endpoint", {POD}, set(), {POD}, False),
        ("no endpoint", set(), set(), {POD}, False),
    ],
)
def test_stale_flows(
    fact: str,
    held: set[RealServerKey],
    wanted: set[RealServerKey],
    flows: set[RealServerKey] | None,
    is_stale: bool,  # noqa: FBT001 - a column of the table
) -> None:
    """Flows end if they may lead to none of the real servers there are."""
    expected = [DeleteStaleFlows(KEY, frozenset(wanted))] if is_stale else []
    assert plan({KEY: held}, {KEY: wanted}, flows) == expected, fact


@pytest.mark.parametrize(
    ("fact", "held", "wanted", "flows", "is_stale"),
    [
        (
            "inside clients may lead elsewhere than outside ones",
            {KEY: {POD}, INSIDE: {POD, OTHER}},
            {KEY: {POD}, INSIDE: {POD, OTHER}},
            {POD, OTHER},
            False,
        ),
        (
            "an endpoint that is gone for inside clients alone",
            {KEY: {POD}, INSIDE: {POD, OTHER}},
            {KEY: {POD}, INSIDE: {POD}},
            None,
            True,
        ),
        (
            "an endpoint that is gone for outside clients alone",
            {KEY: {POD}, INSIDE: {POD, OTHER}},
            {KEY: set(), INSIDE: {POD, OTHER}},
            None,
            False,
        ),
        (
            "inside clients alone have endpoints, and fewer",
            {KEY: set(), INSIDE: {POD, OTHER}},
            {KEY: set(), INSIDE: {OTHER}},
            {OTHER},
            True,
        ),
    ],
)
def test_flows_of_a_short_circuit(
    fact: str,
    held: Held,
    wanted: Held,
    flows: set[RealServerKey] | None,
    is_stale: bool,  # noqa: FBT001 - a column of the table
) -> None:
    """A flow does not say which of the two virtual servers it took."""
    keep = frozenset(wanted[KEY] | wanted[INSIDE])
    expected = [DeleteStaleFlows(KEY, keep)] if is_stale else []
    assert plan(held, wanted, flows) == expected, fact


@pytest.mark.parametrize("protocol", [Protocol.TCP, Protocol.SCTP])
def test_other_protocols_have_connections(protocol: Protocol) -> None:
    """Their ends are told by the peers, or by a drain."""
    key = VirtualServerKey(
        family=IPFamily.IPV4, protocol=protocol, address=KEY.address, port=53
    )
    assert plan({key: {POD, OTHER}}, {key: {POD}}, None) == []
