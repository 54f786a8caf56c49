"""Requests about ipsets, as bytes.

    nlmsghdr | nfgenmsg | PROTOCOL | SETNAME | ... | DATA { ... }
                                             | ADT { DATA {entry} DATA {entry} ... }

Numbers are in network order and say so (NLA_F_NET_BYTEORDER), except single bytes.
The answers are read in `replies`.
Source: uapi/linux/netfilter/ipset/ip_set.h; ip_set_core.c (`ip_set_create`,
`ip_set_ad`), ip_set_hash_*.c and ip_set_bitmap_port.c (`*_uadt`).
"""

from collections.abc import Iterable
from struct import Struct
from typing import Final

from ipvsctl.model.marks import ALL_BITS
from ipvsctl.model.net import IPAddress, first_of
from ipvsctl.model.sets import SetEntry
from ipvsctl.wire.ipset.attributes import (
    IPSET_PROTOCOL_MIN,
    NFNL_SUBSYS_IPSET,
    NFPROTO_UNSPEC,
    IpsetAttr,
    IpsetCmd,
    IpsetCmdFlag,
    IpsetDataAttr,
    IpsetEntryFlag,
    IpsetIpAttr,
)
from ipvsctl.wire.ipset.sets import SetSpec, SetType
from ipvsctl.wire.netlink.attributes import (
    NLA_F_NESTED,
    NLA_F_NET_BYTEORDER,
    NLA_HDRLEN,
    attribute,
    text_attribute,
)
from ipvsctl.wire.netlink.messages import (
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_EXCL,
    message_header,
)

DEFAULT_HASHSIZE: Final = 1024
"""Buckets a hash starts with; the kernel doubles them as entries come."""

REVISIONS: Final = {
    SetType.HASH_IP: 4,
    SetType.HASH_IP_PORT: 5,
    SetType.HASH_IP_PORT_IP: 5,
    SetType.HASH_IP_PORT_NET: 7,
    SetType.BITMAP_PORT: 3,
}
"""Revision of each type that is asked for: the one that brought skbinfo (Linux 3.18).

A newer one would gain nothing and blind older `ipset` tools in other agents'
containers, which refuse to list any set while one has a revision they do not know.
"""

_MAX_PORT: Final = 65535
_U16: Final = Struct(">H")
_U32: Final = Struct(">I")
_ATTR_HEADER: Final = Struct("=HH")

# Each line of a `pack` is length, type, payload. IP { IPV4 } is two headers.
_NETORDER: Final = NLA_F_NET_BYTEORDER
_DATA: Final = NLA_F_NESTED | IpsetAttr.DATA
_PORT: Final = _NETORDER | IpsetDataAttr.PORT
_IP: Final = {4: Struct("=HH HH4s"), 6: Struct("=HH HH16s")}
_IP_KIND: Final = {
    4: _NETORDER | IpsetIpAttr.IPV4,
    6: _NETORDER | IpsetIpAttr.IPV6,
}
_PORT_PROTO: Final = Struct("=HH2sxx HHBxxx")
_CIDR2: Final = Struct("=HHBxxx")
_SKBMARK: Final = Struct("=HH8s")


def create_set(spec: SetSpec) -> bytes:
    """Create an empty set; EEXIST if there is one of its name."""
    if spec.type is SetType.BITMAP_PORT:
        data = _port(IpsetDataAttr.PORT, 0) + _port(IpsetDataAttr.PORT_TO, _MAX_PORT)
    else:
        data = _number(IpsetDataAttr.HASHSIZE, DEFAULT_HASHSIZE)
        data += _number(IpsetDataAttr.MAXELEM, spec.maxelem)
    if spec.skbinfo:
        data += _number(IpsetDataAttr.CADT_FLAGS, IpsetEntryFlag.WITH_SKBINFO)
    family = NFPROTO_UNSPEC if spec.family is None else int(spec.family)
    return _request(
        IpsetCmd.CREATE,
        text_attribute(IpsetAttr.SETNAME, spec.name)
        + text_attribute(IpsetAttr.TYPENAME, spec.type)
        + attribute(IpsetAttr.REVISION, bytes([REVISIONS[spec.type]]))
        + attribute(IpsetAttr.FAMILY, bytes([family]))
        + attribute(_DATA, data),
        NLM_F_CREATE | NLM_F_EXCL,
    )


def destroy_set(name: str) -> bytes:
    """Delete a set; ENOENT if it is not there, ipset's BUSY if a rule refers to it."""
    return _request(IpsetCmd.DESTROY, text_attribute(IpsetAttr.SETNAME, name))


def swap_sets(first: str, second: str) -> bytes:
    """Exchange the contents of two sets of one type."""
    names = text_attribute(IpsetAttr.SETNAME, first)
    names += text_attribute(IpsetAttr.SETNAME2, second)
    return _request(IpsetCmd.SWAP, names)


def list_headers() -> bytes:
    """Dump every set without its entries."""
    flags = _U32.pack(IpsetCmdFlag.LIST_HEADER)
    return _request(
        IpsetCmd.LIST, attribute(_NETORDER | IpsetAttr.FLAGS, flags), NLM_F_DUMP
    )


def list_set(name: str) -> bytes:
    """Dump one set with its entries; ENOENT if it is not there."""
    name_attribute = text_attribute(IpsetAttr.SETNAME, name)
    return _request(IpsetCmd.LIST, name_attribute, NLM_F_DUMP)


def add_entries(set_name: str, entries: Iterable[SetEntry]) -> bytes:
    """Put entries into a set; those already there are fine, and get the mark.

    The kernel takes them in order and stops at the first that it refuses.
    """
    return _change_entries(IpsetCmd.ADD, set_name, entries)


def delete_entries(set_name: str, entries: Iterable[SetEntry]) -> bytes:
    """Take entries out of a set; those that are not there are fine.

    The kernel takes them in order and stops at the first that it refuses.
    """
    return _change_entries(IpsetCmd.DEL, set_name, entries)


def _change_entries(
    command: IpsetCmd, set_name: str, entries: Iterable[SetEntry]
) -> bytes:
    # The kernel wants LINENO beside ADT. Entries have none, so that it answers a
    # refusal with a plain error and not with a copy of the whole request
    # (ip_set_core.c:call_ad).
    return _request(
        command,
        text_attribute(IpsetAttr.SETNAME, set_name)
        + attribute(IpsetAttr.LINENO, _U32.pack(0))
        + attribute(NLA_F_NESTED | IpsetAttr.ADT, b"".join(map(_entry, entries))),
    )


def _request(command: IpsetCmd, attributes: bytes, flags: int = 0) -> bytes:
    body = _NFGEN_AND_PROTOCOL + attributes
    kind = NFNL_SUBSYS_IPSET << 8 | command
    return message_header(kind, flags, len(body)) + body


# struct nfgenmsg: family, version, resource id; the family is not used by ipset.
_NFGEN_AND_PROTOCOL: Final = Struct("=BBH").pack(NFPROTO_UNSPEC, 0, 0) + attribute(
    IpsetAttr.PROTOCOL, bytes([IPSET_PROTOCOL_MIN])
)


def _number(kind: int, value: int) -> bytes:
    return attribute(_NETORDER | kind, _U32.pack(value))


def _port(kind: int, port: int) -> bytes:
    return attribute(_NETORDER | kind, _U16.pack(port))


def _entry(entry: SetEntry) -> bytes:
    """DATA { [IP] [PORT PROTO] [IP2 [CIDR2]] [SKBMARK] }, or DATA { PORT } (bitmap)."""
    address = entry.address
    if address is None:
        return attribute(_DATA, _port(IpsetDataAttr.PORT, entry.port or 0))
    data = _ip(IpsetDataAttr.IP, address)
    if entry.port is not None and entry.protocol is not None:
        data += _PORT_PROTO.pack(
            *(6, _PORT, entry.port.to_bytes(2, "big")),
            *(5, IpsetDataAttr.PROTO, entry.protocol),
        )
    if entry.second_address is not None:
        data += _ip(IpsetDataAttr.IP2, entry.second_address)
    elif entry.network is not None:
        data += _ip(IpsetDataAttr.IP2, first_of(entry.network))
        data += _CIDR2.pack(5, IpsetDataAttr.CIDR2, entry.network.prefixlen)
    if entry.mark:
        # The mark and the bits of it that count, as one number: all of them.
        mark = (entry.mark << 32 | ALL_BITS).to_bytes(8, "big")
        data += _SKBMARK.pack(12, _NETORDER | IpsetDataAttr.SKBMARK, mark)
    return _ATTR_HEADER.pack(NLA_HDRLEN + len(data), _DATA) + data


def _ip(kind: int, address: IPAddress) -> bytes:
    size = NLA_HDRLEN + len(address)
    return _IP[address.version].pack(
        *(NLA_HDRLEN + size, NLA_F_NESTED | kind),
        *(size, _IP_KIND[address.version], address),
    )
