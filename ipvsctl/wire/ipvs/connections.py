"""Lines of `/proc/net/ip_vs_conn`, IPVS' table of connections.

    Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData
    TCP 0A000001 D1B2 0A600001 0050 0AF40005 1F90 ESTABLISHED     899

Addresses are hexadecimal, those of IPv6 in eight groups; ports are, too. A row may be
missing or be there twice when the table changes while it is read, since the kernel goes
on at the place it had come to. Source: ip_vs_conn.c (`ip_vs_conn_seq_show`).
"""

from typing import Final

from ipvsctl.model.errors import WireError
from ipvsctl.model.ipvs import RealServerKey, VirtualServerKey
from ipvsctl.model.neighbours import Connection
from ipvsctl.model.net import IPAddress, IPv4Address, IPv6Address, Protocol, family_of

_PROTOCOLS: Final = {protocol.name: protocol for protocol in Protocol}


def parse_connection(line: str) -> Connection | None:
    """A row; None for the heading, a template of persistence, another protocol.

    Raises:
        WireError: it is no such row; the offset is 0.
    """
    words = line.split()
    if not words or words[0] not in _PROTOCOLS:
        return None
    try:
        client, server, real = (
            RealServerKey(_address(words[at]), int(words[at + 1], 16))
            for at in (1, 3, 5)
        )
        state, expires_s = words[7], int(words[8])
    except (ValueError, IndexError) as error:
        raise WireError(offset=0, reason=f"{line[:80]!r}: {error}") from error
    # A client has a port, unless the row keeps it on its endpoint.
    if not client.port:
        return None
    return Connection(
        client=client,
        virtual_server=VirtualServerKey(
            family=family_of(server.address),
            protocol=_PROTOCOLS[words[0]],
            address=server.address,
            port=server.port,
        ),
        real_server=real,
        state=state,
        expires_s=expires_s,
    )


def spelled(address: IPAddress) -> str:
    """How the rows spell an address."""
    if isinstance(address, IPv4Address):
        return f"{int(address):08X}"
    return address.hex(":", 2)


def _address(text: str) -> IPAddress:
    return IPv6Address(text.strip("[]")) if ":" in text else IPv4Address(int(text, 16))
