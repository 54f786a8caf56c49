"""Settings, parsed and checked; every one with its unit, default and reason."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

import msgspec

from ipvsctl.model.ipvs import PersistenceNetmask, Timeouts
from ipvsctl.model.limits import Limits
from ipvsctl.model.marks import KUBELET_DROP_MARK, MarkRange
from ipvsctl.model.net import (
    IPAddress,
    IPFamily,
    IPNetwork,
    format_host_port,
    is_in,
    of_family,
    parse_address,
)

RESERVED_NODE_PORTS: Final = (22, 10250)
"""Ssh and the kubelet, the two that a node cannot be mended without."""


LOCALHOST: Final[Mapping[IPFamily, IPAddress]] = MappingProxyType(
    {IPFamily.IPV4: parse_address("127.0.0.1"), IPFamily.IPV6: parse_address("::1")}
)


class Compatibility(StrEnum):
    """Whether packets may go elsewhere than kube-proxy would send them."""

    NONE = "none"
    KUBE_PROXY = "kube-proxy"


class FirewallKind(StrEnum):
    """What has the sets and the fixed rules."""

    AUTO = "auto"
    IPTABLES = "iptables"
    NFTABLES = "nftables"


class VipBinding(StrEnum):
    """How VIPs become the host's own."""

    ADDRESS = "address"
    ROUTE = "route"
    AUTO = "auto"


class ExternalForwarding(StrEnum):
    """How packets of outside clients get to endpoints on other nodes."""

    MASQUERADE = "masquerade"
    TUNNEL = "tunnel"


class DetectLocalMode(StrEnum):
    """How traffic from pods of the cluster is told from outside traffic."""

    CLUSTER_CIDR = "ClusterCIDR"
    NODE_CIDR = "NodeCIDR"
    BRIDGE_INTERFACE = "BridgeInterface"
    INTERFACE_NAME_PREFIX = "InterfaceNamePrefix"


class LocalFallback(StrEnum):
    """Where a Local address leads on a node without endpoints of its own."""

    NONE = "none"
    CLUSTER = "cluster"


class NodePortAddresses(msgspec.Struct, frozen=True, kw_only=True):
    """Which of the node's addresses accept node ports.

    Attributes:
        primary: only the addresses of the Node object, the first of each family.
        networks: only host addresses inside one of these; of a family without any,
            every one.
        localhost: 127.0.0.1 and ::1 as well, where this process relays connections of
            TCP; so does a network of the loopback network in its family.
    """

    primary: bool = False
    networks: tuple[IPNetwork, ...] = ()
    localhost: bool = False

    def names(self, family: IPFamily) -> bool:
        """Whether it leaves out some addresses of a family."""
        return self.primary or any(of_family(self.networks, family))

    @property
    def words(self) -> tuple[str, ...]:
        """The setting as a list, as the configuration file has it."""
        return (
            *(("primary",) if self.primary else map(str, self.networks)),
            *(("localhost",) if self.localhost else ()),
        )

    def __str__(self) -> str:
        return ",".join(self.words)


_MOST_BY_CPUS: Final = 1 << 20
"""A machine of many CPUs would ask for more, which costs memory for nothing."""


class ConntrackConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Limits and timeouts of connection tracking, on the whole node.

    Attributes:
        max_per_core: tracked connections for each CPU; 32,768, as kube-proxy, and 0
            leaves the kernel's limit whatever `min` says. All CPUs together ask for
            1,048,576 at most. A limit that is higher already stays, unlike with
            kube-proxy 1.36.2, which later took that back (k/k#142035). The hash table
            grows to a quarter of it and never shrinks.
        min: tracked connections at least, however few CPUs there are; 131,072, as
            kube-proxy, and 0 is no floor.
        tcp_established_timeout_s: idle seconds after which an established TCP
            connection is forgotten; 86,400, as kube-proxy, and 0 leaves the kernel's
            432,000.
        tcp_close_wait_timeout_s: the same for one that one end has closed; 3,600, as
            kube-proxy, and 0 leaves the kernel's 60. A server may take longer than
            that to close its end, and its last packets would leave the node with a
            pod's address (k/k#32551).
        tcp_be_liberal: let packets outside the TCP window pass instead of marking them
            invalid; false leaves the kernel's.
        udp_timeout_s: idle seconds of a UDP flow that was not answered; 0 leaves the
            kernel's.
        udp_stream_timeout_s: idle seconds of a UDP flow that was; 0 leaves the
            kernel's.
    """

    max_per_core: int = 32 * 1024
    min: int = 128 * 1024
    tcp_established_timeout_s: int = 24 * 3600
    tcp_close_wait_timeout_s: int = 3600
    tcp_be_liberal: bool = False
    udp_timeout_s: int = 0
    udp_stream_timeout_s: int = 0

    def limit(self, cpus: int) -> int:
        """How many connections may be tracked; 0 leaves the kernel's limit.

        Source: kube-proxy pkg/proxy/conntrack/sysctls.go (`getConntrackMax`).
        """
        if not self.max_per_core:
            return 0
        return max(min(self.max_per_core * cpus, _MOST_BY_CPUS), self.min)


class Listener(msgspec.Struct, frozen=True):
    """Where a server listens; an unspecified address is all of them."""

    address: IPAddress
    port: int

    def __str__(self) -> str:
        return format_host_port(self.address, self.port)


class ServeConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where the daemon answers over HTTP, and how much it tells.

    Attributes:
        healthz: `/healthz`, `/livez` and `/readyz`; port 10256 on all addresses of both
            families, which load balancers probe. Port 0 is nowhere.
        metrics: `/metrics`, `/proxyMode` and `/configz`; port 10249 on loopback, since
            they tell about the cluster. Port 0 is nowhere.
        must_bind: an address that cannot be bound ends the daemon; else it is tried
            again until it can.
        service_metrics: how many Services have traffic metrics of their own, those with
            most connections of late; 20, since each costs five series on every node.
            The others are summed; 0 is no traffic metrics at all.
    """

    healthz: Listener = Listener(parse_address("0.0.0.0"), 10256)  # noqa: S104  # probed from outside the node
    metrics: Listener = Listener(parse_address("127.0.0.1"), 10249)
    must_bind: bool = False
    service_metrics: int = 20


class ProxyConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that shape the kernel state and the pace of syncs.

    Attributes:
        node_name: name of this node's Node object; the host name in lower case, as for
            the kubelet. The flag `--node-name` wins.
        node_address: the address that stands for this node in its family; an
            unspecified one, as kubeadm writes, leaves that to the Node object.
        kubeconfig: file that says where the API server is and how to be let in, which
            is asked unless there are manifests; without one, that of the cluster this
            pod is in.
        service_proxy_name: serve the Services (and their EndpointSlices) whose label
            `service.kubernetes.io/service-proxy-name` has this value, and no others, so
            that kube-proxy in its nftables mode, or a proxy of another kind, can serve
            the rest of them on the same node; unset, those without that label, as
            kube-proxy.
        scheduler: IPVS scheduler of every virtual server whose Service names no other;
            `rr`, as kube-proxy.
        cluster_cidrs: where pods are, both families; a client elsewhere that uses a
            cluster IP is masqueraded. Empty: nobody is, on account of its address.
        detect_local_mode: which of the next settings tells pods apart.
        bridge_interface: name of the pods' bridge (BridgeInterface mode).
        interface_name_prefix: prefix of the pods' links (InterfaceNamePrefix mode).
        masquerade_all: masquerade every packet to a cluster IP.
        masquerade_bit: bit of the packet mark that asks for masquerading, 0-31;
            14 (0x4000), which other agents know.
        node_port_addresses: networks whose addresses of this node accept node ports,
            or `primary` alone for the Node's own; a family without a network has them
            on every address but loopback. `localhost` beside that, or a loopback
            network, has those of TCP on 127.0.0.1 and ::1, where the daemon relays
            connections; not with compatibility kube-proxy.
        slow_start_s: how many seconds an endpoint that comes to others takes to get
            its whole weight; 0 is none. Weights are tenfold then, and `rr` is `wrr`,
            `lc` is `wlc`. Services say otherwise by `ipvsctl.io/slow-start`.
        strict_arp: answer ARP only for addresses of the link that was asked. Unset is
            "when a load-balancer VIP is bound", since otherwise every node answers
            for it; kube-proxy's default is false.
        exclude_cidrs: virtual servers in these networks are never deleted, whoever
            made them; those of a Service are kept up like any other.
        tcp_timeout_s: seconds after which IPVS forgets an idle TCP connection; 0
            leaves the kernel's 900. Longer than the peers' keepalive is safe.
        tcp_fin_timeout_s: the same after one end has closed; 0 leaves the kernel's 120.
        udp_timeout_s: the same for UDP; 0 leaves the kernel's 300.
        sync_period_s: seconds between audits of the whole kernel state; 30, so that
            damage done by others lasts no longer.
        min_sync_period_s: least seconds between two syncs; 1 gathers the events of a
            rollout, 0 syncs at once. In IPVS mode kube-proxy's default is 0, and each
            of its syncs costs much more.
        drain_timeout_s: an unwanted real server with connections is deleted at the
            latest after this many seconds at weight 0; 900, the IPVS TCP timeout.
            Services say otherwise by the annotation `ipvsctl.io/drain-timeout`.
        max_connections: how many connections an endpoint may have through one virtual
            server of this node before it gets no new ones; those that are closing
            count, as IPVS counts them. 0 is any number. Services say otherwise by the
            annotation `ipvsctl.io/max-connections`.
        persistence_netmask: clients whose addresses share so many bits, as
            `IPv4,IPv6`, are one client to session affinity; `32,128` has each address
            for itself. Services say otherwise by `ipvsctl.io/persistence-netmask`.
        drift_watch: audit at once when a link, an address, a table of nftables, or the
            number of virtual servers or of entries of an ipset shows that somebody else
            has changed something; true. False waits for the next audit.
        compatibility: `kube-proxy` sends every packet where kube-proxy would; `none`
            has the improvements.
        short_circuit: clients inside the cluster (pods of this node, the node itself)
            reach all endpoints of an external address whose Service has external
            policy Local, and clients outside only this node's; true. False gives both
            the same.
        mark_range: packet marks that tell those clients' packets to IPVS, as
            `value/mask`: all have `value` in the bits of `mask` and are numbered by
            the others, one number for each such address and port. IPVS compares the
            whole mark, so no other agent may use these bits; 0x20000/0xffffc000 are
            the 16,384 from 0x20000 up, clear of the masquerade mark, the kubelet's
            0x8000 and the bit by which Calico accepts, 0x10000.
        local_fallback: `cluster` lets a Local address without endpoints on this node
            use all of the cluster's, as kube-proxy does in IPVS mode, although the
            answers reach no client outside; `none` drops those clients. Unset is
            `none` where inside clients have the short circuit, that is while pods can
            be told from other clients (`detectLocalMode`).
        proc_sys: directory that sysctls are read and written in; `/proc/sys`. A
            container that is not privileged has that one read-only, and mounts its
            host's somewhere else.
        vip_binding: `address` binds every VIP to the VIP link, as kube-proxy does;
            `route` has one route a VIP instead, which costs less where they are
            thousands; `auto` is `address` for fewer than 2,000 VIPs and `route` for
            more, as `ipvsctl run` finds them when it starts, and a node that has one of
            both keeps it between 1,500 and 2,500. Compatibility with kube-proxy is
            always `address`.
        tunnel_port: the UDP port on which this node takes packets that other nodes
            have put into a tunnel for it, and to which it sends such packets; the same
            on all nodes. 0: it does neither.
        external_forwarding: for external IPs and ingress VIPs of policy Cluster whose
            Service says nothing; `tunnel` sends what outside clients ask to the nodes
            that have the endpoints, which answer the clients themselves; `masquerade`
            has answers come back through this node, as kube-proxy.
        firewall: `iptables` with ipset, as kube-proxy; `nftables` with tables of its
            own; `auto` is iptables where both work, and nftables elsewhere.
            Compatibility with kube-proxy is always `iptables`.
        vip_link: name of the dummy link that VIPs are bound to; kube-proxy's, so that
            a node can be taken over.
        allowed_external_ips: networks that external IPs must be in to be served; unset
            is all. One that is in a network named here (`0.0.0.0/0` and `::/0` name
            none) may also be a gateway or name server of the node, or an address of
            the API server, which no VIP may be otherwise.
        allowed_ingress_vips: the same for ingress VIPs, those of
            `status.loadBalancer.ingress`.
        reserved_node_ports: ports that no Service gets as its node port or
            health-check node port, since the host itself answers there; unset is 22 and
            10250, ssh and the kubelet, or none with compatibility kube-proxy. The
            daemon's own (`healthzBindAddress`, `metricsBindAddress`) are always with
            them.
        conntrack: see `ConntrackConfig`.
        limits: see `Limits`.
        serve: see `ServeConfig`.
    """

    node_name: str = ""
    node_address: IPAddress | None = None
    kubeconfig: str = ""
    service_proxy_name: str = ""
    scheduler: str = "rr"
    cluster_cidrs: tuple[IPNetwork, ...] = ()
    detect_local_mode: DetectLocalMode = DetectLocalMode.CLUSTER_CIDR
    bridge_interface: str = ""
    interface_name_prefix: str = ""
    masquerade_all: bool = False
    masquerade_bit: int = 14
    node_port_addresses: NodePortAddresses = NodePortAddresses()
    slow_start_s: float = 0.0
    strict_arp: bool | None = None
    exclude_cidrs: tuple[IPNetwork, ...] = ()
    tcp_timeout_s: int = 0
    tcp_fin_timeout_s: int = 0
    udp_timeout_s: int = 0
    sync_period_s: float = 30.0
    min_sync_period_s: float = 1.0
    drain_timeout_s: float = 900.0
    max_connections: int = 0
    persistence_netmask: PersistenceNetmask = PersistenceNetmask()
    drift_watch: bool = True
    compatibility: Compatibility = Compatibility.NONE
    short_circuit: bool = True
    mark_range: MarkRange = MarkRange()
    local_fallback: LocalFallback | None = None
    proc_sys: str = "/proc/sys"
    vip_binding: VipBinding = VipBinding.ADDRESS
    tunnel_port: int = 0
    external_forwarding: ExternalForwarding = ExternalForwarding.MASQUERADE
    firewall: FirewallKind = FirewallKind.AUTO
    vip_link: str = "kube-ipvs0"
    allowed_external_ips: tuple[IPNetwork, ...] | None = None
    allowed_ingress_vips: tuple[IPNetwork, ...] | None = None
    reserved_node_ports: tuple[int, ...] | None = None
    conntrack: ConntrackConfig = ConntrackConfig()
    limits: Limits = Limits()
    serve: ServeConfig = ServeConfig()

    @property
    def timeouts(self) -> Timeouts:
        """Idle timeouts of IPVS connections; 0 leaves the kernel's."""
        return Timeouts(self.tcp_timeout_s, self.tcp_fin_timeout_s, self.udp_timeout_s)

    @property
    def masquerade_mark(self) -> int:
        """The packet mark bit as a number, 0x4000 by default."""
        return 1 << self.masquerade_bit

    @property
    def is_kube_proxy(self) -> bool:
        """Packets go where kube-proxy would send them, its mistakes included."""
        return self.compatibility is Compatibility.KUBE_PROXY

    @property
    def wanted_firewall(self) -> FirewallKind:
        """The firewall, or how it is chosen."""
        return FirewallKind.IPTABLES if self.is_kube_proxy else self.firewall

    @property
    def wanted_vip_binding(self) -> VipBinding:
        """How VIPs are bound, or that it is chosen by their number."""
        return VipBinding.ADDRESS if self.is_kube_proxy else self.vip_binding

    def is_reserved(self, port: int) -> bool:
        """Whether a port is no Service's node port."""
        reserved = self.reserved_node_ports
        if reserved is None:
            if self.is_kube_proxy:
                return False
            reserved = RESERVED_NODE_PORTS
        own = {self.serve.healthz.port, self.serve.metrics.port}
        return port != 0 and (port in reserved or port in own)

    def localhost(self, family: IPFamily) -> IPAddress | None:
        """The loopback address that node ports of a family are on; None if none is.

        A network around the loopback network (0.0.0.0/0) does not mean it: that is all
        addresses that a node has others know.
        """
        if self.is_kube_proxy:
            return None
        address = LOCALHOST[family]
        choice = self.node_port_addresses
        is_named = choice.localhost or any(
            network.is_loopback and is_in(address, network)
            for network in of_family(choice.networks, family)
        )
        return address if is_named else None

    @property
    def has_short_circuit(self) -> bool:
        """Inside clients of a Local address have endpoints of their own."""
        return self.short_circuit and not self.is_kube_proxy

    @property
    def has_tunnel(self) -> bool:
        """This node may be an end of tunnels between nodes.

        Only with the short circuit: an answer that comes past the node of a client
        inside the cluster has a source there that is the node's own, and is dropped.
        """
        return self.tunnel_port != 0 and self.has_short_circuit

    @property
    def marks(self) -> MarkRange:
        """The marks of `mark_range` that no other agent takes for a word to it."""
        return self.mark_range.without(self.masquerade_mark | KUBELET_DROP_MARK)
