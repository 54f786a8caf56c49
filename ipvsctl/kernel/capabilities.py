"""What this kernel is, as far as it changes what is asked of it."""

import os
import re
import socket
from typing import Final

from ipvsctl.model.net import IPFamily

_RELEASE: Final = re.compile(r"(\d+)\.(\d+)")
_DOMAINS: Final = {
    IPFamily.IPV4: socket.AF_INET,
    IPFamily.IPV6: socket.AF_INET6,
}


def kernel_release() -> tuple[int, int]:
    """Major and minor of `uname -r`; zeros if it is not such a number."""
    found = _RELEASE.match(os.uname().release)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def kernel_families() -> tuple[IPFamily, ...]:
    """Families that sockets can be opened for; `ipv6.disable=1` takes IPv6 away."""
    return tuple(family for family in IPFamily if _has_family(family))


def _has_family(family: IPFamily) -> bool:
    try:
        socket.socket(_DOMAINS[family], socket.SOCK_DGRAM).close()
    except OSError:
        return False
    return True
