"""Node ports on which a program of the host listens too: its clients meet pods."""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from ipvsctl.model.host import HostSocket
from ipvsctl.model.ipvs import VirtualServerKey
from ipvsctl.model.net import IPAddress, family_of
from ipvsctl.model.problem import Kind, Problem
from ipvsctl.plan.service.program import ServerProgram, WayIn

_TAKEN: Final = (
    "is served, although a program of this host listens there and gets no client"
)


def taken_ports(
    sockets: Iterable[HostSocket],
    hosts: Iterable[IPAddress],
    server: Callable[[VirtualServerKey], ServerProgram | None],
) -> tuple[Problem, ...]:
    """A problem for each node port with a socket beneath it; sorted.

    The cost is that of the sockets, of which a host has few.

    Args:
        sockets: those that wait for clients.
        hosts: the host's own addresses.
        server: gives the program of a virtual server that is desired.
    """
    hosts = tuple(hosts)
    found = set()
    for socket in sockets:
        for address in _addresses(socket, hosts):
            key = VirtualServerKey(
                family=family_of(address),
                protocol=socket.protocol,
                address=address,
                port=socket.port,
            )
            program = server(key)
            if program is not None and program.way is WayIn.NODE_PORT:
                found.add(
                    Problem(
                        kind=Kind.SERVICE,
                        ref=program.port_name.service,
                        field=program.field,
                        value=str(socket.port),
                        reason=_TAKEN,
                    )
                )
    return tuple(sorted(found))


def _addresses(socket: HostSocket, hosts: tuple[IPAddress, ...]) -> Iterator[IPAddress]:
    """The addresses that a socket hears; all of IPv6 is all of IPv4 too."""
    if not socket.address.is_unspecified:
        yield socket.address
        return
    for address in hosts:
        if socket.address.version in {address.version, 6}:
            yield address
