"""Requests to the IPVS table, as bytes.

    nlmsghdr | genlmsghdr | IPVS_CMD_ATTR_SERVICE { ... } | IPVS_CMD_ATTR_DEST { ... }

In a request about a real server the first of the two only finds the virtual server.
Numbers are in host byte order; addresses, ports and the IPv4 netmask in network order.
The answers are read in `replies`.
Source: uapi/linux/ip_vs.h; ip_vs_ctl.c (`ip_vs_genl_parse_service`,
`ip_vs_genl_parse_dest`, `ip_vs_genl_set_config`).
"""

from struct import Struct
from typing import Final

from ipvsctl.model.ipvs import (
    RealServer,
    RealServerKey,
    Timeouts,
    Tunnel,
    VirtualServer,
    VirtualServerKey,
)
from ipvsctl.model.net import IPFamily, family_of
from ipvsctl.wire.ipvs.attributes import (
    IPVS_GENL_VERSION,
    IpvsCmd,
    IpvsCmdAttr,
    IpvsDestAttr,
    IpvsSvcAttr,
)
from ipvsctl.wire.netlink.attributes import attribute, text_attribute
from ipvsctl.wire.netlink.generic import generic_header
from ipvsctl.wire.netlink.messages import NLM_F_DUMP, message_header

_U32: Final = Struct("=I")
_ALL_FLAGS: Final = 0xFFFFFFFF
_GENERIC_HEADERS: Final = {
    command: generic_header(command, IPVS_GENL_VERSION) for command in IpvsCmd
}

# The numbers of a table are packed in one call, which is several times faster than
# attribute by attribute; each line of a `pack` is length, type, payload.
_SERVICE_KEY: Final = {
    IPFamily.IPV4: Struct("=HH HHHxx HHHxx HH4s HH2sxx"),
    IPFamily.IPV6: Struct("=HH HHHxx HHHxx HH16s HH2sxx"),
}
_FWMARK_KEY: Final = Struct("=HH HHHxx HHI")
_SERVICE_VALUE: Final = Struct("=HHII HHI HH4s")
_DEST_KEY: Final = {
    IPFamily.IPV4: Struct("=HH HHHxx HH4s HH2sxx"),
    IPFamily.IPV6: Struct("=HH HHHxx HH16s HH2sxx"),
}
_DEST_VALUE: Final = Struct("=HHI HHi HHI HHI")
_DEST_TUNNEL: Final = Struct("=HHBxxx HH2sxx HHHxx")


class IpvsRequests:
    """Encodes requests for one kernel's number of the IPVS family.

    Every method returns one whole message with sequence number 0.
    """

    def __init__(self, family_id: int) -> None:
        self._family_id = family_id
        # A plan lists the real servers of a virtual server one behind the other.
        self._last_key: VirtualServerKey | None = None
        self._last_service = b""

    def new_service(self, server: VirtualServer) -> bytes:
        """Add a virtual server; EEXIST if it is there, ENOENT without its scheduler."""
        return self._request(IpvsCmd.NEW_SERVICE, _service(server))

    def set_service(self, server: VirtualServer) -> bytes:
        """Change a virtual server; ESRCH if it is not there."""
        return self._request(IpvsCmd.SET_SERVICE, _service(server))

    def del_service(self, key: VirtualServerKey) -> bytes:
        """Delete a virtual server and its real servers; ESRCH if it is not there."""
        return self._request(IpvsCmd.DEL_SERVICE, self._service_key(key))

    def get_service(self, key: VirtualServerKey) -> bytes:
        """Ask for one virtual server; ESRCH if it is not there."""
        return self._request(IpvsCmd.GET_SERVICE, self._service_key(key))

    def get_services(self) -> bytes:
        """Dump every virtual server."""
        return self._request(IpvsCmd.GET_SERVICE, b"", NLM_F_DUMP)

    def new_dest(self, key: VirtualServerKey, server: RealServer) -> bytes:
        """Add a real server; EEXIST if it is there, ESRCH without its virtual one."""
        return self._request(IpvsCmd.NEW_DEST, self._service_key(key) + _dest(server))

    def set_dest(self, key: VirtualServerKey, server: RealServer) -> bytes:
        """Change a real server; ENOENT if it is not there."""
        return self._request(IpvsCmd.SET_DEST, self._service_key(key) + _dest(server))

    def del_dest(self, key: VirtualServerKey, server: RealServerKey) -> bytes:
        """Delete a real server; ENOENT if it is not there."""
        return self._request(
            IpvsCmd.DEL_DEST, self._service_key(key) + _dest_key(server, 0)
        )

    def get_dests(self, key: VirtualServerKey) -> bytes:
        """Dump the real servers of a virtual server; none if that is not there."""
        return self._request(IpvsCmd.GET_DEST, self._service_key(key), NLM_F_DUMP)

    def set_config(self, timeouts: Timeouts) -> bytes:
        """Set the idle timeouts of connections; 0 leaves one as it is."""
        return self._request(
            IpvsCmd.SET_CONFIG,
            attribute(IpvsCmdAttr.TIMEOUT_TCP, _U32.pack(timeouts.tcp_s))
            + attribute(IpvsCmdAttr.TIMEOUT_TCP_FIN, _U32.pack(timeouts.tcp_fin_s))
            + attribute(IpvsCmdAttr.TIMEOUT_UDP, _U32.pack(timeouts.udp_s)),
        )

    def get_config(self) -> bytes:
        """Ask for the idle timeouts."""
        return self._request(IpvsCmd.GET_CONFIG, b"")

    def _request(self, command: IpvsCmd, attributes: bytes, flags: int = 0) -> bytes:
        body = _GENERIC_HEADERS[command] + attributes
        return message_header(self._family_id, flags, len(body)) + body

    def _service_key(self, key: VirtualServerKey) -> bytes:
        if key is not self._last_key:
            self._last_service = _service_key(key, 0)
            self._last_key = key
        return self._last_service


def _service_key(key: VirtualServerKey, more_bytes: int) -> bytes:
    """The SERVICE attribute with its key alone; `more_bytes` will follow inside."""
    if key.address is None or key.protocol is None:
        return _FWMARK_KEY.pack(
            *(_FWMARK_KEY.size + more_bytes, IpvsCmdAttr.SERVICE),
            *(6, IpvsSvcAttr.AF, key.family),
            *(8, IpvsSvcAttr.FWMARK, key.fwmark),
        )
    table = _SERVICE_KEY[key.family]
    packed = key.address
    return table.pack(
        *(table.size + more_bytes, IpvsCmdAttr.SERVICE),
        *(6, IpvsSvcAttr.AF, key.family),
        *(6, IpvsSvcAttr.PROTOCOL, key.protocol),
        *(4 + len(packed), IpvsSvcAttr.ADDR, packed),
        *(6, IpvsSvcAttr.PORT, key.port.to_bytes(2, "big")),
    )


def _service(server: VirtualServer) -> bytes:
    value = text_attribute(IpvsSvcAttr.SCHED_NAME, server.scheduler)
    value += _SERVICE_VALUE.pack(
        *(12, IpvsSvcAttr.FLAGS, server.flags, _ALL_FLAGS),
        *(8, IpvsSvcAttr.TIMEOUT, server.timeout_s),
        *(8, IpvsSvcAttr.NETMASK, _netmask(server)),
    )
    if server.pe_name:
        value += text_attribute(IpvsSvcAttr.PE_NAME, server.pe_name)
    return _service_key(server.key, len(value)) + value


def _netmask(server: VirtualServer) -> bytes:
    """IPv4: the mask in network order. IPv6: the prefix length as a number."""
    bits = server.netmask_bits
    if server.key.family is IPFamily.IPV6:
        return _U32.pack(bits)
    return (((1 << bits) - 1) << (32 - bits)).to_bytes(4, "big")


def _dest_key(key: RealServerKey, more_bytes: int) -> bytes:
    packed = key.address
    family = family_of(key.address)
    table = _DEST_KEY[family]
    return table.pack(
        *(table.size + more_bytes, IpvsCmdAttr.DEST),
        *(6, IpvsDestAttr.ADDR_FAMILY, family),
        *(4 + len(packed), IpvsDestAttr.ADDR, packed),
        *(6, IpvsDestAttr.PORT, key.port.to_bytes(2, "big")),
    )


def _dest(server: RealServer) -> bytes:
    # A kernel that is told nothing of a tunnel takes IP in IP.
    more = b"" if server.tunnel is None else _tunnel(server.tunnel)
    key = _dest_key(server.key, _DEST_VALUE.size + len(more))
    value = _DEST_VALUE.pack(
        *(8, IpvsDestAttr.FWD_METHOD, server.forwarding),
        *(8, IpvsDestAttr.WEIGHT, server.weight),
        *(8, IpvsDestAttr.U_THRESH, server.upper_threshold),
        *(8, IpvsDestAttr.L_THRESH, server.lower_threshold),
    )
    return key + value + more


def _tunnel(tunnel: Tunnel) -> bytes:
    return _DEST_TUNNEL.pack(
        *(5, IpvsDestAttr.TUN_TYPE, tunnel.kind),
        *(6, IpvsDestAttr.TUN_PORT, tunnel.port.to_bytes(2, "big")),
        *(6, IpvsDestAttr.TUN_FLAGS, tunnel.flags),
    )
