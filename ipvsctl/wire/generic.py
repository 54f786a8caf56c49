"""Generic netlink: its header, and how a family is found by name.

Families have no fixed numbers: the kernel gives one when the module is loaded.
Source: uapi/linux/genetlink.h; net/netlink/genetlink.c (`ctrl_getfamily`).
"""

from struct import Struct
from typing import Any, Final

from ipvsctl.wire.attributes import Table, TableReader, text, text_attribute
from ipvsctl.wire.netlink import message_header

GENL_HDRLEN: Final = 4

_GENL_ID_CTRL: Final = 16
_CTRL_CMD_GETFAMILY: Final = 3
_CTRL_VERSION: Final = 1
_CTRL_ATTR_FAMILY_ID: Final = 1
_CTRL_ATTR_FAMILY_NAME: Final = 2

_HEADER: Final = Struct("=BBH")
_FAMILY: Final[Table] = {_CTRL_ATTR_FAMILY_ID: "H", _CTRL_ATTR_FAMILY_NAME: "s"}


def generic_header(command: int, version: int) -> bytes:
    """The header that follows the netlink header [struct genlmsghdr]."""
    return _HEADER.pack(command, version, 0)


def get_family(name: str) -> bytes:
    """Ask for a family; ENOENT if no module has it.

    The kernel tries to load the module before it answers.
    """
    body = generic_header(_CTRL_CMD_GETFAMILY, _CTRL_VERSION)
    body += text_attribute(_CTRL_ATTR_FAMILY_NAME, name)
    return message_header(_GENL_ID_CTRL, 0, len(body)) + body


def decode_family(buffer: bytes, start: int, end: int) -> tuple[int, str]:
    """The number of a family, and its name.

    Raises:
        WireError: not a family.
    """
    values: tuple[Any, ...] = TableReader(_FAMILY, complete=True).read(
        buffer, start + GENL_HDRLEN, end
    )
    number, name = values
    return number, text(name)
