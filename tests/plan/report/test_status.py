"""What is desired and what the kernel holds, side by side."""

from typing import Any

import msgspec
import pytest

from ipvsctl.cluster.events import Upserted
from ipvsctl.cluster.store import Store
from ipvsctl.model.capabilities import Capabilities
from ipvsctl.model.config import Listener, NodePortAddresses, ProxyConfig
from ipvsctl.model.ipvs import (
    RealServer,
    RealServerKey,
    RealServerStats,
    ServiceFlags,
    TrafficStats,
    VirtualServer,
    VirtualServerKey,
)
from ipvsctl.model.net import IPFamily, Protocol, parse_address
from ipvsctl.model.objects import (
    Endpoint,
    EndpointSlice,
    NodeContext,
    Service,
    ServicePort,
    ServiceType,
    TrafficPolicy,
)
from ipvsctl.model.problem import Kind, ObjectRef, Problem
from ipvsctl.model.relay import ListenerState
from ipvsctl.model.state import NodeState, Observed
from ipvsctl.model.status import NodeStatus, Selection, Standing, Summary
from ipvsctl.plan.report.full import count_full
from ipvsctl.plan.report.status import node_status
from ipvsctl.plan.report.status_inputs import StatusInputs
from ipvsctl.plan.service.compile import compile_service
from ipvsctl.plan.union.desired import Desired
from ipvsctl.plan.union.node import compile_node
from ipvsctl.wire.iptables.words import IptablesWords
from tests.builders import endpoint_slice, node, service

CONTEXT = NodeContext(name="node-0", host_addresses=(parse_address("10.0.0.10"),))
SUMMARY = Summary(
    version="1", node="node-0", scheduler="rr", compatibility="none", source="a test"
)
WEB = VirtualServerKey(
    family=IPFamily.IPV4,
    protocol=Protocol.TCP,
    address=parse_address("10.96.0.10"),
    port=80,
)
POD = RealServerKey(parse_address("172.16.0.1"), 8080)


class Node(msgspec.Struct, frozen=True):
    """A store, and what it compiles to."""

    store: Store
    desired: Desired

    @classmethod
    def of(
        cls, *values: Service | EndpointSlice, config: ProxyConfig | None = None
    ) -> "Node":
        """A node of a cluster with these objects."""
        store = Store("node-0")
        nodes = (node("node-0", zone="zone-a"), node("node-1", zone="zone-b"))
        for item in nodes:
            ref = ObjectRef("", item.name)
            store.apply(Upserted(kind=Kind.NODE, ref=ref, values=(item,)))
        for value in values:
            kind = Kind.SERVICE if isinstance(value, Service) else Kind.ENDPOINT_SLICE
            store.apply(Upserted(kind=kind, ref=value.ref, values=(value,)))
        config = config or ProxyConfig()
        desired = Desired(compile_node(CONTEXT, config, Capabilities()))
        for ref, found in store.services.items():
            slices = store.slices_of(ref)
            desired.put(compile_service(found, slices, CONTEXT, config))
        return cls(store, desired)

    def status(
        self,
        observed: Observed | None = None,
        selection: Selection | None = None,
        **inputs: Any,
    ) -> NodeStatus:
        """The status; of a kernel that holds what it should, unless told otherwise."""
        usual = {
            "summary": SUMMARY,
            "desired": self.desired.frozen(),
            "observed": observed or Observed(state=self.desired.state()),
            "objects": self.store,
            "context": CONTEXT,
            "words": IptablesWords(),
        }
        return node_status(
            StatusInputs(**{**usual, **inputs}), selection or Selection()
        )

    def but(self, **state: Any) -> Observed:
        """A kernel that holds what it should, but for these parts."""
        return Observed(state=msgspec.structs.replace(self.desired.state(), **state))


def web_node() -> Node:
    """`default/web` with one endpoint on each node."""
    endpoints = (
        Endpoint(address=POD.address, node_name="node-0"),
        Endpoint(address=parse_address("172.16.1.1"), node_name="node-1"),
    )
    return Node.of(service(), endpoint_slice(endpoints=endpoints))


def test_an_equal_kernel_is_ok_throughout() -> None:
    """Names, zones and sets are there, and everything stands as it should."""
    (found,) = web_node().status().services
    (server,) = found.virtual_servers
    assert (found.namespace, found.name, found.type) == ("default", "web", "ClusterIP")
    assert (server.service_port, server.way) == ("http", "cluster IP")
    assert (server.protocol, server.address, server.port) == ("tcp", "10.96.0.10", 80)
    assert server.bound is True
    assert server.sets == ("KUBE-CLUSTER-IP",)
    assert server.standing is Standing.OK
    assert [(r.address, r.node, r.zone, r.standing) for r in server.real_servers] == [
        ("172.16.0.1", "node-0", "zone-a", Standing.OK),
        ("172.16.1.1", "node-1", "zone-b", Standing.OK),
    ]


@pytest.mark.parametrize(
    ("held", "standing", "weight"),
    [
        (None, Standing.MISSING, 1),
        (RealServer(key=POD, weight=1), Standing.OK, 1),
        (RealServer(key=POD, weight=0), Standing.DIFFERENT, 0),
        (RealServer(key=POD, weight=7), Standing.DIFFERENT, 7),
    ],
)
def test_a_desired_real_server_is_compared(
    held: RealServer | None, standing: Standing, weight: int
) -> None:
    """What the kernel holds is shown, and how it stands to what is desired."""
    web = web_node()
    real_servers = dict(web.desired.state().real_servers[WEB])
    del real_servers[POD]
    if held is not None:
        real_servers[POD] = held
    status = web.status(web.but(real_servers={WEB: real_servers}))
    found = status.services[0].virtual_servers[0].real_servers[0]
    assert (found.address, found.standing, found.weight) == (
        "172.16.0.1",
        standing,
        weight,
    )


@pytest.mark.parametrize(
    ("weight", "standing"), [(0, Standing.DRAINING), (1, Standing.UNWANTED)]
)
def test_an_undesired_real_server_drains_or_is_about_to(
    weight: int, standing: Standing
) -> None:
    """At weight 0 it drains, with its age if it has been seen; else it is unwanted."""
    web = web_node()
    gone = RealServer(
        key=RealServerKey(parse_address("172.16.9.9"), 8080), weight=weight
    )
    held = {**web.desired.state().real_servers[WEB], gone.key: gone}
    observed = msgspec.structs.replace(
        web.but(real_servers={WEB: held}),
        connections={WEB: {gone.key: RealServerStats(active=2, inactive=1)}},
    )
    status = web.status(observed, drain_ages_s={(WEB, gone.key): 35.0})
    found = status.services[0].virtual_servers[0].real_servers[-1]
    assert (found.address, found.standing) == ("172.16.9.9", standing)
    assert (found.active, found.inactive, found.draining_s) == (2, 1, 35.0)


def test_an_endpoint_in_use_on_its_way_out_is_terminating() -> None:
    """It is desired only because no other is ready."""
    leaving = Endpoint(address=POD.address, ready=False, serving=True, terminating=True)
    status = Node.of(service(), endpoint_slice(endpoints=(leaving,))).status()
    (found,) = status.services[0].virtual_servers[0].real_servers
    assert found.standing is Standing.TERMINATING


@pytest.mark.parametrize("is_old_first", [True, False])
def test_an_address_in_use_again_is_the_new_pods(*, is_old_first: bool) -> None:
    """The node is the new pod's, and the old one's end is not its own."""
    old = Endpoint(
        address=POD.address, ready=False, terminating=True, node_name="node-0"
    )
    new = Endpoint(address=POD.address, node_name="node-1")
    both = (old, new) if is_old_first else (new, old)
    status = Node.of(service(), endpoint_slice(endpoints=both)).status()
    (found,) = status.services[0].virtual_servers[0].real_servers
    assert (found.node, found.standing) == ("node-1", Standing.OK)


def test_a_missing_virtual_server_has_its_desired_settings() -> None:
    """Nothing of it is in the kernel, so everything about it is missing."""
    web = web_node()
    status = web.status(Observed(state=NodeState()))
    (server,) = status.services[0].virtual_servers
    assert server.standing is Standing.MISSING
    assert server.bound is False
    assert server.scheduler == "rr"
    assert {real.standing for real in server.real_servers} == {Standing.MISSING}


def test_a_changed_virtual_server_is_shown_as_the_kernel_has_it() -> None:
    """Scheduler, flags and persistence are the kernel's."""
    web = web_node()
    changed = VirtualServer(
        key=WEB,
        scheduler="mh",
        flags=ServiceFlags.PERSISTENT | ServiceFlags.SCHED1,
        timeout_s=600,
        netmask_bits=32,
    )
    observed = msgspec.structs.replace(
        web.but(virtual_servers={WEB: changed}),
        traffic={WEB: TrafficStats(connections=9)},
    )
    (server,) = web.status(observed).services[0].virtual_servers
    assert server.standing is Standing.DIFFERENT
    assert (server.scheduler, server.flags) == ("mh", ("sched1",))
    assert server.persistence_timeout_s == 600
    assert server.traffic.connections == 9


def test_a_route_binds_as_well_as_an_address() -> None:
    """In route mode no address is on the link, and nothing is amiss."""
    node = web_node()
    routes = {WEB.address: None}
    observed = node.but(addresses=frozenset(), routes=routes)
    (server,) = node.status(observed).services[0].virtual_servers
    assert server.bound is True


def test_an_address_that_need_not_be_bound_is_not_called_unbound() -> None:
    """A node port is served on the node's own address."""
    port = ServicePort(name="http", protocol=Protocol.TCP, port=80, node_port=30080)
    status = Node.of(service(type=ServiceType.NODE_PORT, ports=(port,))).status()
    found = {s.way: s.bound for s in status.services[0].virtual_servers}
    assert found == {"cluster IP": True, "node port": None}


def test_the_loser_of_an_address_does_not_show_it() -> None:
    """Of two Services that want one address, the older one has it."""
    old = service("old", created="2026-01-01T00:00:00Z")
    new = service("new", created="2026-01-02T00:00:00Z")
    assert [s.name for s in Node.of(old, new).status().services] == ["old"]


def test_a_health_check_is_part_of_the_service() -> None:
    """Its port and what it answers."""
    balanced = service(
        type=ServiceType.LOAD_BALANCER,
        external_traffic_policy=TrafficPolicy.LOCAL,
        health_check_node_port=32000,
    )
    (found,) = Node.of(balanced, endpoint_slice()).status().services
    assert (found.health_check_node_port, found.local_endpoints) == (32000, 1)


def test_what_inside_clients_get_stands_below_the_address() -> None:
    """A Local address has two virtual servers; that of the fwmark is named too."""
    vip = parse_address("203.0.113.50")
    local = service(external_traffic_policy=TrafficPolicy.LOCAL, external_ips=(vip,))
    endpoints = (
        Endpoint(address=POD.address, node_name="node-0"),
        Endpoint(address=parse_address("172.16.1.1"), node_name="node-1"),
    )
    web = Node.of(local, endpoint_slice(endpoints=endpoints))
    status = web.status()
    _, address, mark = status.services[0].virtual_servers
    assert (address.way, len(address.real_servers)) == ("external IP", 1)
    assert (mark.way, len(mark.real_servers)) == ("external IP, from inside", 2)
    assert (mark.service_port, mark.address, mark.fwmark) == ("http", "", 0x20000)
    assert mark.standing is Standing.OK
    assert mark.bound is None
    assert mark.sets == ("KUBE-SHORT-CIRCUIT",)
    assert "KUBE-SHORT-CIRCUIT" in address.sets
    assert not status.unclaimed
    state = web.desired.state()
    (key,) = (key for key in state.virtual_servers if key.fwmark)
    rest = {k: v for k, v in state.virtual_servers.items() if k != key}
    status = web.status(web.but(virtual_servers=rest))
    assert status.services[0].virtual_servers[-1].standing is Standing.MISSING


def test_what_closes_is_shown_until_it_is_gone() -> None:
    """The address's other virtual server, of a Service whose policy was Local."""
    vip = parse_address("203.0.113.50")
    local = service(external_traffic_policy=TrafficPolicy.LOCAL, external_ips=(vip,))
    endpoints = (Endpoint(address=POD.address, node_name="node-0"),)
    before = Node.of(local, endpoint_slice(endpoints=endpoints))
    now = Node.of(service(external_ips=(vip,)), endpoint_slice(endpoints=endpoints))
    held = before.but()
    now.desired.agree(held)
    _, address, mark = now.status(held).services[0].virtual_servers
    assert address.way == "external IP"
    assert mark.way == "external IP, from inside, until its connections end"
    assert mark.standing is Standing.OK
    assert [real.standing for real in mark.real_servers] == [Standing.OK]


@pytest.mark.parametrize(
    ("active", "full", "why"),
    [
        ((1, 1), (False, False), ""),
        ((2, 1), (True, False), ""),
        ((2, 3), (True, True), "full: each real server has all the connections"),
    ],
)
def test_full_real_servers_are_told(
    active: tuple[int, int], full: tuple[bool, bool], why: str
) -> None:
    """Those with as many connections as they may have; when all have, it is the why."""
    annotations = (("ipvsctl.io/max-connections", "2"),)
    endpoints = (
        Endpoint(address=POD.address, node_name="node-0"),
        Endpoint(address=parse_address("172.16.1.1"), node_name="node-1"),
    )
    web = Node.of(service(annotations=annotations), endpoint_slice(endpoints=endpoints))
    state = web.desired.state()
    ((key, held),) = state.real_servers.items()
    counted = {
        real: RealServerStats(active=1, inactive=count - 1)
        for real, count in zip(sorted(held, key=str), active, strict=True)
    }
    observed = Observed(state=state, connections={key: counted})
    (server,) = web.status(observed).services[0].virtual_servers
    assert tuple(real.is_full for real in server.real_servers) == full
    assert {real.max_connections for real in server.real_servers} == {2}
    assert server.why.startswith(why) is True
    assert bool(server.why) is bool(why)
    assert server.is_well is not bool(why)
    assert count_full(observed) == bool(why)


def test_one_that_grows_is_not_called_different() -> None:
    """It is on its way; one that has nothing yet, or too much, is."""
    slow = service(annotations=(("ipvsctl.io/slow-start", "60s"),))
    web = Node.of(slow, endpoint_slice())
    state = web.desired.state()
    ((key, held),) = state.real_servers.items()
    found = {}
    for weight in (3, 10, 0, 11):
        real = {k: msgspec.structs.replace(r, weight=weight) for k, r in held.items()}
        observed = web.but(real_servers={key: real})
        (server,) = web.status(observed).services[0].virtual_servers
        found[weight] = server.real_servers[0]
    assert {weight: real.standing for weight, real in found.items()} == {
        3: Standing.WARMING,
        10: Standing.OK,
        0: Standing.DIFFERENT,
        11: Standing.DIFFERENT,
    }
    assert (found[3].weight, found[3].whole_weight) == (3, 10)
    assert found[10].whole_weight == 0


def test_a_network_of_clients_is_told() -> None:
    """Beside the time that they keep their endpoint."""
    sticky = service(
        affinity_timeout_s=600,
        annotations=(("ipvsctl.io/persistence-netmask", "24"),),
    )
    (server,) = Node.of(sticky, endpoint_slice()).status().services[0].virtual_servers
    assert (server.persistence_timeout_s, server.persistence_bits) == (600, 24)


LOCALHOST = Listener(parse_address("127.0.0.1"), 30080)


def localhost_node(*addresses: str, **fields: Any) -> Node:
    """`default/web` with its node port on localhost too."""
    port = ServicePort(name="http", protocol=Protocol.TCP, port=80, node_port=30080)
    return Node.of(
        service(type=ServiceType.NODE_PORT, ports=(port,), **fields),
        endpoint_slice("web-a", *addresses)
        if addresses
        else endpoint_slice("other", service_name="other"),
        config=ProxyConfig(node_port_addresses=NodePortAddresses(localhost=True)),
    )


@pytest.mark.parametrize(
    ("listeners", "standing", "why"),
    [
        ({LOCALHOST: ListenerState()}, Standing.OK, ""),
        # About to be told of.
        ({}, Standing.OK, ""),
        (
            {LOCALHOST: ListenerState(refused="cannot listen: in use")},
            Standing.MISSING,
            "cannot listen: in use",
        ),
        (
            None,
            Standing.UNKNOWN,
            "not known whether it listens: no ipvsctl run was asked",
        ),
    ],
)
def test_a_node_port_on_localhost(
    listeners: dict[Listener, ListenerState] | None, standing: Standing, why: str
) -> None:
    """It is apart from the virtual servers, which count without it."""
    found = localhost_node("172.16.0.1").status(listeners=listeners)
    (web,) = found.services
    (shown,) = web.localhost_ports
    assert (shown.way, shown.protocol) == ("node port on localhost", "tcp")
    assert (shown.address, shown.port) == ("127.0.0.1", 30080)
    assert (shown.standing, shown.why) == (standing, why)
    assert shown.is_well is (not why)
    assert found.counts is not None
    assert found.counts.virtual_servers == 2
    assert [server.way for server in web.ways_in] == [
        "cluster IP",
        "node port",
        "node port on localhost",
    ]


def test_connections_on_localhost() -> None:
    """To each endpoint; one that has gone drains."""
    gone = RealServerKey(parse_address("172.16.0.9"), 8080)
    state = ListenerState(connections={POD: 3, gone: 1})
    node = localhost_node("172.16.0.1", affinity_timeout_s=60)
    ((shown,),) = (
        web.localhost_ports
        for web in node.status(listeners={LOCALHOST: state}).services
    )
    assert shown.persistence_timeout_s == 60
    assert [
        (real.address, real.weight, real.active, real.standing)
        for real in shown.real_servers
    ] == [
        ("172.16.0.1", 1, 3, Standing.OK),
        ("172.16.0.9", 0, 1, Standing.DRAINING),
    ]


def test_a_node_port_on_localhost_without_endpoints() -> None:
    """It says why, as a virtual server does."""
    node = localhost_node()
    ((shown,),) = (
        web.localhost_ports
        for web in node.status(listeners={LOCALHOST: ListenerState()}).services
    )
    assert shown.why == ("no real servers: no IPv4 EndpointSlice for the Service")
    assert not shown.is_well


def test_a_selection_by_a_loopback_address() -> None:
    """It finds the Service that is served there."""
    selection = Selection(address="127.0.0.1", port=30080)
    found = localhost_node("172.16.0.1").status(None, selection, listeners={})
    (web,) = found.services
    assert not web.virtual_servers
    assert len(web.localhost_ports) == 1


def foreign(address: str) -> VirtualServer:
    """A virtual server of somebody else."""
    key = VirtualServerKey(
        family=IPFamily.IPV4,
        protocol=Protocol.TCP,
        address=parse_address(address),
        port=6443,
    )
    return VirtualServer(key=key, scheduler="rr", netmask_bits=32)


def test_foreign_virtual_servers_are_apart() -> None:
    """Those without an entry in our sets, fwmarks last; nothing is asked of them."""
    web = web_node()
    lvscare = foreign("10.103.97.12")
    fwmark = VirtualServer(
        key=VirtualServerKey(family=IPFamily.IPV4, fwmark=7),
        scheduler="rr",
        netmask_bits=32,
    )
    held = {**web.desired.state().virtual_servers, fwmark.key: fwmark}
    held[lvscare.key] = lvscare
    status = web.status(web.but(virtual_servers=held))
    assert status.unclaimed == ()
    assert [(s.address, s.fwmark, s.bound) for s in status.foreign] == [
        ("10.103.97.12", 0, None),
        ("", 7, None),
    ]
    assert {s.standing for s in status.foreign} == {Standing.UNKNOWN}


def test_a_foreign_one_that_a_service_wants_stays_foreign() -> None:
    """The Service has a problem instead, and shows the rest."""
    vip = parse_address("203.0.113.50")
    web = Node.of(service(external_ips=(vip,)), endpoint_slice())
    (key,) = (k for k in web.desired.state().virtual_servers if k.address == vip)
    keepalived = VirtualServer(key=key, scheduler="wlc", netmask_bits=32)
    web.desired.agree(Observed(state=NodeState(virtual_servers={key: keepalived})))
    held = {**web.desired.state().virtual_servers, key: keepalived}
    status = web.status(web.but(virtual_servers=held), problems=web.desired.problems())
    assert [s.address for s in status.services[0].virtual_servers] == ["10.96.0.10"]
    assert [(s.address, s.scheduler) for s in status.foreign] == [(str(vip), "wlc")]
    assert [(p.field, p.value) for p in status.problems] == [
        ("spec.externalIPs", "tcp 203.0.113.50:80")
    ]


@pytest.mark.parametrize(
    ("source", "standing"), [("a test", Standing.UNWANTED), ("", Standing.UNKNOWN)]
)
def test_ours_without_a_service_is_unwanted_if_services_are_known(
    source: str, standing: Standing
) -> None:
    """When no objects were read, nobody can say that it is unwanted."""
    observed = Observed(state=web_node().desired.state())
    summary = msgspec.structs.replace(SUMMARY, source=source)
    status = Node.of().status(observed, summary=summary)
    (server,) = status.unclaimed
    assert (server.address, server.standing, server.bound) == (
        "10.96.0.10",
        standing,
        True,
    )
    assert len(server.real_servers) == 2


def test_a_selection_shows_nothing_else() -> None:
    """Only the chosen Services, and only their problems."""
    api = service("api", cluster_ips=(parse_address("10.96.0.11"),))
    both = Node.of(service(), api)
    problems = tuple(
        Problem(kind=Kind.SERVICE, ref=ref, field="spec", value="", reason="wrong")
        for ref in (api.ref, service().ref)
    )
    lvscare = foreign("10.103.97.12")
    held = {**both.desired.state().virtual_servers, lvscare.key: lvscare}
    observed = both.but(virtual_servers=held)
    status = both.status(observed, Selection(name="default/api"), problems=problems)
    assert [s.name for s in status.services] == ["api"]
    assert [p.ref for p in status.problems] == [api.ref]
    assert status.foreign == ()
    assert len(both.status(observed, problems=problems).problems) == 2


def test_a_status_survives_json() -> None:
    """What the control socket sends is what the client decodes."""
    status = web_node().status()
    body = msgspec.json.encode(status)
    assert msgspec.json.decode(body, type=NodeStatus) == status
