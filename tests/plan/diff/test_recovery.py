"""What is removed so that a node reaches the API server again."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipvsctl.model.config import Compatibility, ProxyConfig, VipBinding
from ipvsctl.model.host import API_SERVICE, ApiServer, ApiServers, HostNetwork
from ipvsctl.model.ipvs import VirtualServer, VirtualServerKey
from ipvsctl.model.net import (
    IPAddress,
    IPFamily,
    Protocol,
    parse_address,
    parse_network,
)
from ipvsctl.model.objects import Service, ServicePort, ServiceType, TrafficPolicy
from ipvsctl.plan.diff.recovery import plan_recovery
from ipvsctl.plan.service.guards import api_ports, guarded_addresses
from ipvsctl.wire.ipset.sets import set_name
from tests.builders import endpoint_slice, service
from tests.clusters import CONFIG, NODE, Cluster, clusters
from tests.fakes.kernel import FakeKernel
from tests.plan.diff.test_properties import agreed, impose, plan_for

API = ApiServer(parse_address("192.0.2.6"), 6443)
OWN_API = ApiServer(parse_address("10.0.0.10"), 6443)
CLUSTER_IP = ApiServer(parse_address("10.96.0.1"), 443)
GATEWAY, RESOLVER = parse_address("10.0.0.1"), parse_address("10.0.0.53")
HOST = HostNetwork(
    addresses=frozenset(NODE.host_addresses),
    gateways=frozenset({GATEWAY}),
    resolvers=frozenset({RESOLVER, parse_address("10.96.0.53")}),
)


def kernel_with(
    *services: Service, config: ProxyConfig = CONFIG, host: HostNetwork = HOST
) -> FakeKernel:
    """A kernel that serves these as if nothing were guarded."""
    kernel = FakeKernel()
    kernel.host = host
    cluster = Cluster(
        services=services,
        slices=tuple(
            endpoint_slice(f"{s.ref.name}-1", service_name=s.ref.name) for s in services
        ),
    )
    impose(kernel, *agreed(kernel, cluster.desired(config=config)))
    return kernel


def recovered(
    kernel: FakeKernel, *api: ApiServer, config: ProxyConfig = CONFIG
) -> FakeKernel:
    """The kernel after a recovery, of which no op fails."""
    plan = plan_recovery(kernel.observe(), frozenset(api), config)
    assert kernel.apply(plan).failed == ()
    assert plan_recovery(kernel.observe(), frozenset(api), config) == ()
    return kernel


def balancer(*vips: IPAddress, port: int = 1, **fields: Any) -> Service:
    """A load balancer at these addresses."""
    usual: dict[str, Any] = {
        "type": ServiceType.LOAD_BALANCER,
        "external_ips": vips,
        "external_traffic_policy": TrafficPolicy.LOCAL,
        "ports": (
            ServicePort(name="http", protocol=Protocol.TCP, port=port, node_port=30080),
        ),
    }
    return service(**{**usual, **fields})


@pytest.mark.parametrize("binding", VipBinding)
@pytest.mark.parametrize("port", [1, API.port])
@pytest.mark.parametrize("vip", [API.address, GATEWAY, RESOLVER])
def test_what_is_in_the_way_goes(
    vip: IPAddress, port: int, binding: VipBinding
) -> None:
    """Address, route, entries, and the virtual servers of in- and outside clients."""
    config = msgspec.structs.replace(CONFIG, vip_binding=binding)
    other = parse_address("203.0.113.9")
    kernel = kernel_with(balancer(vip, other, port=port), config=config)
    assert kernel.is_local(vip)
    never = kernel_with(balancer(other, port=port), config=config)
    recovered(kernel, API, config=config)
    assert not kernel.is_local(vip)
    assert kernel.is_local(other)
    # Numbers of marks are those that were given out.
    assert texts(kernel) == texts(never)


def texts(kernel: FakeKernel) -> set[str]:
    """What a kernel holds, without numbers of marks."""
    state = kernel.observe().state
    return {
        *(str(key) for key in state.virtual_servers if not key.fwmark),
        *(
            f"inside {n}"
            for n, _ in enumerate(k for k in state.virtual_servers if k.fwmark)
        ),
        *(
            f"{set_name(key)} {msgspec.structs.replace(entry, mark=0)}"
            for key, entries in state.entries.items()
            for entry in entries
        ),
        *map(str, state.addresses),
        *map(str, state.routes.items()),
    }


@given(clusters(), st.sampled_from(VipBinding))
def test_the_first_audit_finds_nothing_more_to_remove(
    cluster: Cluster, binding: VipBinding
) -> None:
    """What a recovery takes is what guards keep from being served, and all of it."""
    config = msgspec.structs.replace(CONFIG, vip_binding=binding)
    api = {ApiServer(parse_address(a), 443) for a in ("203.0.113.1", "2001:db8::1")}
    host = HostNetwork(
        addresses=frozenset(NODE.host_addresses),
        gateways=frozenset({parse_address("203.0.113.0")}),
        resolvers=frozenset({parse_address("2001:db8::2")}),
    )
    kernel = FakeKernel()
    kernel.host = host
    impose(kernel, *agreed(kernel, cluster.desired(config=config)))
    recovered(kernel, *api, config=config)
    servers = ApiServers(used=frozenset(api))
    node = msgspec.structs.replace(
        NODE, guarded=guarded_addresses(host, servers), api_ports=api_ports(servers)
    )
    assert plan_for(kernel, *agreed(kernel, cluster.desired(node, config))) == ()


def test_the_api_servers_cluster_ip_stays_and_its_real_servers_are_freed() -> None:
    """A node that asks it there gets to the endpoints that the kernel knows."""
    own = msgspec.structs.replace(
        service(
            cluster_ips=(CLUSTER_IP.address,),
            ports=(ServicePort(name="http", protocol=Protocol.TCP, port=443),),
        ),
        ref=API_SERVICE,
    )
    real = parse_address("172.16.0.1")  # that of every slice here
    kernel = kernel_with(
        own, balancer(real, cluster_ips=(parse_address("10.96.0.10"),))
    )
    piece = msgspec.structs.replace(endpoint_slice("kubernetes-1"), service=API_SERVICE)
    cluster = Cluster(
        services=(own, balancer(real)),
        slices=(piece, endpoint_slice("web-1")),
    )
    impose(kernel, *agreed(kernel, cluster.desired()))
    before = texts(kernel)
    recovered(kernel, CLUSTER_IP)
    assert not kernel.is_local(real)
    assert kernel.is_local(CLUSTER_IP.address)
    assert "tcp 10.96.0.1:443" in texts(kernel)
    assert f"tcp {real}:1" in before - texts(kernel)


def test_name_servers_of_the_cluster_stay() -> None:
    """A pod on the host network may ask the cluster's."""
    dns = service(cluster_ips=(parse_address("10.96.0.53"),))
    kernel = kernel_with(dns)
    assert plan_recovery(kernel.observe(), frozenset({API}), CONFIG) == ()


def test_a_control_planes_own_address_keeps_its_node_ports() -> None:
    """But not one that answers instead of the API server."""
    node_port = ServicePort(
        name="http", protocol=Protocol.TCP, port=80, node_port=30080
    )
    ours = service(type=ServiceType.NODE_PORT, ports=(node_port,))
    theirs = service(
        "thief",
        type=ServiceType.NODE_PORT,
        cluster_ips=(parse_address("10.96.0.11"),),
        ports=(msgspec.structs.replace(node_port, node_port=OWN_API.port),),
    )
    kernel = kernel_with(ours, theirs)
    before = texts(kernel)
    recovered(kernel, OWN_API)
    assert before - texts(kernel) == {
        "tcp 10.0.0.10:6443",
        "KUBE-NODE-PORT 10.0.0.10,tcp:6443",
    }


@pytest.mark.parametrize(
    ("settings", "stays"),
    [
        ({"allowed_external_ips": (parse_network("10.0.0.1/32"),)}, {GATEWAY}),
        (
            {"allowed_ingress_vips": (parse_network("10.0.0.0/24"),)},
            {GATEWAY, RESOLVER},
        ),
        ({"allowed_external_ips": (parse_network("0.0.0.0/0"),)}, set()),
        ({"compatibility": Compatibility.KUBE_PROXY}, {GATEWAY, RESOLVER}),
    ],
)
def test_what_may_be_a_vip_stays(
    settings: dict[str, Any], stays: set[IPAddress]
) -> None:
    """What is not refused is not removed either: it would only come back."""
    config = msgspec.structs.replace(CONFIG, **settings)
    kernel = kernel_with(balancer(API.address, GATEWAY, RESOLVER))
    recovered(kernel, API, config=config)
    left = {a for a in (API.address, GATEWAY, RESOLVER) if kernel.is_local(a)}
    assert left == stays


def test_foreign_and_excluded_virtual_servers_stay() -> None:
    """As everywhere; a local load balancer of API servers may be one of them."""
    kernel = kernel_with(balancer(API.address, port=80))
    key = VirtualServerKey(
        family=IPFamily.IPV4,
        protocol=Protocol.TCP,
        address=API.address,
        port=API.port,
    )
    kernel.preload(VirtualServer(key=key, scheduler="rr", netmask_bits=32))
    config = msgspec.structs.replace(
        CONFIG, exclude_cidrs=(parse_network("192.0.2.0/24"),)
    )
    recovered(kernel, API, config=config)
    assert f"tcp {API.address}:80" in texts(kernel)
    recovered(kernel, API)
    assert f"tcp {API.address}:80" not in texts(kernel)
    assert str(key) in texts(kernel)
