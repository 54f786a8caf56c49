"""Large clusters, with every field that the real controllers write.

What a proxy does not read has to be sent, received and skipped all the same.
"""

import hashlib
from collections.abc import Iterator
from typing import Any

from tests.fakes.apiserver.entries import Entry
from tests.fakes.apiserver.kinds import SLICES
from tests.fakes.apiserver.store import Store

Raw = dict[str, Any]

_SINCE = "2026-01-01T00:00:00Z"
_NODES = 100


def large_cluster(
    *, services: int, slices: int, endpoints: int, node: str = "node-0"
) -> Iterator[Raw]:
    """Services with their slices, and one Node; to be loaded into a store.

    Args:
        services: with one port and a cluster IP from 10.96.0.0/12 each.
        slices: dealt out to the Services in turn.
        endpoints: of each slice, in 10.128.0.0/9, on nodes of their own.
        node: name of the Node.
    """
    yield _node(node)
    for number in range(services):
        yield _service(number)
    for number in range(slices):
        yield _slice(number, services, endpoints)


def change_endpoint(store: Store, number: int) -> None:
    """Have the first endpoint of a slice become ready, or not ready any more.

    Args:
        store: with a large cluster.
        number: which of its slices, in the order of their names; wraps around.
    """
    found = store.shelf(SLICES).entries()
    _change(store, found[number % len(found)])


def change_service(store: Store, number: int) -> bool:
    """The same of a Service's first slice; whether the endpoint is ready now.

    Raises:
        KeyError: there is no such Service, or it has no slice.
    """
    name = f"service-{number}-00000"
    entry = store.shelf(SLICES).get("default", name)
    if entry is None:
        raise KeyError(name)
    return _change(store, entry)


def _change(store: Store, entry: Entry) -> bool:
    raw = entry.decode()
    conditions = raw["endpoints"][0]["conditions"]
    is_ready = not conditions["ready"]
    conditions["ready"] = conditions["serving"] = is_ready
    store.put(raw)
    return is_ready


def _node(name: str) -> Raw:
    addresses = [{"type": "InternalIP", "address": "10.0.0.10"}]
    return {
        "kind": "Node",
        "metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": "zone-a"}},
        "spec": {},
        "status": {"addresses": addresses},
    }


def _service(number: int) -> Raw:
    name = f"service-{number}"
    address = _address("10.96", number)
    return {
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": "default",
            "uid": _uid(1, number),
            "creationTimestamp": _SINCE,
            "labels": {"app.kubernetes.io/name": name},
            "managedFields": [_managed("kubectl", "v1", _SERVICE_FIELDS)],
        },
        "spec": {
            "ports": [
                {"name": "http", "protocol": "TCP", "port": 80, "targetPort": 8080}
            ],
            "selector": {"app.kubernetes.io/name": name},
            "clusterIP": address,
            "clusterIPs": [address],
            "type": "ClusterIP",
            "sessionAffinity": "None",
            "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "internalTrafficPolicy": "Cluster",
        },
        "status": {"loadBalancer": {}},
    }


def _slice(number: int, services: int, endpoints: int) -> Raw:
    of, owner = divmod(number, services)
    service = f"service-{owner}"
    return {
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{service}-{of:05}",
            "generateName": f"{service}-",
            "namespace": "default",
            "uid": _uid(2, number),
            "generation": 1,
            "creationTimestamp": _SINCE,
            "labels": {
                "app.kubernetes.io/name": service,
                "endpointslice.kubernetes.io/managed-by": (
                    "endpointslice-controller.k8s.io"
                ),
                "kubernetes.io/service-name": service,
            },
            "annotations": {"endpoints.kubernetes.io/last-change-trigger-time": _SINCE},
            "ownerReferences": [
                {
                    "apiVersion": "v1",
                    "kind": "Service",
                    "name": service,
                    "uid": _uid(1, owner),
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
            "managedFields": [
                _managed(
                    "kube-controller-manager", "discovery.k8s.io/v1", _SLICE_FIELDS
                )
            ],
        },
        "addressType": "IPv4",
        "endpoints": [
            _endpoint(service, number * endpoints + place) for place in range(endpoints)
        ],
        "ports": [{"name": "http", "protocol": "TCP", "port": 8080}],
    }


def _endpoint(service: str, number: int) -> Raw:
    uid = _uid(3, number)
    return {
        "addresses": [_address("10.128", number)],
        "conditions": {"ready": True, "serving": True, "terminating": False},
        "targetRef": {
            "kind": "Pod",
            "namespace": "default",
            "name": f"{service}-7d4b9c8f6d-{uid[-5:]}",
            "uid": uid,
        },
        "nodeName": f"node-{1 + number % _NODES}",
        "zone": f"zone-{'abc'[number % 3]}",
    }


def _managed(manager: str, version: str, fields: Raw) -> Raw:
    return {
        "manager": manager,
        "operation": "Update",
        "apiVersion": version,
        "time": _SINCE,
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    }


_SERVICE_FIELDS: Raw = {
    "f:metadata": {"f:labels": {".": {}, "f:app.kubernetes.io/name": {}}},
    "f:spec": {
        "f:internalTrafficPolicy": {},
        "f:ports": {
            ".": {},
            'k:{"port":80,"protocol":"TCP"}': {
                ".": {},
                "f:name": {},
                "f:port": {},
                "f:protocol": {},
                "f:targetPort": {},
            },
        },
        "f:selector": {},
        "f:sessionAffinity": {},
        "f:type": {},
    },
}
_SLICE_FIELDS: Raw = {
    "f:addressType": {},
    "f:endpoints": {},
    "f:metadata": {
        "f:annotations": {
            ".": {},
            "f:endpoints.kubernetes.io/last-change-trigger-time": {},
        },
        "f:generateName": {},
        "f:labels": {
            ".": {},
            "f:app.kubernetes.io/name": {},
            "f:endpointslice.kubernetes.io/managed-by": {},
            "f:kubernetes.io/service-name": {},
        },
        "f:ownerReferences": {
            ".": {},
            'k:{"uid":"00000001-0000-4000-8000-000000000000"}': {},
        },
    },
    "f:ports": {},
}


def _uid(kind: int, number: int) -> str:
    """One that compresses as badly as a real one, and is the same each time."""
    text = hashlib.blake2s(b"%d/%d" % (kind, number), digest_size=16).hexdigest()
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-8{text[17:20]}-{text[20:]}"


def _address(first: str, number: int) -> str:
    """The address that many after the first, skipping .0 and .255."""
    one, two = first.split(".")
    block, last = divmod(number, 250)
    upper, third = divmod(block, 256)
    return f"{one}.{int(two) + upper}.{third}.{last + 1}"
