"""The names in the kernel that are ours: sets, chains and what they are for.

Names, types and meaning are kube-proxy's, so that a node can be taken over from it
and given back; the node-port sets differ (see `SetRole.NODE_PORT`).
Source: kube-proxy pkg/proxy/ipvs/proxier.go (`ipsetInfo`), v1.36.
"""

from enum import StrEnum
from typing import Final

from ipvsctl.model.host import API_SERVICE
from ipvsctl.model.ipset import SetSpec, SetType
from ipvsctl.model.net import IPFamily, Protocol
from ipvsctl.model.problem import ObjectRef

MAX_SET_NAME: Final = 31
"""IPSET_MAXNAMELEN - 1; longer names are cut, as kube-proxy does."""

DEFAULT_MAXELEM: Final = 1 << 16
"""Entries a set is created for unless more are needed: 65,536, as kube-proxy's.

kube-proxy does not start on sets of another size: `ipset create -exist` accepts a set
only if it was made alike (ip_set_hash_gen.h:mtype_same_set)."""

TEMPORARY_PREFIX: Final = "KTMP-"
"""Stands for `KUBE-` in the name of a set being rebuilt; one left by a crash is
destroyed."""


class SetRole(StrEnum):
    """What a set is for; the value is its IPv4 name."""

    LOOP_BACK = "KUBE-LOOP-BACK"
    CLUSTER_IP = "KUBE-CLUSTER-IP"
    EXTERNAL_IP = "KUBE-EXTERNAL-IP"
    EXTERNAL_IP_LOCAL = "KUBE-EXTERNAL-IP-LOCAL"
    LOAD_BALANCER = "KUBE-LOAD-BALANCER"
    LOAD_BALANCER_LOCAL = "KUBE-LOAD-BALANCER-LOCAL"
    LOAD_BALANCER_FW = "KUBE-LOAD-BALANCER-FW"
    LOAD_BALANCER_SOURCE_CIDR = "KUBE-LOAD-BALANCER-SOURCE-CIDR"
    LOAD_BALANCER_SOURCE_IP = "KUBE-LOAD-BALANCER-SOURCE-IP"
    NODE_PORT = "KUBE-NODE-PORT"
    """Node address, protocol and port: a cluster IP's port 31000 is not node port
    31000. kube-proxy has a set of bare ports for each protocol instead."""
    NODE_PORT_LOCAL = "KUBE-NODE-PORT-LOCAL"
    HEALTH_CHECK_NODE_PORT = "KUBE-HEALTH-CHECK-NODE-PORT"
    IPVS_IPS = "KUBE-IPVS-IPS"
    SHORT_CIRCUIT = "KUBE-SHORT-CIRCUIT"
    """Every external address, protocol and port of policy Local, with the mark that
    packets of inside clients get: it leads them to a virtual server of their own."""
    NO_LOCAL_ENDPOINTS = "KUBE-NO-LOCAL-ENDPOINTS"
    """Those that have endpoints, but none on this node: outside clients are dropped,
    for a load balancer that has not noticed yet may find another node."""
    FOREIGN = "KUBE-FOREIGN"
    """Virtual servers of others at VIPs of ours: the filter closes all other ports of
    a VIP."""


SET_TYPES: Final[dict[SetRole, SetType]] = {
    SetRole.LOOP_BACK: SetType.HASH_IP_PORT_IP,
    SetRole.CLUSTER_IP: SetType.HASH_IP_PORT,
    SetRole.EXTERNAL_IP: SetType.HASH_IP_PORT,
    SetRole.EXTERNAL_IP_LOCAL: SetType.HASH_IP_PORT,
    SetRole.LOAD_BALANCER: SetType.HASH_IP_PORT,
    SetRole.LOAD_BALANCER_LOCAL: SetType.HASH_IP_PORT,
    SetRole.LOAD_BALANCER_FW: SetType.HASH_IP_PORT,
    SetRole.LOAD_BALANCER_SOURCE_CIDR: SetType.HASH_IP_PORT_NET,
    SetRole.LOAD_BALANCER_SOURCE_IP: SetType.HASH_IP_PORT_IP,
    SetRole.NODE_PORT: SetType.HASH_IP_PORT,
    SetRole.NODE_PORT_LOCAL: SetType.HASH_IP_PORT,
    SetRole.HEALTH_CHECK_NODE_PORT: SetType.BITMAP_PORT,
    SetRole.IPVS_IPS: SetType.HASH_IP,
    SetRole.SHORT_CIRCUIT: SetType.HASH_IP_PORT,
    SetRole.NO_LOCAL_ENDPOINTS: SetType.HASH_IP_PORT,
    SetRole.FOREIGN: SetType.HASH_IP_PORT,
}

OWNING_ROLES: Final = (
    SetRole.CLUSTER_IP,
    SetRole.EXTERNAL_IP,
    SetRole.EXTERNAL_IP_LOCAL,
    SetRole.LOAD_BALANCER,
    SetRole.NODE_PORT,
)
"""A virtual server is ours if and only if its address, protocol and port are an
entry of one of these, or its fwmark is the mark of a SHORT_CIRCUIT entry."""

_KUBE_PROXY_NODE_PORTS: Final = {
    Protocol.TCP: "KUBE-NODE-PORT-TCP",
    Protocol.UDP: "KUBE-NODE-PORT-UDP",
    Protocol.SCTP: "KUBE-NODE-PORT-SCTP-HASH",
}
_KUBE_PROXY_NODE_PORT_SETS: Final = (
    *_KUBE_PROXY_NODE_PORTS.values(),
    "KUBE-NODE-PORT-LOCAL-TCP",
    "KUBE-NODE-PORT-LOCAL-UDP",
    "KUBE-NODE-PORT-LOCAL-SCTP-HASH",
)


def set_name(role: SetRole, family: IPFamily) -> str:
    """The kernel name of a set; IPv6 ones begin with `KUBE-6-` and are cut to fit."""
    return _family_name(role.value, family)


def kube_proxy_node_ports(protocol: Protocol, family: IPFamily) -> str:
    """The set that kube-proxy has its node ports in.

    Of TCP and UDP they are bare ports, of SCTP address, protocol and port.
    """
    return _family_name(_KUBE_PROXY_NODE_PORTS[protocol], family)


def temporary_name(name: str) -> str:
    """The name a set is rebuilt under before it is swapped in."""
    return TEMPORARY_PREFIX + name.removeprefix("KUBE-")


def set_spec(role: SetRole, family: IPFamily, *, maxelem: int) -> SetSpec:
    """The set for a role and family, with room for `maxelem` entries."""
    kind = SET_TYPES[role]
    name = set_name(role, family)
    if kind is SetType.BITMAP_PORT:
        return SetSpec(name=name, type=kind)
    return SetSpec(
        name=name,
        type=kind,
        family=family,
        maxelem=maxelem,
        skbinfo=role is SetRole.SHORT_CIRCUIT,
    )


def _family_name(name: str, family: IPFamily) -> str:
    if family is IPFamily.IPV6:
        name = name.replace("KUBE-", "KUBE-6-", 1)
    return name[:MAX_SET_NAME]


KUBE_PROXY_SET_NAMES: Final = frozenset(
    _family_name(name, family)
    for name in _KUBE_PROXY_NODE_PORT_SETS
    for family in IPFamily
)
"""Sets that kube-proxy leaves and ipvsctl has no use for; removed when seen."""

SET_NAMES: Final = frozenset(
    name
    for role in SetRole
    for family in IPFamily
    for name in (set_name(role, family), temporary_name(set_name(role, family)))
)
"""Every set name ipvsctl may have made."""

KNOWN_SET_NAMES: Final = SET_NAMES | KUBE_PROXY_SET_NAMES
"""Every set that is read and, when not wanted, destroyed. No other is touched."""

URGENT_SERVICES: Final = frozenset(
    {
        API_SERVICE,
        ObjectRef("kube-system", "kube-dns"),
        ObjectRef("kube-system", "coredns"),
    }
)
"""Programmed before all others on a cold start: everything else on a new node, its
CNI plugin first, waits for the API server and DNS (k/k#133773)."""
