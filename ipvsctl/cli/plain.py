"""Any value as JSON and YAML know it, with words where the kernel has numbers."""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from enum import Enum, IntFlag, StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import msgspec

from ipvsctl.model.net import IPFamily
from ipvsctl.model.rules import ChainRef

_TEXT = (IPv4Address, IPv6Address, IPv4Network, IPv6Network)


def plain(value: object) -> object:
    """The value in dicts, lists, text, numbers, true, false and null.

    A struct that is one of several kinds says which in `type`. Sets become sorted
    lists, keys that are structs their text.
    """
    if isinstance(value, Enum):
        return _word(value)
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, _TEXT):
        return str(value)
    if isinstance(value, msgspec.Struct):
        return _struct(value)
    if isinstance(value, Mapping):
        return {_key(key): plain(item) for key, item in value.items()}
    if isinstance(value, AbstractSet):
        value = sorted(value, key=str)
    if not isinstance(value, Iterable):
        raise TypeError(f"no plain form of {type(value).__name__}")
    return [plain(item) for item in value]


def _struct(value: msgspec.Struct) -> dict[str, object]:
    tag = value.__struct_config__.tag
    fields = {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    return {"type": tag, **fields} if tag is not None else fields


def _word(value: Enum) -> object:
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, IPFamily):
        return value.label
    if isinstance(value, IntFlag):
        return [str(flag.name).lower() for flag in value]
    return value.name.lower()


def _key(key: object) -> str:
    if isinstance(key, ChainRef):
        return f"{key.table}/{key.name}"
    return str(_word(key)) if isinstance(key, Enum) else str(key)
