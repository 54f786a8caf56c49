"""Generic netlink: the header between netlink's and a family's own.

Source: uapi/linux/genetlink.h.
"""

from struct import Struct
from typing import Final

GENL_HDRLEN: Final = 4

_HEADER: Final = Struct("=BBH")


def generic_header(command: int, version: int) -> bytes:
    """The header that follows the netlink header [struct genlmsghdr]."""
    return _HEADER.pack(command, version, 0)
