"""Random clusters with everything a Service can ask for, as API objects.

They are what an API server serves: validated, defaulted, some of it long ago when more
spellings were valid. What kube-proxy itself decides by chance is left out: two Services
with one address, protocol and port, and duplicate endpoints that differ, unless one of
them terminates and the other does not.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.peer.kube_proxy import Settings
from tests.peer.kube_proxy_endpoints import Raw

PROTOCOLS = ("TCP", "UDP", "SCTP")
ZONES = ("zone-a", "zone-b")
NODES = ("node-0", "node-1")

_VIPS = {
    4: ("203.0.113.50", "203.0.113.51", "198.51.100.7", "10.0.0.10", "10.0.0.11"),
    6: ("2001:db8:203::50", "2001:db8:198::7", "fd00:10::10"),
}
_LINK_LOCAL_VIP = "169.254.20.10"
"""The API server lets a load balancer's status have it, and no external IP."""

_SERVICES = ("10.96.0.", "10.96.0.", "169.254.48.", "240.96.0.")
_PODS = ("172.16.0.", "172.16.0.", "240.16.0.")
_RANGES = (
    "10.0.0.0/16",
    "203.0.113.9/32",
    " 192.0.2.0/24",
    "010.001.002.003/08",
    "::ffff:10.0.0.0/104",
    "::FFFF:203.0.113.0/120",
    "fd00:10::/64",
    "2001:db8::1/128",
)
_HOSTS = (
    ("10.0.0.10", "fd00:10::10"),
    ("10.0.0.10", "10.9.0.10", "fd00:10::10", "fd00:9::10"),
    # With floating VIPs, which are no Node's.
    ("10.0.0.10", "203.0.113.50", "fd00:10::10", "2001:db8:203::50"),
)
_NODE_PORT_ADDRESSES = (
    (),
    (),
    ("10.0.0.0/24",),
    ("010.000.000.000/024",),
    ("fd00:10::/64",),
    ("primary",),
)
_A_NODE_PORT = 30001
"""Of some Service, and of others the port on their cluster IPs."""

_SCHEDULERS = ("rr", "rr", "wlc", "sh", "mh")
_OTHERS_LABELS = (
    {"service.kubernetes.io/service-proxy-name": "other"},
    {"service.kubernetes.io/headless": ""},
)


@dataclass(frozen=True)
class _Pod:
    """An endpoint address and all that one Service says about it.

    Attributes:
        ghost: what is said of a pod that had the address before.
    """

    address: str
    node: str
    conditions: Raw
    hints: Raw
    ghost: "_Pod | None" = None


def random_cluster(seed: int) -> tuple[list[Raw], Settings]:
    """The cluster of a seed, with the node and the configuration."""
    return _Maker(Random(seed)).make()


class _Maker:
    def __init__(self, random: Random) -> None:
        self._random = random
        # On the node's own addresses they are node ports.
        self._taken = {
            (address, protocol, _A_NODE_PORT)
            for address in {*_HOSTS[0], *_HOSTS[1], *_HOSTS[2]}
            for protocol in PROTOCOLS
        }
        self._next_node_port = _A_NODE_PORT
        self._next_name = 0

    def make(self) -> tuple[list[Raw], Settings]:
        random = self._random
        settings = Settings(
            host_addresses=random.choice(_HOSTS),
            cluster_cidrs=random.choice(
                [("172.16.0.0/12", "fd00:172::/32"), ("172.16.0.0/12",), ()]
            ),
            scheduler=random.choice(_SCHEDULERS),
            node_port_addresses=random.choice(_NODE_PORT_ADDRESSES),
            masquerade_all=self._one_in(5),
        )
        objects = self._nodes()
        for _ in range(random.randint(1, 7)):
            service = self._service()
            objects += [service, *self._slices(service)]
        random.shuffle(objects)
        return objects, settings

    def _nodes(self) -> list[Raw]:
        labels = {"topology.kubernetes.io/zone": "zone-a"}
        nodes = []
        for index, name in enumerate(NODES):
            has_zone = index == 0 and not self._one_in(4)
            addresses = [f"10.0.0.1{index}", f"fd00:10::1{index}"]
            if self._one_in(3):
                addresses.reverse()
            nodes.append(
                {
                    "apiVersion": "v1",
                    "kind": "Node",
                    "metadata": {"name": name, "labels": labels if has_zone else {}},
                    "status": {
                        "addresses": [
                            {"type": "InternalIP", "address": self._spelled(address)}
                            for address in addresses
                        ]
                    },
                }
            )
        return nodes

    def _service(self) -> Raw:
        random = self._random
        kind = random.choice(
            ["ClusterIP", "ClusterIP", "NodePort", "LoadBalancer", "LoadBalancer"]
        )
        name = self._new_name()
        versions = random.choice([[4], [4], [6], [4, 6], [6, 4]])
        number = self._next_name
        prefix = random.choice(_SERVICES)
        cluster_ips = [
            self._spelled(f"{prefix}{number}") if v == 4 else f"fd00:96::{number:x}"
            for v in versions
        ]
        ports = self._ports(kind)
        spec: Raw = {
            "type": kind,
            "ports": ports,
            "selector": {"app": name},
            "ipFamilies": [f"IPv{version}" for version in versions],
            "clusterIP": cluster_ips[0],
            "clusterIPs": cluster_ips,
            "internalTrafficPolicy": random.choice(["Cluster", "Cluster", "Local"]),
            "sessionAffinity": "None",
        }
        external_ips = self._vips(ports) if self._one_in(3) else []
        if external_ips:
            spec["externalIPs"] = [self._spelled(ip) for ip in external_ips]
        if kind != "ClusterIP" or external_ips:
            spec["externalTrafficPolicy"] = random.choice(["Cluster", "Local"])
        if self._one_in(4):
            spec["sessionAffinity"] = "ClientIP"
            timeout = random.choice([60, 10800])
            spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": timeout}}
        service: Raw = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": "default", "labels": {}},
            "spec": spec,
        }
        if kind == "LoadBalancer":
            self._balance(service, external_ips)
        elif self._one_in(8):
            # Kube-proxy does not ask for the type; a manifest may say this.
            ingress = [{"ip": vip} for vip in self._vips(ports, _LINK_LOCAL_VIP)]
            service["status"] = {"loadBalancer": {"ingress": ingress}}
            spec["loadBalancerSourceRanges"] = random.sample(_RANGES, 2)
        self._withhold(service)
        return service

    def _balance(self, service: Raw, external_ips: list[str]) -> None:
        random = self._random
        spec = service["spec"]
        vips = self._vips(spec["ports"], _LINK_LOCAL_VIP)
        ingress: list[Raw] = [{"ip": self._spelled(vip)} for vip in vips]
        if external_ips and self._one_in(4):
            # One address by both ways.
            ingress.append({"ip": self._spelled(external_ips[0])})
        for entry in ingress:
            if not self._one_in(3):
                entry["ipMode"] = random.choice(["VIP", "VIP", "Proxy"])
        if self._one_in(4):
            ingress.append({"hostname": "lb.example.com"})
        service["status"] = {"loadBalancer": {"ingress": ingress}}
        if self._one_in(3):
            count = random.randint(1, 3)
            spec["loadBalancerSourceRanges"] = random.sample(_RANGES, count)
        elif self._one_in(3):
            key = "service.beta.kubernetes.io/load-balancer-source-ranges"
            service["metadata"]["annotations"] = {key: "10.0.0.0/16,192.0.2.0/24"}
        if spec["externalTrafficPolicy"] == "Local":
            spec["healthCheckNodePort"] = self._new_node_port()
        if self._one_in(3):
            spec["allocateLoadBalancerNodePorts"] = False
            for port in random.sample(spec["ports"], 1):
                port.pop("nodePort")

    def _withhold(self, service: Raw) -> None:
        """Sometimes make it one that a proxy leaves alone."""
        if not self._one_in(8):
            return
        spec = service["spec"]
        match self._random.randrange(3):
            case 0:
                service["metadata"]["labels"] = self._random.choice(_OTHERS_LABELS)
            case 1:
                spec |= {"clusterIP": "None", "clusterIPs": ["None"]}
            case _:
                spec |= {"type": "ExternalName", "externalName": "example.com"}
                for field in ("clusterIP", "clusterIPs", "ipFamilies"):
                    del spec[field]

    def _ports(self, kind: str) -> list[Raw]:
        random = self._random
        ports: list[Raw] = []
        for index in range(random.choice([1, 1, 2, 3])):
            protocol = random.choice(PROTOCOLS)
            number = random.choice([53, 80, 443, _A_NODE_PORT])
            if any((p["protocol"], p["port"]) == (protocol, number) for p in ports):
                continue
            port = {"name": f"p{index}", "protocol": protocol, "port": number}
            if kind != "ClusterIP":
                port["nodePort"] = self._new_node_port()
            ports.append(port)
        if len(ports) == 1 and self._one_in(2):
            ports[0]["name"] = ""
        return ports

    def _vips(self, ports: Iterable[Raw], *more: str) -> list[str]:
        """Addresses on which nobody has one of these ports."""
        vips = []
        for vip in self._random.sample([*_VIPS[4], *_VIPS[6], *more], 3):
            keys = {(vip, p["protocol"], p["port"]) for p in ports}
            if not keys & self._taken:
                self._taken |= keys
                vips.append(vip)
        return vips

    def _slices(self, service: Raw) -> list[Raw]:
        random = self._random
        slices = []
        for version in (4, 6):
            pods = self._pods(version)
            for _ in range(random.choice([0, 1, 1, 2, 3])):
                chosen = random.sample(pods, random.randint(0, len(pods)))
                piece = self._slice(service, version, chosen)
                slices.append(piece)
        if self._one_in(6):
            piece = self._slice(service, 4, [])
            piece |= {"addressType": "FQDN"}
            piece["endpoints"] = [{"addresses": ["pod.example.com"]}]
            slices.append(piece)
        return slices

    def _slice(self, service: Raw, version: int, pods: Sequence[_Pod]) -> Raw:
        random = self._random
        labels = {"kubernetes.io/service-name": service["metadata"]["name"]}
        if self._one_in(12):
            labels |= random.choice(_OTHERS_LABELS)
        ports: list[Raw] = [
            {
                "name": port["name"],
                "protocol": port["protocol"],
                "port": random.choice([8080, 8080, 9090, None]),
            }
            for port in service["spec"]["ports"]
            if not self._one_in(8)
        ]
        if self._one_in(4):
            ports.append({"name": "unknown", "protocol": "TCP", "port": 7070})
        return {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": self._new_name(),
                "namespace": random.choice(["default"] * 9 + ["other"]),
                "labels": labels,
            },
            "addressType": f"IPv{version}",
            "ports": ports,
            "endpoints": self._endpoints(pods),
        }

    def _endpoints(self, pods: Iterable[_Pod]) -> list[Raw]:
        entries = []
        for pod in pods:
            both = [pod] if pod.ghost is None else [pod, pod.ghost]
            # Its ghost is in the same slice, before or after it, or in another one.
            chosen = self._random.sample(both, self._random.randint(1, len(both)))
            entries += [self._endpoint(one) for one in chosen]
        return entries

    def _endpoint(self, pod: _Pod) -> Raw:
        addresses = [self._spelled(pod.address)]
        endpoint: Raw = {"addresses": addresses, "conditions": pod.conditions}
        if pod.node:
            endpoint["nodeName"] = pod.node
        if pod.hints:
            endpoint["hints"] = pod.hints
        return endpoint

    def _spelled(self, address: str) -> str:
        """The address in one of the spellings that are stored somewhere."""
        if ":" in address:
            return address
        match self._random.randrange(8):
            case 0:
                return ".".join(number.zfill(3) for number in address.split("."))
            case 1:
                return f"::ffff:{address}"
            case _:
                return address

    def _pods(self, version: int) -> list[_Pod]:
        random = self._random
        hinting = random.choice(["no", "no", "zones", "nodes", "both", "some"])
        mood = random.choice(["ready", "mixed", "leaving"])
        pods = []
        prefix = random.choice(_PODS) if version == 4 else "fd00:172:16::"
        for number in random.sample(range(1, 9), random.randint(0, 5)):
            hints: Raw = {}
            is_hinted = hinting not in {"no", "some"} or (
                hinting == "some" and self._one_in(2)
            )
            if is_hinted and hinting != "nodes":
                hints["forZones"] = [{"name": random.choice(ZONES)}]
            if is_hinted and hinting in {"nodes", "both"}:
                hints["forNodes"] = [{"name": random.choice(NODES)}]
            address, conditions = f"{prefix}{number}", self._conditions(mood)
            ghost = None
            if self._one_in(4) and not conditions.get("terminating"):
                ending = self._conditions("ending")
                ghost = _Pod(address, random.choice(NODES), ending, {})
            node = random.choice([*NODES, *NODES, ""])
            pods.append(_Pod(address, node, conditions, hints, ghost))
        return pods

    def _conditions(self, mood: str) -> Raw:
        random = self._random
        ready: Any = {"ready": True, "serving": True, "terminating": False}
        leaving = {"ready": False, "serving": True, "terminating": True}
        gone = {"ready": False, "serving": False, "terminating": True}
        unready = {"ready": False, "serving": False, "terminating": False}
        # It serves unless it says otherwise.
        silent = {"ready": False, "terminating": True}
        choices: dict[str, list[Raw]] = {
            "ready": [ready, ready, {}, {"ready": True}],
            "mixed": [ready, leaving, gone, unready, {"ready": None}],
            "leaving": [leaving, silent, gone, unready, {"ready": False}],
            "ending": [leaving, silent, gone],
        }
        return random.choice(choices[mood])

    def _new_name(self) -> str:
        self._next_name += 1
        return f"o{self._next_name}"

    def _new_node_port(self) -> int:
        self._next_node_port += 1
        return self._next_node_port - 1

    def _one_in(self, number: int) -> bool:
        return self._random.randrange(number) == 0
