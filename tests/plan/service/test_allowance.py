"""What is served of a Service that asks for more than it may have."""

from collections import Counter
from ipaddress import ip_network
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipvsctl.model.config import LocalFallback, ProxyConfig
from ipvsctl.model.limits import Limits
from ipvsctl.model.net import IPFamily, IPv4Address, Protocol, parse_network
from ipvsctl.model.objects import (
    EndpointSlice,
    Service,
    ServicePort,
    ServiceType,
    SlicePort,
    TrafficPolicy,
)
from ipvsctl.model.sets import SetRole
from ipvsctl.plan.service.amounts import (
    ANY_AMOUNTS,
    Amounts,
    namespace_limit,
    service_limit,
)
from ipvsctl.plan.service.compile import compile_service
from ipvsctl.plan.service.demand import demand_of
from ipvsctl.plan.service.program import ServiceProgram, WayIn
from tests.addresses import later
from tests.clusters import CONFIG, NODE, Cluster, clusters
from tests.plan.service import test_compile
from tests.plan.service.test_compile import HERE, THERE, entries, slices

PODS = ProxyConfig(cluster_cidrs=(parse_network("172.16.0.0/12"),))


def limited(base: ProxyConfig = PODS, **limits: int) -> ProxyConfig:
    """Settings with these limits."""
    return msgspec.structs.replace(base, limits=Limits(**limits))


def many(ports: int, vips: int, **fields: Any) -> Service:
    """A Service with that many ports and external IPs, and node ports."""
    values: dict[str, Any] = {
        "ports": tuple(
            ServicePort(
                name=f"p{number}",
                protocol=Protocol.TCP,
                port=1000 + number,
                node_port=30000 + number,
            )
            for number in range(ports)
        ),
        "external_ips": tuple(
            later(IPv4Address("203.0.112.0"), n) for n in range(vips)
        ),
    }
    return test_compile.service(**{**values, **fields})


def all_ports(service: Service, *endpoints: Any) -> list[EndpointSlice]:
    """Slices in which the endpoints have every port of a Service."""
    ports = tuple(
        SlicePort(name=port.name, protocol=port.protocol, port=port.port)
        for port in service.ports
    )
    return [msgspec.structs.replace(piece, ports=ports) for piece in slices(*endpoints)]


def ways(program: ServiceProgram) -> dict[WayIn, int]:
    """How many virtual servers each way in has."""
    return Counter(server.way for server in program.servers)


def test_a_million_virtual_servers_are_never_made() -> None:
    """1,000 ports on 1,000 external IPs are counted, and as many served as may be."""
    service = many(1000, 1000, type=ServiceType.CLUSTER_IP)
    program = compile_service(service, (), NODE, PODS)
    assert len(program.servers) == 32_768
    assert ways(program)[WayIn.CLUSTER_IP] == 1000
    (problem,) = program.problems
    assert str(problem) == (
        "Service default/web: spec.ports: 1,001,000 virtual servers: a Service may have"
        " 32,768 (ipvsctl.serviceVirtualServers); 32,768 of 1,001,000 virtual servers"
        " are served, those of cluster IPs first"
    )
    # Nor are addresses bound that nothing is served at.
    vips = {s.server.key.address for s in program.servers if s.is_bound}
    assert len(vips) <= 1001


def test_defaults_leave_large_clusters_alone() -> None:
    """A media Service; and 50,000 Services with two ports and two families."""
    own, namespace = service_limit(Limits()), namespace_limit(Limits())
    media = Amounts(virtual_servers=2000 * 8 * 2, real_servers=2000 * 8 * 2 * 15)
    assert media.fits(own)
    assert Amounts(50_000 * 2 * 2, 50_000 * 2 * 2 * 10).fits(namespace)


def test_no_limit() -> None:
    """0 lets everything through."""
    config = limited(service_virtual_servers=0, service_real_servers=0)
    program = compile_service(many(400, 100), (), NODE, config)
    assert ways(program)[WayIn.EXTERNAL_IP] == 40_000
    assert not program.problems


NODE_TWO = test_compile.NODE
"""It has two IPv4 addresses that accept node ports."""


@pytest.mark.parametrize(
    ("limit", "cluster_ips", "node_ports", "external_ips"),
    [
        (3, 3, 0, 0),
        (5, 5, 0, 0),
        (7, 5, 4, 0),
        (12, 5, 10, 2),
        (19, 5, 10, 9),
        (20, 5, 10, 10),
    ],
)
def test_what_comes_first(
    limit: int, cluster_ips: int, node_ports: int, external_ips: int
) -> None:
    """Cluster IPs, then node ports, then the others, each from the first port on.

    A node port counts once, although this node has it at two addresses: another node
    may have it at three, and serves the same.
    """
    service = many(5, 2)
    program = compile_service(
        service, (), NODE_TWO, limited(service_virtual_servers=limit)
    )
    assert ways(program) == {
        way: count
        for way, count in (
            (WayIn.CLUSTER_IP, cluster_ips),
            (WayIn.NODE_PORT, node_ports),
            (WayIn.EXTERNAL_IP, external_ips),
        )
        if count
    }
    assert bool(program.problems) is (limit < 20)


def test_real_servers() -> None:
    """They count for each virtual server, and the last that fits is served."""
    service = many(4, 0, type=ServiceType.CLUSTER_IP)
    found = all_ports(service, HERE, THERE)
    program = compile_service(service, found, NODE, limited(service_real_servers=5))
    assert [s.server.key.port for s in program.servers] == [1000, 1001]
    (problem,) = program.problems
    assert problem.value == "8 real servers"
    assert problem.reason == (
        "a Service may have 5 (ipvsctl.serviceRealServers); 2 of 4 virtual servers are"
        " served, those of cluster IPs first"
    )
    # Nothing of a port that is not served is in any set.
    assert len(entries(program, SetRole.LOOP_BACK)) == 2


def test_source_ranges_count() -> None:
    """A thousand of them for a thousand ports would be a million set entries."""
    service = many(
        10,
        0,
        type=ServiceType.LOAD_BALANCER,
        external_ips=(),
        ingress_vips=(IPv4Address("198.51.100.7"),),
        source_ranges=tuple(ip_network(f"10.{n}.0.0/16") for n in range(100)),
    )
    program = compile_service(service, (), NODE, limited(service_real_servers=250))
    assert ways(program)[WayIn.INGRESS_VIP] == 2
    assert len(entries(program, SetRole.LOAD_BALANCER_SOURCE_CIDR)) == 200


def test_marks() -> None:
    """Addresses above the limit have the cluster's endpoints, if there is none here."""
    service = many(
        3, 2, external_traffic_policy=TrafficPolicy.LOCAL, type=ServiceType.CLUSTER_IP
    )
    found = all_ports(service, THERE)
    program = compile_service(service, found, NODE, limited(service_marks=3))
    external = [s for s in program.servers if s.way is WayIn.EXTERNAL_IP]
    assert [s.inside is not None for s in external] == [True, True, True] + [False] * 3
    assert [len(s.real_servers) for s in external] == [0, 0, 0, 1, 1, 1]
    assert len(entries(program, SetRole.NO_LOCAL_ENDPOINTS)) == 3
    (problem,) = program.problems
    assert (problem.field, problem.value) == (
        "spec.externalTrafficPolicy",
        "6 fwmarks",
    )
    assert problem.reason.startswith("a Service may have 3 (ipvsctl.serviceMarks)")


def test_marks_and_an_explicit_fallback() -> None:
    """`localFallback: none` is somebody's wish."""
    config = msgspec.structs.replace(
        limited(service_marks=1), local_fallback=LocalFallback.NONE
    )
    service = many(
        2, 1, external_traffic_policy=TrafficPolicy.LOCAL, type=ServiceType.CLUSTER_IP
    )
    program = compile_service(service, all_ports(service, THERE), NODE, config)
    assert len(entries(program, SetRole.NO_LOCAL_ENDPOINTS)) == 2


def test_what_a_namespace_leaves() -> None:
    """The rest is one problem, that names the namespace's limit and setting."""
    service = many(5, 0, type=ServiceType.CLUSTER_IP)
    demand = demand_of(service, (), NODE, PODS)
    limit = ANY_AMOUNTS._replace(virtual_servers=100)
    granted = ANY_AMOUNTS._replace(virtual_servers=2)
    allowance = demand.allowance(ANY_AMOUNTS, granted, limit)
    program = compile_service(service, (), NODE, PODS, allowance)
    assert len(program.servers) == 2
    (problem,) = program.problems
    assert problem.value == "5 virtual servers"
    assert problem.reason == (
        "namespace default may have 100 (ipvsctl.namespaceVirtualServers), of which"
        " older Services leave 2; 2 of 5 virtual servers are served, those of cluster"
        " IPs first"
    )


def test_health_checks() -> None:
    """A port that the namespace has no room for is not answered, nor kept open."""
    service = many(1, 0, health_check_node_port=32000)
    demand = demand_of(service, (), NODE, PODS)
    granted = ANY_AMOUNTS._replace(health_checks=0)
    allowance = demand.allowance(ANY_AMOUNTS, granted, ANY_AMOUNTS)
    program = compile_service(service, (), NODE, PODS, allowance)
    assert program.health_check is None
    assert entries(program, SetRole.HEALTH_CHECK_NODE_PORT) == []
    assert [problem.field for problem in program.problems] == [
        "spec.healthCheckNodePort"
    ]


def test_compatibility_has_limits_too() -> None:
    """They protect the node, whatever kube-proxy would do."""
    config = limited(test_compile.KUBE_PROXY, service_virtual_servers=3)
    program = compile_service(many(5, 0), (), NODE, config)
    assert ways(program) == {WayIn.CLUSTER_IP: 3}


def _counted(program: ServiceProgram) -> int:
    """Virtual servers as limits count them."""
    node_ports = {
        (s.server.key.family, s.port_name)
        for s in program.servers
        if s.way is WayIn.NODE_PORT
    }
    others = sum(s.way is not WayIn.NODE_PORT for s in program.servers)
    return others + len(node_ports)


@given(clusters(), st.integers(0, 12), st.integers(0, 12))
def test_a_limit_takes_from_the_end(cluster: Cluster, servers: int, real: int) -> None:
    """Less is served, never something else, and never more than may be.

    What is served does not depend on the order of slices.
    """
    for service in cluster.services:
        found = [s for s in cluster.slices if s.service == service.ref]
        whole = compile_service(service, found, NODE, CONFIG)
        config = limited(
            CONFIG,
            service_virtual_servers=servers + 1,
            service_real_servers=real + 1,
        )
        part = compile_service(service, found, NODE, config)
        assert _counted(part) <= servers + 1
        behind = [
            len(s.real_servers) for s in part.servers if s.way is not WayIn.NODE_PORT
        ]
        assert sum(behind) <= real + 1
        if not any("may have" in problem.reason for problem in part.problems):
            assert part == whole
        keys = {s.server.key for s in whole.servers}
        assert {s.server.key for s in part.servers} <= keys
        assert set(part.entries) <= set(whole.entries)
        again = compile_service(service, found[::-1], NODE, config)
        assert {s.server.key for s in again.servers} == {
            s.server.key for s in part.servers
        }


@given(clusters())
def test_what_is_counted_covers_what_is_made(cluster: Cluster) -> None:
    """A Service asks for at least as much as it compiles to on any node."""
    for service in cluster.services:
        if not service.proxied:
            continue
        found = [s for s in cluster.slices if s.service == service.ref]
        asked = demand_of(service, found, NODE, CONFIG).asked
        program = compile_service(service, found, NODE, CONFIG)
        assert _counted(program) <= asked.virtual_servers
        marks = Counter(
            s.server.key.family for s in program.servers if s.inside is not None
        )
        for family in IPFamily:
            assert marks[family] <= asked.marks(family)
