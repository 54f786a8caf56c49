"""Sets of the firewall as values: what each is for, and what is in it.

What a set is called, how it is built and how it is filled is the firewall's business.
"""

from collections.abc import Mapping
from enum import StrEnum, auto
from types import MappingProxyType
from typing import Final, Self

import msgspec

from ipvsctl.model.net import IPAddress, IPFamily, IPNetwork, Protocol


class SetRole(StrEnum):
    """What a set is for."""

    LOOP_BACK = "loop-back"
    """Endpoints that may reach themselves: address, protocol, port, and the address
    again as the client's."""
    CLUSTER_IP = "cluster-ip"
    EXTERNAL_IP = "external-ip"
    EXTERNAL_IP_LOCAL = "external-ip-local"
    LOAD_BALANCER = "load-balancer"
    LOAD_BALANCER_LOCAL = "load-balancer-local"
    LOAD_BALANCER_FW = "load-balancer-fw"
    """Those with source ranges."""
    LOAD_BALANCER_SOURCE_CIDR = "load-balancer-source-cidr"
    LOAD_BALANCER_SOURCE_IP = "load-balancer-source-ip"
    NODE_PORT = "node-port"
    """Node address, protocol and port: a cluster IP's port 31000 is not node port
    31000."""
    NODE_PORT_LOCAL = "node-port-local"
    HEALTH_CHECK_NODE_PORT = "health-check-node-port"
    IPVS_IPS = "ipvs-ips"
    """The VIPs."""
    SHORT_CIRCUIT = "short-circuit"
    """Every external address, protocol and port of policy Local, with the mark that
    packets of inside clients get: it leads them to a virtual server of their own."""
    SHORT_CIRCUIT_CLOSING = "short-circuit-closing"
    """Those that inside clients have no virtual server of their own for any more, with
    the mark of the one they had: it stays until their connections end. No rule asks."""
    NO_LOCAL_ENDPOINTS = "no-local-endpoints"
    """Those that have endpoints, but none on this node: outside clients are dropped,
    for a load balancer that has not noticed yet may find another node."""
    FOREIGN = "foreign"
    """Virtual servers of others at VIPs of ours: the filter closes all other ports of
    a VIP."""
    TUNNEL_END = "tunnel-end"
    """Where this node takes packets of other nodes that are in a tunnel."""
    TUNNEL_PEER = "tunnel-peer"
    """The addresses of other Nodes: nobody else may send such packets."""
    TUNNEL_ARRIVAL = "tunnel-arrival"
    """Every address, protocol and port whose packets other nodes may send in a tunnel,
    with the mark that they get: it leads them to this node's endpoints."""
    TUNNEL_SHUT = "tunnel-shut"
    """Those of them that have no endpoint on this node."""


class EntryForm(StrEnum):
    """Which fields the entries of a set have, beside a mark."""

    ADDRESS = auto()
    PLACE = auto()
    """An address, a protocol and a port."""
    PLACE_AND_ADDRESS = auto()
    PLACE_AND_NETWORK = auto()
    PORT = auto()


ENTRY_FORMS: Final[Mapping[SetRole, EntryForm]] = MappingProxyType(
    {
        **dict.fromkeys(SetRole, EntryForm.PLACE),
        SetRole.LOOP_BACK: EntryForm.PLACE_AND_ADDRESS,
        SetRole.LOAD_BALANCER_SOURCE_CIDR: EntryForm.PLACE_AND_NETWORK,
        SetRole.LOAD_BALANCER_SOURCE_IP: EntryForm.PLACE_AND_ADDRESS,
        SetRole.HEALTH_CHECK_NODE_PORT: EntryForm.PORT,
        SetRole.IPVS_IPS: EntryForm.ADDRESS,
        SetRole.TUNNEL_PEER: EntryForm.ADDRESS,
    }
)
"""The form of the entries of each set."""


class SetKey(msgspec.Struct, gc=False, frozen=True, order=True, cache_hash=True):
    """What a set is for, in one family; there is one set of each. See `set_key`."""

    role: SetRole
    family: IPFamily

    def __str__(self) -> str:
        return f"{self.role} {self.family.label}"


_KEYS: Final = MappingProxyType(
    {(role, family): SetKey(role, family) for role in SetRole for family in IPFamily}
)


def set_key(role: SetRole, family: IPFamily) -> SetKey:
    """The key of a set; always the same object, since every entry refers to one."""
    return _KEYS[role, family]


OWNING_ROLES: Final = (
    SetRole.CLUSTER_IP,
    SetRole.EXTERNAL_IP,
    SetRole.EXTERNAL_IP_LOCAL,
    SetRole.LOAD_BALANCER,
    SetRole.NODE_PORT,
)
"""A virtual server is ours if and only if its address, protocol and port are an
entry of one of these, or its fwmark is the mark of an entry in MARKING_ROLES."""


MARKING_ROLES: Final = (
    SetRole.SHORT_CIRCUIT,
    SetRole.SHORT_CIRCUIT_CLOSING,
    SetRole.TUNNEL_ARRIVAL,
)
"""The sets whose entries have marks."""


TUNNEL_ROLES: Final = frozenset(
    {
        SetRole.TUNNEL_END,
        SetRole.TUNNEL_PEER,
        SetRole.TUNNEL_ARRIVAL,
        SetRole.TUNNEL_SHUT,
    }
)
"""The sets that only a node has that takes part in tunnels."""


class SetCondition(StrEnum):
    """Whether a set is as the firewall builds one for its role."""

    SOUND = auto()
    OUTDATED = auto()
    """Its entries mean what they say, but it cannot take all that it should."""
    ALIEN = auto()
    """It is of another kind: what is in it means nothing."""


class SetShape(msgspec.Struct, gc=False, frozen=True):
    """A set without its entries.

    Attributes:
        room: how many entries it takes at most.
        condition: observed; a desired one is sound.
    """

    room: int
    condition: SetCondition = SetCondition.SOUND


class FormerNodePort(msgspec.Struct, gc=False, frozen=True):
    """A node port as the proxy before this one has noted it.

    Attributes:
        address: None is every address of the host.
    """

    family: IPFamily
    protocol: Protocol
    port: int
    address: IPAddress | None = None


class Leftover(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """A set that is of no use, left by another proxy or by a process that died.

    Attributes:
        name: as people know it; it means nothing here.
        is_half_built: it was to take the place of another, and is in the way of the
            next that is.
        node_ports: what it says of the proxy before this one; evidence of whose
            virtual servers are.
    """

    name: str
    is_half_built: bool = False
    node_ports: frozenset[FormerNodePort] = frozenset()


class SetEntry(msgspec.Struct, gc=False, frozen=True, kw_only=True, cache_hash=True):
    """An entry of a set; the set's role says which fields are used (`ENTRY_FORMS`).

    Attributes:
        mark: the mark that a packet gets which is found in the set; 0 for none, as for
            every port alone. The entry is found without it, see `identity`.
    """

    address: IPAddress | None = None
    protocol: Protocol | None = None
    port: int | None = None
    second_address: IPAddress | None = None
    network: IPNetwork | None = None
    mark: int = 0

    @property
    def identity(self) -> Self:
        """The entry without its mark: a set has no two entries of one identity."""
        return msgspec.structs.replace(self, mark=0) if self.mark else self

    def __str__(self) -> str:
        """As `ipset save` prints it: `10.96.0.1,tcp:443 skbmark 0x20001`."""
        if self.address is None:
            return str(self.port)
        text = str(self.address)
        if self.protocol is not None:
            text += f",{self.protocol.label}:{self.port}"
        if self.second_address is not None:
            text += f",{self.second_address}"
        if self.network is not None:
            # A full-length network is a bare address.
            net = self.network
            full = net.prefixlen == net.max_prefixlen
            text += f",{net.network_address}" if full else f",{net}"
        return f"{text} skbmark {self.mark:#x}" if self.mark else text
