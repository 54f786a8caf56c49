"""API objects as the control plane of a real cluster writes them, and their sizes.

Unlike the builders' they carry what nobody here reads, because it is sent all the same:
uids, owners, managed fields, the images of a node. The shapes are those of
kube-controller-manager's EndpointSlices and of the kubelet's Nodes in 1.36.
"""

import json
from typing import Any, Final

Raw = dict[str, Any]

_UID: Final = "6a1537e9-e583-4a78-9b97-e96dafebf8e7"
_TIME: Final = "2026-01-01T00:00:00Z"
_SERVICE: Final = "checkout-backend"
_NAMESPACE: Final = "team-payments"
_IMAGES: Final = 50
"""As many as the kubelet reports (KubeletConfiguration.nodeStatusMaxImages)."""


def size(raw: Raw) -> int:
    """Bytes of the JSON that the API server sends."""
    return len(json.dumps(raw, separators=(",", ":")))


def watch_line(raw: Raw) -> int:
    """Bytes of a watch event with this object."""
    return size({"type": "MODIFIED", "object": raw}) + 1


def service() -> Raw:
    """A Service with a cluster IP and one port, as `kubectl apply` makes it."""
    labels = {"app.kubernetes.io/name": _SERVICE, "team": "payments"}
    port = {"name": "http", "protocol": "TCP", "port": 80, "targetPort": 8080}
    spec = {
        "ports": [port],
        "selector": {"app.kubernetes.io/name": _SERVICE},
        "clusterIP": "10.96.100.100",
        "clusterIPs": ["10.96.100.100"],
        "type": "ClusterIP",
        "sessionAffinity": "None",
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
        "internalTrafficPolicy": "Cluster",
    }
    metadata = _metadata(_SERVICE, labels)
    applied = {"spec": spec, "metadata": {"labels": labels}}
    metadata["managedFields"] = [_managed("kubectl", "v1", _fields(applied))]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": spec,
        "status": {"loadBalancer": {}},
    }


def endpoint_slice(endpoints: int) -> Raw:
    """A slice of the EndpointSlice controller."""
    labels = {
        "app.kubernetes.io/name": _SERVICE,
        "team": "payments",
        "endpointslice.kubernetes.io/managed-by": ("endpointslice-controller.k8s.io"),
        "kubernetes.io/service-name": _SERVICE,
    }
    metadata = _metadata(f"{_SERVICE}-x7k2p", labels)
    metadata["generateName"] = f"{_SERVICE}-"
    metadata["annotations"] = {
        "endpoints.kubernetes.io/last-change-trigger-time": _TIME
    }
    metadata["ownerReferences"] = [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "name": _SERVICE,
            "uid": _UID,
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]
    body: Raw = {"addressType": "IPv4", "endpoints": {}, "ports": {}}
    metadata["managedFields"] = [
        _managed(
            "kube-controller-manager",
            "discovery.k8s.io/v1",
            _fields({**body, "metadata": {"labels": labels}}),
        )
    ]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": metadata,
        "addressType": "IPv4",
        "endpoints": [_endpoint() for _ in range(endpoints)],
        "ports": [{"name": "http", "protocol": "TCP", "port": 8080}],
    }


def node() -> Raw:
    """A Node whose status lists as many images as the kubelet reports."""
    conditions = [
        {
            "type": kind,
            "status": "False",
            "lastHeartbeatTime": _TIME,
            "lastTransitionTime": _TIME,
            "reason": f"KubeletHasNo{kind}",
            "message": f"kubelet has no {kind}",
        }
        for kind in ("MemoryPressure", "DiskPressure", "PIDPressure", "Ready")
    ]
    digest = "0123456789abcdef" * 4
    image = "registry.example.com/team-payments/checkout-backend"
    images = [
        {
            "names": [f"{image}@sha256:{digest}", f"{image}:v1.2.3"],
            "sizeBytes": 123456789,
        }
    ] * _IMAGES
    status = {
        "addresses": [
            {"type": "InternalIP", "address": "10.0.100.100"},
            {"type": "Hostname", "address": "node-0001.example.com"},
        ],
        "capacity": {"cpu": "32", "memory": "131072000Ki", "pods": "110"},
        "allocatable": {"cpu": "31", "memory": "130000000Ki", "pods": "110"},
        "conditions": conditions,
        "images": images,
    }
    labels = {
        "kubernetes.io/hostname": "node-0001",
        "topology.kubernetes.io/zone": "zone-a",
        "topology.kubernetes.io/region": "region-1",
    }
    metadata = _metadata("node-0001", labels)
    status_fields = _fields({**status, "images": {}, "conditions": {}})
    metadata["managedFields"] = [_managed("kubelet", "v1", status_fields)]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": metadata,
        "spec": {"podCIDR": "172.16.100.0/24", "podCIDRs": ["172.16.100.0/24"]},
        "status": status,
    }


def bookmark() -> int:
    """Bytes of a bookmark of EndpointSlices."""
    raw = {
        "kind": "EndpointSlice",
        "apiVersion": "discovery.k8s.io/v1",
        "metadata": {"resourceVersion": "123456789"},
        "addressType": "",
        "endpoints": None,
        "ports": None,
    }
    return size({"type": "BOOKMARK", "object": raw}) + 1


def _endpoint() -> Raw:
    return {
        "addresses": ["172.16.100.100"],
        "conditions": {"ready": True, "serving": True, "terminating": False},
        "nodeName": "node-0001",
        "targetRef": {
            "kind": "Pod",
            "namespace": _NAMESPACE,
            "name": f"{_SERVICE}-5d9c7b6f4-x7k2p",
            "uid": _UID,
        },
        "zone": "zone-a",
    }


def _metadata(name: str, labels: dict[str, str]) -> Raw:
    return {
        "name": name,
        "namespace": _NAMESPACE,
        "uid": _UID,
        "resourceVersion": "123456789",
        "generation": 12,
        "creationTimestamp": _TIME,
        "labels": labels,
    }


def _managed(manager: str, version: str, fields: Raw) -> Raw:
    return {
        "manager": manager,
        "operation": "Update",
        "apiVersion": version,
        "time": _TIME,
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    }


def _fields(raw: Raw) -> Raw:
    """Names of fields as `managedFields` has them."""
    return {
        f"f:{name}": _fields(value) if isinstance(value, dict) else {}
        for name, value in raw.items()
    }
