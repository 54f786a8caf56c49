"""Health-check node ports whose packets a virtual server takes."""

import msgspec
import pytest

from ipvsctl.model.capabilities import Capabilities
from ipvsctl.model.config import Compatibility
from ipvsctl.model.net import IPAddress, IPv4Address, Protocol
from ipvsctl.model.objects import Service, ServicePort, ServiceType, TrafficPolicy
from ipvsctl.plan.service.compile import compile_service
from ipvsctl.plan.union.desired import Desired
from ipvsctl.plan.union.node import compile_node
from tests.builders import endpoint_slice, ref, service
from tests.clusters import CONFIG, NODE

PORT = 32000
FLOATING = IPv4Address("203.0.113.77")


def checked(name: str = "checked", node_port: int = 30001) -> Service:
    """A Service with a health-check node port."""
    return service(
        name,
        cluster_ips=(IPv4Address("10.96.0.11"),),
        type=ServiceType.LOAD_BALANCER,
        external_traffic_policy=TrafficPolicy.LOCAL,
        health_check_node_port=PORT,
        ports=(
            ServicePort(
                name="http", protocol=Protocol.TCP, port=80, node_port=node_port
            ),
        ),
    )


def other(
    node_port: int = 30002,
    port: int = 80,
    protocol: Protocol = Protocol.TCP,
    external_ips: tuple[IPAddress, ...] = (),
) -> Service:
    """A Service that may have the same number; the older one."""
    return service(
        "other",
        type=ServiceType.NODE_PORT,
        created="2026-01-01T00:00:00Z",
        ports=(
            ServicePort(name="http", protocol=protocol, port=port, node_port=node_port),
        ),
        external_ips=external_ips,
    )


def union(*services: Service) -> Desired:
    """These Services, on a node that has a floating VIP."""
    node = msgspec.structs.replace(
        NODE, host_addresses=(*NODE.host_addresses, FLOATING)
    )
    # With it, an address of the host is served as a VIP.
    config = msgspec.structs.replace(CONFIG, compatibility=Compatibility.KUBE_PROXY)
    made = Desired(compile_node(node, config, Capabilities()))
    for one in services:
        made.put(compile_service(one, [endpoint_slice()], node, config))
    made.take_change()
    return made


@pytest.mark.parametrize(
    ("fact", "services", "reasons"),
    [
        ("another number", (checked(), other()), []),
        (
            "another's node port",
            (checked(), other(PORT)),
            ["already taken by Service default/other"],
        ),
        (
            "whoever is younger",
            (msgspec.structs.replace(checked(), created="2025"), other(PORT)),
            ["already taken by Service default/other"],
        ),
        (
            "its own node port",
            (checked(node_port=PORT),),
            ["already taken by spec.ports[0].nodePort of this Service"],
        ),
        ("a node port of UDP", (checked(), other(PORT, protocol=Protocol.UDP)), []),
        ("a cluster IP's port", (checked(), other(port=PORT)), []),
        (
            "a floating VIP's port",
            (checked(), other(port=PORT, external_ips=(FLOATING,))),
            ["already taken by Service default/other at 203.0.113.77"],
        ),
        (
            "a VIP's port",
            (checked(), other(port=PORT, external_ips=(IPv4Address("203.0.113.1"),))),
            [],
        ),
    ],
)
def test_the_virtual_server_has_it(
    fact: str, services: tuple[Service, ...], reasons: list[str]
) -> None:
    """IPVS takes a packet before any socket sees it; the health check is named."""
    for order in (services, services[::-1]):
        found = [
            problem
            for problem in union(*order).problems()
            if problem.field == "spec.healthCheckNodePort"
        ]
        assert [problem.reason for problem in found] == reasons, fact
        assert {(p.ref, p.value) for p in found} <= {(ref("checked"), str(PORT))}


def test_it_ends_with_either_of_them() -> None:
    """And comes back."""
    made = union(checked(), other(PORT))
    programs = dict(made.programs)
    for name in (ref("other"), ref("checked")):
        assert len(made.problems()) == 1
        made.remove(name)
        made.take_change()
        assert made.problems() == ()
        made.put(programs[name])
        made.take_change()
