"""The kernel's answers about the IPVS table, as values.

Reading normalises, so that a server that was made equals the same one that is read:
HASHED is dropped, a timeout means nothing without PERSISTENT, and what a tunnel is
wrapped in means nothing without method TUNNEL.
Source: ip_vs_ctl.c (`ip_vs_genl_fill_service`, `ip_vs_genl_fill_dest`).
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from ipvsctl.model.errors import WireError
from ipvsctl.model.ipvs import (
    ForwardingMethod,
    RealServer,
    RealServerKey,
    RealServerStats,
    ServiceFlags,
    Timeouts,
    TrafficStats,
    Tunnel,
    TunnelKind,
    VirtualServer,
    VirtualServerKey,
)
from ipvsctl.model.net import IPFamily, Protocol
from ipvsctl.model.state import EMPTY
from ipvsctl.wire.ipvs.attributes import (
    IpvsCmdAttr,
    IpvsDestAttr,
    IpvsStatsAttr,
    IpvsSvcAttr,
)
from ipvsctl.wire.netlink.addresses import unpack_address
from ipvsctl.wire.netlink.attributes import Table, TableReader, text
from ipvsctl.wire.netlink.generic import GENL_HDRLEN

_STATS: Final[Table] = {
    IpvsStatsAttr.CONNS: "Q",
    IpvsStatsAttr.INPKTS: "Q",
    IpvsStatsAttr.OUTPKTS: "Q",
    IpvsStatsAttr.INBYTES: "Q",
    IpvsStatsAttr.OUTBYTES: "Q",
}
_SERVICE: Final[Table] = {
    IpvsCmdAttr.SERVICE: {
        IpvsSvcAttr.AF: "H",
        IpvsSvcAttr.PROTOCOL: "H",
        IpvsSvcAttr.ADDR: "s",
        IpvsSvcAttr.PORT: "2s",
        IpvsSvcAttr.FWMARK: "I",
        IpvsSvcAttr.SCHED_NAME: "s",
        IpvsSvcAttr.PE_NAME: "s",
        IpvsSvcAttr.FLAGS: "I",
        IpvsSvcAttr.TIMEOUT: "I",
        IpvsSvcAttr.NETMASK: "I",
        IpvsSvcAttr.STATS64: _STATS,
    }
}
_DEST: Final[Table] = {
    IpvsCmdAttr.DEST: {
        IpvsDestAttr.ADDR_FAMILY: "H",
        IpvsDestAttr.ADDR: "s",
        IpvsDestAttr.PORT: "2s",
        IpvsDestAttr.FWD_METHOD: "I",
        IpvsDestAttr.WEIGHT: "i",
        IpvsDestAttr.U_THRESH: "I",
        IpvsDestAttr.L_THRESH: "I",
        IpvsDestAttr.ACTIVE_CONNS: "I",
        IpvsDestAttr.INACT_CONNS: "I",
        IpvsDestAttr.PERSIST_CONNS: "I",
        # Linux 5.2; before, every tunnel is IP in IP.
        IpvsDestAttr.TUN_TYPE: "B",
        IpvsDestAttr.TUN_PORT: "2s",
        IpvsDestAttr.TUN_FLAGS: "H",
    }
}
_CONFIG: Final[Table] = {
    IpvsCmdAttr.TIMEOUT_TCP: "I",
    IpvsCmdAttr.TIMEOUT_TCP_FIN: "I",
    IpvsCmdAttr.TIMEOUT_UDP: "I",
}
_REQUIRED: Final = 10
"""Values of a real server that every kernel tells."""
_FORWARDING: Final = {int(method): method for method in ForwardingMethod}
_TUNNELS: Final = {int(kind): kind for kind in TunnelKind}
_PROTOCOLS: Final = {int(protocol): protocol for protocol in Protocol}
_FAMILIES: Final = {int(family): family for family in IPFamily}
_NO_CONNECTIONS: Final = RealServerStats()
_PERSISTENT: Final = int(ServiceFlags.PERSISTENT)


class IpvsReplies:
    """Decodes the payloads of IPVS messages; keeps the layouts it learned.

    Every method takes the buffer and where the payload starts and ends in it, and
    raises WireError for anything that is not such a payload.
    """

    def __init__(self) -> None:
        self._services = TableReader(_SERVICE)
        self._dests = TableReader(_DEST, required=_REQUIRED)
        self._config = TableReader(_CONFIG)

    def service(
        self, buffer: bytes, start: int, end: int
    ) -> tuple[VirtualServer, TrafficStats]:
        """A virtual server and its counters (0 from kernels without STATS64)."""
        fields = self._services.read(buffer, start + GENL_HDRLEN, end)
        family_number, protocol, packed, port_be16, fwmark = fields[:5]
        scheduler, pe_name, flags, timeout_s, netmask = fields[5:10]
        family = _FAMILIES.get(family_number)
        if family is None or None in (scheduler, flags, timeout_s, netmask):
            raise WireError(offset=start, reason="not a virtual server")
        if fwmark is not None:
            key = VirtualServerKey(family=family, fwmark=fwmark)
        elif protocol in _PROTOCOLS and None not in (packed, port_be16):
            key = VirtualServerKey(
                family=family,
                protocol=_PROTOCOLS[protocol],
                address=unpack_address(family, packed),
                port=int.from_bytes(port_be16, "big"),
            )
        else:
            raise WireError(offset=start, reason="a virtual server without a key")
        persistent = flags & _PERSISTENT
        server = VirtualServer(
            key=key,
            scheduler=text(scheduler),
            flags=_flags(flags),
            timeout_s=timeout_s if persistent else 0,
            netmask_bits=_netmask_bits(family, netmask),
            pe_name="" if pe_name is None else text(pe_name),
        )
        return server, _traffic(fields[10:])

    def dest(
        self, buffer: bytes, start: int, end: int
    ) -> tuple[RealServer, RealServerStats]:
        """A real server and its connection counts."""
        (
            family_number,
            packed,
            port_be16,
            forwarding,
            weight,
            upper,
            lower,
            active,
            inactive,
            persistent,
            *wrapping,
        ) = self._dests.read(buffer, start + GENL_HDRLEN, end)
        family = _FAMILIES.get(family_number)
        method = _FORWARDING.get(forwarding)
        if family is None or method is None:
            raise WireError(offset=start, reason="not a real server")
        server = RealServer(
            key=RealServerKey(
                unpack_address(family, packed), int.from_bytes(port_be16, "big")
            ),
            weight=weight,
            forwarding=method,
            upper_threshold=upper,
            lower_threshold=lower,
            tunnel=_tunnel(method, wrapping, start),
        )
        if active or inactive or persistent:
            return server, RealServerStats(
                active=active, inactive=inactive, persistent=persistent
            )
        return server, _NO_CONNECTIONS

    def same_dests(
        self,
        payloads: Sequence[tuple[bytes, int, int]],
        expected: Mapping[RealServerKey, RealServer],
    ) -> Mapping[RealServerKey, RealServerStats] | None:
        """Whether payloads are exactly these real servers; no value is made of them.

        Returns:
            The counters of those that have connections; None if they are not the same.
        """
        if len(payloads) != len(expected):
            return None
        left = {
            key.address + key.port.to_bytes(2, "big"): server
            for key, server in expected.items()
        }
        found: dict[RealServerKey, RealServerStats] = {}
        read = self._dests.read
        for buffer, start, end in payloads:
            fields = read(buffer, start + GENL_HDRLEN, end)
            _, packed, port_be16, forwarding, weight, upper, lower = fields[:7]
            address = packed[:4] if fields[0] == IPFamily.IPV4 else packed
            server = left.pop(address + port_be16, None)
            if (
                server is None
                or weight != server.weight
                or forwarding != server.forwarding
                or upper != server.upper_threshold
                or lower != server.lower_threshold
                or (
                    (forwarding == ForwardingMethod.TUNNEL or server.tunnel)
                    and _tunnel(forwarding, fields[_REQUIRED:], start) != server.tunnel
                )
            ):
                return None
            active, inactive, persistent = fields[7:_REQUIRED]
            if active or inactive or persistent:
                found[server.key] = RealServerStats(
                    active=active, inactive=inactive, persistent=persistent
                )
        return found or EMPTY

    def config(self, buffer: bytes, start: int, end: int) -> Timeouts:
        """The idle timeouts; 0 for a protocol the kernel does not balance."""
        fields = self._config.read(buffer, start + GENL_HDRLEN, end)
        return Timeouts(*(seconds or 0 for seconds in fields))


def _tunnel(forwarding: int, wrapping: Sequence[Any], start: int) -> Tunnel | None:
    """What packets are wrapped in, from the last values of a real server."""
    number, port_be16, flags = wrapping
    if forwarding != ForwardingMethod.TUNNEL or not number:
        return None
    kind = _TUNNELS.get(number)
    if kind is None or None in (port_be16, flags):
        raise WireError(offset=start, reason="a tunnel of no kind that is known")
    return Tunnel(kind=kind, port=int.from_bytes(port_be16, "big"), flags=flags)


@lru_cache(maxsize=1024)
@lru_cache(maxsize=1 << 6)
def _flags(flags: int) -> ServiceFlags:
    return ServiceFlags(flags) & ~ServiceFlags.HASHED


def _netmask_bits(family: IPFamily, netmask: int) -> int:
    """IPv4: a mask (its byte order does not matter here). IPv6: a prefix length."""
    return netmask.bit_count() if family is IPFamily.IPV4 else netmask


def _traffic(counters: Sequence[int | None]) -> TrafficStats:
    connections, packets_in, packets_out, bytes_in, bytes_out = counters
    return TrafficStats(
        connections=connections or 0,
        packets_in=packets_in or 0,
        packets_out=packets_out or 0,
        bytes_in=bytes_in or 0,
        bytes_out=bytes_out or 0,
    )
