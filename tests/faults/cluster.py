"""The cluster that faults are planted in: manifests, and what each Service is for."""

from typing import Any

import yaml

NAMESPACE = "shop"
NODES = {"node-0": "10.0.0.10", "node-1": "10.0.0.11"}

HERE, HERE_TOO, THERE = "172.16.0.10", "172.16.0.11", "172.16.1.10"
NOBODY = "172.16.0.99"
"""An address of node-0's pods that no pod has."""

Raw = dict[str, Any]


def service(name: str, cluster_ip: str, **spec: object) -> Raw:
    """A Service with port http 80."""
    annotations = spec.pop("annotations", {})
    labels = spec.pop("labels", {})
    port: Raw = {"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}
    if "nodePort" in spec:
        port["nodePort"] = spec.pop("nodePort")
    vips = spec.pop("vips", ())
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "annotations": annotations,
            "labels": labels,
        },
        "spec": {
            "type": "ClusterIP",
            "selector": {"app": name},
            "clusterIP": cluster_ip,
            "clusterIPs": [cluster_ip],
            "ports": [port],
            **spec,
        },
        "status": {"loadBalancer": {"ingress": [{"ip": vip} for vip in vips]}},  # type: ignore[attr-defined]  # a tuple
    }


def endpoints(
    name: str, *addresses: str, port: str = "http", ready: bool = True
) -> Raw:
    """A slice of a Service."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "addressType": "IPv4",
        "metadata": {
            "name": f"{name}-1",
            "namespace": NAMESPACE,
            "labels": {"kubernetes.io/service-name": name},
        },
        "ports": [{"name": port, "port": 8080, "protocol": "TCP"}],
        "endpoints": [
            {
                "addresses": [address],
                "conditions": {"ready": ready},
                "nodeName": "node-1" if address == THERE else "node-0",
            }
            for address in addresses
        ],
    }


def node(name: str, address: str) -> Raw:
    """A Node."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name},
        "spec": {"podCIDRs": [f"172.16.{name[-1]}.0/24"]},
        "status": {"addresses": [{"type": "InternalIP", "address": address}]},
    }


BALANCER: Raw = {"type": "LoadBalancer", "externalTrafficPolicy": "Local"}

OBJECTS: tuple[Raw, ...] = (
    *(node(name, address) for name, address in NODES.items()),
    service(
        "web",
        "10.96.0.10",
        type="NodePort",
        nodePort=30080,
        externalIPs=["203.0.113.50"],
    ),
    endpoints("web", HERE, HERE_TOO, THERE),
    service("kept", "10.96.0.11", sessionAffinity="ClientIP"),
    endpoints("kept", HERE, THERE),
    service("unready", "10.96.0.20"),
    endpoints("unready", HERE, ready=False),
    service("misnamed", "10.96.0.21"),
    endpoints("misnamed", HERE, port="web"),
    service("sliceless", "10.96.0.22"),
    service("inner", "10.96.0.23", internalTrafficPolicy="Local"),
    endpoints("inner", THERE),
    service("outer", "10.96.0.24", **BALANCER, vips=["198.51.100.7"], nodePort=30081),
    endpoints("outer", THERE),
    service(
        "guarded",
        "10.96.0.25",
        type="LoadBalancer",
        vips=["198.51.100.8"],
        nodePort=30082,
        loadBalancerSourceRanges=["192.0.2.0/24"],
    ),
    endpoints("guarded", HERE),
    service("greedy", "10.96.0.26", externalIPs=[NODES["node-1"]]),
    endpoints("greedy", HERE),
    service("first", "10.96.0.27", externalIPs=["203.0.113.60"]),
    endpoints("first", HERE),
    service("second", "10.96.0.28", externalIPs=["203.0.113.60"]),
    endpoints("second", HERE),
    service("late", "10.96.0.29", externalIPs=["203.0.113.70"]),
    endpoints("late", HERE),
    service("odd", "10.96.0.30", annotations={"ipvsctl.io/scheduler": "nosuch"}),
    endpoints("odd", HERE),
    service("dead", "10.96.0.31"),
    endpoints("dead", NOBODY),
    service("headless", "None"),
    service(
        "others",
        "10.96.0.33",
        labels={"service.kubernetes.io/service-proxy-name": "other"},
    ),
)
"""Sorted so that `first` is the older of the two with one address."""


def manifests() -> str:
    """All objects as one manifest."""
    return yaml.safe_dump_all(OBJECTS, sort_keys=False)
