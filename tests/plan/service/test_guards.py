"""Addresses and ports that no Service gets."""

from typing import Any

import msgspec
import pytest

from ipvsctl.model.config import Compatibility, ProxyConfig, ServeConfig
from ipvsctl.model.host import API_SERVICE, ApiServer, ApiServers, Guard, HostNetwork
from ipvsctl.model.net import IPAddress, Protocol, parse_address, parse_network
from ipvsctl.model.objects import NodeContext, ServicePort, ServiceType, TrafficPolicy
from ipvsctl.plan.service.compile import compile_service
from ipvsctl.plan.service.guards import api_ports, guarded_addresses
from ipvsctl.plan.service.program import ServiceProgram
from tests.builders import endpoint_slice, service
from tests.clusters import NODE

HOST = HostNetwork(
    addresses=frozenset(NODE.host_addresses),
    networks=frozenset(
        map(
            parse_network,
            ("10.0.0.10/24", "10.9.0.10/32", "10.8.0.0/31", "fd00:10::/64"),
        )
    ),
    gateways=frozenset(map(parse_address, ("10.0.0.1", "fd00:10::1"))),
    resolvers=frozenset(map(parse_address, ("10.0.0.53", "10.96.0.53"))),
)
API = ApiServers(
    used=frozenset(
        {
            ApiServer(parse_address("192.0.2.6"), 6443),
            ApiServer(parse_address("10.96.0.1"), 443),
            ApiServer(parse_address("10.9.0.10"), 6444),
        }
    ),
    endpoints=frozenset({ApiServer(parse_address("192.0.2.7"), 6443)}),
)
GUARDED = msgspec.structs.replace(
    NODE, guarded=guarded_addresses(HOST, API), api_ports=api_ports(API)
)
HTTP = ServicePort(name="http", protocol=Protocol.TCP, port=80, node_port=30080)
BOTH_FAMILIES = (parse_address("10.96.0.10"), parse_address("fd00:96::10"))
KUBE_PROXY = ProxyConfig(compatibility=Compatibility.KUBE_PROXY)


def compiled(
    config: ProxyConfig = ProxyConfig(),  # noqa: B008  # frozen
    node: NodeContext = GUARDED,
    **fields: Any,
) -> ServiceProgram:
    """The program of a load balancer of both families."""
    usual = {
        "type": ServiceType.LOAD_BALANCER,
        "cluster_ips": BOTH_FAMILIES,
        "ports": (HTTP,),
    }
    return compile_service(
        service(**{**usual, **fields}), [endpoint_slice()], node, config
    )


def addresses(program: ServiceProgram) -> set[IPAddress | None]:
    """Where it has virtual servers."""
    return {server.server.key.address for server in program.servers}


EXTERNAL = [
    ("192.0.2.6", Guard.API_SERVER),
    ("10.96.0.1", Guard.API_SERVER),
    ("192.0.2.7", Guard.API_ENDPOINT),
    ("10.0.0.1", Guard.GATEWAY),
    ("fd00:10::1", Guard.GATEWAY),
    ("10.0.0.53", Guard.RESOLVER),
    ("10.0.0.255", Guard.BROADCAST),
    ("255.255.255.255", Guard.BROADCAST),
    ("10.0.0.0", Guard.NETWORK),
    ("fd00:10::", Guard.NETWORK),
]


@pytest.mark.parametrize("field", ["external_ips", "ingress_vips"])
@pytest.mark.parametrize(("vip", "guard"), EXTERNAL)
def test_an_external_vip_is_no_guarded_address(
    field: str, vip: str, guard: Guard
) -> None:
    """It is named, and all else of the Service is served."""
    fields: dict[str, Any] = {field: (parse_address(vip),)}
    program = compiled(**fields)
    assert [(p.value, p.reason) for p in program.problems] == [
        (vip, f"{guard}; not served")
    ]
    assert msgspec.structs.replace(program, problems=()) == compiled()


@pytest.mark.parametrize(
    "vip", ["10.8.0.0", "10.8.0.1", "10.0.1.255", "10.0.1.0", "203.0.113.0"]
)
def test_an_end_of_another_network_is_any_address(vip: str) -> None:
    """VIPs of a pool have no network; networks of two addresses have no ends."""
    assert parse_address(vip) in addresses(compiled(external_ips=(parse_address(vip),)))


@pytest.mark.parametrize(
    ("vip", "is_served"),
    [
        # An API server gives out none of these.
        ("10.0.0.10", False),
        ("10.0.0.11", False),
        ("192.0.2.7", False),
        ("10.0.0.1", False),
        ("10.0.0.0", False),
        ("10.0.0.255", False),
        # The cluster's own name servers, and where a pod asks for the API server.
        ("10.96.0.53", True),
        ("10.96.0.1", True),
    ],
)
def test_cluster_ips(vip: str, *, is_served: bool) -> None:
    """One that is refused leaves the node ports, and the other family."""
    program = compiled(cluster_ips=(parse_address(vip), BOTH_FAMILIES[1]))
    keys = {str(server.server.key) for server in program.servers}
    assert (f"tcp {vip}:80" in keys) is is_served
    assert (parse_address(vip) in program.addresses) is is_served
    assert bool(program.problems) is not is_served
    assert {"tcp 10.0.0.10:30080", "tcp [fd00:96::10]:80"} <= keys


def test_the_api_servers_own_service_is_served() -> None:
    """Whatever its endpoints are: without it nothing in the cluster works."""
    vip = parse_address("192.0.2.7")
    api = msgspec.structs.replace(service(cluster_ips=(vip,)), ref=API_SERVICE)
    program = compile_service(api, [], GUARDED, ProxyConfig())
    assert addresses(program) == {vip}


@pytest.mark.parametrize(("vip", "guard"), EXTERNAL)
def test_kube_proxy_compatibility_guards_only_the_api_server(
    vip: str, guard: Guard
) -> None:
    """A node that cannot reach it would never hear that it may have it back."""
    program = compiled(KUBE_PROXY, external_ips=(parse_address(vip),))
    is_api = guard in {Guard.API_SERVER, Guard.API_ENDPOINT}
    assert (parse_address(vip) in addresses(program)) is not is_api
    assert bool(program.problems) is is_api


@pytest.mark.parametrize(
    ("networks", "served"),
    [
        (None, {"203.0.113.1"}),
        (("0.0.0.0/0", "::/0"), {"203.0.113.1"}),
        ((), set()),
        (("2001:db8::/32",), set()),
        (("203.0.113.0/24",), {"203.0.113.1"}),
        (("10.0.0.0/24",), {"10.0.0.1", "10.0.0.53"}),
        (("0.0.0.0/0", "192.0.2.6/32"), {"203.0.113.1", "192.0.2.6"}),
    ],
)
@pytest.mark.parametrize("compatibility", Compatibility)
def test_allow_lists(
    networks: tuple[str, ...] | None, served: set[str], compatibility: Compatibility
) -> None:
    """Outside of the list nothing is served; what it names is, even if guarded.

    It does not make an address of a Node or a broadcast address a VIP. Each way in
    has a list of its own.
    """
    vips = tuple(
        map(
            parse_address,
            ("203.0.113.1", "192.0.2.6", "10.0.0.1", "10.0.0.53", "10.0.0.255"),
        )
    )
    if compatibility is Compatibility.KUBE_PROXY:
        # Only the API server's is guarded there, and the list says the rest.
        vips = vips[:2]
        served &= {str(vip) for vip in vips}
    allowed = None if networks is None else tuple(map(parse_network, networks))
    for ours, theirs, way, other in (
        (
            "allowed_external_ips",
            "allowed_ingress_vips",
            "external_ips",
            "ingress_vips",
        ),
        (
            "allowed_ingress_vips",
            "allowed_external_ips",
            "ingress_vips",
            "external_ips",
        ),
    ):
        settings: dict[str, Any] = {ours: allowed, "compatibility": compatibility}
        fields: dict[str, Any] = {way: vips}
        program = compiled(ProxyConfig(**settings), **fields)
        found = {str(a) for a in addresses(program)} & {str(v) for v in vips}
        assert found == served, way
        assert {p.value for p in program.problems} == {str(v) for v in vips} - served
        # The other way in is not concerned.
        settings = {theirs: (), ours: None, "compatibility": compatibility}
        fields = {way: vips[:1], other: vips[:1]}
        both = compiled(ProxyConfig(**settings), **fields)
        assert vips[0] in addresses(both)
        assert len(both.problems) == 1


@pytest.mark.parametrize(
    ("settings", "port", "is_served"),
    [
        ({}, 22, False),
        ({}, 10250, False),
        ({}, 10256, False),
        ({}, 10249, False),
        ({}, 30080, True),
        ({"reserved_node_ports": ()}, 22, True),
        ({"reserved_node_ports": ()}, 10256, False),
        ({"reserved_node_ports": (30080,)}, 30080, False),
        ({"compatibility": Compatibility.KUBE_PROXY}, 22, True),
        ({"compatibility": Compatibility.KUBE_PROXY}, 10256, True),
        (
            {
                "compatibility": Compatibility.KUBE_PROXY,
                "reserved_node_ports": (22,),
            },
            22,
            False,
        ),
    ],
)
def test_reserved_node_ports(
    settings: dict[str, Any], port: int, *, is_served: bool
) -> None:
    """Ssh, the kubelet and the daemon itself stay reachable on node addresses.

    An external address may have these ports: a load balancer for ssh is common.
    """
    taken = msgspec.structs.replace(HTTP, node_port=port)
    ssh = ServicePort(name="ssh", protocol=Protocol.TCP, port=22, node_port=30022)
    program = compiled(
        ProxyConfig(**settings),
        ports=(taken, ssh),
        external_ips=(parse_address("203.0.113.1"),),
    )
    keys = {str(server.server.key) for server in program.servers}
    assert (f"tcp 10.0.0.10:{port}" in keys) is is_served
    assert {
        "tcp 10.96.0.10:80",
        "tcp 10.0.0.10:30022",
        "tcp 203.0.113.1:22",
        "tcp 203.0.113.1:80",
    } <= keys
    named = [] if is_served else [("spec.ports[0].nodePort", str(port))]
    assert [(p.field, p.value) for p in program.problems] == named


def test_a_health_check_node_port_is_reserved_too() -> None:
    """Else the daemon might listen on the kubelet's port before the kubelet does."""
    program = compiled(
        external_traffic_policy=TrafficPolicy.LOCAL, health_check_node_port=10250
    )
    assert program.health_check is None
    assert [p.field for p in program.problems] == ["spec.healthCheckNodePort"]


def test_the_daemons_own_ports_are_those_it_is_given() -> None:
    """Another port for its probes is reserved instead; nowhere is no port."""
    own = ServeConfig()
    for listener in (own.healthz, own.metrics):
        assert ProxyConfig().is_reserved(listener.port)
    nowhere = msgspec.structs.replace(own.healthz, port=0)
    quiet = ProxyConfig(serve=ServeConfig(healthz=nowhere))
    assert not quiet.is_reserved(own.healthz.port)
    assert not quiet.is_reserved(0)


@pytest.mark.parametrize("compatibility", Compatibility)
def test_no_node_port_where_the_api_server_listens(
    compatibility: Compatibility,
) -> None:
    """On the node it runs on, a Service with its port would answer the cluster."""
    port = msgspec.structs.replace(HTTP, node_port=6444)
    program = compiled(ProxyConfig(compatibility=compatibility), ports=(port,))
    keys = {str(server.server.key) for server in program.servers}
    assert "tcp 10.9.0.10:6444" not in keys
    assert "tcp 10.0.0.10:6444" in keys
    assert [p.value for p in program.problems] == ["10.9.0.10:6444"]
