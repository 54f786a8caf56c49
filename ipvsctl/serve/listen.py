"""Sockets that listen."""

import errno
import socket
from contextlib import suppress
from typing import Final

from ipvsctl.model.config import Listener
from ipvsctl.model.net import IPAddress, family_of, parse_address

BACKLOG: Final = 4096
"""Clients that wait until they are accepted; places that others fill are lost to the
kubelet's probes, while clients beyond a rate cost little once accepted (`connections`).
The kernel caps it at its somaxconn."""

_ANY_V6: Final = parse_address("::")
_NO_IPV6: Final = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}


def listen(listener: Listener) -> socket.socket:
    """Listen at one address, or at all of both families if it is unspecified.

    Raises:
        OSError: the address cannot be bound.
    """
    if not listener.address.is_unspecified:
        return listen_at(listener.address, listener.port)
    try:
        return listen_at(_ANY_V6, listener.port, v6_only=False)
    except OSError as error:
        if error.errno not in _NO_IPV6:
            raise
    return listen_at(parse_address("0.0.0.0"), listener.port)  # noqa: S104  # what was asked for


def listen_at(address: IPAddress, port: int, *, v6_only: bool = True) -> socket.socket:
    """Listen at one address.

    Args:
        address: an unspecified one is all of its family.
        port: 0 for any.
        v6_only: False has an unspecified IPv6 address stand for both families.

    Raises:
        OSError: the address cannot be bound.
    """
    opened = socket.socket(family_of(address), socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if address.version == 6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6_only)
        opened.bind((str(address), port))
        opened.listen(BACKLOG)
    except OSError:
        with suppress(OSError):
            opened.close()
        raise
    return opened
