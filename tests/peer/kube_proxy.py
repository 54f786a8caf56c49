"""What kube-proxy v1.36 in IPVS mode leaves in the kernel, from API objects as dicts.

A model to compare with: plain and slow, and sharing nothing with ipvsctl, so that a
mistake would have to be made twice. The sixteen captures of a real kube-proxy hold it
to the truth. It knows objects as the API server serves them: validated and defaulted.
Source: kube-proxy pkg/proxy/ipvs/proxier.go (`syncProxyRules`, `syncEndpoint`),
serviceport.go, util/nodeport_addresses.go.
"""

from dataclasses import dataclass, field

from ipvsctl.model.net import is_in
from tests.peer.kube_proxy_endpoints import (
    Raw,
    choose,
    endpoints_of,
    is_left_alone,
    name_of,
    of_kind,
)
from tests.peer.kube_proxy_net import address_of, is_of, network_of

SET_TYPES = {
    "CLUSTER-IP": "hash:ip,port",
    "EXTERNAL-IP": "hash:ip,port",
    "EXTERNAL-IP-LOCAL": "hash:ip,port",
    "HEALTH-CHECK-NODE-PORT": "bitmap:port",
    "IPVS-IPS": "hash:ip",
    "LOAD-BALANCER": "hash:ip,port",
    "LOAD-BALANCER-FW": "hash:ip,port",
    "LOAD-BALANCER-LOCAL": "hash:ip,port",
    "LOAD-BALANCER-SOURCE-CIDR": "hash:ip,port,net",
    "LOAD-BALANCER-SOURCE-IP": "hash:ip,port,ip",
    "LOOP-BACK": "hash:ip,port,ip",
    "NODE-PORT-LOCAL-SCTP-HASH": "hash:ip,port",
    "NODE-PORT-LOCAL-TCP": "bitmap:port",
    "NODE-PORT-LOCAL-UDP": "bitmap:port",
    "NODE-PORT-SCTP-HASH": "hash:ip,port",
    "NODE-PORT-TCP": "bitmap:port",
    "NODE-PORT-UDP": "bitmap:port",
}
"""Every set by its name without `KUBE-`."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The node kube-proxy runs on, and its configuration.

    Attributes:
        host_addresses: on links of the node, without loopback and link-local ones.
    """

    node_name: str = "node-0"
    host_addresses: tuple[str, ...] = ("10.0.0.10", "fd00:10::10")
    cluster_cidrs: tuple[str, ...] = ("172.16.0.0/12", "fd00:172::/32")
    scheduler: str = "rr"
    node_port_addresses: tuple[str, ...] = ()
    masquerade_all: bool = False


@dataclass(kw_only=True)
class Family:
    """What is there of one address family.

    Attributes:
        sets: entries by the set's name without `KUBE-`, as `ipset save` prints them.
        servers: real servers by virtual server, both as `ipvsadm-save -n` prints them.
        options: of each virtual server, likewise.
        node_ips: the addresses node ports are served on.
        closed: load balancers this node may not use: address, protocol, port.
    """

    version: int
    settings: Settings
    sets: dict[str, set[str]] = field(default_factory=dict)
    servers: dict[str, set[str]] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)
    closed: list[tuple[str, str, int]] = field(default_factory=list)
    node_ips: list[str] = field(default_factory=list)

    def set_name(self, name: str) -> str:
        """The kernel's name of a set."""
        prefix = "KUBE-" if self.version == 4 else "KUBE-6-"
        return (prefix + name)[:31]

    def is_of(self, text: str) -> bool:
        """Whether an address or network is of this family."""
        return is_of(text, self.version)


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """What is in the kernel, as lines of the captures; every list sorted."""

    families: tuple[Family, Family]

    @property
    def ipvsadm(self) -> list[str]:
        """As `ipvsadm-save -n`."""
        return sorted(
            line
            for family in self.families
            for server, real_servers in family.servers.items()
            for line in (
                f"-A {server} {family.options[server]}",
                *(f"-a {server} -r {real} -m -w 1" for real in real_servers),
            )
        )

    @property
    def creates(self) -> list[str]:
        """The `create` lines of `ipset save`."""
        lines = []
        for family in self.families:
            inet = "inet" if family.version == 4 else "inet6"
            for name, kind in SET_TYPES.items():
                what = (
                    "range 0-65535"
                    if kind == "bitmap:port"
                    else f"family {inet} maxelem 65536 bucketsize 12"
                )
                lines.append(f"create {family.set_name(name)} {kind} {what}")
        return sorted(lines)

    @property
    def entries(self) -> list[str]:
        """The `add` lines of `ipset save`."""
        return sorted(
            f"add {family.set_name(name)} {entry}"
            for family in self.families
            for name, entries in family.sets.items()
            for entry in entries
        )

    @property
    def addresses(self) -> list[str]:
        """`inet A/32` and `inet6 A/128` on kube-ipvs0."""
        v4, v6 = (family.sets["IPVS-IPS"] for family in self.families)
        return sorted([f"inet {a}/32" for a in v4] + [f"inet6 {a}/128" for a in v6])


def kube_proxy(objects: list[Raw], settings: Settings) -> Kernel:
    """Run both of kube-proxy's families over a cluster."""
    four = _sync(objects, settings, 4)
    six = _sync(objects, settings, 6)
    return Kernel(families=(four, six))


def _sync(objects: list[Raw], settings: Settings, version: int) -> Family:
    family = Family(version=version, settings=settings)
    family.sets = {name: set() for name in SET_TYPES}
    own = [o for o in of_kind(objects, "Node") if name_of(o) == settings.node_name]
    node = own[0] if own else {}
    family.node_ips = _node_port_addresses(node, family)
    for service in of_kind(objects, "Service"):
        cluster_ip = _cluster_ip(service, version)
        if cluster_ip is None or service["spec"].get("type") == "ExternalName":
            continue
        if is_left_alone(service):
            continue
        for port in service["spec"].get("ports") or ():
            endpoints = endpoints_of(
                objects, service, port, version, settings.node_name
            )
            _port(family, service, port, endpoints, node).sync(cluster_ip, node)
    return family


@dataclass(kw_only=True)
class _Port:
    """One port of a Service in one family.

    Attributes:
        endpoints: all, in whatever condition.
        cluster, local: those that the traffic policies use.
    """

    family: Family
    spec: Raw
    protocol: str
    number: int
    node_port: int
    external_ips: list[str]
    vips: list[str]
    endpoints: list[Raw]
    cluster: list[Raw]
    local: list[Raw]

    def sync(self, cluster_ip: str, node: Raw) -> None:
        for endpoint in (e for e in self.endpoints if e["local"]):
            ip = endpoint["ip"]
            self._add("LOOP-BACK", ip, endpoint["port"], f",{ip}")
        self._add("CLUSTER-IP", cluster_ip, self.number)
        self.family.sets["IPVS-IPS"].add(cluster_ip)
        is_local = self.spec.get("internalTrafficPolicy") == "Local"
        self._serve(cluster_ip, self.number, is_local=is_local)
        for address in (*self.external_ips, *self.vips):
            if address not in self.family.settings.host_addresses:
                self.family.sets["IPVS-IPS"].add(address)
            self._serve(address, self.number, is_local=self._external_local)
        kind = "EXTERNAL-IP-LOCAL" if self._external_local else "EXTERNAL-IP"
        for address in self.external_ips:
            self._add(kind, address, self.number)
        for vip in self.vips:
            self._add("LOAD-BALANCER", vip, self.number)
            if self._external_local:
                self._add("LOAD-BALANCER-LOCAL", vip, self.number)
            self._sync_source_ranges(vip, node)
        if self.node_port and not self.family.node_ips:
            # The rest, the health check included, is passed over.
            return
        if self.node_port:
            self._sync_node_port()
        health = self.spec.get("healthCheckNodePort")
        is_balanced = self.spec.get("type") == "LoadBalancer"
        if health and is_balanced and self._external_local:
            self.family.sets["HEALTH-CHECK-NODE-PORT"].add(str(health))

    def _sync_source_ranges(self, vip: str, node: Raw) -> None:
        ranges = [
            network_of(text)
            for text in self.spec.get("loadBalancerSourceRanges") or ()
            if self.family.is_of(text)
        ]
        if not ranges:
            return
        self._add("LOAD-BALANCER-FW", vip, self.number)
        for net in ranges:
            shown = net if net.prefixlen < net.max_prefixlen else net.network_address
            self._add("LOAD-BALANCER-SOURCE-CIDR", vip, self.number, f",{shown}")
        own = _node_ip(node, self.family)
        if own and any(is_in(address_of(own), net) for net in ranges):
            self._add("LOAD-BALANCER-SOURCE-IP", vip, self.number, f",{vip}")
        else:
            self.family.closed.append((vip, self.protocol, self.number))

    def _sync_node_port(self) -> None:
        suffix = "SCTP-HASH" if self.protocol == "SCTP" else self.protocol
        kinds = ("", "LOCAL-") if self._external_local else ("",)
        for name in (f"NODE-PORT-{kind}{suffix}" for kind in kinds):
            if self.protocol == "SCTP":
                for ip in self.family.node_ips:
                    self._add(name, ip, self.node_port)
            else:
                self.family.sets[name].add(str(self.node_port))
        for ip in self.family.node_ips:
            self._serve(ip, self.node_port, is_local=self._external_local)

    @property
    def _external_local(self) -> bool:
        kind = self.spec.get("type", "ClusterIP")
        if kind == "ClusterIP" and not self.spec.get("externalIPs"):
            return False
        return bool(self.spec.get("externalTrafficPolicy") == "Local")

    def _add(self, name: str, address: str, port: int, rest: str = "") -> None:
        entry = f"{address},{self.protocol.lower()}:{port}{rest}"
        self.family.sets[name].add(entry)

    def _serve(self, address: str, port: int, *, is_local: bool) -> None:
        option = {"TCP": "-t", "UDP": "-u", "SCTP": "--sctp-service"}[self.protocol]
        server = f"{option} {_host_port(address, port)}"
        scheduler = self.family.settings.scheduler
        options = f"-s {scheduler}"
        if self.spec.get("sessionAffinity") == "ClientIP":
            config = self.spec["sessionAffinityConfig"]["clientIP"]
            options += f" -p {config['timeoutSeconds']}"
        if scheduler == "mh":
            options += " -b mh-port"
        chosen = (self.local or self.cluster) if is_local else self.cluster
        self.family.options[server] = options
        self.family.servers[server] = {_host_port(e["ip"], e["port"]) for e in chosen}


def _port(
    family: Family, service: Raw, port: Raw, endpoints: list[Raw], node: Raw
) -> _Port:
    spec = service["spec"]
    status = (service.get("status") or {}).get("loadBalancer") or {}
    external_ips = [
        str(address_of(ip)) for ip in spec.get("externalIPs") or () if family.is_of(ip)
    ]
    vips = [
        str(address_of(ingress["ip"]))
        for ingress in status.get("ingress") or ()
        if ingress.get("ip")
        and ingress.get("ipMode", "VIP") == "VIP"
        and family.is_of(ingress["ip"])
    ]
    node_port = port.get("nodePort") or 0
    cluster, local = choose(endpoints, node, family.settings.node_name)
    is_reachable = bool(node_port or vips or external_ips)
    if spec.get("internalTrafficPolicy") == "Local" and not is_reachable:
        cluster = []
    return _Port(
        family=family,
        spec=spec,
        protocol=port.get("protocol") or "TCP",
        number=port["port"],
        node_port=node_port,
        external_ips=external_ips,
        vips=vips,
        endpoints=endpoints,
        cluster=cluster,
        local=local,
    )


def _cluster_ip(service: Raw, version: int) -> str | None:
    spec = service["spec"]
    for text in spec.get("clusterIPs") or [spec.get("clusterIP")]:
        if text in {None, "", "None"}:
            return None
        if is_of(text, version):
            return str(address_of(text))
    return None


def _node_ip(node: Raw, family: Family) -> str | None:
    """The Node's first address of the family."""
    return next(
        (
            str(address_of(address["address"]))
            for address in (node.get("status") or {}).get("addresses") or ()
            if address["type"] == "InternalIP" and family.is_of(address["address"])
        ),
        None,
    )


def _node_port_addresses(node: Raw, family: Family) -> list[str]:
    choice = family.settings.node_port_addresses
    if choice == ("primary",):
        own = _node_ip(node, family)
        return [own] if own else []
    # A family without a network of its own takes all of its addresses.
    networks = [network_of(text) for text in choice if family.is_of(text)]
    return [
        text
        for text in family.settings.host_addresses
        if family.is_of(text)
        and (not networks or any(is_in(address_of(text), net) for net in networks))
    ]


def _host_port(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
