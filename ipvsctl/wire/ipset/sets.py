"""ipsets: what they are called in the kernel, of which type and of what size.

Names and types are kube-proxy's, so that a node can be taken over from it and given
back; the node-port sets differ (kube-proxy has one of bare ports for each protocol).
Source: kube-proxy pkg/proxy/ipvs/proxier.go (`ipsetInfo`), v1.36.
"""

from collections.abc import Iterable
from enum import StrEnum
from types import MappingProxyType
from typing import Final

import msgspec

from ipvsctl.model.net import IPFamily, Protocol
from ipvsctl.model.sets import (
    ENTRY_FORMS,
    MARKING_ROLES,
    EntryForm,
    FormerNodePort,
    Leftover,
    SetCondition,
    SetEntry,
    SetKey,
    SetRole,
    SetShape,
    set_key,
)

MAX_SET_NAME: Final = 31
"""IPSET_MAXNAMELEN - 1; longer names are cut, as kube-proxy does."""

_PORTS: Final = 1 << 16
"""Every port there is: what a `bitmap:port` has room for."""

_TEMPORARY_PREFIX: Final = "KTMP-"
"""Stands for `KUBE-` in the name of a set being rebuilt; one left by a crash is
destroyed."""


class SetType(StrEnum):
    """Set types in use, in the kernel's spelling."""

    HASH_IP = "hash:ip"
    HASH_IP_PORT = "hash:ip,port"
    HASH_IP_PORT_IP = "hash:ip,port,ip"
    HASH_IP_PORT_NET = "hash:ip,port,net"
    BITMAP_PORT = "bitmap:port"


class SetSpec(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """A set without its entries, as the kernel knows it.

    Attributes:
        name: at most 31 characters [IPSET_MAXNAMELEN - 1].
        family: None for `bitmap:port`, which has none.
        maxelem: most entries it takes; 0 for `bitmap:port` (range 0-65535).
        skbinfo: its entries may have a mark.
    """

    name: str
    type: SetType
    family: IPFamily | None = None
    maxelem: int = 0
    skbinfo: bool = False


_NAMES: Final = {
    SetRole.LOOP_BACK: "KUBE-LOOP-BACK",
    SetRole.CLUSTER_IP: "KUBE-CLUSTER-IP",
    SetRole.EXTERNAL_IP: "KUBE-EXTERNAL-IP",
    SetRole.EXTERNAL_IP_LOCAL: "KUBE-EXTERNAL-IP-LOCAL",
    SetRole.LOAD_BALANCER: "KUBE-LOAD-BALANCER",
    SetRole.LOAD_BALANCER_LOCAL: "KUBE-LOAD-BALANCER-LOCAL",
    SetRole.LOAD_BALANCER_FW: "KUBE-LOAD-BALANCER-FW",
    SetRole.LOAD_BALANCER_SOURCE_CIDR: "KUBE-LOAD-BALANCER-SOURCE-CIDR",
    SetRole.LOAD_BALANCER_SOURCE_IP: "KUBE-LOAD-BALANCER-SOURCE-IP",
    SetRole.NODE_PORT: "KUBE-NODE-PORT",
    SetRole.NODE_PORT_LOCAL: "KUBE-NODE-PORT-LOCAL",
    SetRole.HEALTH_CHECK_NODE_PORT: "KUBE-HEALTH-CHECK-NODE-PORT",
    SetRole.IPVS_IPS: "KUBE-IPVS-IPS",
    SetRole.SHORT_CIRCUIT: "KUBE-SHORT-CIRCUIT",
    SetRole.SHORT_CIRCUIT_CLOSING: "KUBE-SHORT-CIRCUIT-CLOSING",
    SetRole.NO_LOCAL_ENDPOINTS: "KUBE-NO-LOCAL-ENDPOINTS",
    SetRole.FOREIGN: "KUBE-FOREIGN",
    SetRole.TUNNEL_END: "KUBE-TUNNEL-END",
    SetRole.TUNNEL_PEER: "KUBE-TUNNEL-PEER",
    SetRole.TUNNEL_ARRIVAL: "KUBE-TUNNEL-ARRIVAL",
    SetRole.TUNNEL_SHUT: "KUBE-TUNNEL-SHUT",
}

_TYPES: Final = {
    EntryForm.ADDRESS: SetType.HASH_IP,
    EntryForm.PLACE: SetType.HASH_IP_PORT,
    EntryForm.PLACE_AND_ADDRESS: SetType.HASH_IP_PORT_IP,
    EntryForm.PLACE_AND_NETWORK: SetType.HASH_IP_PORT_NET,
    EntryForm.PORT: SetType.BITMAP_PORT,
}

_KUBE_PROXY_NODE_PORTS: Final = {
    Protocol.TCP: "KUBE-NODE-PORT-TCP",
    Protocol.UDP: "KUBE-NODE-PORT-UDP",
    Protocol.SCTP: "KUBE-NODE-PORT-SCTP-HASH",
}
_KUBE_PROXY_OTHERS: Final = (
    "KUBE-NODE-PORT-LOCAL-TCP",
    "KUBE-NODE-PORT-LOCAL-UDP",
    "KUBE-NODE-PORT-LOCAL-SCTP-HASH",
)


def _family_name(name: str, family: IPFamily) -> str:
    if family is IPFamily.IPV6:
        name = name.replace("KUBE-", "KUBE-6-", 1)
    return name[:MAX_SET_NAME]


_SETS: Final = MappingProxyType(
    {
        set_key(role, family): _family_name(_NAMES[role], family)
        for role in SetRole
        for family in IPFamily
    }
)
_KEYS: Final = MappingProxyType({name: key for key, name in _SETS.items()})


def set_name(key: SetKey) -> str:
    """The kernel name of a set; IPv6 ones begin with `KUBE-6-` and are cut to fit."""
    return _SETS[key]


def key_of(name: str) -> SetKey | None:
    """The set that has a kernel name; None if it is none of ours."""
    return _KEYS.get(name)


def temporary_name(key: SetKey) -> str:
    """The name a set is rebuilt under before it is swapped in."""
    return _TEMPORARY_PREFIX + _SETS[key].removeprefix("KUBE-")


def set_spec(key: SetKey, room: int) -> SetSpec:
    """A set with room for so many entries; a bitmap always has room for every port."""
    kind = _TYPES[ENTRY_FORMS[key.role]]
    if kind is SetType.BITMAP_PORT:
        return SetSpec(name=_SETS[key], type=kind)
    return SetSpec(
        name=_SETS[key],
        type=kind,
        family=key.family,
        maxelem=room,
        skbinfo=key.role in MARKING_ROLES,
    )


def shape_of(key: SetKey, found: SetSpec, *, is_strange: bool = False) -> SetShape:
    """What a set that was found is worth in its role.

    Args:
        key: of the set.
        found: what it is.
        is_strange: it has entries that no plan has, nor could delete.
    """
    room = found.maxelem or _PORTS
    wanted = set_spec(key, found.maxelem)
    if (wanted.type, wanted.family) != (found.type, found.family):
        return SetShape(room, SetCondition.ALIEN)
    if wanted.skbinfo != found.skbinfo or is_strange:
        return SetShape(room, SetCondition.OUTDATED)
    return SetShape(room)


_NODE_PORT_SETS: Final = MappingProxyType(
    {
        _family_name(name, family): (family, protocol)
        for protocol, name in _KUBE_PROXY_NODE_PORTS.items()
        for family in IPFamily
    }
)

KUBE_PROXY_SET_NAMES: Final = _NODE_PORT_SETS.keys() | {
    _family_name(name, family) for name in _KUBE_PROXY_OTHERS for family in IPFamily
}
"""Sets that kube-proxy leaves and ipvsctl has no use for; removed when seen."""

TEMPORARY_NAMES: Final = frozenset(map(temporary_name, _SETS))
"""Every name that a set may have been half-built under."""


def leftover_of(name: str, entries: Iterable[SetEntry] = ()) -> Leftover:
    """A set that is of no use, with what it says of kube-proxy's node ports.

    Args:
        name: one of `TEMPORARY_NAMES` or `KUBE_PROXY_SET_NAMES`.
        entries: what is in it. Of TCP and UDP node ports they are bare ports, of SCTP
            address, protocol and port.
    """
    if name not in _NODE_PORT_SETS:
        return Leftover(name=name, is_half_built=name in TEMPORARY_NAMES)
    family, protocol = _NODE_PORT_SETS[name]
    ports = (
        FormerNodePort(family, protocol, entry.port, entry.address)
        for entry in entries
        if entry.port is not None and entry.protocol in {None, protocol}
    )
    return Leftover(name=name, node_ports=frozenset(ports))
