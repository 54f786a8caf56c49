"""The kernel's answers about nftables, as values.

Every function takes a buffer and where a payload starts and ends in it, and raises
WireError for anything that is not such a payload.
Source: nf_tables_api.c (`nf_tables_fill_*_info`).
"""

import sys
from functools import lru_cache
from ipaddress import ip_address, summarize_address_range
from struct import Struct
from typing import Any, Final, NamedTuple

from ipvsctl.model.errors import WireError
from ipvsctl.model.net import IPFamily, IPNetwork, Protocol
from ipvsctl.model.rules import ChainRef, Rule, UnknownRule
from ipvsctl.model.sets import ENTRY_FORMS, EntryForm, SetEntry, SetKey
from ipvsctl.wire.netlink.addresses import unpack_address
from ipvsctl.wire.netlink.attributes import iter_attributes, text
from ipvsctl.wire.nftables.attributes import (
    NF_ACCEPT,
    NFT_TABLE_F_DORMANT,
    ChainAttr,
    DataAttr,
    ElementAttr,
    ElementListAttr,
    HookAttr,
    RuleAttr,
    SetAttr,
    SetDescAttr,
    TableAttr,
)
from ipvsctl.wire.nftables.chains import (
    BASE_CHAINS,
    HOOK_NAMES,
    BaseChain,
    ref_of,
)
from ipvsctl.wire.nftables.rule_read import read_rule
from ipvsctl.wire.nftables.sets import (
    TABLE,
    Field,
    SetSpec,
    field_bytes,
    fields,
)

_NFGENMSG: Final = Struct("=BBH")
"""struct nfgenmsg: family, version, resource id."""

# NFPROTO_*, in the words of nft.
_FAMILIES: Final = {
    1: "inet",
    2: "ip",
    3: "arp",
    5: "netdev",
    7: "bridge",
    10: "ip6",
}
_OURS: Final = {int(family): family for family in IPFamily}
_PROTOCOLS: Final = {int(protocol): protocol for protocol in Protocol}
_COMMENT: Final = 0

Attributes = dict[int, tuple[int, int]]
"""Type of an attribute -> where its payload starts and ends."""


class FoundTable(NamedTuple):
    """A table.

    Attributes:
        family: its number.
        flags: NFT_TABLE_F_*.
    """

    family: int
    name: str
    flags: int

    @property
    def is_dormant(self) -> bool:
        """No packet comes to its chains."""
        return bool(self.flags & NFT_TABLE_F_DORMANT)

    def __str__(self) -> str:
        return f"{_FAMILIES.get(self.family, self.family)} {self.name}"


class FoundChain(NamedTuple):
    """A chain of ours; `base` is None for one that only others lead to."""

    ref: ChainRef
    base: BaseChain | None

    @property
    def fault(self) -> str:
        """Why it does not begin where it should; "" if it does."""
        if self.base == BASE_CHAINS.get(self.ref):
            return ""
        if self.base is None:
            return "begins at no hook"
        hook = HOOK_NAMES.get(self.base.hook, self.base.hook)
        policy = "accept" if self.base.policy == NF_ACCEPT else "drop"
        return (
            f"type {self.base.type} hook {hook} priority {self.base.priority}; "
            f"policy {policy};"
        )


def table(buffer: bytes, start: int, end: int) -> FoundTable:
    """A table of anybody."""
    family, found = _open(buffer, start, end)
    return FoundTable(
        family,
        _text(buffer, found, TableAttr.NAME, "a table without a name"),
        _number(buffer, found, TableAttr.FLAGS),
    )


def chain(buffer: bytes, start: int, end: int) -> FoundChain | None:
    """A chain of ours; None for others'."""
    _, found = _open(buffer, start, end)
    if _text(buffer, found, ChainAttr.TABLE, "a chain without a table") != TABLE:
        return None
    name = _text(buffer, found, ChainAttr.NAME, "a chain without a name")
    base = None
    if ChainAttr.HOOK in found:
        hook = _attributes(buffer, *found[ChainAttr.HOOK])
        priority = _number(buffer, hook, HookAttr.PRIORITY)
        base = BaseChain(
            _text(buffer, found, ChainAttr.TYPE, "a base chain without a type"),
            _number(buffer, hook, HookAttr.HOOKNUM),
            priority - (1 << 32) if priority >> 31 else priority,
            _number(buffer, found, ChainAttr.POLICY),
        )
    return FoundChain(ref_of(name), base)


def rule(
    buffer: bytes, start: int, end: int
) -> tuple[ChainRef, Rule | UnknownRule] | None:
    """A rule of ours, and the chain it is in; None for others'."""
    number, found = _open(buffer, start, end)
    name = _text(buffer, found, RuleAttr.TABLE, "a rule without a table")
    family = _OURS.get(number)
    if name != TABLE or family is None:
        return None
    ref = ref_of(_text(buffer, found, RuleAttr.CHAIN, "a rule without a chain"))
    first, last = found.get(RuleAttr.EXPRESSIONS, (0, 0))
    comment = _comment(buffer, *found.get(RuleAttr.USERDATA, (0, 0)))
    expressions = buffer[first:last]
    return ref, read_rule(expressions, ref, family, comment)


def set_header(buffer: bytes, start: int, end: int) -> tuple[str, SetSpec]:
    """The name of a set, and what it is."""
    _, found = _open(buffer, start, end)
    desc = _attributes(buffer, *found.get(SetAttr.DESC, (0, 0)))
    strange = {SetAttr.TIMEOUT, SetAttr.EXPR, SetAttr.EXPRESSIONS}
    spec = SetSpec(
        flags=_number(buffer, found, SetAttr.FLAGS),
        key_type=_number(buffer, found, SetAttr.KEY_TYPE),
        key_bytes=_number(buffer, found, SetAttr.KEY_LEN),
        data_type=_number(buffer, found, SetAttr.DATA_TYPE),
        data_bytes=_number(buffer, found, SetAttr.DATA_LEN),
        field_bytes=tuple(
            _number(buffer, _attributes(buffer, begin, stop), SetDescAttr.FIELD_LEN)
            for _, begin, stop in iter_attributes(
                buffer, *desc.get(SetDescAttr.CONCAT, (0, 0))
            )
        ),
        size=_number(buffer, desc, SetDescAttr.SIZE),
        is_plain=found.keys().isdisjoint(strange),
    )
    return _text(buffer, found, SetAttr.NAME, "a set without a name"), spec


def entries(
    buffer: bytes, start: int, end: int, key: SetKey
) -> tuple[list[SetEntry], int]:
    """The entries in one message about a set, and how many more have no value here.

    Entries without a value have a protocol that is not proxied, or a range that is no
    network; nobody but a stranger puts them into a set of ours.
    """
    _, found = _open(buffer, start, end)
    known: list[SetEntry] = []
    others = 0
    read = _Reader(key).read
    for _, begin, stop in iter_attributes(
        buffer, *found.get(ElementListAttr.ELEMENTS, (0, 0))
    ):
        entry = read(buffer, _attributes(buffer, begin, stop))
        if entry is None:
            others += 1
        else:
            known.append(entry)
    return known, others


class _Reader:
    """Reads the entries of one set."""

    def __init__(self, key: SetKey) -> None:
        self._family = key.family
        self._form = ENTRY_FORMS[key.role]
        address = field_bytes(Field.ADDRESS, key.family)
        code = {
            Field.ADDRESS: f"{address}s",
            Field.PROTOCOL: "Bxxx",
            Field.PORT: "Hxx",
        }
        layout = "".join(code[part] for part in fields(key))
        # Alone, a port needs no padding.
        self._layout = Struct(">H" if self._form is EntryForm.PORT else f">{layout}")

    def read(self, buffer: bytes, found: Attributes) -> SetEntry | None:
        if not found.keys() <= {ElementAttr.KEY, ElementAttr.KEY_END, ElementAttr.DATA}:
            return None
        parts = self._parts(buffer, found, ElementAttr.KEY)
        if self._form is EntryForm.PORT:
            return SetEntry(port=parts[0])
        address = unpack_address(self._family, parts[0])
        if self._form is EntryForm.ADDRESS:
            return SetEntry(address=address)
        protocol = _PROTOCOLS.get(parts[1])
        if protocol is None:
            return None
        second = network = None
        if self._form is EntryForm.PLACE_AND_ADDRESS:
            second = unpack_address(self._family, parts[3])
        elif self._form is EntryForm.PLACE_AND_NETWORK:
            last = self._parts(buffer, found, ElementAttr.KEY_END)
            network = _network(self._family, parts[3], last[3])
            if network is None or last[:3] != parts[:3]:
                return None
        mark = 0
        if ElementAttr.DATA in found:
            mark = int.from_bytes(
                _value(buffer, *found[ElementAttr.DATA]), sys.byteorder
            )
        return SetEntry(
            address=address,
            protocol=protocol,
            port=parts[2],
            second_address=second,
            network=network,
            mark=mark,
        )

    def _parts(self, buffer: bytes, found: Attributes, kind: int) -> tuple[Any, ...]:
        if kind not in found:
            raise WireError(offset=0, reason="an entry without a key")
        key = _value(buffer, *found[kind])
        if len(key) != self._layout.size:
            raise WireError(offset=found[kind][0], reason=f"a key of {len(key)} bytes")
        return self._layout.unpack(key)


@lru_cache(maxsize=4096)
def _network(family: IPFamily, first: bytes, last: bytes) -> IPNetwork | None:
    """The network from one address to another; None if that is none."""
    if last < first:
        return None
    low, high = unpack_address(family, first), unpack_address(family, last)
    network, *more = summarize_address_range(ip_address(low), ip_address(high))
    return None if more else network


def _value(buffer: bytes, start: int, end: int) -> bytes:
    for kind, begin, stop in iter_attributes(buffer, start, end):
        if kind == DataAttr.VALUE:
            return buffer[begin:stop]
    raise WireError(offset=start, reason="data without a value")


def _comment(buffer: bytes, start: int, end: int) -> str:
    """The comment among the records that nft keeps beside a rule."""
    offset = start
    while offset + 2 <= end:
        kind, size = buffer[offset], buffer[offset + 1]
        if kind == _COMMENT:
            words_ = buffer[offset + 2 : min(offset + 2 + size, end)]
            return words_.rstrip(b"\0").decode("utf-8", "replace")
        offset += 2 + size
    return ""


def _open(buffer: bytes, start: int, end: int) -> tuple[int, Attributes]:
    """The family of a message, and its attributes."""
    if end - start < _NFGENMSG.size:
        raise WireError(offset=start, reason="a message without its header")
    family, _, _ = _NFGENMSG.unpack_from(buffer, start)
    return family, _attributes(buffer, start + _NFGENMSG.size, end)


def _attributes(buffer: bytes, start: int, end: int) -> Attributes:
    return {kind: (b, e) for kind, b, e in iter_attributes(buffer, start, end)}


def _text(buffer: bytes, found: Attributes, kind: int, missing: str) -> str:
    if kind not in found:
        raise WireError(offset=0, reason=missing)
    start, end = found[kind]
    return text(buffer[start:end])


def _number(buffer: bytes, found: Attributes, kind: int) -> int:
    start, end = found.get(kind, (0, 0))
    return int.from_bytes(buffer[start:end], "big")
