"""How many of what: facts about counts."""

from ipaddress import ip_network

import pytest

from ipvsctl.cluster.store import Store
from ipvsctl.controller.reconciler import Reconciler
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.ipvs import VirtualServer, VirtualServerKey
from ipvsctl.model.net import IPFamily, IPv4Address, Protocol, parse_address
from ipvsctl.model.objects import (
    Endpoint,
    EndpointSlice,
    ServiceType,
    SlicePort,
    TrafficPolicy,
)
from ipvsctl.model.problem import Kind, ObjectRef
from ipvsctl.model.steps import finish
from ipvsctl.plan.report.counts import (
    count_foreign,
    count_problems,
    count_servers_in_steps,
)
from ipvsctl.plan.report.why import Lack
from tests.builders import endpoint_slice, node, service
from tests.cluster.test_store import put
from tests.controller.cluster import FIRST, endpoints, has, has_slice, take
from tests.fakes.kernel import FakeKernel

CONFIG = ProxyConfig(cluster_cidrs=(ip_network("172.16.0.0/16"),))
"""Pods can be told from others, so that a Local address has local endpoints alone."""


def reconciler(kernel: FakeKernel | None = None) -> tuple[Reconciler, Store]:
    """That of node-0, with `web` on one endpoint."""
    store = Store("node-0")
    made = Reconciler(kernel=kernel or FakeKernel(), config=CONFIG, store=store)
    take(made, *FIRST)
    made.prepare()
    return made, store


def test_servers() -> None:
    """Each real server counts once for each of its virtual servers."""
    made, store = reconciler()
    take(
        made,
        endpoints("172.16.0.1", "172.16.0.2"),
        has(service("empty", cluster_ips=(IPv4Address("10.96.0.20"),))),
    )
    made.prepare()
    counts = finish(count_servers_in_steps(made.desired, store, made.context))
    assert (counts.virtual_servers, counts.real_servers) == (2, 2)
    assert counts.without_real_servers == 1
    assert counts.without_local_endpoints == {}
    assert counts.ports_without_endpoints == {(IPFamily.IPV4, Lack.EMPTY): 1}


def test_local_policies_without_endpoints_here() -> None:
    """A service port counts once, for each of its policies."""
    made, store = reconciler()
    elsewhere = Endpoint(address=IPv4Address("172.16.1.1"), node_name="node-1")
    take(
        made,
        has(
            service(
                type=ServiceType.LOAD_BALANCER,
                external_ips=(IPv4Address("203.0.113.1"), IPv4Address("203.0.113.2")),
                internal_traffic_policy=TrafficPolicy.LOCAL,
                external_traffic_policy=TrafficPolicy.LOCAL,
            )
        ),
        has_slice(endpoint_slice("web-1", endpoints=(elsewhere,))),
    )
    made.prepare()
    counts = finish(count_servers_in_steps(made.desired, store, made.context))
    assert counts.without_local_endpoints == {
        (IPFamily.IPV4, "internal"): 1,
        (IPFamily.IPV4, "external"): 1,
    }
    assert counts.ports_without_endpoints == {(IPFamily.IPV4, Lack.LOCAL): 1}


@pytest.mark.parametrize(
    ("piece", "lack"),
    [
        (endpoint_slice("web-1", endpoints=()), Lack.EMPTY),
        (
            endpoint_slice(
                "web-1",
                "172.16.0.1",
                ports=(SlicePort(name="other", protocol=Protocol.TCP, port=8080),),
            ),
            Lack.PORT_NAME,
        ),
        (
            endpoint_slice(
                "web-1",
                endpoints=(
                    Endpoint(
                        address=IPv4Address("172.16.0.1"), ready=False, serving=False
                    ),
                ),
            ),
            Lack.NOT_READY,
        ),
    ],
)
def test_why_a_port_has_no_endpoint(piece: EndpointSlice, lack: Lack) -> None:
    """Its two external IPs are one port."""
    made, store = reconciler()
    vips = (IPv4Address("203.0.113.1"), IPv4Address("203.0.113.2"))
    take(made, has(service(external_ips=vips)), has_slice(piece))
    made.prepare()
    counts = finish(count_servers_in_steps(made.desired, store, made.context))
    assert counts.without_real_servers == 3
    assert counts.ports_without_endpoints == {(IPFamily.IPV4, lack): 1}


def test_foreign_ones() -> None:
    """Those that have no entry, and that no Service wants."""
    kernel = FakeKernel()
    made, _ = reconciler(kernel)
    made.audit()
    key = VirtualServerKey(
        family=IPFamily.IPV4,
        protocol=Protocol.TCP,
        address=parse_address("10.103.97.12"),
        port=6443,
    )
    kernel.preload(VirtualServer(key=key, scheduler="rr", netmask_bits=32))
    assert count_foreign(kernel.observe(), made.desired) == 1


def test_problems() -> None:
    """Of each kind, 0 too; a refused VIP counts once, whatever its field."""
    made, _ = reconciler()
    vip = IPv4Address("10.0.0.11")
    take(
        made,
        put(node("node-1", "10.0.0.11")),
        has(service("web", external_ips=(vip,), ingress_vips=(vip,))),
    )
    made.prepare()
    by_kind, refused = count_problems(made.problems())
    assert set(by_kind) == set(Kind)
    assert by_kind[Kind.SERVICE] == 2
    assert by_kind[Kind.NODE] == 0
    assert refused == 1
    assert ObjectRef("default", "web") in {p.ref for p in made.problems()}
