"""This host's own network, of what its links, its main table and resolv.conf say."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from ipvsctl.model.host import HostNetwork
from ipvsctl.model.net import (
    IPAddress,
    IPFamily,
    family_of,
    is_in,
    network_of,
    parse_address,
)
from ipvsctl.wire.route.replies import LinkAddress, MainRoute

RESOLV_CONF: Final = Path("/etc/resolv.conf")

_RESOLV_CONF_MAX_BYTES: Final = 65_536


def host_network(
    addresses: Sequence[LinkAddress],
    routes: Iterable[MainRoute],
    resolvers: Iterable[IPAddress],
) -> HostNetwork:
    """Put together what was read.

    Args:
        addresses: of all links but the VIP link, in the kernel's order.
        routes: of the main table.
        resolvers: the name servers.
    """
    routes = tuple(routes)
    return HostNetwork(
        addresses=frozenset(item.address for item in addresses),
        primary=tuple(_primary(addresses, routes)),
        networks=frozenset(
            network_of(item.address, item.prefix_length) for item in addresses
        ),
        gateways=frozenset(
            gateway
            for route in routes
            for gateway in route.gateways
            if not _is_only_here(gateway)
        ),
        resolvers=frozenset(r for r in resolvers if not _is_only_here(r)),
    )


def read_resolvers(path: Path = RESOLV_CONF) -> tuple[IPAddress, ...]:
    """The name servers that resolv.conf lists; none if it cannot be read.

    Source: resolv.conf(5).
    """
    try:
        with path.open("rb") as file:
            text = file.read(_RESOLV_CONF_MAX_BYTES).decode("utf-8", "replace")
    except OSError:
        return ()
    return tuple(_resolvers(text))


def _resolvers(text: str) -> Iterator[IPAddress]:
    for line in text.splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            try:
                yield parse_address(words[1])
            except ValueError:
                continue


def _primary(
    addresses: Sequence[LinkAddress], routes: Sequence[MainRoute]
) -> Iterator[IPAddress]:
    """What the host's own connections go out from, of each family that can be said.

    The source that the best default route names, else the first address of its link,
    one in the network of the gateway before others (fib_semantics.c:fib_info_update_
    nhc_saddr, devinet.c:inet_select_addr).
    """
    for family in IPFamily:
        defaults = [r for r in routes if r.is_default and r.family is family]
        for route in sorted(defaults, key=lambda r: r.metric):
            own = [
                item
                for item in addresses
                if family_of(item.address) is family and item.ifindex == route.ifindex
            ]
            near = [
                item
                for item in own
                if any(
                    is_in(gateway, network_of(item.address, item.prefix_length))
                    for gateway in route.gateways
                )
            ]
            found = route.source or next((i.address for i in (*near, *own)), None)
            if found is not None:
                yield found
                break


def _is_only_here(address: IPAddress) -> bool:
    """No VIP can be such an address."""
    return address.is_loopback or (address.version == 6 and address.is_link_local)
