"""How many virtual servers IPVS has: a number it keeps, and no listing.

Source: uapi/linux/ip_vs.h (`struct ip_vs_getinfo`), ip_vs_ctl.c (`do_ip_vs_get_ctl`).
"""

import errno
import socket
from struct import Struct
from typing import Final

from ipvsctl.kernel.socket import let_go
from ipvsctl.model.errors import KernelError

_IP_VS_SO_GET_INFO: Final = 1153
_GETINFO: Final = Struct("=III")
"""struct ip_vs_getinfo: version, size of the table of connections, virtual servers."""


class IpvsCount:
    """Of the network namespace of whoever reads it first."""

    def __init__(self) -> None:
        # Whoever only lists needs none, and may not be allowed to have one.
        self._socket: socket.socket | None = None

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()

    def read(self) -> int:
        """How many virtual servers there are; see `Glance`.

        Raises:
            KernelError: the kernel does not tell.
        """
        try:
            if self._socket is None:
                # Any socket of IPv4 will do, and only a raw one would need CAP_NET_RAW
                # (udp.c:udp_getsockopt; ip_sockglue.c:ip_getsockopt).
                self._socket = socket.socket(
                    socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC
                )
            answer = self._socket.getsockopt(
                socket.IPPROTO_IP, _IP_VS_SO_GET_INFO, _GETINFO.size
            )
        except OSError as error:
            lost, self._socket = self._socket, None
            if lost is not None:
                let_go(lost, error)
            raise _error(error) from error
        count: int = _GETINFO.unpack(answer)[2]
        return count


def _error(error: OSError) -> KernelError:
    return KernelError.of(error.errno or errno.EIO, "count virtual servers")
