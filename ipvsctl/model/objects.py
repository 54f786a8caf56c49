"""Kubernetes objects as values: only the fields a service proxy uses, parsed.

Field names follow the API; what the API leaves out is already defaulted here the way
the API server would (see `cluster/`, which builds these).
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Self

import msgspec

from ipvsctl.model.host import Guard
from ipvsctl.model.ipvs import SCHEDULERS
from ipvsctl.model.net import IPAddress, IPFamily, IPNetwork, Protocol
from ipvsctl.model.problem import ObjectRef


class ServiceType(StrEnum):
    """`spec.type`."""

    CLUSTER_IP = "ClusterIP"
    NODE_PORT = "NodePort"
    LOAD_BALANCER = "LoadBalancer"
    EXTERNAL_NAME = "ExternalName"


class TrafficPolicy(StrEnum):
    """`spec.internalTrafficPolicy` and `spec.externalTrafficPolicy`."""

    CLUSTER = "Cluster"
    LOCAL = "Local"


class ServicePort(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """One entry of `spec.ports`.

    Attributes:
        name: "" when the Service has one unnamed port.
        node_port: 0 when there is none.
    """

    name: str
    protocol: Protocol
    port: int
    node_port: int = 0


class ServicePortName(msgspec.Struct, gc=False, frozen=True, order=True):
    """The name of one port of one Service, for which a virtual server is."""

    service: ObjectRef
    port: str
    protocol: Protocol

    def __str__(self) -> str:
        suffix = f":{self.port}" if self.port else ""
        return f"{self.service}{suffix}"


class Service(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """A Service.

    Attributes:
        created: `metadata.creationTimestamp` as written (RFC 3339 in UTC sorts as
            text); "" when unknown. Decides who keeps an address two Services claim.
        proxied: False for what a service proxy must leave alone (headless,
            ExternalName, given to another proxy by label); such a Service has no
            other meaning here.
        left_alone: why it is not proxied, a clause; "" if it is.
        cluster_ips: at most one of each family, in `spec.clusterIPs` order.
        lost_families: the families of cluster IPs that cannot be used; the Service has
            every other way in of these families.
        ingress_vips: `status.loadBalancer.ingress[].ip` with ipMode VIP or unset.
        source_ranges: `loadBalancerSourceRanges`, or its annotation; of a family
            without any, everyone may use the ingress VIPs.
        has_annotated_ranges: the source ranges are those of the annotation.
        affinity_timeout_s: None without session affinity.
        has_selector: False when its endpoints are written by hand.
        health_check_node_port: 0 when there is none.
        annotations: only those that steer the proxy (`ipvsctl.io/`,
            `kube-router.io/service.`).
    """

    ref: ObjectRef
    created: str = ""
    type: ServiceType = ServiceType.CLUSTER_IP
    proxied: bool = True
    left_alone: str = ""
    ports: tuple[ServicePort, ...] = ()
    cluster_ips: tuple[IPAddress, ...] = ()
    lost_families: tuple[IPFamily, ...] = ()
    external_ips: tuple[IPAddress, ...] = ()
    ingress_vips: tuple[IPAddress, ...] = ()
    source_ranges: tuple[IPNetwork, ...] = ()
    has_annotated_ranges: bool = False
    internal_traffic_policy: TrafficPolicy = TrafficPolicy.CLUSTER
    external_traffic_policy: TrafficPolicy = TrafficPolicy.CLUSTER
    affinity_timeout_s: int | None = None
    allocate_node_ports: bool = True
    has_selector: bool = True
    health_check_node_port: int = 0
    annotations: tuple[tuple[str, str], ...] = ()


class SlicePort(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """One entry of a slice's `ports`."""

    name: str
    protocol: Protocol
    port: int


class Endpoint(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """One address of a slice with its conditions resolved.

    Attributes:
        ready: `conditions.ready` true or unset.
        serving: `conditions.serving` true or unset, whether or not it is ready.
        terminating: `conditions.terminating` true.
        node_name: "" when unknown, e.g. an address outside the cluster.
        hint_zones: `hints.forZones` names.
        hint_nodes: `hints.forNodes` names.
    """

    address: IPAddress
    ready: bool = True
    serving: bool = True
    terminating: bool = False
    node_name: str = ""
    hint_zones: frozenset[str] = frozenset()
    hint_nodes: frozenset[str] = frozenset()


class EndpointSlice(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """An EndpointSlice, or one subset of a plain Endpoints object.

    Attributes:
        ref: name of the slice (of the Endpoints object, suffixed with the subset).
        service: the Service it belongs to.
        family: of every endpoint in it.
        weight: of the real servers of all its endpoints; 0 gives them no new
            connections.
        from_endpoints: True if it was a plain Endpoints object; such a slice counts
            for selectorless Services only.
        trigger_time: `endpoints.kubernetes.io/last-change-trigger-time` as written,
            "" when absent.
    """

    ref: ObjectRef
    service: ObjectRef
    family: IPFamily
    ports: tuple[SlicePort, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    weight: int = 1
    from_endpoints: bool = False
    trigger_time: str = ""


class Node(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """A Node.

    Attributes:
        addresses: `status.addresses` of type InternalIP and ExternalIP, in order.
        pod_cidrs: `spec.podCIDRs`.
        zone: label `topology.kubernetes.io/zone`, "" when absent.
        is_leaving: it is being deleted, or the cluster autoscaler has tainted it since
            it is about to be; load balancers should send nothing new to it.
    """

    name: str
    addresses: tuple[IPAddress, ...] = ()
    pod_cidrs: tuple[IPNetwork, ...] = ()
    zone: str = ""
    is_leaving: bool = False


class TunnelOffer(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """Where a node takes packets that others have put into a tunnel for it.

    Attributes:
        node: its name.
        addresses: of its own, at most one of each family.
        port: of UDP.
        is_sending: it may send others such packets; they know of it.
    """

    node: str
    addresses: tuple[IPAddress, ...]
    port: int
    is_sending: bool = False


class NodeContext(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """All that compiling a Service needs to know about this node and its peers.

    Attributes:
        name: this node's name.
        zone: this node's zone, "" when unknown.
        pod_cidrs: this node's `spec.podCIDRs`.
        node_addresses: the addresses of this node, in order: of its Node object,
            and see `plan.service.node_addresses.standing_addresses`.
        host_addresses: addresses on this node's own links, without loopback, IPv6
            link-local ones and those on the VIP link; sorted.
        peer_addresses: addresses of every other Node object.
        tunnel_offers: where each node takes packets in tunnels, this one too, at
            addresses that its Node object has; none where this one takes no part.
        guarded: addresses that are nobody's VIP, and why.
        api_ports: ports of the API server, with the addresses it has them on.
        families: address families this node's kernel has.
        schedulers: IPVS schedulers this node's kernel has.
    """

    name: str
    zone: str = ""
    pod_cidrs: tuple[IPNetwork, ...] = ()
    node_addresses: tuple[IPAddress, ...] = ()
    host_addresses: tuple[IPAddress, ...] = ()
    peer_addresses: frozenset[IPAddress] = frozenset()
    tunnel_offers: Mapping[str, TunnelOffer] = MappingProxyType({})
    guarded: Mapping[IPAddress, Guard] = MappingProxyType({})
    api_ports: Mapping[int, frozenset[IPAddress]] = MappingProxyType({})
    families: tuple[IPFamily, ...] = (IPFamily.IPV4, IPFamily.IPV6)
    schedulers: frozenset[str] = SCHEDULERS

    @classmethod
    def of(
        cls,
        name: str,
        nodes: Mapping[str, Node],
        offers: Iterable[TunnelOffer] = (),
    ) -> Self:
        """The context of node `name` among `nodes`, with no host address known yet.

        Args:
            name: of this node.
            nodes: all that are known.
            offers: what is not at an address of its Node is left out: a node sends
                nothing to where no Node is.
        """
        own = nodes.get(name, Node(name=name))
        peers = frozenset(
            address
            for node in nodes.values()
            if node.name != name
            for address in node.addresses
        )
        return cls(
            name=name,
            zone=own.zone,
            pod_cidrs=own.pod_cidrs,
            node_addresses=own.addresses,
            peer_addresses=peers,
            tunnel_offers={
                offer.node: own_part
                for offer in offers
                if (own_part := _at_node(offer, nodes.get(offer.node))) is not None
            },
        )

    def tunnel_node(self, address: IPAddress) -> str:
        """The node that takes packets in tunnels at an address; "" if none says so."""
        offers = self.tunnel_offers.values()
        return next((o.node for o in offers if address in o.addresses), "")


def _at_node(offer: TunnelOffer, node: Node | None) -> TunnelOffer | None:
    """What there is of an offer at addresses of a Node; None if nothing is."""
    known = () if node is None else node.addresses
    addresses = tuple(a for a in offer.addresses if a in known)
    if not addresses:
        return None
    return msgspec.structs.replace(offer, addresses=addresses)
