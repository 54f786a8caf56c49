"""Addresses that are nobody's VIP, whoever asks for them."""

from collections.abc import Mapping
from typing import Final

from ipvsctl.model.host import ApiServers, Guard, HostNetwork
from ipvsctl.model.net import IPAddress, IPNetwork, IPv4Address, first_of, last_of

_LIMITED_BROADCAST: Final = IPv4Address("255.255.255.255")

ON_THE_WAY_TO_THE_API: Final = frozenset(
    {Guard.API_SERVER, Guard.API_ENDPOINT, Guard.GATEWAY, Guard.RESOLVER}
)
"""Bound to the VIP link, such an address may keep the node from ever hearing that it
is to be given up again. Only an operator can know better."""


def guarded_addresses(host: HostNetwork, api: ApiServers) -> Mapping[IPAddress, Guard]:
    """Every guarded address with the weightiest reason why it is one."""
    guarded: dict[IPAddress, Guard] = {_LIMITED_BROADCAST: Guard.BROADCAST}
    for network in host.networks:
        guarded |= _special_addresses(network)
    guarded |= dict.fromkeys(host.resolvers, Guard.RESOLVER)
    guarded |= dict.fromkeys(host.gateways, Guard.GATEWAY)
    guarded |= {server.address: Guard.API_SERVER for server in api.used}
    guarded |= {server.address: Guard.API_ENDPOINT for server in api.endpoints}
    return guarded


def api_ports(api: ApiServers) -> Mapping[int, frozenset[IPAddress]]:
    """Ports of the API server, with the addresses it has them on."""
    ports: dict[int, frozenset[IPAddress]] = {}
    for server in api.all:
        ports[server.port] = ports.get(server.port, frozenset()) | {server.address}
    return ports


def _special_addresses(network: IPNetwork) -> dict[IPAddress, Guard]:
    """The network's own address (of IPv6, all its routers'), and its broadcast one.

    Source: RFC 3021 and RFC 6164 for networks of two addresses, which have neither.
    """
    if network.max_prefixlen - network.prefixlen < 2:
        return {}
    special: dict[IPAddress, Guard] = {first_of(network): Guard.NETWORK}
    if network.version == 4:
        special[last_of(network)] = Guard.BROADCAST
    return special
