"""Which endpoints kube-proxy v1.36 uses, as dicts; see `kube_proxy`.

Source: kube-proxy pkg/proxy/endpointslicecache.go, topology.go.
"""

from typing import Any

from tests.peer.kube_proxy_net import address_of

Raw = dict[str, Any]

_OTHERS = (
    "service.kubernetes.io/service-proxy-name",
    "service.kubernetes.io/headless",
)


def endpoints_of(
    objects: list[Raw], service: Raw, port: Raw, version: int, node_name: str
) -> list[Raw]:
    """All endpoints of a port by address and number, in whatever condition."""
    wanted = (port.get("name") or "", port.get("protocol") or "TCP")
    found: dict[tuple[str, int], Raw] = {}
    for piece in of_kind(objects, "EndpointSlice"):
        labels = piece["metadata"].get("labels") or {}
        if (
            piece["metadata"]["namespace"] != service["metadata"]["namespace"]
            or labels.get("kubernetes.io/service-name") != name_of(service)
            or is_left_alone(piece)
            or piece["addressType"] != f"IPv{version}"
        ):
            continue
        for slice_port in piece.get("ports") or ():
            if (slice_port["name"], slice_port["protocol"]) != wanted:
                continue
            if not slice_port.get("port"):
                continue
            for raw in piece.get("endpoints") or ():
                endpoint = _endpoint(raw, slice_port["port"], node_name)
                key = (endpoint["ip"], endpoint["port"])
                if key not in found or not endpoint["terminating"]:
                    found[key] = endpoint
    return list(found.values())


def _endpoint(raw: Raw, port: int, node_name: str) -> Raw:
    conditions = raw.get("conditions") or {}
    hints = raw.get("hints") or {}
    return {
        "ip": str(address_of(raw["addresses"][0])),
        "port": port,
        "local": raw.get("nodeName") == node_name,
        "ready": conditions.get("ready") is not False,
        "serving": conditions.get("serving") is not False,
        "terminating": conditions.get("terminating") is True,
        "zones": {hint["name"] for hint in hints.get("forZones") or ()},
        "nodes": {hint["name"] for hint in hints.get("forNodes") or ()},
    }


def choose(
    endpoints: list[Raw], node: Raw, node_name: str
) -> tuple[list[Raw], list[Raw]]:
    """The endpoints that traffic policies Cluster and Local use."""
    labels = (node.get("metadata") or {}).get("labels") or {}
    zone = labels.get("topology.kubernetes.io/zone", "")
    ready = [e for e in endpoints if e["ready"]]
    leaving = [e for e in endpoints if e["serving"] and e["terminating"]]
    cluster = ready
    for hints, here in (("zones", zone), ("nodes", node_name)):
        near = [e for e in ready if here in e[hints]]
        if near and all(e[hints] for e in ready):
            cluster = near
    local = [e for e in ready if e["local"]]
    return cluster or leaving, local or [e for e in leaving if e["local"]]


def of_kind(objects: list[Raw], kind: str) -> list[Raw]:
    """The objects of a kind."""
    return [o for o in objects if o["kind"] == kind]


def name_of(raw: Raw) -> str:
    """An object's name."""
    return str(raw["metadata"]["name"])


def is_left_alone(raw: Raw) -> bool:
    """Whether labels give a Service or slice to another proxy."""
    labels = raw["metadata"].get("labels") or {}
    return any(label in labels for label in _OTHERS)
