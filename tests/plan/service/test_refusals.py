"""A refusal takes away what its problem names, and nothing else."""

from typing import Any

import msgspec
import pytest
from hypothesis import given

from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.net import IPFamily, Protocol, parse_address
from ipvsctl.model.objects import (
    NodeContext,
    Service,
    ServicePort,
    ServiceType,
    TrafficPolicy,
)
from ipvsctl.model.sets import SetRole, set_key
from ipvsctl.plan.service.compile import compile_service
from ipvsctl.plan.service.program import ServiceProgram, SetMember
from ipvsctl.plan.service.refusals import is_refusal
from tests.builders import endpoint_slice, service
from tests.clusters import CONFIG, NODE, Cluster, clusters

HTTP = ServicePort(name="http", protocol=Protocol.TCP, port=80, node_port=30080)
HERE, SECOND = parse_address("10.0.0.10"), parse_address("10.9.0.10")
PEER, VIP = parse_address("10.0.0.11"), parse_address("203.0.113.1")
BALANCED = {"type": ServiceType.LOAD_BALANCER, "ports": (HTTP,)}


def compiled(
    node: NodeContext = NODE, config: ProxyConfig = CONFIG, **fields: Any
) -> ServiceProgram:
    """The program of a load balancer with one endpoint on this node."""
    return compile_service(
        service(**{**BALANCED, **fields}), [endpoint_slice()], node, config
    )


def served(program: ServiceProgram) -> set[str]:
    """Its virtual servers."""
    return {str(server.server.key) for server in program.servers}


def entries(program: ServiceProgram) -> set[SetMember]:
    """All of its entries."""
    return {
        *program.entries,
        *(entry for server in program.servers for entry in server.entries),
    }


@pytest.mark.parametrize("policy", TrafficPolicy)
@pytest.mark.parametrize("field", ["external_ips", "ingress_vips"])
def test_a_refused_vip_leaves_the_node_port_on_its_address(
    field: str, policy: TrafficPolicy
) -> None:
    """K3s ServiceLB writes node addresses into the status of every load balancer."""
    plain = compiled(external_traffic_policy=policy)
    refused = compiled(
        NODE, CONFIG, external_traffic_policy=policy, **{field: (HERE, PEER)}
    )
    assert {p.value for p in refused.problems} == {str(HERE), str(PEER)}
    assert "tcp 10.0.0.10:30080" in served(refused)
    assert msgspec.structs.replace(refused, problems=()) == plain


def test_a_refused_vip_leaves_the_fallback_of_other_frontends() -> None:
    """A Local cluster IP keeps the cluster's endpoints that the external IP brings."""
    config = ProxyConfig()
    local = {
        "internal_traffic_policy": TrafficPolicy.LOCAL,
        "type": ServiceType.CLUSTER_IP,
    }
    far = msgspec.structs.replace(NODE, name="node-9")
    key = "tcp 10.96.0.10:80"
    for vip in (VIP, PEER):
        program = compiled(far, config, external_ips=(vip,), **local)
        (server,) = (s for s in program.servers if str(s.server.key) == key)
        assert len(server.real_servers) == 1, vip


@given(clusters())
def test_what_is_lost_is_what_problems_name(cluster: Cluster) -> None:
    """Without what problems name, it is the program of a Service that never had it."""
    # Of such a node nothing is refused.
    open_node = msgspec.structs.replace(
        NODE, node_addresses=(), peer_addresses=frozenset()
    )
    for one in cluster.services:
        slices = [s for s in cluster.slices if s.service == one.ref]
        whole = compile_service(one, slices, open_node, CONFIG)
        left = compile_service(one, slices, NODE, CONFIG)
        named = {(p.field, p.value) for p in left.problems if is_refusal(p)}
        rest = compile_service(without(one, named), slices, open_node, CONFIG)
        found = tuple(p for p in left.problems if not is_refusal(p))
        assert msgspec.structs.replace(left, problems=found) == rest
        gone = {s.server.key: s for s in whole.servers}
        for server in left.servers:
            gone.pop(server.server.key)
        assert {(s.field, str(s.server.key.address)) for s in gone.values()} <= named


def without(service: Service, named: set[tuple[str, str]]) -> Service:
    """The Service as if it had never asked for what is named."""
    return msgspec.structs.replace(
        service,
        external_ips=tuple(
            a for a in service.external_ips if ("spec.externalIPs", str(a)) not in named
        ),
        ingress_vips=tuple(
            a
            for a in service.ingress_vips
            if ("status.loadBalancer.ingress", str(a)) not in named
        ),
    )


def test_a_floating_vip_is_served_where_it_is_and_not_bound() -> None:
    """An address on a link that is no Node's: keepalived's, kube-vip's (k/k#66966)."""
    for fields in ({"external_ips": (SECOND,)}, {"ingress_vips": (SECOND,)}):
        program = compiled(NODE, CONFIG, **fields)
        assert program.problems == ()
        assert {"tcp 10.9.0.10:80", "tcp 10.9.0.10:30080"} <= served(program)
        assert SECOND not in program.addresses
        bound = set_key(SetRole.IPVS_IPS, IPFamily.IPV4)
        assert not any(
            named.key == bound and named.entry.address == SECOND
            for named in entries(program)
        )


def test_an_unusable_cluster_ip_leaves_everything_else_of_its_family() -> None:
    """Node ports and external addresses do not go through a cluster IP."""
    whole = compiled(external_ips=(VIP,))
    left = compiled(external_ips=(VIP,), cluster_ips=(), lost_families=(IPFamily.IPV4,))
    assert served(whole) - served(left) == {"tcp 10.96.0.10:80"}
    assert served(left)
    assert left.problems == ()
