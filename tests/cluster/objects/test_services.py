"""Facts about how a Service of the API is read."""

from typing import Any

import msgspec
import pytest

from ipvsctl.cluster.objects.services import parse_service
from ipvsctl.cluster.objects.slices import parse_endpoint_slice
from ipvsctl.model.errors import BadObject
from ipvsctl.model.net import IPFamily, Protocol, parse_address, parse_network
from ipvsctl.model.objects import Service, ServicePort, ServiceType, TrafficPolicy
from ipvsctl.model.problem import ObjectRef
from tests.builders import Raw, raw_service, raw_slice, to_json

PROXY_NAME = "service.kubernetes.io/service-proxy-name"
HEADLESS = "service.kubernetes.io/headless"


def read(raw: Raw) -> tuple[Service, dict[str, str]]:
    """The Service and the reasons by field."""
    found = parse_service(raw)
    (value,) = found.values
    assert isinstance(value, Service)
    return value, {problem.field: problem.reason for problem in found.problems}


def test_all_fields() -> None:
    """A load balancer that uses every field there is becomes all of its value."""
    raw = raw_service(
        type="LoadBalancer",
        clusterIPs=["10.96.0.10", "fd00:96::10"],
        ports=[
            {"name": "dns", "port": 53, "protocol": "UDP", "nodePort": 30053},
            {"name": "dns-tcp", "port": 53},
        ],
        externalIPs=["203.0.113.1", "2001:db8::1"],
        loadBalancerSourceRanges=["10.0.0.0/8", " fd00::/8 "],
        internalTrafficPolicy="Local",
        externalTrafficPolicy="Local",
        sessionAffinity="ClientIP",
        sessionAffinityConfig={"clientIP": {"timeoutSeconds": 600}},
        allocateLoadBalancerNodePorts=False,
        healthCheckNodePort=32000,
        ingress=[{"ip": "198.51.100.7", "ipMode": "VIP"}, {"ip": "198.51.100.8"}],
        annotations={"ipvsctl.io/scheduler": "lc", "other.io/x": "y"},
    )
    raw["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    value, problems = read(raw)
    assert problems == {}
    assert value == Service(
        ref=ObjectRef("default", "web"),
        created="2026-01-01T00:00:00Z",
        type=ServiceType.LOAD_BALANCER,
        ports=(
            ServicePort(name="dns", protocol=Protocol.UDP, port=53, node_port=30053),
            ServicePort(name="dns-tcp", protocol=Protocol.TCP, port=53),
        ),
        cluster_ips=(parse_address("10.96.0.10"), parse_address("fd00:96::10")),
        external_ips=(parse_address("203.0.113.1"), parse_address("2001:db8::1")),
        ingress_vips=(parse_address("198.51.100.7"), parse_address("198.51.100.8")),
        source_ranges=(parse_network("10.0.0.0/8"), parse_network("fd00::/8")),
        internal_traffic_policy=TrafficPolicy.LOCAL,
        external_traffic_policy=TrafficPolicy.LOCAL,
        affinity_timeout_s=600,
        allocate_node_ports=False,
        has_selector=True,
        health_check_node_port=32000,
        annotations=(("ipvsctl.io/scheduler", "lc"),),
    )


def test_defaults() -> None:
    """Unset fields are what the API server would set them to."""
    value, problems = read(
        {"metadata": {"name": "a"}, "spec": {"clusterIP": "10.0.0.1"}}
    )
    assert problems == {}
    assert value == Service(
        ref=ObjectRef("default", "a"),
        cluster_ips=(parse_address("10.0.0.1"),),
        has_selector=False,
    )


def test_json_and_dict_are_one() -> None:
    """The API's bytes and a manifest's dict give the same."""
    raw = raw_service(ports=[{"port": 80}, {"port": 99999}])
    assert parse_service(to_json(raw)) == parse_service(raw)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (raw_service(clusterIP="None"), "headless"),
        (raw_service(clusterIP=""), "no cluster IP"),
        (raw_service(clusterIP=None), "no cluster IP"),
        (raw_service(clusterIP="None", clusterIPs=["None"]), "headless"),
        (raw_service(type="ExternalName"), "an ExternalName"),
        (raw_service(labels={PROXY_NAME: "other"}), PROXY_NAME),
        (raw_service(labels={PROXY_NAME: ""}), PROXY_NAME),
        (raw_service(labels={HEADLESS: ""}), "headless"),
        ({"metadata": {"name": "web"}}, "no cluster IP"),
    ],
)
def test_left_alone(raw: Raw, reason: str) -> None:
    """Headless, ExternalName and labelled Services are bare, and it is known why."""
    value, problems = read(raw)
    assert isinstance(value, Service)
    assert reason in value.left_alone
    bare = Service(ref=ObjectRef("default", "web"), proxied=False)
    assert msgspec.structs.replace(value, left_alone="") == bare
    assert problems == {}


PORT_80 = ServicePort(name="http", protocol=Protocol.TCP, port=80)
GOOD_PORT = {"name": "http", "port": 80}


@pytest.mark.parametrize(
    ("spec", "field", "attribute", "rest"),
    [
        (
            {"ports": [GOOD_PORT, {"name": "x", "port": 70000}]},
            "spec.ports[1].port",
            "ports",
            (PORT_80,),
        ),
        (
            {"ports": [GOOD_PORT, {"name": "x", "port": 0}]},
            "spec.ports[1].port",
            "ports",
            (PORT_80,),
        ),
        (
            {"ports": [GOOD_PORT, {"name": "x"}]},
            "spec.ports[1].port",
            "ports",
            (PORT_80,),
        ),
        (
            {"ports": [{"name": "x", "port": 1, "protocol": "ICMP"}, GOOD_PORT]},
            "spec.ports[0].protocol",
            "ports",
            (PORT_80,),
        ),
        (
            {"ports": [GOOD_PORT, {"name": "again", "port": 80}]},
            "spec.ports[1].port",
            "ports",
            (PORT_80,),
        ),
        (
            {"ports": [GOOD_PORT, {"name": "http", "port": 81}]},
            "spec.ports[1].name",
            "ports",
            (PORT_80,),
        ),
        (
            {"type": "NodePort", "ports": [{**GOOD_PORT, "nodePort": 65536}]},
            "spec.ports[0].nodePort",
            "ports",
            (PORT_80,),
        ),
        (
            {"type": "NodePort", "ports": [{**GOOD_PORT, "nodePort": -1}]},
            "spec.ports[0].nodePort",
            "ports",
            (PORT_80,),
        ),
        (
            {"type": "ClusterIP", "ports": [{**GOOD_PORT, "nodePort": 30080}]},
            "spec.ports[0].nodePort",
            "ports",
            (PORT_80,),
        ),
        ({"type": "Cluster"}, "spec.type", "type", ServiceType.CLUSTER_IP),
        ({"clusterIP": "999.1.1.1"}, "spec.clusterIP", "cluster_ips", ()),
        (
            {"clusterIPs": ["10.96.0.10", "10.96.0.11"]},
            "spec.clusterIPs[1]",
            "cluster_ips",
            (parse_address("10.96.0.10"),),
        ),
        (
            {"externalIPs": ["127.0.0.1", "203.0.113.1"]},
            "spec.externalIPs[0]",
            "external_ips",
            (parse_address("203.0.113.1"),),
        ),
        (
            {"externalIPs": ["fe80::1%eth0", "2001:db8::1"]},
            "spec.externalIPs[0]",
            "external_ips",
            (parse_address("2001:db8::1"),),
        ),
        (
            {"externalTrafficPolicy": "Locl"},
            "spec.externalTrafficPolicy",
            "external_traffic_policy",
            TrafficPolicy.CLUSTER,
        ),
        (
            {"internalTrafficPolicy": "local"},
            "spec.internalTrafficPolicy",
            "internal_traffic_policy",
            TrafficPolicy.CLUSTER,
        ),
        (
            {"sessionAffinity": "Cookie"},
            "spec.sessionAffinity",
            "affinity_timeout_s",
            None,
        ),
        *(
            (
                {
                    "sessionAffinity": "ClientIP",
                    "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": seconds}},
                },
                "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
                "affinity_timeout_s",
                10800,
            )
            for seconds in (0, -1, 86401)
        ),
        (
            {
                "type": "LoadBalancer",
                "externalTrafficPolicy": "Local",
                "healthCheckNodePort": 70000,
            },
            "spec.healthCheckNodePort",
            "health_check_node_port",
            0,
        ),
        (
            {
                "type": "LoadBalancer",
                "loadBalancerSourceRanges": ["10.0.0.0", "10.0.0.0/8"],
            },
            "spec.loadBalancerSourceRanges[0]",
            "source_ranges",
            (parse_network("10.0.0.0/8"),),
        ),
    ],
)
def test_bad_value_is_left_out_alone(
    spec: Raw, field: str, attribute: str, rest: Any
) -> None:
    """A value that cannot be used is a problem; the rest of the Service works."""
    value, problems = read(raw_service(**spec))
    assert list(problems) == [field]
    assert getattr(value, attribute) == rest
    assert value.proxied


@pytest.mark.parametrize(
    ("ingress", "field", "vips"),
    [
        ({"ip": "198.51.100.300"}, "status.loadBalancer.ingress[0].ip", ()),
        (
            {"ip": "198.51.100.3", "ipMode": "Vip"},
            "status.loadBalancer.ingress[0].ipMode",
            (),
        ),
        ({"ip": "198.51.100.3", "ipMode": "Proxy"}, None, ()),
        ({"hostname": "lb.example.com"}, None, ()),
        ({"ip": "198.51.100.3"}, None, (parse_address("198.51.100.3"),)),
    ],
)
def test_ingress(ingress: Raw, field: str | None, vips: tuple[object, ...]) -> None:
    """Only ingress addresses in VIP mode are VIPs; only nonsense is a problem."""
    value, problems = read(raw_service(type="LoadBalancer", ingress=[ingress]))
    assert value.ingress_vips == vips
    assert list(problems) == ([field] if field else [])


def test_written_node_port_counts_without_allocation() -> None:
    """A node port somebody wrote down is kept when none is to be allocated."""
    value, _ = read(
        raw_service(
            type="LoadBalancer",
            allocateLoadBalancerNodePorts=False,
            ports=[{"port": 80, "nodePort": 30080}],
        )
    )
    assert value.ports[0].node_port == 30080
    assert not value.allocate_node_ports


@pytest.mark.parametrize(
    ("kind", "policy", "expected"),
    [
        ("LoadBalancer", "Local", 32000),
        ("LoadBalancer", "Cluster", 0),
        ("NodePort", "Local", 0),
    ],
)
def test_health_check_node_port(kind: str, policy: str, expected: int) -> None:
    """Only load balancers with external policy Local have a health check node port."""
    value, problems = read(
        raw_service(type=kind, externalTrafficPolicy=policy, healthCheckNodePort=32000)
    )
    assert value.health_check_node_port == expected
    assert problems == {}


def test_same_number_on_two_protocols() -> None:
    """TCP and UDP may share port number, name and node port."""
    ports = [
        {"name": "dns", "port": 53, "nodePort": 30053, "protocol": protocol}
        for protocol in ("TCP", "UDP")
    ]
    value, problems = read(raw_service(type="NodePort", ports=ports))
    assert [(p.protocol, p.node_port) for p in value.ports] == [
        (Protocol.TCP, 30053),
        (Protocol.UDP, 30053),
    ]
    assert problems == {}


def test_node_port_twice() -> None:
    """The second port with a node port of the same protocol goes without."""
    ports = [
        {"name": name, "port": port, "nodePort": 30080}
        for name, port in (("a", 80), ("b", 81))
    ]
    value, problems = read(raw_service(type="NodePort", ports=ports))
    assert [port.node_port for port in value.ports] == [30080, 0]
    assert list(problems) == ["spec.ports[1].nodePort"]


@pytest.mark.parametrize(
    ("raw", "ref", "field", "value"),
    [
        ({}, "Service without a name", "metadata.name", None),
        (
            raw_service(ports=[{"port": "80"}]),
            "Service default/web",
            "spec.ports[0].port",
            "80",
        ),
        (
            raw_service(clusterIP=["10.0.0.1"]),
            "Service default/web",
            "spec.clusterIP",
            "['10.0.0.1']",
        ),
        (
            raw_service(labels={"a": 1}),  # type: ignore[dict-item]
            "Service default/web",
            "metadata.labels.a",
            1,
        ),
        ({"metadata": []}, "Service without a name", "metadata", "[]"),
        (b"{", "Service without a name", "", None),
        (b"[]", "Service without a name", "", None),
        (b'{"metadata":{"name":"\xff"}}', "Service without a name", "", None),
        (b'{"x":' + b"[" * 100_000, "Service without a name", "", None),
    ],
)
def test_wrong_shape(raw: Raw | bytes, ref: str, field: str, value: object) -> None:
    """What is not a Service names the object, the field and what was there."""
    with pytest.raises(BadObject) as caught:
        parse_service(raw)
    assert (caught.value.ref, caught.value.field) == (ref, field)
    assert caught.value.value == value
    if isinstance(raw, dict):
        with pytest.raises(BadObject) as same:
            parse_service(to_json(raw))
        assert str(same.value) == str(caught.value)


@pytest.mark.parametrize(
    ("labels", "for_all", "for_mine"),
    [
        ({}, True, False),
        ({PROXY_NAME: "mine"}, False, True),
        ({PROXY_NAME: "other"}, False, False),
        ({PROXY_NAME: ""}, False, False),
        ({PROXY_NAME: "mine", HEADLESS: ""}, False, False),
    ],
)
def test_proxy_name(labels: dict[str, str], for_all: bool, for_mine: bool) -> None:  # noqa: FBT001  # a table
    """With a name, a proxy serves what is labelled with it; without, what has none."""
    raw = to_json(raw_service(labels=labels))
    for name, is_served in (("", for_all), ("mine", for_mine)):
        (service,) = parse_service(raw, name).values
        assert isinstance(service, Service)
        assert service.proxied is is_served
        piece = to_json(raw_slice(labels=labels))
        assert bool(parse_endpoint_slice(piece, name).values) is is_served


@pytest.mark.parametrize(
    ("cluster_ips", "lost"),
    [
        (["10.96.0.10", "fd00:96::10"], ()),
        (["10.96.0.10", "fd00:96::xyz"], (IPFamily.IPV6,)),
        (["127.0.0.1", "fd00:96::10"], (IPFamily.IPV4,)),
        (["10.96.0.300"], (IPFamily.IPV4,)),
        (["10.96.0.300", "::1"], (IPFamily.IPV4, IPFamily.IPV6)),
        (["::ffff:10.96.0.10"], ()),
        (["10.96.0.10", "10.96.0.11"], ()),
    ],
)
def test_a_bad_cluster_ip_takes_no_family_with_it(
    cluster_ips: list[str], lost: tuple[IPFamily, ...]
) -> None:
    """Node ports and external addresses of its family are served all the same."""
    service, _ = read(raw_service(clusterIPs=cluster_ips))
    assert service.lost_families == lost
