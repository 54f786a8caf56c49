"""Small objects for tests: as the API has them (`raw_...`), and as values.

Each has every field it needs to be proxied; what a test is about, it names.
"""

import json
from collections.abc import Iterable
from typing import Any

from ipvsctl.model.net import Protocol, family_of, parse_address
from ipvsctl.model.objects import (
    Endpoint,
    EndpointSlice,
    Node,
    Service,
    ServicePort,
    SlicePort,
)
from ipvsctl.model.problem import ObjectRef
from ipvsctl.model.sets import SetKey
from ipvsctl.plan.diff.ops import Op
from ipvsctl.wire.ipset.sets import key_of
from ipvsctl.wire.iptables.words import IptablesWords

Raw = dict[str, Any]


def ref(name: str, namespace: str = "default") -> ObjectRef:
    """A name."""
    return ObjectRef(namespace, name)


def to_json(raw: Raw) -> bytes:
    """The JSON the API server would send."""
    return json.dumps(raw).encode()


def raw_meta(name: str, namespace: str | None, **fields: Any) -> Raw:
    """`metadata`, with fields in the API's spelling."""
    space = {} if namespace is None else {"namespace": namespace}
    return {"name": name, **space, **fields}


def raw_service(
    name: str = "web",
    *,
    namespace: str = "default",
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    ingress: list[Raw] | None = None,
    **spec: Any,
) -> Raw:
    """A Service; `spec` fields in the API's spelling replace the usual ones."""
    usual = {
        "clusterIP": "10.96.0.10",
        "selector": {"app": "web"},
        "ports": [{"name": "http", "port": 80, "targetPort": 8080}],
    }
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": raw_meta(name, namespace, labels=labels, annotations=annotations),
        "spec": {**usual, **spec},
        "status": {"loadBalancer": {"ingress": ingress}},
    }


def raw_lease(
    node_name: str = "node-1",
    addresses: str = "10.0.0.11",
    *,
    port: str = "6080",
    sends: str = "true",
) -> Raw:
    """A Lease in which a node says where it takes packets in tunnels."""
    annotations = {
        "ipvsctl.io/tunnel-addresses": addresses,
        "ipvsctl.io/tunnel-port": port,
        "ipvsctl.io/tunnel-sends": sends,
    }
    labels = {"ipvsctl.io/tunnel": "true"}
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": raw_meta(
            node_name, "ipvsctl-tunnels", labels=labels, annotations=annotations
        ),
        "spec": {"holderIdentity": node_name},
    }


def raw_endpoint(address: str = "172.16.0.1", **fields: Any) -> Raw:
    """One entry of `endpoints`."""
    return {"addresses": [address], "nodeName": "node-0", **fields}


def raw_slice(
    name: str = "web-abcde",
    *endpoints: Raw,
    service: str | None = "web",
    namespace: str = "default",
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    **fields: Any,
) -> Raw:
    """An EndpointSlice of one endpoint and port, unless told otherwise."""
    owner = {} if service is None else {"kubernetes.io/service-name": service}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": raw_meta(
            name,
            namespace,
            labels={**owner, **(labels or {})},
            annotations=annotations,
        ),
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": list(endpoints or (raw_endpoint(),)),
        **fields,
    }


def raw_endpoints(name: str = "web", *subsets: Raw) -> Raw:
    """A plain Endpoints object."""
    return {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": raw_meta(name, "default"),
        "subsets": list(subsets),
    }


def raw_node(
    name: str = "node-0", *addresses: str, zone: str = "zone-a", **spec: Any
) -> Raw:
    """A Node with internal addresses."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": raw_meta(name, None, labels={"topology.kubernetes.io/zone": zone}),
        "spec": {"podCIDRs": ["172.16.0.0/24"], **spec},
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": address}
                for address in addresses or ("10.0.0.10",)
            ]
        },
    }


def service(name: str = "web", **fields: Any) -> Service:
    """A Service value with one TCP port 80 and a cluster IP."""
    usual = {
        "ports": (ServicePort(name="http", protocol=Protocol.TCP, port=80),),
        "cluster_ips": (parse_address("10.96.0.10"),),
    }
    return Service(ref=ref(name), **{**usual, **fields})


def endpoint_slice(
    name: str = "web-abcde",
    *addresses: str,
    service_name: str = "web",
    **fields: Any,
) -> EndpointSlice:
    """A slice value with one TCP port 8080; its family is the first address's."""
    endpoints = tuple(
        Endpoint(address=parse_address(address), node_name="node-0")
        for address in addresses or ("172.16.0.1",)
    )
    usual = {
        "family": family_of(endpoints[0].address),
        "ports": (SlicePort(name="http", protocol=Protocol.TCP, port=8080),),
        "endpoints": endpoints,
    }
    return EndpointSlice(
        ref=ref(name), service=ref(service_name), **{**usual, **fields}
    )


def node(name: str = "node-0", *addresses: str, **fields: Any) -> Node:
    """A Node value."""
    return Node(name=name, addresses=tuple(map(parse_address, addresses)), **fields)


def set_called(name: str) -> SetKey:
    """The set that operators of iptables know by a name."""
    key = key_of(name)
    assert key is not None, name
    return key


def in_words(plan: Iterable[Op]) -> list[str]:
    """A plan as operators of iptables see it."""
    return [op.words(IptablesWords()) for op in plan]
