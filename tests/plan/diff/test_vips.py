"""From some addresses and routes to others: one row a fact, then without a gap."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipvsctl.model.config import Compatibility, ProxyConfig, VipBinding
from ipvsctl.model.net import IPAddress, IPFamily, IPv4Address, IPv6Address
from ipvsctl.model.objects import NodeContext
from ipvsctl.model.state import NodeState
from ipvsctl.plan.diff.ops import Op
from ipvsctl.plan.diff.vips import plan_vips
from ipvsctl.plan.union.vip_binding import VipPlacement, place_vips
from tests.addresses import later
from tests.fakes.links import FakeLinks, LinkOp, RouteOp

VIP = IPv4Address("10.96.0.10")
VIP6 = IPv6Address("fd00:96::10")
NODE = IPv4Address("10.0.0.10")
NODE6 = IPv6Address("fd00:10::10")
OTHER = IPv4Address("10.0.0.12")
OTHER6 = IPv6Address("fd00:10::12")
SOURCES: dict[IPFamily, IPAddress] = {IPFamily.IPV4: NODE, IPFamily.IPV6: NODE6}
OTHER_SOURCES: dict[IPFamily, IPAddress] = {
    IPFamily.IPV4: OTHER,
    IPFamily.IPV6: OTHER6,
}

PLAIN = VipPlacement()
ADDRESS = VipPlacement(sources=SOURCES)
ROUTE = VipPlacement(binding=VipBinding.ROUTE, sources=SOURCES)
PLACEMENTS = (
    PLAIN,
    ADDRESS,
    VipPlacement(sources=OTHER_SOURCES),
    VipPlacement(sources={IPFamily.IPV6: NODE6}),
    ROUTE,
    VipPlacement(binding=VipBinding.ROUTE, sources=OTHER_SOURCES),
    VipPlacement(binding=VipBinding.ROUTE),
)
VIPS: tuple[IPAddress, ...] = (VIP, later(VIP, 1), VIP6, later(VIP6, 1))


def placed(placement: VipPlacement, *vips: IPAddress) -> NodeState:
    """The state with these VIPs."""
    held = frozenset(vips)
    return NodeState(addresses=placement.addresses(held), routes=placement.routes(held))


def steps(state: NodeState, desired: NodeState) -> list[Op]:
    """The ops in their order."""
    plan = plan_vips(state, desired)
    return [
        *plan.bind,
        *plan.routes,
        *plan.unbind,
        *plan.delete_routes,
        *plan.restore_routes,
        *plan.delete_stand_ins,
    ]


CASES: list[tuple[str, NodeState, NodeState, list[str]]] = [
    (
        "a new VIP is bound and gives the node's address as source",
        placed(ADDRESS),
        placed(ADDRESS, VIP),
        ["bind address 10.96.0.10", "add route 10.96.0.10 from 10.0.0.10"],
    ),
    (
        "a VIP that goes takes its route with it",
        placed(ADDRESS, VIP),
        placed(ADDRESS),
        ["unbind address 10.96.0.10", "delete route 10.96.0.10"],
    ),
    (
        "without an address of the node there is no route",
        placed(PLAIN),
        placed(PLAIN, VIP),
        ["bind address 10.96.0.10"],
    ),
    (
        "a route is all that a VIP has in route mode",
        placed(ROUTE),
        placed(ROUTE, VIP, VIP6),
        [
            "add route 10.96.0.10 from 10.0.0.10",
            "add route fd00:96::10 from fd00:10::10",
        ],
    ),
    (
        "another address of the node is changed in place",
        placed(ROUTE, VIP),
        placed(VipPlacement(binding=VipBinding.ROUTE, sources=OTHER_SOURCES), VIP),
        ["update route 10.96.0.10 from 10.0.0.12"],
    ),
    (
        "from addresses to routes: others stand in for the IPv4 ones",
        placed(ADDRESS, VIP, VIP6),
        placed(ROUTE, VIP, VIP6),
        [
            "add stand-in route 10.96.0.10 from 10.0.0.10",
            "unbind address 10.96.0.10",
            "unbind address fd00:96::10",
            "add route 10.96.0.10 from 10.0.0.10",
            "delete stand-in route 10.96.0.10",
        ],
    ),
    (
        "from routes to addresses: the IPv6 route is put into view again",
        placed(ROUTE, VIP, VIP6),
        placed(ADDRESS, VIP, VIP6),
        [
            "bind address 10.96.0.10",
            "bind address fd00:96::10",
            "update route fd00:96::10 from fd00:10::10",
        ],
    ),
    (
        "back to what kube-proxy does: the kernel's IPv6 route comes back first",
        placed(ADDRESS, VIP, VIP6),
        placed(PLAIN, VIP, VIP6),
        [
            "unbind address fd00:96::10",
            "bind address fd00:96::10",
            "delete route 10.96.0.10",
            "delete route fd00:96::10",
        ],
    ),
    (
        "stand-ins that a dead process left are of no use once routes are there",
        NodeState(routes={VIP: NODE}, stand_ins=frozenset({VIP, later(VIP, 1)})),
        placed(ROUTE, VIP),
        [
            "delete stand-in route 10.96.0.10",
            "delete stand-in route 10.96.0.11",
        ],
    ),
    (
        "an update would hit a stand-in that is before the route",
        NodeState(routes={VIP: OTHER}, stand_ins=frozenset({VIP})),
        placed(ROUTE, VIP),
        [
            "delete stand-in route 10.96.0.10",
            "update route 10.96.0.10 from 10.0.0.10",
        ],
    ),
    (
        "a route behind the kernel's own has another source than it seems",
        NodeState(addresses=frozenset({VIP6}), routes={VIP6: VIP6}),
        placed(VipPlacement(binding=VipBinding.ROUTE), VIP6),
        ["update route fd00:96::10", "unbind address fd00:96::10"],
    ),
]


@pytest.mark.parametrize(
    ("fact", "observed", "desired", "expected"), CASES, ids=[c[0] for c in CASES]
)
def test_steps(
    fact: str, observed: NodeState, desired: NodeState, expected: list[str]
) -> None:
    """The ops, in order, are what the row says."""
    assert [str(op) for op in steps(observed, desired)] == expected, fact


class Host:
    """A host with a VIP link."""

    def __init__(self) -> None:
        sources = {*SOURCES.values(), *OTHER_SOURCES.values()}
        self.links = FakeLinks("vips", sources, {"vips"})

    def state(self) -> NodeState:
        """What can be seen."""
        return NodeState(
            addresses=frozenset(self.links.addresses),
            routes=self.links.ours(),
            stand_ins=self.links.stand_ins(),
        )

    def run(self, op: Op) -> None:
        """Run one op."""
        if isinstance(op, LinkOp):
            self.links.run_link(op)
        else:
            assert isinstance(op, RouteOp)
            self.links.run_route(op)


states = st.builds(
    lambda placement, vips: placed(placement, *vips),
    st.sampled_from(PLACEMENTS),
    st.frozensets(st.sampled_from(VIPS)),
)


@settings(max_examples=500)
@given(st.lists(states, max_size=3), states, st.data())
def test_no_vip_is_lost_on_the_way(
    before: list[NodeState], last: NodeState, data: st.DataObject
) -> None:
    """From wherever dead processes left it, a VIP that is to stay is never gone."""
    host = Host()
    for desired in before:
        ops = steps(host.state(), desired)
        for op in ops[: data.draw(st.integers(0, len(ops)))]:
            host.run(op)
    wanted = {*last.addresses, *last.routes}
    kept = {vip for vip in wanted if host.links.is_local(vip)}
    for op in steps(host.state(), last):
        host.run(op)
        assert all(map(host.links.is_local, kept)), op
    assert host.state() == NodeState(
        addresses=frozenset(last.addresses), routes=dict(last.routes)
    )
    assert {vip for vip in VIPS if host.links.is_local(vip)} == wanted
    assert steps(host.state(), last) == []


ON_LINKS = NodeContext(
    name="node-0", node_addresses=(NODE, NODE6), host_addresses=(NODE, OTHER, NODE6)
)


@pytest.mark.parametrize(
    ("fact", "node", "config", "placement"),
    [
        ("the node's own address is the source", ON_LINKS, ProxyConfig(), ADDRESS),
        (
            "routes, if asked for",
            ON_LINKS,
            ProxyConfig(vip_binding=VipBinding.ROUTE),
            ROUTE,
        ),
        (
            "as kube-proxy, whatever else is asked for",
            ON_LINKS,
            ProxyConfig(
                vip_binding=VipBinding.ROUTE, compatibility=Compatibility.KUBE_PROXY
            ),
            PLAIN,
        ),
        (
            "addresses, until `auto` is chosen",
            ON_LINKS,
            ProxyConfig(vip_binding=VipBinding.AUTO),
            ADDRESS,
        ),
        (
            "an address that no link has is no source",
            NodeContext(
                name="node-0",
                node_addresses=(IPv4Address("192.0.2.1"), NODE6),
                host_addresses=(NODE, NODE6),
            ),
            ProxyConfig(),
            VipPlacement(sources={IPFamily.IPV6: NODE6}),
        ),
        (
            "a family that the kernel has not has none",
            NodeContext(
                name="node-0",
                host_addresses=(NODE, NODE6),
                families=(IPFamily.IPV4,),
            ),
            ProxyConfig(),
            VipPlacement(sources={IPFamily.IPV4: NODE}),
        ),
    ],
)
def test_placement(
    fact: str, node: NodeContext, config: ProxyConfig, placement: VipPlacement
) -> None:
    """VIPs are bound as the row says."""
    assert place_vips(node, config) == placement, fact


@pytest.mark.parametrize(
    ("config", "placement"),
    [
        (ProxyConfig(vip_binding=VipBinding.AUTO), ROUTE),
        (ProxyConfig(vip_binding=VipBinding.ADDRESS), ADDRESS),
        (
            ProxyConfig(
                vip_binding=VipBinding.AUTO, compatibility=Compatibility.KUBE_PROXY
            ),
            PLAIN,
        ),
    ],
)
def test_a_choice_is_for_auto_alone(
    config: ProxyConfig, placement: VipPlacement
) -> None:
    """Routes were chosen, where the settings leave it open."""
    assert place_vips(ON_LINKS, config, VipBinding.ROUTE) == placement
