"""What one Service compiles to: one row, or one test, a fact."""

from ipaddress import ip_network
from typing import Any

import msgspec
import pytest

from ipvsctl.model.config import (
    Compatibility,
    LocalFallback,
    NodePortAddresses,
    ProxyConfig,
)
from ipvsctl.model.ipvs import ServiceFlags
from ipvsctl.model.net import IPFamily, IPv4Address, IPv6Address, Protocol
from ipvsctl.model.objects import (
    Endpoint,
    EndpointSlice,
    NodeContext,
    Service,
    ServicePort,
    ServiceType,
    SlicePort,
    TrafficPolicy,
)
from ipvsctl.model.problem import ObjectRef
from ipvsctl.model.sets import OWNING_ROLES, SetRole, set_key
from ipvsctl.plan.service.compile import compile_service
from ipvsctl.plan.service.program import ServiceProgram, WayIn

WEB = ObjectRef("default", "web")
NODE = NodeContext(
    name="node-0",
    zone="zone-a",
    node_addresses=(IPv4Address("10.0.0.10"), IPv6Address("fd00:10::10")),
    host_addresses=(
        IPv4Address("10.0.0.10"),
        IPv4Address("192.168.7.1"),
        IPv6Address("fd00:10::10"),
    ),
    peer_addresses=frozenset({IPv4Address("10.0.0.11")}),
)
HERE = Endpoint(address=IPv4Address("172.16.0.5"), node_name="node-0")
THERE = Endpoint(address=IPv4Address("172.16.1.5"), node_name="node-1")
THERE_V6 = Endpoint(address=IPv6Address("fd00:172::5"), node_name="node-1")
KUBE_PROXY = ProxyConfig(compatibility=Compatibility.KUBE_PROXY)


def service(**fields: Any) -> Service:
    """A Service with one port http 80, node port 30080, and both cluster IPs."""
    values: dict[str, Any] = {
        "ref": WEB,
        "type": ServiceType.NODE_PORT,
        "cluster_ips": (IPv4Address("10.96.0.10"),),
        "ports": (
            ServicePort(name="http", protocol=Protocol.TCP, port=80, node_port=30080),
        ),
    }
    return Service(**{**values, **fields})


def slices(
    *endpoints: Endpoint, protocol: Protocol = Protocol.TCP
) -> list[EndpointSlice]:
    """One slice a family with port http on 8080."""
    return [
        EndpointSlice(
            ref=ObjectRef("default", f"web-{family.label}"),
            service=WEB,
            family=family,
            ports=(SlicePort(name="http", protocol=protocol, port=8080),),
            endpoints=tuple(
                e for e in endpoints if (e.address.version == 4) is (family == 2)
            ),
        )
        for family in IPFamily
    ]


def compiled(
    given: Service,
    *endpoints: Endpoint,
    node: NodeContext = NODE,
    config: ProxyConfig = ProxyConfig(),  # noqa: B008 - frozen
) -> ServiceProgram:
    """The Service's program on node-0, by default with an endpoint here and there."""
    return compile_service(given, slices(*(endpoints or (HERE, THERE))), node, config)


def frontends(program: ServiceProgram) -> dict[str, list[str]]:
    """Virtual server -> its real servers, as text, sorted."""
    return {
        str(server.server.key): sorted(str(key) for key in server.real_servers)
        for server in program.servers
    }


def entries(program: ServiceProgram, role: SetRole) -> list[str]:
    """Entries of a role's IPv4 or IPv6 set, as text, sorted."""
    keys = {set_key(role, family) for family in IPFamily}
    named = [*program.entries, *(e for s in program.servers for e in s.entries)]
    return sorted({str(e.entry) for e in named if e.key in keys})


BOTH = ["172.16.0.5:8080", "172.16.1.5:8080"]
ONLY_HERE = ["172.16.0.5:8080"]
ONLY_THERE = ["172.16.1.5:8080"]


def test_every_way_in_of_a_load_balancer() -> None:
    """Cluster IP, external IP, ingress VIP and node port lead to all endpoints."""
    program = compiled(
        service(
            type=ServiceType.LOAD_BALANCER,
            external_ips=(IPv4Address("203.0.113.50"),),
            ingress_vips=(IPv4Address("198.51.100.7"),),
        )
    )
    assert frontends(program) == {
        "tcp 10.96.0.10:80": BOTH,
        "tcp 203.0.113.50:80": BOTH,
        "tcp 198.51.100.7:80": BOTH,
        "tcp 10.0.0.10:30080": BOTH,
        "tcp 192.168.7.1:30080": BOTH,
    }
    assert sorted(map(str, program.addresses)) == [
        "10.96.0.10",
        "198.51.100.7",
        "203.0.113.50",
    ]
    assert {server.way for server in program.servers} == set(WayIn)
    assert program.problems == ()


@pytest.mark.parametrize(
    ("fact", "fields", "endpoints", "expected"),
    [
        (
            "external Local keeps to this node, the cluster IP does not",
            {"external_traffic_policy": TrafficPolicy.LOCAL},
            (HERE, THERE),
            {"tcp 10.96.0.10:80": BOTH, "tcp 10.0.0.10:30080": ONLY_HERE},
        ),
        (
            "internal Local keeps to this node, the node port does not",
            {"internal_traffic_policy": TrafficPolicy.LOCAL},
            (HERE, THERE),
            {"tcp 10.96.0.10:80": ONLY_HERE, "tcp 10.0.0.10:30080": BOTH},
        ),
        (
            "external Local without a local endpoint is filled with the cluster's",
            {"external_traffic_policy": TrafficPolicy.LOCAL},
            (THERE,),
            {"tcp 10.96.0.10:80": ONLY_THERE, "tcp 10.0.0.10:30080": ONLY_THERE},
        ),
        (
            "Local in every way is filled as well if clients come from outside",
            {
                "internal_traffic_policy": TrafficPolicy.LOCAL,
                "external_traffic_policy": TrafficPolicy.LOCAL,
            },
            (THERE,),
            {"tcp 10.96.0.10:80": ONLY_THERE, "tcp 10.0.0.10:30080": ONLY_THERE},
        ),
        (
            "internal Local is not filled if nobody comes from outside",
            {
                "internal_traffic_policy": TrafficPolicy.LOCAL,
                "type": ServiceType.CLUSTER_IP,
            },
            (THERE,),
            {"tcp 10.96.0.10:80": []},
        ),
        (
            "a node port number on a ClusterIP Service means nothing",
            {"type": ServiceType.CLUSTER_IP},
            (HERE,),
            {"tcp 10.96.0.10:80": ONLY_HERE},
        ),
        (
            "a port without endpoints of its name is an empty virtual server",
            {"ports": (ServicePort(name="x", protocol=Protocol.TCP, port=80),)},
            (HERE,),
            {"tcp 10.96.0.10:80": []},
        ),
        (
            "a Service that is left alone compiles to nothing",
            {"proxied": False},
            (),
            {},
        ),
        ("so does one without ports", {"ports": ()}, (HERE,), {}),
    ],
)
def test_frontends(
    fact: str,
    fields: dict[str, Any],
    endpoints: tuple[Endpoint, ...],
    expected: dict[str, list[str]],
) -> None:
    """Virtual servers and real servers are what the row says."""
    node = msgspec.structs.replace(NODE, host_addresses=(IPv4Address("10.0.0.10"),))
    assert frontends(compiled(service(**fields), *endpoints, node=node)) == expected, (
        fact
    )


def test_dual_stack() -> None:
    """Each family has its own virtual servers with endpoints of its own."""
    program = compiled(
        service(cluster_ips=(IPv4Address("10.96.0.10"), IPv6Address("fd00:96::10"))),
        HERE,
        THERE_V6,
    )
    assert frontends(program) == {
        "tcp 10.96.0.10:80": ONLY_HERE,
        "tcp 10.0.0.10:30080": ONLY_HERE,
        "tcp 192.168.7.1:30080": ONLY_HERE,
        "tcp [fd00:96::10]:80": ["[fd00:172::5]:8080"],
        "tcp [fd00:10::10]:30080": ["[fd00:172::5]:8080"],
    }
    assert {s.server.netmask_bits for s in program.servers} == {32, 128}


def test_an_external_address_of_a_family_without_cluster_ip_is_a_problem() -> None:
    """It is named and left out; the rest of the Service works."""
    program = compiled(service(external_ips=(IPv6Address("2001:db8::1"),)))
    assert "tcp [2001:db8::1]:80" not in frontends(program)
    assert "tcp 10.96.0.10:80" in frontends(program)
    assert [str(p) for p in program.problems] == [
        (
            "Service default/web: spec.externalIPs: 2001:db8::1: "
            "the Service has no IPv6 cluster IP; not served"
        )
    ]


def test_a_kernel_without_ipv6_gets_ipv4_only() -> None:
    """Nothing of the missing family is planned."""
    node = msgspec.structs.replace(NODE, families=(IPFamily.IPV4,))
    program = compiled(
        service(cluster_ips=(IPv6Address("fd00:96::10"), IPv4Address("10.96.0.10"))),
        node=node,
    )
    assert {s.server.key.family for s in program.servers} == {IPFamily.IPV4}
    assert program.addresses == {IPv4Address("10.96.0.10")}


@pytest.mark.parametrize("protocol", Protocol)
def test_protocols(protocol: Protocol) -> None:
    """TCP, UDP and SCTP differ in nothing but the protocol, node ports included."""
    given = service(
        ports=(ServicePort(name="http", protocol=protocol, port=80, node_port=30080),)
    )
    program = compile_service(
        given, slices(HERE, protocol=protocol), NODE, ProxyConfig()
    )
    assert {s.server.key.protocol for s in program.servers} == {protocol}
    assert all(len(s.real_servers) == 1 for s in program.servers)
    assert entries(program, SetRole.NODE_PORT) == [
        f"10.0.0.10,{protocol.label}:30080",
        f"192.168.7.1,{protocol.label}:30080",
    ]


def test_session_affinity() -> None:
    """ClientIP affinity is persistence by single address with the Service's timeout."""
    program = compiled(service(affinity_timeout_s=600))
    assert {
        (s.server.flags, s.server.timeout_s, s.server.netmask_bits)
        for s in program.servers
    } == {(ServiceFlags.PERSISTENT, 600, 32)}


@pytest.mark.parametrize(
    ("scheduler", "flags"),
    [
        ("rr", ServiceFlags.NONE),
        ("sh", ServiceFlags.SCHED1),
        ("mh", ServiceFlags.SCHED1 | ServiceFlags.SCHED2),
    ],
)
def test_hashing_schedulers_fall_back(scheduler: str, flags: ServiceFlags) -> None:
    """`sh` and `mh` get their fallback flag, so weight 0 drops nothing (k/k#138688)."""
    program = compiled(service(), config=ProxyConfig(scheduler=scheduler))
    assert {(s.server.scheduler, s.server.flags) for s in program.servers} == {
        (scheduler, flags)
    }


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (NodePortAddresses(), ["10.0.0.10", "192.168.7.1"]),
        (NodePortAddresses(primary=True), ["10.0.0.10"]),
        (NodePortAddresses(networks=(ip_network("192.168.0.0/16"),)), ["192.168.7.1"]),
        (NodePortAddresses(networks=(ip_network("172.31.0.0/16"),)), []),
        (
            # A family without a network of its own is not restricted.
            NodePortAddresses(networks=(ip_network("fd00::/8"),)),
            ["10.0.0.10", "192.168.7.1"],
        ),
    ],
)
def test_node_port_addresses(choice: NodePortAddresses, expected: list[str]) -> None:
    """Node ports are on the addresses that the setting chooses."""
    program = compiled(service(), config=ProxyConfig(node_port_addresses=choice))
    assert [
        str(s.server.key.address) for s in program.servers if s.way is WayIn.NODE_PORT
    ] == expected


LOCALHOST = NodePortAddresses(localhost=True)


def on_localhost(program: ServiceProgram) -> dict[str, list[str]]:
    """Listener on localhost -> where it leads, as text, sorted."""
    return {
        str(port.listener): sorted(str(key) for key in port.real_servers)
        for port in program.localhost_ports
    }


BOTH_FAMILIES = (IPv4Address("10.96.0.10"), IPv6Address("fd00:96::10"))


@pytest.mark.parametrize(
    ("fact", "given", "config", "expected"),
    [
        ("off", service(), ProxyConfig(), {}),
        (
            "on",
            service(),
            ProxyConfig(node_port_addresses=LOCALHOST),
            {"127.0.0.1:30080": BOTH},
        ),
        (
            "both families",
            service(cluster_ips=BOTH_FAMILIES),
            ProxyConfig(node_port_addresses=LOCALHOST),
            {"127.0.0.1:30080": BOTH, "[::1]:30080": []},
        ),
        (
            "a family by its network",
            service(cluster_ips=BOTH_FAMILIES),
            ProxyConfig(
                node_port_addresses=NodePortAddresses(networks=(ip_network("::1/128"),))
            ),
            {"[::1]:30080": []},
        ),
        (
            "compatibility",
            service(),
            ProxyConfig(
                node_port_addresses=LOCALHOST, compatibility=Compatibility.KUBE_PROXY
            ),
            {},
        ),
        (
            "no node port",
            service(type=ServiceType.CLUSTER_IP),
            ProxyConfig(node_port_addresses=LOCALHOST),
            {},
        ),
        (
            "another protocol",
            service(
                ports=(
                    ServicePort(
                        name="http", protocol=Protocol.UDP, port=80, node_port=30080
                    ),
                )
            ),
            ProxyConfig(node_port_addresses=LOCALHOST),
            {},
        ),
        (
            "a reserved port",
            service(),
            ProxyConfig(node_port_addresses=LOCALHOST, reserved_node_ports=(30080,)),
            {},
        ),
        (
            "policy Local",
            service(external_traffic_policy=TrafficPolicy.LOCAL),
            ProxyConfig(node_port_addresses=LOCALHOST),
            {"127.0.0.1:30080": ONLY_HERE},
        ),
    ],
)
def test_node_ports_on_localhost(
    fact: str, given: Service, config: ProxyConfig, expected: dict[str, list[str]]
) -> None:
    """Those of TCP, with the endpoints that the node itself has at the node port."""
    assert on_localhost(compiled(given, config=config)) == expected, fact


@pytest.mark.parametrize(
    ("fallback", "expected"),
    [(None, ONLY_THERE), (LocalFallback.CLUSTER, ONLY_THERE), (LocalFallback.NONE, [])],
)
def test_policy_local_on_localhost_without_an_endpoint_here(
    fallback: LocalFallback | None, expected: list[str]
) -> None:
    """The cluster's are the last resort of the node, as at its node ports."""
    config = ProxyConfig(node_port_addresses=LOCALHOST, local_fallback=fallback)
    given = service(external_traffic_policy=TrafficPolicy.LOCAL)
    program = compiled(given, THERE, config=config)
    assert on_localhost(program) == {"127.0.0.1:30080": expected}


def test_localhost_leaves_virtual_servers_as_they_are() -> None:
    """Nothing in the kernel comes of it, and the order of endpoints is the same."""
    with_it = compiled(service(), config=ProxyConfig(node_port_addresses=LOCALHOST))
    assert with_it.servers == compiled(service()).servers
    (server,) = (s for s in with_it.servers if str(s.server.key.address) == "10.0.0.10")
    (port,) = with_it.localhost_ports
    assert [*port.real_servers] == [*server.real_servers]


def test_the_api_servers_port_is_left_free_on_localhost() -> None:
    """It could not start any more, whichever addresses it has that port on."""
    node = msgspec.structs.replace(
        NODE, api_ports={30080: frozenset({IPv4Address("10.0.0.10")})}
    )
    config = ProxyConfig(node_port_addresses=LOCALHOST)
    assert not compiled(service(), node=node, config=config).localhost_ports


def test_two_ports_of_a_service_with_one_number_on_localhost() -> None:
    """The first has it; only manifests can say that."""
    ports = tuple(
        ServicePort(name=name, protocol=Protocol.TCP, port=number, node_port=30080)
        for name, number in (("http", 80), ("other", 81))
    )
    networks = (ip_network("127.0.0.0/8"),)
    config = ProxyConfig(node_port_addresses=NodePortAddresses(networks=networks))
    program = compiled(service(ports=ports), config=config)
    assert on_localhost(program) == {"127.0.0.1:30080": BOTH}
    (problem,) = program.problems
    assert str(problem) == (
        "Service default/web: spec.ports[1].nodePort: 127.0.0.1:30080: already taken by"
        " spec.ports[0].nodePort of this Service"
    )


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (
            TrafficPolicy.CLUSTER,
            {
                SetRole.CLUSTER_IP: ["10.96.0.10,tcp:80"],
                SetRole.EXTERNAL_IP: ["203.0.113.50,tcp:80"],
                SetRole.LOAD_BALANCER: ["198.51.100.7,tcp:80"],
                SetRole.NODE_PORT: ["10.0.0.10,tcp:30080", "192.168.7.1,tcp:30080"],
            },
        ),
        (
            TrafficPolicy.LOCAL,
            {
                SetRole.CLUSTER_IP: ["10.96.0.10,tcp:80"],
                SetRole.EXTERNAL_IP_LOCAL: ["203.0.113.50,tcp:80"],
                SetRole.LOAD_BALANCER: ["198.51.100.7,tcp:80"],
                SetRole.LOAD_BALANCER_LOCAL: ["198.51.100.7,tcp:80"],
                SetRole.NODE_PORT: ["10.0.0.10,tcp:30080", "192.168.7.1,tcp:30080"],
                SetRole.NODE_PORT_LOCAL: [
                    "10.0.0.10,tcp:30080",
                    "192.168.7.1,tcp:30080",
                ],
                SetRole.HEALTH_CHECK_NODE_PORT: ["32000"],
            },
        ),
    ],
)
def test_sets(policy: TrafficPolicy, expected: dict[SetRole, list[str]]) -> None:
    """Every role's set holds what the policy calls for, and no other does."""
    program = compiled(
        service(
            type=ServiceType.LOAD_BALANCER,
            external_ips=(IPv4Address("203.0.113.50"),),
            ingress_vips=(IPv4Address("198.51.100.7"),),
            external_traffic_policy=policy,
            health_check_node_port=32000 if policy is TrafficPolicy.LOCAL else 0,
        )
    )
    always = {
        SetRole.LOOP_BACK: ["172.16.0.5,tcp:8080,172.16.0.5"],
    }
    assert sorted(map(str, program.addresses)) == [
        "10.96.0.10",
        "198.51.100.7",
        "203.0.113.50",
    ]
    assert {r: e for r in SetRole if (e := entries(program, r))} == expected | always


def test_source_ranges() -> None:
    """Ranges of the VIP's family become entries; one covering the node lets it in."""
    program = compiled(
        service(
            type=ServiceType.LOAD_BALANCER,
            ingress_vips=(IPv4Address("198.51.100.7"),),
            source_ranges=tuple(
                map(ip_network, ["203.0.113.0/24", "10.0.0.0/16", "2001:db8::/32"])
            ),
        )
    )
    assert entries(program, SetRole.LOAD_BALANCER_FW) == ["198.51.100.7,tcp:80"]
    assert entries(program, SetRole.LOAD_BALANCER_SOURCE_CIDR) == [
        "198.51.100.7,tcp:80,10.0.0.0/16",
        "198.51.100.7,tcp:80,203.0.113.0/24",
    ]
    assert entries(program, SetRole.LOAD_BALANCER_SOURCE_IP) == [
        "198.51.100.7,tcp:80,198.51.100.7"
    ]


NESTED = service(
    type=ServiceType.LOAD_BALANCER,
    ingress_vips=(IPv4Address("198.51.100.7"),),
    source_ranges=tuple(
        map(
            ip_network,
            [
                *("10.1.2.0/24", "10.1.0.0/16", "10.1.255.255/32", "10.1.0.0/17"),
                *("10.2.0.0/16", "10.1.0.0/16", "9.0.0.0/8"),
            ],
        )
    ),
)


def test_a_source_range_in_another_has_no_entry() -> None:
    """It says nothing, and in nftables it would have no place."""
    assert entries(compiled(NESTED), SetRole.LOAD_BALANCER_SOURCE_CIDR) == [
        "198.51.100.7,tcp:80,10.1.0.0/16",
        "198.51.100.7,tcp:80,10.2.0.0/16",
        "198.51.100.7,tcp:80,9.0.0.0/8",
    ]


def test_kube_proxys_source_ranges_have_an_entry_each() -> None:
    """For compatibility the sets are as kube-proxy fills them."""
    program = compiled(NESTED, config=KUBE_PROXY)
    assert len(entries(program, SetRole.LOAD_BALANCER_SOURCE_CIDR)) == 6


def test_annotated_source_ranges_are_not_kube_proxys() -> None:
    """It does not read the annotation, so for compatibility it means nothing."""
    balanced = service(
        type=ServiceType.LOAD_BALANCER,
        ingress_vips=(IPv4Address("198.51.100.7"),),
        source_ranges=(ip_network("10.0.0.0/16"),),
        has_annotated_ranges=True,
    )
    assert entries(compiled(balanced), SetRole.LOAD_BALANCER_FW)
    ignored = compiled(balanced, config=KUBE_PROXY)
    assert not entries(ignored, SetRole.LOAD_BALANCER_FW)


def test_a_source_range_of_everything_is_two_halves() -> None:
    """0.0.0.0/0 does not fit a hash set; its halves say the same."""
    program = compiled(
        service(
            type=ServiceType.LOAD_BALANCER,
            ingress_vips=(IPv4Address("198.51.100.7"),),
            source_ranges=(ip_network("0.0.0.0/0"),),
        )
    )
    assert entries(program, SetRole.LOAD_BALANCER_SOURCE_CIDR) == [
        "198.51.100.7,tcp:80,0.0.0.0/1",
        "198.51.100.7,tcp:80,128.0.0.0/1",
    ]


@pytest.mark.parametrize("address", ["10.0.0.10", "10.0.0.11"])
def test_a_vip_that_is_a_node_address_is_refused(address: str) -> None:
    """This node's or a peer's own address is never a VIP: it would cut it off."""
    program = compiled(service(external_ips=(IPv4Address(address),)))
    assert f"tcp {address}:80" not in frontends(program)
    assert IPv4Address(address) not in program.addresses
    assert [(p.field, p.value) for p in program.problems] == [
        ("spec.externalIPs", address)
    ]


def test_kube_proxy_compatibility_serves_a_node_address_but_never_binds_it() -> None:
    """The own address is served unbound; a peer's is bound, as kube-proxy does."""
    program = compiled(
        service(external_ips=(IPv4Address("10.0.0.10"), IPv4Address("10.0.0.11"))),
        config=KUBE_PROXY,
    )
    assert {"tcp 10.0.0.10:80", "tcp 10.0.0.11:80"} <= frontends(program).keys()
    assert sorted(map(str, program.addresses)) == ["10.0.0.11", "10.96.0.10"]
    assert program.problems == ()


def test_one_address_as_external_ip_and_ingress_vip_is_one_virtual_server() -> None:
    """It is in the sets of both ways in."""
    vip = IPv4Address("198.51.100.7")
    program = compiled(
        service(
            type=ServiceType.LOAD_BALANCER, external_ips=(vip,), ingress_vips=(vip,)
        )
    )
    assert len([k for k in frontends(program) if "198.51.100.7" in k]) == 1
    assert entries(program, SetRole.EXTERNAL_IP) == ["198.51.100.7,tcp:80"]
    assert entries(program, SetRole.LOAD_BALANCER) == ["198.51.100.7,tcp:80"]
    assert program.problems == ()


def test_a_service_that_claims_one_address_twice_differently() -> None:
    """The cluster IP as a Local external IP too: the first meaning stays, named."""
    program = compiled(
        service(
            external_ips=(IPv4Address("10.96.0.10"),),
            external_traffic_policy=TrafficPolicy.LOCAL,
        )
    )
    assert frontends(program)["tcp 10.96.0.10:80"] == BOTH
    assert [(p.field, p.reason) for p in program.problems] == [
        ("spec.externalIPs", "already taken by spec.ports[0].port of this Service")
    ]


def test_a_node_port_beats_an_external_ip_of_its_own_service() -> None:
    """Where a floating VIP is the node's, whichever port is listed first."""
    vip = IPv4Address("198.51.100.7")
    node = msgspec.structs.replace(NODE, host_addresses=(*NODE.host_addresses, vip))
    ports = (
        ServicePort(name="plain", protocol=Protocol.TCP, port=30080),
        ServicePort(name="http", protocol=Protocol.TCP, port=80, node_port=30080),
    )
    program = compile_service(
        service(type=ServiceType.NODE_PORT, ports=ports, external_ips=(vip,)),
        [],
        node,
        KUBE_PROXY,
    )
    (held,) = (s for s in program.servers if str(s.server.key) == f"tcp {vip}:30080")
    assert held.way is WayIn.NODE_PORT
    assert [(p.field, p.reason) for p in program.problems] == [
        ("spec.externalIPs", "already taken by spec.ports[1].nodePort of this Service")
    ]


def test_health_check_counts_ready_local_endpoints() -> None:
    """A terminating endpoint still gets traffic but no longer attracts it."""
    leaving = msgspec.structs.replace(HERE, ready=False, terminating=True)
    local = {
        "type": ServiceType.LOAD_BALANCER,
        "external_traffic_policy": TrafficPolicy.LOCAL,
        "health_check_node_port": 32000,
    }
    for endpoint, count in ((HERE, 1), (leaving, 0)):
        check = compiled(service(**local), endpoint, THERE).health_check
        assert check is not None
        assert (check.port, check.local_endpoints) == (32000, count)


def test_health_check_counts_endpoints_by_address() -> None:
    """A pod counts once, whatever its ports and families, and any port counts."""
    ports = [("http", 80, 8080), ("metrics", 81, 9090), ("admin", 82, 9091)]
    second = Endpoint(address=IPv4Address("172.16.0.6"), node_name="node-0")
    here_v6 = Endpoint(address=IPv6Address("fd00:172::5"), node_name="node-0")
    given = service(
        type=ServiceType.LOAD_BALANCER,
        cluster_ips=(IPv4Address("10.96.0.10"), IPv6Address("fd00:10:96::10")),
        external_traffic_policy=TrafficPolicy.LOCAL,
        health_check_node_port=32000,
        ports=tuple(
            ServicePort(name=name, protocol=Protocol.TCP, port=port)
            for name, port, _ in ports
        ),
    )
    behind = {
        "http": (HERE, THERE),
        "metrics": (HERE, here_v6),
        "admin": (second,),
    }
    pieces = [
        EndpointSlice(
            ref=ObjectRef("default", f"web-{name}-{family.label}"),
            service=WEB,
            family=family,
            ports=(SlicePort(name=name, protocol=Protocol.TCP, port=target),),
            endpoints=tuple(
                e for e in behind[name] if (e.address.version == 4) is (family == 2)
            ),
        )
        for name, _, target in ports
        for family in IPFamily
    ]
    check = compile_service(given, pieces, NODE, ProxyConfig()).health_check
    assert check is not None
    assert check.local_endpoints == 2


def test_hairpin_entries_are_for_every_local_endpoint() -> None:
    """One that is not ready may still have connections to itself."""
    unready = msgspec.structs.replace(HERE, ready=False, serving=False)
    program = compiled(service(), unready, THERE)
    assert entries(program, SetRole.LOOP_BACK) == ["172.16.0.5,tcp:8080,172.16.0.5"]


def test_a_pod_whose_address_is_in_use_again_counts_nowhere() -> None:
    """Not for hairpin, not for the health check: its node has no endpoint any more."""
    old = msgspec.structs.replace(HERE, ready=False, terminating=True)
    new = msgspec.structs.replace(HERE, node_name="node-1")
    given = service(
        type=ServiceType.LOAD_BALANCER,
        external_traffic_policy=TrafficPolicy.LOCAL,
        health_check_node_port=32000,
    )
    for both, here in (((old, new), 0), ((old, HERE), 1)):
        program = compiled(given, *both)
        assert program.health_check is not None
        assert program.health_check.local_endpoints == here
        assert len(entries(program, SetRole.LOOP_BACK)) == here
        assert frontends(program)["tcp 10.96.0.10:80"] == ["172.16.0.5:8080"]


def test_real_servers_are_ordered_differently_on_different_nodes() -> None:
    """The first request everywhere must not meet the same endpoint (k/k#121591)."""
    many = [Endpoint(address=IPv4Address(f"172.16.0.{n}")) for n in range(1, 11)]
    orders = set()
    for name in ("node-0", "node-1", "node-2", "node-3"):
        node = msgspec.structs.replace(NODE, name=name)
        server = compiled(service(), *many, node=node).servers[0]
        orders.add(tuple(server.real_servers))
    assert len(orders) == 4


@pytest.mark.parametrize("policy", TrafficPolicy)
def test_every_virtual_server_has_an_owning_entry(policy: TrafficPolicy) -> None:
    """Without one it would not be recognised as ours after a restart."""
    program = compiled(
        service(
            type=ServiceType.LOAD_BALANCER,
            external_ips=(IPv4Address("203.0.113.50"),),
            ingress_vips=(IPv4Address("198.51.100.7"),),
            external_traffic_policy=policy,
        )
    )
    owning = {set_key(role, IPFamily.IPV4) for role in OWNING_ROLES}
    for server in program.servers:
        assert {e.key for e in server.entries} & owning
        assert all(e.entry.address == server.server.key.address for e in server.entries)
