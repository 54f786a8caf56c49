"""What a plan takes away while part of the input is not known."""

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipvsctl.model.former import FormerFirewall
from ipvsctl.model.ipvs import RealServerStats, VirtualServer
from ipvsctl.model.net import IPFamily, Protocol, parse_address
from ipvsctl.model.objects import TrafficPolicy
from ipvsctl.model.sets import SetEntry, SetRole, set_key
from ipvsctl.model.state import NodeState
from ipvsctl.plan.diff.ops import (
    AddEntry,
    DeleteEntry,
    DeleteRealServer,
    DeleteRoute,
    DeleteStaleFlows,
    DeleteVirtualServer,
    DestroySet,
    Op,
    Plan,
    UnbindAddress,
    UpdateRealServer,
)
from ipvsctl.plan.diff.plan import DiffOptions, Hold, Known, diff
from ipvsctl.plan.union.desired import Desired
from ipvsctl.wire.ipset.sets import SetSpec, SetType
from tests.builders import endpoint_slice, service
from tests.clusters import Cluster, clusters
from tests.controller.cluster import WEB
from tests.fakes.kernel import FakeKernel
from tests.plan.diff.test_properties import (
    OPTIONS,
    agreed,
    flow_of,
    foreign_is_untouched,
    frozen,
    impose,
    new_kernel,
    ours,
)

REMOVING = (
    DeleteVirtualServer,
    DeleteRealServer,
    DeleteEntry,
    DeleteRoute,
    DeleteStaleFlows,
    DestroySet,
    UnbindAddress,
)


def takes_away(op: Op) -> bool:
    """Whether somebody could miss something after an op."""
    ends = isinstance(op, UpdateRealServer) and not op.server.weight
    return ends or isinstance(op, REMOVING)


def everything(known: Known | None = None) -> Hold:
    """Neither Services nor endpoints are all known."""
    return Hold(known=known or Known(), services=True, endpoints=True)


def plan(kernel: FakeKernel, desired: Desired, hold: Hold | None) -> Plan:
    """What is to change, of a process that has looked at this kernel first."""
    observed = kernel.observe()
    desired.agree(observed, keeps_unwanted=hold is not None)
    options = msgspec.structs.replace(
        OPTIONS,
        short_circuits=desired.short_circuits,
        hold=hold,
        foreign=desired.foreign,
    )
    return diff(observed, desired.state(), options)


@given(clusters(), clusters(), st.data())
def test_nothing_goes_that_may_be_wanted(
    before: Cluster, after: Cluster, data: st.DataObject
) -> None:
    """A process that starts over a kernel full of ours takes none of it away.

    Only what it knows itself is settled: entries about a virtual server that it wants.
    When the input is whole the next plan leads to what is desired.
    """
    kernel = new_kernel()
    old, _ = agreed(kernel, before.desired())
    impose(kernel, old)
    old = frozen(old)
    for key, servers in old.real_servers.items():
        for server in servers:
            if data.draw(st.booleans()):
                kernel.set_connections(key, server, RealServerStats(active=1))
    union = after.desired()
    ops = plan(kernel, union, everything())
    wanted = union.state()
    for op in filter(takes_away, ops):
        assert isinstance(op, DeleteEntry), op
        assert op.entry.address in {key.address for key in wanted.virtual_servers}
    assert not kernel.apply(ops).failed
    held = kernel.observe().state
    assert old.virtual_servers.keys() <= held.virtual_servers.keys()
    for key, servers in old.real_servers.items():
        assert servers.keys() <= held.real_servers[key].keys()
        for server, was in servers.items():
            assert held.real_servers[key][server].weight or not was.weight
    assert old.addresses <= held.addresses
    assert old.routes.keys() <= held.routes.keys()
    # What is held needs nothing, and is still ours.
    assert plan(kernel, union, everything()) == ()
    for key, servers in old.real_servers.items():
        for server in servers:
            kernel.set_connections(key, server, RealServerStats())
    kernel.apply(plan(kernel, union, None))
    desired = union.state()
    assert ours(kernel, desired) == frozen(desired)
    assert foreign_is_untouched(kernel)


@given(clusters(), clusters(), clusters())
def test_what_was_known_goes(first: Cluster, then: Cluster, last: Cluster) -> None:
    """What this process has wanted itself, and wants no more, is not held."""
    kernel = new_kernel()
    impose(kernel, first.desired().state())
    stranger = frozen(kernel.observe().state)
    known = Known()
    for cluster in (then, last):
        union = cluster.desired()
        kernel.apply(plan(kernel, union, everything(known)))
        known.add(union.state())
    wanted = frozen(union.state())
    state = kernel.observe().state
    once = then.desired().state().virtual_servers.keys() | stranger.virtual_servers
    for key in state.virtual_servers.keys() - wanted.virtual_servers.keys():
        assert key in stranger.virtual_servers or key.fwmark, key
        assert key in once


WEB_UDP = msgspec.structs.replace(WEB, protocol=Protocol.UDP)


def one(*addresses: str, **fields: Any) -> Cluster:
    """`default/web` with these endpoints."""
    slices = (endpoint_slice("web-1", *addresses),) if addresses else ()
    return Cluster(services=(service(**fields),), slices=slices)


def programmed(cluster: Cluster) -> FakeKernel:
    """A kernel that a process which knew everything has left."""
    kernel = new_kernel()
    impose(kernel, cluster.desired().state())
    return kernel


TWO = one("172.16.0.1", "172.16.0.2")
NOBODY = Cluster(services=(), slices=())

HOLDS: Mapping[str, Hold] = {
    "services": Hold(known=Known(), services=True),
    "endpoints": Hold(known=Known(), endpoints=True),
    "unsure": Hold(known=Known(), unsure=frozenset({WEB})),
}


@pytest.mark.parametrize(
    ("hold", "after", "stays"),
    [
        ("services", NOBODY, {"172.16.0.1:8080", "172.16.0.2:8080"}),
        ("endpoints", NOBODY, None),
        ("unsure", NOBODY, None),
        ("services", one("172.16.0.1"), {"172.16.0.1:8080"}),
        ("endpoints", one("172.16.0.1"), {"172.16.0.1:8080", "172.16.0.2:8080"}),
        ("unsure", one("172.16.0.1"), {"172.16.0.1:8080", "172.16.0.2:8080"}),
        ("unsure", one("172.16.0.3"), {f"172.16.0.{n}:8080" for n in (1, 2, 3)}),
        ("endpoints", one(), {"172.16.0.1:8080", "172.16.0.2:8080"}),
    ],
)
def test_each_part_is_held_by_itself(
    hold: str, after: Cluster, stays: set[str] | None
) -> None:
    """All Services known: no virtual server is kept; all endpoints: no real one."""
    kernel = programmed(TWO)
    kernel.apply(plan(kernel, after.desired(), HOLDS[hold]))
    state = kernel.observe().state
    if stays is None:
        assert WEB not in state.virtual_servers
        assert not state.addresses
    else:
        assert {str(key) for key in state.real_servers[WEB]} == stays
        assert WEB.address in state.addresses


def test_known_real_servers_go_unless_unsure() -> None:
    """An endpoint this process has known goes, but not where a slice is broken now."""
    known = Known()
    known.add(TWO.desired().state())
    for hold, count in (
        (Hold(known=known, endpoints=True), 1),
        (Hold(known=known, endpoints=True, unsure=frozenset({WEB})), 2),
    ):
        kernel = programmed(TWO)
        kernel.apply(plan(kernel, one("172.16.0.1").desired(), hold))
        assert len(kernel.observe().state.real_servers[WEB]) == count


def test_a_known_service_keeps_no_entry_of_its_old_shape() -> None:
    """What its entries say of it is not held: packets would be treated as before."""
    vip = {"external_ips": (parse_address("203.0.113.1"),)}
    local = one("172.16.0.1", external_traffic_policy=TrafficPolicy.LOCAL, **vip)
    kernel = programmed(local)
    kernel.apply(plan(kernel, one("172.16.0.1", **vip).desired(), everything()))
    entries = kernel.observe().state.entries
    assert not entries[set_key(SetRole.EXTERNAL_IP_LOCAL, IPFamily.IPV4)]
    assert entries[set_key(SetRole.EXTERNAL_IP, IPFamily.IPV4)]


def test_an_address_is_not_shut_while_endpoints_are_unknown() -> None:
    """That none is on this node follows from the endpoints that are known."""
    vip = parse_address("203.0.113.1")
    fields = {
        "external_ips": (vip,),
        "external_traffic_policy": TrafficPolicy.LOCAL,
    }
    kernel = programmed(one("172.16.0.1", **fields))
    elsewhere = endpoint_slice("web-2", "172.16.1.1")
    far = msgspec.structs.replace(elsewhere.endpoints[0], node_name="node-1")
    after = Cluster(
        services=one(**fields).services,
        slices=(msgspec.structs.replace(elsewhere, endpoints=(far,)),),
    )
    shut = set_key(SetRole.NO_LOCAL_ENDPOINTS, IPFamily.IPV4)
    held = plan(kernel, after.desired(), HOLDS["endpoints"])
    assert not [op for op in held if isinstance(op, AddEntry) and op.key == shut]
    whole = plan(kernel, after.desired(), None)
    assert [op for op in whole if isinstance(op, AddEntry) and op.key == shut]


def test_flows_to_what_is_held_stay() -> None:
    """A UDP flow to a real server that is held does not end."""
    kernel = new_kernel()
    port = service().ports[0]
    udp = msgspec.structs.replace(port, protocol=Protocol.UDP)
    piece = endpoint_slice("web-1", "172.16.0.1", "172.16.0.2")
    ports = (msgspec.structs.replace(piece.ports[0], protocol=Protocol.UDP),)

    def cluster(count: int) -> Cluster:
        return Cluster(
            services=(service(ports=(udp,)),),
            slices=(
                msgspec.structs.replace(
                    piece, ports=ports, endpoints=piece.endpoints[:count]
                ),
            ),
        )

    impose(kernel, cluster(2).desired().state())
    servers = kernel.observe().state.real_servers[WEB_UDP]
    kernel.flows.udp = flows = {flow_of(WEB_UDP, server) for server in servers}
    kernel.apply(plan(kernel, cluster(1).desired(), HOLDS["endpoints"]))
    assert kernel.flows.udp == flows
    kernel.apply(plan(kernel, NOBODY.desired(), HOLDS["services"]))
    assert kernel.flows.udp == flows


def test_a_mark_that_is_held_is_given_to_nobody_else() -> None:
    """Two addresses with one fwmark would share their real servers."""
    vips = [parse_address(f"203.0.113.{n}") for n in (1, 2)]
    old, new = (
        one(
            "172.16.0.1",
            external_ips=(vip,),
            external_traffic_policy=TrafficPolicy.LOCAL,
        )
        for vip in vips
    )
    kernel = new_kernel()
    state, options = agreed(kernel, old.desired())
    impose(kernel, state, options)
    union = new.desired()
    kernel.apply(plan(kernel, union, everything()))
    marked = kernel.observe().state.entries[
        set_key(SetRole.SHORT_CIRCUIT, IPFamily.IPV4)
    ]
    assert {entry.address for entry in marked} == set(vips)
    assert len({entry.mark for entry in marked}) == 2


def test_kube_proxys_sets_stay_while_they_own() -> None:
    """Their ports are what makes its node ports ours to keep, and to remove later."""
    kernel = new_kernel()
    name = "KUBE-NODE-PORT-TCP"
    spec = SetSpec(name=name, type=SetType.BITMAP_PORT)
    kernel.preload_set(spec, [SetEntry(port=30000)])
    address = parse_address("10.0.0.10")
    key = msgspec.structs.replace(WEB, address=address, port=30000)
    kernel.preload(VirtualServer(key=key, scheduler="rr", netmask_bits=32))
    kernel.apply(plan(kernel, NOBODY.desired(), everything()))
    state = kernel.observe().state
    assert key in state.virtual_servers
    assert [left.name for left in state.leftovers] == [name]
    kernel.apply(plan(kernel, NOBODY.desired(), None))
    state = kernel.observe().state
    assert key not in state.virtual_servers
    assert not state.leftovers


def test_another_firewall_stays_while_it_owns() -> None:
    """Its entries make virtual servers ours, to keep now, and to remove later."""
    kernel = programmed(TWO)
    entries = kernel.observe().state.entries
    bare = new_kernel()
    for server in kernel.observe().state.virtual_servers.values():
        bare.preload(server)
    bare.former = FormerFirewall(name="nftables", entries=entries)
    bare.apply(plan(bare, NOBODY.desired(), everything()))
    state = bare.observe().state
    assert WEB in state.virtual_servers
    assert state.former is not None
    bare.apply(plan(bare, NOBODY.desired(), None))
    state = bare.observe().state
    assert WEB not in state.virtual_servers
    assert state.former is None


def test_cleanup_holds_nothing() -> None:
    """What is to be removed on purpose is, whatever the input was like."""
    kernel = programmed(TWO)
    options = DiffOptions(vip_link="kube-ipvs0")
    kernel.apply(diff(kernel.observe(), NodeState(), options))
    assert WEB not in kernel.observe().state.virtual_servers
