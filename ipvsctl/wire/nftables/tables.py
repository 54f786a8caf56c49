"""Listing the tables of nftables, as bytes and back.

    nlmsghdr | nfgenmsg | NFTA_TABLE_NAME ...

Source: uapi/linux/netfilter/nf_tables.h, nfnetlink.h; nf_tables_api.c.
"""

from struct import Struct
from typing import Final

from ipvsctl.model.errors import WireError
from ipvsctl.wire.netlink.attributes import iter_attributes, text
from ipvsctl.wire.netlink.messages import NLM_F_DUMP, message_header

_NFNL_SUBSYS_NFTABLES: Final = 10
_NFT_MSG_GETTABLE: Final = 1
_NFTA_TABLE_NAME: Final = 1

_NFGENMSG: Final = Struct("=BBH")
"""struct nfgenmsg: family, version, resource id."""

_ANY_FAMILY: Final = 0

# NFPROTO_*, in the words of nft.
_FAMILIES: Final = {
    1: "inet",
    2: "ip",
    3: "arp",
    5: "netdev",
    7: "bridge",
    10: "ip6",
}


def list_tables() -> bytes:
    """Dump the tables of all families."""
    body = _NFGENMSG.pack(_ANY_FAMILY, 0, 0)
    kind = _NFNL_SUBSYS_NFTABLES << 8 | _NFT_MSG_GETTABLE
    return message_header(kind, NLM_F_DUMP, len(body)) + body


def table_name(buffer: bytes, start: int, end: int) -> str:
    """Family and name of a listed table, as nft writes them: `ip kube-proxy`.

    Args:
        buffer: a datagram.
        start: where a payload of it begins.
        end: where the payload ends.

    Raises:
        WireError: the payload has no name, or is too short for one.
    """
    if end - start < _NFGENMSG.size:
        raise WireError(offset=start, reason="a table without its header")
    family, _, _ = _NFGENMSG.unpack_from(buffer, start)
    for kind, begin, stop in iter_attributes(buffer, start + _NFGENMSG.size, end):
        if kind == _NFTA_TABLE_NAME:
            return f"{_FAMILIES.get(family, family)} {text(buffer[begin:stop])}"
    raise WireError(offset=start, reason="a table without a name")
