"""Settings and annotations on a real kernel."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from ipvsctl.cluster.events import Deleted, Event
from ipvsctl.kernel.ipvs_options import IpvsOptions
from ipvsctl.kernel.ipvs_table import IpvsTable
from ipvsctl.model.config import ConntrackConfig, ProxyConfig
from ipvsctl.model.ipvs import SCHEDULERS, Timeouts, VirtualServer, VirtualServerKey
from ipvsctl.model.net import IPFamily, Protocol, parse_address, parse_network
from ipvsctl.model.objects import (
    Endpoint,
    EndpointSlice,
    Service,
    ServicePort,
    SlicePort,
)
from ipvsctl.model.problem import Kind, ObjectRef
from ipvsctl.model.state import NodeState
from ipvsctl.model.steps import finish
from ipvsctl.plan.diff.ops import AddVirtualServer, SetTimeouts
from ipvsctl.plan.diff.plan import DiffOptions, diff
from tests.kernel.node import CONFIG, ProxiedNode, has, has_nodes, proxied
from tests.lab.netns import Netns, inside
from tests.lab.topology import Cluster
from tests.lab.traffic import Servers, ask, connect

pytestmark = pytest.mark.kernel

VIP = parse_address("10.96.0.10")
WEB = Service(
    ref=ObjectRef("default", "web"),
    cluster_ips=(VIP,),
    ports=(ServicePort(name="http", protocol=Protocol.TCP, port=80),),
)
KEY = VirtualServerKey(
    family=IPFamily.IPV4, protocol=Protocol.TCP, address=VIP, port=80
)


@pytest.fixture
def node(cluster: Cluster, servers: Servers) -> Iterator[ProxiedNode]:
    """The proxy of node-0, with `web` on both of its pods."""
    for pod in cluster.pods.values():
        servers.add(pod.netns, pod.ipv4, 8080)
    with proxied(cluster.nodes[0].netns) as made:
        made.take(*has_nodes(cluster.nodes), has(WEB))
        made.take(has_pod(cluster, 0), has_pod(cluster, 1))
        made.audit()
        yield made


def has_pod(cluster: Cluster, number: int, weight: int = 1) -> Event:
    """A pod of node-0 in a slice of its own."""
    piece = EndpointSlice(
        ref=ObjectRef("default", f"web-{number}"),
        service=WEB.ref,
        family=IPFamily.IPV4,
        ports=(SlicePort(name="http", protocol=Protocol.TCP, port=8080),),
        endpoints=(
            Endpoint(address=cluster.pods[f"pod-0-{number}"].ipv4, node_name="node-0"),
        ),
        weight=weight,
    )
    return has(piece)


def asking(scheduler: str) -> Service:
    """`web` with an annotation."""
    annotations = (("ipvsctl.io/scheduler", scheduler),)
    return msgspec.structs.replace(WEB, annotations=annotations)


def server(node: ProxiedNode) -> VirtualServer:
    """The virtual server of `web`."""
    return node.observe().state.virtual_servers[KEY]


def test_timeouts_are_set_and_kept(netns: Netns) -> None:
    """Those configured are set; one changed by hand is set again, others are not."""
    config = ProxyConfig(tcp_timeout_s=7200, udp_timeout_s=60)
    with proxied(netns, config=config) as node:
        node.audit()
        assert node.observe().state.timeouts == Timeouts(7200, 120, 60)
        assert node.audit().plan == ()
        by_hand = Timeouts(600, 30, 0)
        assert not node.apply((SetTimeouts(by_hand),)).failed
        assert node.audit().plan == (SetTimeouts(Timeouts(7200, 0, 60)),)
        assert node.observe().state.timeouts == Timeouts(7200, 30, 60)
        left = diff(node.observe(), NodeState(), DiffOptions(vip_link="kube-ipvs0"))
        assert not [op for op in left if isinstance(op, SetTimeouts)]


def test_conntrack_is_set_when_configured(netns: Netns) -> None:
    """A configured timeout is in the kernel; the others are what they were."""
    root = Path("/proc/sys/net/netfilter")

    def values() -> list[str]:
        names = ("nf_conntrack_udp_timeout", "nf_conntrack_udp_timeout_stream")
        with inside(netns):
            return [(root / name).read_text().strip() for name in names]

    before = values()
    with proxied(netns) as node:
        node.audit()
    assert values() == before
    config = ProxyConfig(conntrack=ConntrackConfig(udp_timeout_s=17))
    with proxied(netns, config=config) as node:
        node.audit()
        assert values() == ["17", before[1]]
        assert node.audit().plan == ()


def test_conntrack_is_kube_proxys_unless_configured(netns: Netns) -> None:
    """Timeouts are its defaults; the limit is the host's, which no namespace sets.

    So Kubernetes' own test "should set TCP CLOSE_WAIT timeout" passes.
    """
    root = Path("/proc/sys/net/netfilter")
    names = ("max", "tcp_timeout_established", "tcp_timeout_close_wait")

    def values() -> list[str]:
        with inside(netns):
            return [(root / f"nf_conntrack_{name}").read_text() for name in names]

    before = values()
    with proxied(netns) as node:
        assert not node.kernel.capabilities().has_conntrack_limit
        node.audit()
        assert node.audit().plan == ()
    assert values() == [before[0], "86400\n", "3600\n"]
    untouched = ConntrackConfig(tcp_established_timeout_s=0, tcp_close_wait_timeout_s=0)
    config = msgspec.structs.replace(CONFIG, conntrack=untouched)
    with proxied(netns, config=config) as node:
        assert node.audit().plan == ()


def test_a_scheduler_changes_in_place(cluster: Cluster, node: ProxiedNode) -> None:
    """A connection goes on while its Service gets another scheduler, and loses it."""
    with connect(cluster.client.netns, VIP, 80) as held:
        first = held.ask().server
        for wanted in ("sh", "mh", "wlc", "rr"):
            node.take(has(asking(wanted)))
            plan = node.sync().plan
            assert [type(op).__name__ for op in plan] == ["UpdateVirtualServer"]
            assert server(node).scheduler == wanted
            assert held.ask().server == first
        node.take(has(asking("sh")))
        node.sync()
        new = {ask(cluster.client.netns, VIP, 80).server for _ in range(4)}
        assert len(new) == 1, "sh sends one client to one pod"
        assert held.ask().server == first


def test_schedulers_that_are_not_there(node: ProxiedNode) -> None:
    """The configured one goes on serving, and the Service has a problem."""
    missing = sorted(SCHEDULERS - node.kernel.capabilities().schedulers)
    for scheduler in ("nonesuch", *missing):
        node.take(has(asking(scheduler)))
        assert node.sync().plan == ()
        assert server(node).scheduler == "rr"
        (problem,) = node.reconciler.problems()
        assert problem.field == "metadata.annotations.ipvsctl.io/scheduler"
        assert problem.value == scheduler


def test_known_schedulers(netns: Netns) -> None:
    """The kernel is asked without a change, and takes those it says it knows."""
    names = SCHEDULERS | {"nonesuch"}
    options = IpvsOptions()
    with inside(netns), closing(options), closing(IpvsTable(options)) as table:
        known = table.known_schedulers(names)
        assert finish(table.read_in_steps(NodeState())).virtual_servers == {}
        adds = [
            AddVirtualServer(
                VirtualServer(
                    key=msgspec.structs.replace(KEY, port=port),
                    scheduler=name,
                    netmask_bits=32,
                )
            )
            for port, name in enumerate(sorted(names), start=1)
        ]
        refused = {failed.op for failed in table.run(adds)}
    assert known == {op.server.scheduler for op in adds if op not in refused}
    assert {"rr", "wrr", "sh", "mh"} <= known < names


def test_weights_of_slices(cluster: Cluster, node: ProxiedNode) -> None:
    """With wrr, a slice of weight 3 gets three of four connections."""
    node.take(has(asking("wrr")), has_pod(cluster, 1, weight=3))
    node.sync()
    answers = [ask(cluster.client.netns, VIP, 80).server for _ in range(8)]
    assert answers.count("pod-0-0") == 2
    assert answers.count("pod-0-1") == 6


def test_excluded_virtual_servers_stay(netns: Netns) -> None:
    """In excludeCIDRs nothing is deleted, not even by a clean-up; it is kept up."""
    config = msgspec.structs.replace(
        CONFIG, exclude_cidrs=(parse_network("10.96.0.0/16"),)
    )
    with proxied(netns, config=config) as node:
        node.take(has(WEB))
        node.audit()
        node.take(has(asking("wlc")))
        node.sync()
        assert server(node).scheduler == "wlc"
        node.take(Deleted(kind=Kind.SERVICE, ref=WEB.ref))
        node.sync()
        assert node.audit().plan == ()
        assert server(node).scheduler == "wlc"
