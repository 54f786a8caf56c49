"""Requests about nftables, as bytes.

    nlmsghdr | nfgenmsg: family | TABLE | ...

Changes go between `BEGIN` and `END`: the kernel makes all of them or none, and whoever
looks, packets too, sees the table as it was or as it is. The answers are read in
`replies`. Numbers are in network order.
Source: nf_tables_api.c (`nf_tables_cb`), nfnetlink.c (`nfnetlink_rcv_batch`).
"""

from collections.abc import Iterable
from struct import Struct
from typing import Final

from ipvsctl.model.net import IPFamily
from ipvsctl.model.rules import ChainRef, Rule
from ipvsctl.model.sets import ENTRY_FORMS, EntryForm, SetEntry, SetKey
from ipvsctl.wire.netlink.attributes import (
    NLA_F_NESTED,
    attribute,
    text_attribute,
)
from ipvsctl.wire.netlink.messages import (
    NLM_F_APPEND,
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_EXCL,
    message_header,
)
from ipvsctl.wire.nftables.attributes import (
    NFNL_MSG_BATCH_BEGIN,
    NFNL_MSG_BATCH_END,
    NFNL_SUBSYS_NFTABLES,
    NFTA_LIST_ELEM,
    ChainAttr,
    DataAttr,
    ElementAttr,
    ElementListAttr,
    HookAttr,
    NftMessage,
    RuleAttr,
    SetAttr,
    SetDescAttr,
    TableAttr,
)
from ipvsctl.wire.nftables.chains import BASE_CHAINS, chain_name
from ipvsctl.wire.nftables.rule_write import encode_rule
from ipvsctl.wire.nftables.sets import SPECS, TABLE, set_name

ANY_FAMILY: Final = 0

_NFGENMSG: Final = Struct("=BBH")
"""struct nfgenmsg: family, version, resource id."""
_BE32: Final = Struct(">I")
_SIGNED_BE32: Final = Struct(">i")
_HOST32: Final = Struct("=I")

# Records that nft keeps beside what it makes, each `kind, size, payload`
# (libnftnl/udata.h): without them it could not print it again.
_COMMENT: Final = 0
_DATA_BYTEORDER: Final = 1
_HOST_ORDER: Final = _HOST32.pack(1)
_MOST_COMMENT_BYTES: Final = 253


def _batch_mark(kind: int) -> bytes:
    # The id of the subsystem that the batch is for is in network order.
    subsystem = int.from_bytes(NFNL_SUBSYS_NFTABLES.to_bytes(2, "big"), "little")
    body = _NFGENMSG.pack(ANY_FAMILY, 0, subsystem)
    return message_header(kind, 0, len(body), ack=False) + body


BEGIN: Final = _batch_mark(NFNL_MSG_BATCH_BEGIN)
END: Final = _batch_mark(NFNL_MSG_BATCH_END)


def list_tables() -> bytes:
    """Dump the tables of all families."""
    return _request(NftMessage.GETTABLE, ANY_FAMILY, b"", NLM_F_DUMP)


def list_chains(family: IPFamily) -> bytes:
    """Dump the chains of all tables of a family."""
    return _request(NftMessage.GETCHAIN, family, b"", NLM_F_DUMP)


def list_rules(family: IPFamily) -> bytes:
    """Dump the rules of our table of a family."""
    table = text_attribute(RuleAttr.TABLE, TABLE)
    return _request(NftMessage.GETRULE, family, table, NLM_F_DUMP)


def list_sets(family: IPFamily) -> bytes:
    """Dump the sets of our table of a family, without entries; ENOENT without one."""
    table = text_attribute(SetAttr.TABLE, TABLE)
    return _request(NftMessage.GETSET, family, table, NLM_F_DUMP)


def list_entries(family: IPFamily, name: str) -> bytes:
    """Dump the entries of a set of our table; ENOENT if it is not there."""
    return _request(
        NftMessage.GETSETELEM,
        family,
        text_attribute(ElementListAttr.TABLE, TABLE)
        + text_attribute(ElementListAttr.SET, name),
        NLM_F_DUMP,
    )


def make_table(family: IPFamily) -> bytes:
    """Have our table, awake; fine if it is there."""
    return _request(
        NftMessage.NEWTABLE,
        family,
        text_attribute(TableAttr.NAME, TABLE) + _number(TableAttr.FLAGS, 0),
        NLM_F_CREATE,
    )


def try_table(family: IPFamily) -> bytes:
    """Make our table, if it is not there; EEXIST if it is, and then nothing is done."""
    name = text_attribute(TableAttr.NAME, TABLE)
    flags = NLM_F_CREATE | NLM_F_EXCL
    return _request(NftMessage.NEWTABLE, family, name, flags)


def delete_table(family: IPFamily) -> bytes:
    """Delete our table and all that is in it; ENOENT if it is not there."""
    name = text_attribute(TableAttr.NAME, TABLE)
    return _request(NftMessage.DELTABLE, family, name)


def make_chain(family: IPFamily, ref: ChainRef) -> bytes:
    """Have a chain; fine if it is there and begins where it should."""
    attributes = text_attribute(ChainAttr.TABLE, TABLE)
    attributes += text_attribute(ChainAttr.NAME, chain_name(ref))
    base = BASE_CHAINS.get(ref)
    if base is not None:
        hook = _number(HookAttr.HOOKNUM, base.hook)
        hook += attribute(HookAttr.PRIORITY, _SIGNED_BE32.pack(base.priority))
        attributes += attribute(NLA_F_NESTED | ChainAttr.HOOK, hook)
        attributes += _number(ChainAttr.POLICY, base.policy)
        attributes += text_attribute(ChainAttr.TYPE, base.type)
    return _request(NftMessage.NEWCHAIN, family, attributes, NLM_F_CREATE)


def empty_chain(family: IPFamily, ref: ChainRef) -> bytes:
    """Delete the rules of a chain; ENOENT if it is not there."""
    return _request(
        NftMessage.DELRULE,
        family,
        text_attribute(RuleAttr.TABLE, TABLE)
        + text_attribute(RuleAttr.CHAIN, chain_name(ref)),
    )


def delete_chain(family: IPFamily, ref: ChainRef) -> bytes:
    """Delete a chain; EBUSY if a rule leads to it or is in it."""
    return _request(
        NftMessage.DELCHAIN,
        family,
        text_attribute(ChainAttr.TABLE, TABLE)
        + text_attribute(ChainAttr.NAME, chain_name(ref)),
    )


def add_rule(family: IPFamily, ref: ChainRef, rule: Rule) -> bytes:
    """Put a rule at the end of a chain; ENOENT if a chain or set is not there.

    Raises:
        TypeError: nftables has no such match.
    """
    attributes = text_attribute(RuleAttr.TABLE, TABLE)
    attributes += text_attribute(RuleAttr.CHAIN, chain_name(ref))
    attributes += attribute(
        NLA_F_NESTED | RuleAttr.EXPRESSIONS, encode_rule(rule, ref, family)
    )
    if rule.comment:
        text = rule.comment.encode()[:_MOST_COMMENT_BYTES] + b"\0"
        attributes += attribute(RuleAttr.USERDATA, _record(_COMMENT, text))
    return _request(NftMessage.NEWRULE, family, attributes, NLM_F_CREATE | NLM_F_APPEND)


def create_set(key: SetKey) -> bytes:
    """Create an empty set; EEXIST if there is one of its name."""
    spec = SPECS[key]
    attributes = text_attribute(SetAttr.TABLE, TABLE)
    attributes += text_attribute(SetAttr.NAME, set_name(key))
    attributes += _number(SetAttr.FLAGS, spec.flags)
    attributes += _number(SetAttr.KEY_TYPE, spec.key_type)
    attributes += _number(SetAttr.KEY_LEN, spec.key_bytes)
    if spec.data_type:
        attributes += _number(SetAttr.DATA_TYPE, spec.data_type)
        attributes += _number(SetAttr.DATA_LEN, spec.data_bytes)
    # One that rules of the same batch do not yet refer to needs no more than a number.
    attributes += _number(SetAttr.ID, 1)
    if spec.field_bytes:
        sizes = b"".join(
            attribute(NLA_F_NESTED | NFTA_LIST_ELEM, _number(SetDescAttr.FIELD_LEN, n))
            for n in spec.field_bytes
        )
        concat = attribute(NLA_F_NESTED | SetDescAttr.CONCAT, sizes)
        attributes += attribute(NLA_F_NESTED | SetAttr.DESC, concat)
    if spec.data_type:
        order = _record(_DATA_BYTEORDER, _HOST_ORDER)
        attributes += attribute(SetAttr.USERDATA, order)
    return _request(
        NftMessage.NEWSET, key.family, attributes, NLM_F_CREATE | NLM_F_EXCL
    )


def delete_set(family: IPFamily, name: str) -> bytes:
    """Delete a set of our table; ENOENT if it is not there, EBUSY if a rule asks it."""
    return _request(
        NftMessage.DELSET,
        family,
        text_attribute(SetAttr.TABLE, TABLE) + text_attribute(SetAttr.NAME, name),
    )


def add_entries(key: SetKey, entries: Iterable[SetEntry]) -> bytes:
    """Put entries into a set; those that are there are fine.

    EEXIST if one is there with another mark, or a network lies in one that is there or
    around it (nf_tables_api.c:nft_add_set_elem).
    """
    elements = b"".join(_element(entry, key) for entry in entries)
    return _elements(NftMessage.NEWSETELEM, key, elements, NLM_F_CREATE)


def delete_entries(key: SetKey, entries: Iterable[SetEntry]) -> bytes:
    """Take entries out of a set, whatever their mark; ENOENT if one is not there."""
    elements = b"".join(_element(entry.identity, key) for entry in entries)
    return _elements(NftMessage.DELSETELEM, key, elements)


def empty_set(key: SetKey) -> bytes:
    """Take all entries out of a set."""
    return _elements(NftMessage.DELSETELEM, key, b"")


def _elements(
    message: NftMessage, key: SetKey, elements: bytes, flags: int = 0
) -> bytes:
    attributes = text_attribute(ElementListAttr.TABLE, TABLE)
    attributes += text_attribute(ElementListAttr.SET, set_name(key))
    if elements:
        attributes += attribute(NLA_F_NESTED | ElementListAttr.ELEMENTS, elements)
    return _request(message, key.family, attributes, flags)


def _element(entry: SetEntry, key: SetKey) -> bytes:
    """KEY { VALUE } [KEY_END { VALUE }] [DATA { VALUE }]."""
    first = entry_key(entry)
    element = _value(ElementAttr.KEY, first)
    if ENTRY_FORMS[key.role] is EntryForm.PLACE_AND_NETWORK:
        element += _value(ElementAttr.KEY_END, last_key(entry, first))
    if entry.mark:
        element += _value(ElementAttr.DATA, _HOST32.pack(entry.mark))
    return attribute(NLA_F_NESTED | NFTA_LIST_ELEM, element)


def entry_key(entry: SetEntry) -> bytes:
    """The key of an entry, or the lowest one of its network; see `sets`."""
    address, port = entry.address, entry.port
    if address is None:
        return (port or 0).to_bytes(2, "big")
    if entry.protocol is None or port is None:
        return address
    key = address + _PLACE.pack(entry.protocol, port.to_bytes(2, "big"))
    if entry.second_address is not None:
        return key + entry.second_address
    if entry.network is not None:
        return key + entry.network.network_address.packed
    return key


def last_key(entry: SetEntry, first: bytes) -> bytes:
    """The highest key of an entry's network, given the lowest."""
    if entry.network is None:
        return first
    last = entry.network.broadcast_address.packed
    return first[: -len(last)] + last


_PLACE: Final = Struct("=Bxxx2sxx")
"""A protocol and a port, each padded to a register."""


def _request(
    message: NftMessage, family: int, attributes: bytes, flags: int = 0
) -> bytes:
    body = _NFGENMSG.pack(family, 0, 0) + attributes
    kind = NFNL_SUBSYS_NFTABLES << 8 | message
    return message_header(kind, flags, len(body), ack=False) + body


def _number(kind: int, value: int) -> bytes:
    return attribute(kind, _BE32.pack(value))


def _value(kind: int, data: bytes) -> bytes:
    return attribute(NLA_F_NESTED | kind, attribute(DataAttr.VALUE, data))


def _record(kind: int, payload: bytes) -> bytes:
    return bytes([kind, len(payload)]) + payload
