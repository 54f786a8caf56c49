"""Hypothesis strategies for clusters small enough to collide.

Addresses, ports and names come from small pools, so that two Services often want the
same VIP, endpoints are shared, and a second cluster overlaps with the first.
"""

from ipaddress import ip_network

import msgspec
from hypothesis import strategies as st

from ipvsctl.model.capabilities import Capabilities
from ipvsctl.model.config import Compatibility, ProxyConfig, VipBinding
from ipvsctl.model.net import IPAddress, IPFamily, IPv4Address, IPv6Address, Protocol
from ipvsctl.model.objects import (
    Endpoint,
    EndpointSlice,
    NodeContext,
    Service,
    ServicePort,
    ServiceType,
    SlicePort,
    TrafficPolicy,
    TunnelOffer,
)
from ipvsctl.model.problem import ObjectRef
from ipvsctl.plan.service.compile import compile_service
from ipvsctl.plan.union.desired import Desired
from ipvsctl.plan.union.node import compile_node

NODE = NodeContext(
    name="node-0",
    zone="zone-a",
    node_addresses=(IPv4Address("10.0.0.10"), IPv6Address("fd00:10::10")),
    host_addresses=(
        IPv4Address("10.0.0.10"),
        IPv4Address("10.9.0.10"),
        IPv6Address("fd00:10::10"),
    ),
    peer_addresses=frozenset({IPv4Address("10.0.0.11")}),
    tunnel_offers={
        "node-0": TunnelOffer(
            node="node-0",
            addresses=(IPv4Address("10.0.0.10"), IPv6Address("fd00:10::10")),
            port=6080,
            is_sending=True,
        ),
        "node-1": TunnelOffer(
            node="node-1", addresses=(IPv4Address("10.0.0.11"),), port=6080
        ),
    },
)

PLAIN = ProxyConfig(
    cluster_cidrs=(ip_network("172.16.0.0/12"), ip_network("fd00:172::/32"))
)
CONFIG = msgspec.structs.replace(PLAIN, tunnel_port=6080)

_VIPS: dict[IPFamily, list[IPAddress]] = {
    IPFamily.IPV4: [
        IPv4Address(vip)
        for vip in ("203.0.113.0", "203.0.113.1", "10.0.0.10", "10.0.0.11")
    ],
    IPFamily.IPV6: [IPv6Address(f"2001:db8::{n}") for n in range(3)],
}
_PODS: dict[IPFamily, list[IPAddress]] = {
    IPFamily.IPV4: [IPv4Address(f"172.16.0.{n}") for n in range(1, 6)],
    IPFamily.IPV6: [IPv6Address(f"fd00:172::{n}") for n in range(1, 6)],
}
_RANGES = ["0.0.0.0/0", "10.0.0.0/8", "203.0.113.0/24", "::/0", "2001:db8::/32"]
_PORT_NAMES = ["", "http", "dns"]


class Cluster(msgspec.Struct, frozen=True, kw_only=True):
    """Services with their slices."""

    services: tuple[Service, ...]
    slices: tuple[EndpointSlice, ...]

    def desired(
        self, node: NodeContext = NODE, config: ProxyConfig = CONFIG
    ) -> Desired:
        """The union of all programs on `node`."""
        desired = Desired(compile_node(node, config, Capabilities()))
        for service in self.services:
            slices = [s for s in self.slices if s.service == service.ref]
            desired.put(compile_service(service, slices, node, config))
        return desired


@st.composite
def endpoints(draw: st.DrawFn, family: IPFamily) -> Endpoint:
    """One endpoint in any condition."""
    return Endpoint(
        address=draw(st.sampled_from(_PODS[family])),
        ready=draw(st.booleans()),
        serving=draw(st.booleans()),
        terminating=draw(st.booleans()),
        node_name=draw(st.sampled_from(["node-0", "node-1", ""])),
        hint_zones=draw(st.frozensets(st.sampled_from(["zone-a", "zone-b"]))),
    )


@st.composite
def endpoint_slices(draw: st.DrawFn, service: ObjectRef, index: int) -> EndpointSlice:
    """One slice of a Service."""
    family = draw(st.sampled_from(IPFamily))
    ports = draw(
        st.lists(
            st.builds(
                SlicePort,
                name=st.sampled_from(_PORT_NAMES),
                protocol=st.sampled_from(Protocol),
                port=st.sampled_from([80, 8080]),
            ),
            max_size=3,
        )
    )
    return EndpointSlice(
        ref=ObjectRef(service.namespace, f"{service.name}-{index}"),
        service=service,
        family=family,
        ports=tuple(ports),
        endpoints=tuple(draw(st.lists(endpoints(family), max_size=4))),
        weight=draw(st.integers(1, 3)),
    )


@st.composite
def services(draw: st.DrawFn, index: int) -> Service:
    """A Service with a cluster IP of its own and everything else contended."""
    cluster_ips: list[IPAddress] = [
        IPv4Address(f"10.96.0.{index + 1}"),
        IPv6Address(f"fd00:96::{index + 1:x}"),
    ]
    ports = draw(
        st.lists(
            st.builds(
                ServicePort,
                name=st.sampled_from(_PORT_NAMES),
                protocol=st.sampled_from(Protocol),
                port=st.sampled_from([53, 80, 443]),
                node_port=st.sampled_from([0, 30000, 30001]),
            ),
            max_size=3,
            unique_by=(lambda p: p.name, lambda p: (p.protocol, p.port)),
        )
    )
    vips = [*_VIPS[IPFamily.IPV4], *_VIPS[IPFamily.IPV6]]
    some_vips = st.lists(st.sampled_from(vips), max_size=2, unique=True).map(tuple)
    return Service(
        ref=ObjectRef("default", f"s{index}"),
        created=draw(st.sampled_from(["", "2026-01-01T00:00:00Z"])),
        type=draw(st.sampled_from(ServiceType)),
        proxied=draw(st.booleans()),
        ports=tuple(ports),
        cluster_ips=tuple(draw(st.sampled_from([cluster_ips, cluster_ips[:1]]))),
        external_ips=draw(some_vips),
        ingress_vips=draw(some_vips),
        source_ranges=tuple(
            ip_network(r) for r in draw(st.sets(st.sampled_from(_RANGES), max_size=2))
        ),
        internal_traffic_policy=draw(st.sampled_from(TrafficPolicy)),
        external_traffic_policy=draw(st.sampled_from(TrafficPolicy)),
        affinity_timeout_s=draw(st.sampled_from([None, 600])),
        health_check_node_port=draw(st.sampled_from([0, 32000])),
        annotations=draw(
            st.sampled_from(
                [
                    (),
                    (("ipvsctl.io/scheduler", "sh"),),
                    (("ipvsctl.io/external-forwarding", "tunnel"),),
                ]
            ),
        ),
    )


@st.composite
def clusters(draw: st.DrawFn) -> Cluster:
    """Up to four Services, each with up to two slices."""
    chosen = [
        draw(services(index))
        for index in sorted(draw(st.sets(st.integers(0, 5), max_size=4)))
    ]
    slices = [
        draw(endpoint_slices(service.ref, index))
        for service in chosen
        for index in range(draw(st.integers(0, 2)))
    ]
    return Cluster(services=tuple(chosen), slices=tuple(slices))


def configs() -> st.SearchStrategy[ProxyConfig]:
    """Settings that change what a Service compiles to."""
    return st.builds(
        ProxyConfig,
        scheduler=st.sampled_from(["rr", "wlc", "sh", "mh"]),
        cluster_cidrs=st.just(CONFIG.cluster_cidrs),
        tunnel_port=st.sampled_from([0, 6080]),
        strict_arp=st.sampled_from([None, True, False]),
        compatibility=st.sampled_from(Compatibility),
        vip_binding=st.sampled_from(VipBinding),
    )
