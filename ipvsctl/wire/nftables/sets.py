"""Sets of nftables: what they are called and how their keys are laid out.

A set has the name of its role, in the table of its family. Its key is the fields of an
entry one behind the other, each padded to four bytes, as registers hold them:

    | address (4 or 16) | protocol (1 + 3) | port (2 + 2) | address (4 or 16) |

Networks are intervals of the last field. One that lies in another has no place beside
it (nft_set_pipapo.c:nft_pipapo_insert).
"""

from enum import Enum, auto
from types import MappingProxyType
from typing import Final

import msgspec

from ipvsctl.model.net import IPFamily
from ipvsctl.model.sets import (
    ENTRY_FORMS,
    MARKING_ROLES,
    EntryForm,
    SetCondition,
    SetKey,
    SetRole,
    SetShape,
    set_key,
)
from ipvsctl.wire.nftables.attributes import SetFlag

TABLE: Final = "ipvsctl"
"""The table of each family, which is ours alone."""

ROOM: Final = 1 << 32
"""A set takes as many entries as there is memory."""

WORD: Final = 4
"""Bytes of the smallest register."""


class Field(Enum):
    """What a part of a key is."""

    ADDRESS = auto()
    PROTOCOL = auto()
    PORT = auto()


_FIELDS: Final = {
    EntryForm.ADDRESS: (Field.ADDRESS,),
    EntryForm.PLACE: (Field.ADDRESS, Field.PROTOCOL, Field.PORT),
    EntryForm.PLACE_AND_ADDRESS: (
        Field.ADDRESS,
        Field.PROTOCOL,
        Field.PORT,
        Field.ADDRESS,
    ),
    EntryForm.PLACE_AND_NETWORK: (
        Field.ADDRESS,
        Field.PROTOCOL,
        Field.PORT,
        Field.ADDRESS,
    ),
    EntryForm.PORT: (Field.PORT,),
}

_ADDRESS_BYTES: Final = {IPFamily.IPV4: 4, IPFamily.IPV6: 16}

# nft's own numbers for what a key is made of (datatype.h); only it looks at them.
_TYPE_BITS: Final = 6
_ADDRESS_TYPES: Final = {IPFamily.IPV4: 7, IPFamily.IPV6: 8}
_PROTOCOL_TYPE: Final = 12
_PORT_TYPE: Final = 13
MARK_TYPE: Final = 19
MARK_BYTES: Final = 4


class SetSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A set without its entries, as the kernel knows it.

    Attributes:
        flags: of `SetFlag`.
        key_type: nft's name for what the key is made of, as a number.
        key_bytes: of a key.
        data_type, data_bytes: of what a key leads to; 0 if to nothing.
        field_bytes: of each part of a key, when it has parts that may be intervals.
        size: how many entries it takes at most; 0 is no limit.
        is_plain: nothing else is known of it: entries that expire or count.
    """

    flags: int
    key_type: int
    key_bytes: int
    data_type: int = 0
    data_bytes: int = 0
    field_bytes: tuple[int, ...] = ()
    size: int = 0
    is_plain: bool = True


def fields(key: SetKey) -> tuple[Field, ...]:
    """What the key of a set is made of, in order."""
    return _FIELDS[ENTRY_FORMS[key.role]]


def field_bytes(field: Field, family: IPFamily) -> int:
    """How many bytes a field has, without its padding."""
    match field:
        case Field.ADDRESS:
            return _ADDRESS_BYTES[family]
        case Field.PROTOCOL:
            return 1
        case Field.PORT:
            return 2


def words(field: Field, family: IPFamily) -> int:
    """How many of the smallest registers a field takes."""
    return -(-field_bytes(field, family) // WORD)


def _spec(key: SetKey) -> SetSpec:
    sizes = tuple(field_bytes(field, key.family) for field in fields(key))
    kind = 0
    for field in fields(key):
        kind = kind << _TYPE_BITS | _type(field, key.family)
    flags = 0
    is_network = ENTRY_FORMS[key.role] is EntryForm.PLACE_AND_NETWORK
    is_map = key.role in MARKING_ROLES
    if is_network:
        flags |= SetFlag.INTERVAL | SetFlag.CONCAT
    if is_map:
        flags |= SetFlag.MAP
    return SetSpec(
        flags=flags,
        key_type=kind,
        key_bytes=WORD * sum(words(field, key.family) for field in fields(key))
        if len(sizes) > 1
        else sizes[0],
        data_type=MARK_TYPE if is_map else 0,
        data_bytes=MARK_BYTES if is_map else 0,
        field_bytes=sizes if is_network else (),
    )


def _type(field: Field, family: IPFamily) -> int:
    match field:
        case Field.ADDRESS:
            return _ADDRESS_TYPES[family]
        case Field.PROTOCOL:
            return _PROTOCOL_TYPE
        case Field.PORT:
            return _PORT_TYPE


_ALL: Final = tuple(set_key(role, family) for role in SetRole for family in IPFamily)
SPECS: Final = MappingProxyType({key: _spec(key) for key in _ALL})
"""What each set is to be."""

_ROLES: Final = MappingProxyType({str(role): role for role in SetRole})


def set_name(key: SetKey) -> str:
    """The name of a set, in the table of its family."""
    return str(key.role)


def key_of(name: str, family: IPFamily) -> SetKey | None:
    """The set that has a name; None if it is none of ours."""
    role = _ROLES.get(name)
    return None if role is None else set_key(role, family)


def shape_of(key: SetKey, found: SetSpec, *, is_strange: bool = False) -> SetShape:
    """What a set that was found is worth in its role.

    Args:
        key: of the set.
        found: what it is.
        is_strange: it has entries that no plan has, nor could delete.
    """
    if found != SPECS[key]:
        return SetShape(found.size or ROOM, SetCondition.ALIEN)
    return SetShape(ROOM, SetCondition.OUTDATED if is_strange else SetCondition.SOUND)
