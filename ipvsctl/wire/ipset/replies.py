"""The kernel's answers about ipsets, as values.

A set arrives in one or more messages; the first has its header, all have entries.
Source: ip_set_core.c:ip_set_dump_do; ip_set_hash_gen.h (`mtype_head`, `mtype_list`).
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final, NamedTuple

from ipvsctl.model.errors import WireError
from ipvsctl.model.marks import ALL_BITS
from ipvsctl.model.net import IPAddress, IPFamily, IPNetwork, Protocol, network_of
from ipvsctl.model.sets import SetEntry
from ipvsctl.wire.ipset.attributes import (
    IpsetAttr,
    IpsetDataAttr,
    IpsetEntryFlag,
    IpsetIpAttr,
)
from ipvsctl.wire.ipset.sets import SetSpec, SetType
from ipvsctl.wire.netlink.addresses import unpack_address
from ipvsctl.wire.netlink.attributes import (
    NLA_ALIGNTO,
    NLA_HDRLEN,
    Table,
    TableReader,
    iter_attributes,
    text,
)

_NFGEN_HDRLEN: Final = 4
_IP: Final[Table] = {IpsetIpAttr.IPV4: "4s", IpsetIpAttr.IPV6: "16s"}
_HEADER: Final[Table] = {
    IpsetAttr.SETNAME: "s",
    IpsetAttr.TYPENAME: "s",
    IpsetAttr.FAMILY: "B",
    IpsetAttr.DATA: {
        IpsetDataAttr.PORT: "2s",
        IpsetDataAttr.PORT_TO: "2s",
        IpsetDataAttr.CADT_FLAGS: "4s",
        IpsetDataAttr.MAXELEM: "4s",
    },
}
_COUNT: Final[Table] = {
    IpsetAttr.SETNAME: "s",
    IpsetAttr.DATA: {IpsetDataAttr.ELEMENTS: "4s"},
}
_ENTRY: Final[Table] = {
    IpsetDataAttr.IP: _IP,
    IpsetDataAttr.PORT: "2s",
    IpsetDataAttr.PROTO: "B",
    IpsetDataAttr.CADT_FLAGS: "4s",
    IpsetDataAttr.IP2: _IP,
    IpsetDataAttr.CIDR2: "B",
    IpsetDataAttr.SKBMARK: "8s",
}
_Values = tuple[Any, ...]
"""Of an entry, in the order of its table."""

_PROTOCOLS: Final = {int(protocol): protocol for protocol in Protocol}
_FAMILIES: Final = {int(family): family for family in IPFamily}
_TYPES: Final = {str(kind): kind for kind in SetType}
_BITMAP_PORTS: Final = 65536


class SetHeader(NamedTuple):
    """A set without its entries.

    Attributes:
        spec: None for a set of a type that is not in use here.
    """

    name: str
    spec: SetSpec | None


class IpsetReplies:
    """Decodes the payloads of ipset messages; keeps the layouts it learned.

    Every method takes the buffer and where the payload starts and ends in it, and
    raises WireError for anything that is not such a payload.
    """

    def __init__(self) -> None:
        self._headers = TableReader(_HEADER)
        self._counts = TableReader(_COUNT)
        self._entries = TableReader(_ENTRY)

    def header(self, buffer: bytes, start: int, end: int) -> SetHeader:
        """The header of a set, from the first message about it."""
        name, type_name, family, first_be16, last_be16, flags_be32, maxelem_be32 = (
            self._headers.read(buffer, start + _NFGEN_HDRLEN, end)
        )
        if name is None or type_name is None:
            raise WireError(offset=start, reason="a set without name or type")
        set_name = text(name)
        set_type = _TYPES.get(text(type_name))
        if set_type is None:
            return SetHeader(set_name, None)
        if set_type is SetType.BITMAP_PORT:
            if first_be16 is None or last_be16 is None:
                raise WireError(offset=start, reason="a bitmap without a range")
            ports = _number(last_be16) - _number(first_be16) + 1
            # A narrower range than every port is a set of another size.
            maxelem = 0 if ports == _BITMAP_PORTS else ports
        else:
            if maxelem_be32 is None:
                raise WireError(offset=start, reason="a hash without a size")
            maxelem = _number(maxelem_be32)
        flags = 0 if flags_be32 is None else _number(flags_be32)
        return SetHeader(
            set_name,
            SetSpec(
                name=set_name,
                type=set_type,
                family=_FAMILIES.get(family),
                maxelem=maxelem,
                skbinfo=bool(flags & IpsetEntryFlag.WITH_SKBINFO),
            ),
        )

    def count(self, buffer: bytes, start: int, end: int) -> tuple[str, int]:
        """A set's name, and how many entries its header says it has."""
        name, count_be32 = self._counts.read(buffer, start + _NFGEN_HDRLEN, end)
        if name is None:
            raise WireError(offset=start, reason="a set without a name")
        return text(name), 0 if count_be32 is None else _number(count_be32)

    def entries(
        self, buffer: bytes, start: int, end: int
    ) -> tuple[list[SetEntry], int]:
        """The entries in one message, and how many more have no value here.

        Entries without a value have a protocol that is not proxied, or exclude packets
        (`nomatch`); nobody but a stranger puts them into a set of ours. Timeouts,
        counters and comments are passed over.
        """
        entries = []
        others = 0
        for kind, begin, stop in iter_attributes(buffer, start + _NFGEN_HDRLEN, end):
            if kind != IpsetAttr.ADT:
                continue
            for values in self._runs(buffer, begin, stop):
                entry = _entry(values, begin)
                if entry is None:
                    others += 1
                else:
                    entries.append(entry)
        return entries, others

    def _runs(self, buffer: bytes, start: int, end: int) -> Iterator[_Values]:
        """The values of each entry between two places."""
        while start < end:
            _, begin, stop = next(iter_attributes(buffer, start, end))
            length = stop - start
            if length % NLA_ALIGNTO:
                yield self._entries.read(buffer, begin, stop)
                start += length + NLA_ALIGNTO - length % NLA_ALIGNTO
                continue
            rows = self._entries.read_run(
                buffer, start, end, heads=(NLA_HDRLEN, 0), length=length
            )
            for _, values in rows:
                yield values
            start += length * len(rows)


def _entry(values: _Values, start: int) -> SetEntry | None:
    ip4, ip6, port_be16, protocol, flags_be32, second4, second6, cidr, mark_be64 = (
        values
    )
    if flags_be32 is not None and _number(flags_be32) & IpsetEntryFlag.NOMATCH:
        return None
    if protocol is not None and protocol not in _PROTOCOLS:
        return None
    second = _address(second4, second6)
    network = None
    if second is not None and cidr is not None:
        if cidr > second.family.bits:
            raise WireError(offset=start, reason=f"prefix length {cidr}")
        network = _network(second, cidr)
        second = None
    return SetEntry(
        address=_address(ip4, ip6),
        protocol=_PROTOCOLS.get(protocol),
        port=None if port_be16 is None else _number(port_be16),
        second_address=second,
        network=network,
        mark=0 if mark_be64 is None else _mark(_number(mark_be64)),
    )


def _mark(mark_and_mask: int) -> int:
    """The mark; none of ours sets only some bits, so one that does counts as none."""
    mark, mask = divmod(mark_and_mask, 1 << 32)
    return mark if mask == ALL_BITS else 0


def _address(ip4: bytes | None, ip6: bytes | None) -> IPAddress | None:
    if ip4 is not None:
        return unpack_address(IPFamily.IPV4, ip4)
    return None if ip6 is None else unpack_address(IPFamily.IPV6, ip6)


@lru_cache(maxsize=4096)
def _network(address: IPAddress, prefix_length: int) -> IPNetwork:
    return network_of(address, prefix_length)


def _number(big_endian: bytes) -> int:
    return int.from_bytes(big_endian, "big")
