"""This host as a value: addresses, networks, and the hosts it depends on."""

from enum import StrEnum
from typing import Final, NamedTuple

import msgspec

from ipvsctl.model.net import IPAddress, IPNetwork, Protocol
from ipvsctl.model.problem import ObjectRef

API_SERVICE: Final = ObjectRef("default", "kubernetes")
"""The API server's own Service; its endpoints are the API servers."""


class HostNetwork(msgspec.Struct, frozen=True, kw_only=True):
    """The network of this host, without the VIP link.

    Attributes:
        addresses: on its links, without loopback and IPv6 link-local ones.
        primary: what its own connections go out from, one address of each family that
            has a default route.
        networks: the networks of its addresses.
        gateways: next hops of routes in its main table.
        resolvers: name servers in its resolv.conf.
    """

    addresses: frozenset[IPAddress] = frozenset()
    primary: tuple[IPAddress, ...] = ()
    networks: frozenset[IPNetwork] = frozenset()
    gateways: frozenset[IPAddress] = frozenset()
    resolvers: frozenset[IPAddress] = frozenset()


class HostSocket(NamedTuple):
    """Where a program of the host waits for clients; an unspecified address is all."""

    protocol: Protocol
    address: IPAddress
    port: int


class ApiServer(NamedTuple):
    """Where an API server answers."""

    address: IPAddress
    port: int


class ApiServers(msgspec.Struct, frozen=True, kw_only=True):
    """Every place at which this node may have to reach the API server.

    Attributes:
        used: where this process asks the server, names resolved; also a cluster IP.
        endpoints: of the Service `default/kubernetes`; never cluster IPs.
    """

    used: frozenset[ApiServer] = frozenset()
    endpoints: frozenset[ApiServer] = frozenset()

    @property
    def all(self) -> frozenset[ApiServer]:
        """The used ones and the endpoints."""
        return self.used | self.endpoints


class Guard(StrEnum):
    """The reason why an address is nobody's VIP, as a clause."""

    API_SERVER = "is an address of the API server"
    API_ENDPOINT = "is an address of the API server, an endpoint of default/kubernetes"
    GATEWAY = "is a gateway of this node"
    RESOLVER = "is a name server of this node"
    BROADCAST = "is a broadcast address"
    NETWORK = "is the address of a network of this node"
