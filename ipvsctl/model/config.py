"""Settings, parsed and checked; every one with its unit, default and reason."""

from enum import StrEnum

import msgspec

from ipvsctl.model.net import IPNetwork


class Compatibility(StrEnum):
    """Whether packets may go elsewhere than kube-proxy would send them."""

    NONE = "none"
    KUBE_PROXY = "kube-proxy"


class DetectLocalMode(StrEnum):
    """How traffic from pods of the cluster is told from outside traffic."""

    CLUSTER_CIDR = "ClusterCIDR"
    NODE_CIDR = "NodeCIDR"
    BRIDGE_INTERFACE = "BridgeInterface"
    INTERFACE_NAME_PREFIX = "InterfaceNamePrefix"


class NodePortAddresses(msgspec.Struct, frozen=True, kw_only=True):
    """Which of the node's addresses accept node ports.

    Attributes:
        primary: only the addresses of the Node object, the first of each family.
        networks: only host addresses inside one of these; empty is every one.
    """

    primary: bool = False
    networks: tuple[IPNetwork, ...] = ()


class ProxyConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What shapes the kernel state and the pace of syncs.

    Attributes:
        scheduler: IPVS scheduler of every virtual server; `rr`, as kube-proxy.
        cluster_cidrs: where pods are, both families; a client elsewhere that uses a
            cluster IP is masqueraded. Empty: nobody is, on account of its address.
        detect_local_mode: which of the next settings tells pods apart.
        bridge_interface: name of the pods' bridge (BridgeInterface mode).
        interface_name_prefix: prefix of the pods' links (InterfaceNamePrefix mode).
        masquerade_all: masquerade every packet to a cluster IP.
        masquerade_bit: bit of the packet mark that asks for masquerading, 0-31;
            14 (0x4000), which other agents know.
        node_port_addresses: see `NodePortAddresses`.
        strict_arp: answer ARP only for addresses of the link that was asked. None is
            "when a load-balancer VIP is bound", since otherwise every node answers
            for it; kube-proxy's default is False.
        exclude_cidrs: virtual servers in these networks are never touched.
        tcp_timeout_s, tcp_fin_timeout_s, udp_timeout_s: IPVS idle timeouts; 0 leaves
            the kernel's.
        sync_period_s: seconds between audits of the whole kernel state; 30.
        min_sync_period_s: least seconds between two syncs; 0 syncs at once.
        drain_timeout_s: an unwanted real server with connections is deleted at the
            latest after this many seconds at weight 0; 900, the IPVS TCP timeout.
        compatibility: `kube-proxy` sends every packet where kube-proxy would.
        vip_link: name of the dummy link that VIPs are bound to.
    """

    scheduler: str = "rr"
    cluster_cidrs: tuple[IPNetwork, ...] = ()
    detect_local_mode: DetectLocalMode = DetectLocalMode.CLUSTER_CIDR
    bridge_interface: str = ""
    interface_name_prefix: str = ""
    masquerade_all: bool = False
    masquerade_bit: int = 14
    node_port_addresses: NodePortAddresses = NodePortAddresses()
    strict_arp: bool | None = None
    exclude_cidrs: tuple[IPNetwork, ...] = ()
    tcp_timeout_s: int = 0
    tcp_fin_timeout_s: int = 0
    udp_timeout_s: int = 0
    sync_period_s: float = 30.0
    min_sync_period_s: float = 1.0
    drain_timeout_s: float = 900.0
    compatibility: Compatibility = Compatibility.NONE
    vip_link: str = "kube-ipvs0"

    @property
    def masquerade_mark(self) -> int:
        """The packet mark bit as a number, 0x4000 by default."""
        return 1 << self.masquerade_bit

    @property
    def is_kube_proxy(self) -> bool:
        """Packets go where kube-proxy would send them, its mistakes included."""
        return self.compatibility is Compatibility.KUBE_PROXY
