"""The resources that are watched, and their selectors.

The selectors are those of kube-proxy's informers (cmd/kube-proxy/app/server.go):
Services of another proxy, and headless ones, are not even sent. EndpointSlices
have their Service's labels, since their controller copies them.
"""

from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from ipvsctl.cluster.events import Deleted, Event, Replaced
from ipvsctl.cluster.objects.leases import TUNNEL_LABEL
from ipvsctl.cluster.objects.services import HEADLESS_LABEL, PROXY_NAME_LABEL
from ipvsctl.model.problem import Kind, ObjectRef

Refs = frozenset[ObjectRef]

TUNNEL_NAMESPACE: Final = "ipvsctl-tunnels"
"""Where nodes say that they take packets in tunnels. It has nothing else: who may write
a Lease there must not be able to write those of the cluster's own components. When it
goes, nodes stop sending."""

TUNNEL_LEASES: Final = (
    f"/apis/coordination.k8s.io/v1/namespaces/{TUNNEL_NAMESPACE}/leases"
)


class Resource(msgspec.Struct, frozen=True, kw_only=True):
    """Objects of one kind that are listed and watched together.

    Attributes:
        plural: the API's word for them, `endpointslices`.
        path: where they are listed, `/api/v1/services`.
        selectors: query parameters that choose among them.
        listed: events that a complete list means beyond its objects.
        is_confirmed: a list that lacks much is asked for again before it is believed.
        has_kubernetes: the API server's own object, default/kubernetes, is among them.
    """

    kind: Kind
    plural: str
    path: str
    selectors: tuple[tuple[str, str], ...] = ()
    listed: Callable[[Refs], Iterable[Event]]
    is_confirmed: bool = False
    has_kubernetes: bool = False


def services(proxy_name: str = "") -> Resource:
    """The Services to proxy; see `ProxyConfig.service_proxy_name`."""
    return Resource(
        kind=Kind.SERVICE,
        plural="services",
        path="/api/v1/services",
        selectors=_selectors(proxy_name),
        listed=_replaces(Kind.SERVICE),
        is_confirmed=True,
        has_kubernetes=not proxy_name,
    )


def endpoint_slices(proxy_name: str = "") -> Resource:
    """The EndpointSlices of those Services."""
    return Resource(
        kind=Kind.ENDPOINT_SLICE,
        plural="endpointslices",
        path="/apis/discovery.k8s.io/v1/endpointslices",
        selectors=_selectors(proxy_name),
        listed=_replaces(Kind.ENDPOINT_SLICE),
        is_confirmed=True,
    )


def tunnel_leases() -> Resource:
    """The Leases in which nodes say where they take packets in tunnels."""
    return Resource(
        kind=Kind.LEASE,
        plural="leases",
        path=TUNNEL_LEASES,
        selectors=(("labelSelector", TUNNEL_LABEL),),
        listed=_replaces(Kind.LEASE),
    )


def own_node(name: str) -> Resource:
    """This node's Node; its absence says nothing about the others."""
    ref = ObjectRef("", name)

    def listed(refs: Refs) -> Iterable[Event]:
        return () if ref in refs else (Deleted(kind=Kind.NODE, ref=ref),)

    return _nodes(f"metadata.name={name}", listed)


def other_nodes(name: str) -> Resource:
    """All Nodes but this node's; their absence says nothing about that one."""
    own = ObjectRef("", name)

    def listed(refs: Refs) -> Iterable[Event]:
        return (Replaced(kind=Kind.NODE, refs=refs | {own}),)

    return _nodes(f"metadata.name!={name}", listed)


def _nodes(selector: str, listed: Callable[[Refs], Iterable[Event]]) -> Resource:
    return Resource(
        kind=Kind.NODE,
        plural="nodes",
        path="/api/v1/nodes",
        selectors=(("fieldSelector", selector),),
        listed=listed,
    )


def _selectors(proxy_name: str) -> tuple[tuple[str, str], ...]:
    mine = f"{PROXY_NAME_LABEL}={proxy_name}" if proxy_name else f"!{PROXY_NAME_LABEL}"
    return (("labelSelector", f"!{HEADLESS_LABEL},{mine}"),)


def _replaces(kind: Kind) -> Callable[[Refs], Iterable[Event]]:
    return lambda refs: (Replaced(kind=kind, refs=refs),)
