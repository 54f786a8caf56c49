"""What the kernel tells of changes of nftables, as far as they are of our tables."""

from collections.abc import Set as AbstractSet
from typing import Final

from ipvsctl.model.net import IPFamily
from ipvsctl.wire.netlink.attributes import iter_attributes, text
from ipvsctl.wire.netlink.messages import iter_messages, port_of
from ipvsctl.wire.nftables.attributes import NFNL_SUBSYS_NFTABLES
from ipvsctl.wire.nftables.sets import TABLE
from ipvsctl.wire.nftables.words import FAMILY_WORDS

_NFGEN_HDRLEN: Final = 4

_TABLE_ATTR: Final = 1
"""The name of the table is the first attribute of every kind of message."""

_FAMILIES: Final = {int(family): family for family in IPFamily}


def changed_tables(datagram: bytes, ours: AbstractSet[int]) -> frozenset[str]:
    """Tables of ours that somebody else has changed, as nft writes them: `ip ipvsctl`.

    Args:
        datagram: as received.
        ours: the ports of our own sockets.

    Raises:
        WireError: it cannot be understood.
    """
    found = set()
    for kind, _, _, start, end in iter_messages(datagram):
        if kind >> 8 != NFNL_SUBSYS_NFTABLES or port_of(datagram, start) in ours:
            continue
        family = _FAMILIES.get(datagram[start])
        if family is None:
            continue
        for attr, begin, stop in iter_attributes(datagram, start + _NFGEN_HDRLEN, end):
            if attr == _TABLE_ATTR:
                if text(datagram[begin:stop]) == TABLE:
                    found.add(f"{FAMILY_WORDS[family]} {TABLE}")
                break
    return frozenset(found)
