"""The request for sockets that wait for clients, as bytes.

    nlmsghdr | inet_diag_req_v2: family, protocol, -, -, states | inet_diag_sockid

Source: uapi/linux/inet_diag.h; net/ipv4/inet_diag.c, net/ipv4/udp_diag.c.
"""

from struct import Struct
from typing import Final

from ipvsctl.model.net import IPFamily, Protocol
from ipvsctl.wire.netlink.messages import NLM_F_DUMP, message_header

SOCK_DIAG_BY_FAMILY: Final = 20

# include/net/tcp_states.h; an unconnected UDP socket is "closed".
_WAITING: Final = {Protocol.TCP: 1 << 10, Protocol.UDP: 1 << 7, Protocol.SCTP: 1 << 10}

_REQUEST: Final = Struct("=BBBBI48x")


def list_waiting(family: IPFamily, protocol: Protocol) -> bytes:
    """Dump the sockets that take clients; ENOENT if the kernel cannot list them.

    An IPv6 socket may take IPv4 clients too.
    """
    body = _REQUEST.pack(family, protocol, 0, 0, _WAITING[protocol])
    return message_header(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, len(body)) + body
