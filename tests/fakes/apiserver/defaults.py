"""Fields that the API server fills in when an object is created over HTTP."""

from ipaddress import IPv4Network

from tests.fakes.apiserver.entries import Raw
from tests.fakes.apiserver.kinds import SERVICES
from tests.fakes.apiserver.store import Store

_CLUSTER_IPS = IPv4Network("10.96.0.0/16")
_NODE_PORTS = range(30000, 32768)


def set_defaults(store: Store, raw: Raw) -> Raw:
    """The object as the server would keep it."""
    kind = raw["kind"]
    if kind == "Service":
        spec = _service_spec(store, raw.get("spec") or {})
        return {**raw, "spec": spec, "status": raw.get("status", {"loadBalancer": {}})}
    if kind == "EndpointSlice":
        ports = [{"name": "", "protocol": "TCP", **p} for p in raw.get("ports") or ()]
        return {**raw, "ports": ports}
    return raw


def _service_spec(store: Store, given: Raw) -> Raw:
    spec = {"type": "ClusterIP", "sessionAffinity": "None", **given}
    if spec["type"] == "ExternalName":
        return spec
    spec.setdefault("internalTrafficPolicy", "Cluster")
    used_ips, used_ports = _taken(store)
    if not spec.get("clusterIP"):
        free = (str(ip) for ip in _CLUSTER_IPS.hosts() if str(ip) not in used_ips)
        spec["clusterIP"] = next(iter(spec.get("clusterIPs") or free))
    spec.setdefault("clusterIPs", [spec["clusterIP"]])
    families = ["IPv6" if ":" in ip else "IPv4" for ip in spec["clusterIPs"]]
    spec.setdefault("ipFamilies", families)
    spec.setdefault("ipFamilyPolicy", "SingleStack")
    is_outside = spec["type"] in {"NodePort", "LoadBalancer"}
    if is_outside:
        spec.setdefault("externalTrafficPolicy", "Cluster")
    if spec["type"] == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
    free_ports = (port for port in _NODE_PORTS if port not in used_ports)
    has_node_ports = is_outside and spec.get("allocateLoadBalancerNodePorts", True)
    ports = []
    for given_port in spec.get("ports") or ():
        port = {"protocol": "TCP", "targetPort": given_port["port"], **given_port}
        if has_node_ports and not port.get("nodePort"):
            port["nodePort"] = next(free_ports)
        ports.append(port)
    return {**spec, "ports": ports}


def _taken(store: Store) -> tuple[set[str], set[int]]:
    """Cluster IPs and node ports in use."""
    specs = [
        entry.decode().get("spec", {}) for entry in store.shelf(SERVICES).entries()
    ]
    ips = {ip for spec in specs for ip in spec.get("clusterIPs") or ()}
    ports = {p.get("nodePort", 0) for spec in specs for p in spec.get("ports") or ()}
    return ips, ports
