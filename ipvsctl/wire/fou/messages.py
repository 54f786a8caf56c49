"""Requests about UDP ports that unpack other packets, and the kernel's answers.

    nlmsghdr | genlmsghdr | PORT | AF | TYPE | LOCAL_V4 or LOCAL_V6

The port and the addresses are in network order. A port may be bound to one address of
the host since Linux 5.2; before, the attributes of addresses are passed over.
Source: uapi/linux/fou.h; net/ipv4/fou.c (`parse_nl_config`, `fou_fill_info`).
"""

from enum import IntEnum
from typing import Final, NamedTuple

from ipvsctl.model.errors import WireError
from ipvsctl.model.net import IPAddress, IPFamily, family_of
from ipvsctl.wire.netlink.addresses import unpack_address
from ipvsctl.wire.netlink.attributes import Table, TableReader, attribute
from ipvsctl.wire.netlink.generic import GENL_HDRLEN, generic_header
from ipvsctl.wire.netlink.messages import NLM_F_DUMP, message_header

FOU_GENL_NAME: Final = "fou"
FOU_GENL_VERSION: Final = 1


class FouCmd(IntEnum):
    """FOU_CMD_*."""

    ADD = 1
    DEL = 2
    GET = 3


class FouAttr(IntEnum):
    """FOU_ATTR_*."""

    PORT = 1
    AF = 2
    TYPE = 4
    LOCAL_V4 = 6
    LOCAL_V6 = 7


_GUE: Final = 2
"""FOU_ENCAP_GUE: the packet inside says of which protocol it is."""

_LOCAL: Final = {IPFamily.IPV4: FouAttr.LOCAL_V4, IPFamily.IPV6: FouAttr.LOCAL_V6}

_PORT: Final[Table] = {
    FouAttr.PORT: "2s",
    FouAttr.AF: "B",
    FouAttr.TYPE: "B",
    FouAttr.LOCAL_V4: "4s",
    FouAttr.LOCAL_V6: "16s",
}


class UnpackingPort(NamedTuple):
    """A UDP port that unpacks Generic UDP Encapsulation.

    Attributes:
        address: of the host, the only one it has the port on.
    """

    address: IPAddress
    port: int


class FouRequests:
    """Encodes requests for one kernel's number of the family; sequence number 0."""

    def __init__(self, family_id: int) -> None:
        self._family_id = family_id

    def add(self, port: UnpackingPort) -> bytes:
        """Have a port; EALREADY or EADDRINUSE if somebody has it."""
        return self._request(FouCmd.ADD, _attributes(port))

    def delete(self, port: UnpackingPort) -> bytes:
        """Give a port up; EINVAL if it is not there."""
        return self._request(FouCmd.DEL, _attributes(port))

    def list(self) -> bytes:
        """Dump every port."""
        return self._request(FouCmd.GET, b"", NLM_F_DUMP)

    def _request(self, command: FouCmd, attributes: bytes, flags: int = 0) -> bytes:
        body = generic_header(command, FOU_GENL_VERSION) + attributes
        return message_header(self._family_id, flags, len(body)) + body


class FouReplies:
    """Decodes the payloads of messages of a dump."""

    def __init__(self) -> None:
        self._ports = TableReader(_PORT)

    def port(self, buffer: bytes, start: int, end: int) -> UnpackingPort | None:
        """A port; None for one of another kind, or that has every address.

        Args:
            buffer: has the message.
            start: of its payload.
            end: of its payload.

        Raises:
            WireError: it is none.
        """
        read = self._ports.read(buffer, start + GENL_HDRLEN, end)
        port_be16, family_number, kind, *local = read
        if port_be16 is None or family_number is None:
            raise WireError(offset=start, reason="a port without its number")
        packed = dict(zip(IPFamily, local, strict=True)).get(family_number)
        if kind != _GUE or packed is None or not any(packed):
            return None
        address = unpack_address(IPFamily(family_number), packed)
        return UnpackingPort(address, int.from_bytes(port_be16, "big"))


def _attributes(port: UnpackingPort) -> bytes:
    family = family_of(port.address)
    return (
        attribute(FouAttr.PORT, port.port.to_bytes(2, "big"))
        + attribute(FouAttr.AF, bytes([family]))
        + attribute(FouAttr.TYPE, bytes([_GUE]))
        + attribute(_LOCAL[family], port.address)
    )
