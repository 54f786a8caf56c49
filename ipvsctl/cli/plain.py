"""Any value as JSON and YAML know it, with words where the kernel has numbers."""

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from enum import Enum, IntFlag, StrEnum
from ipaddress import IPv4Network, IPv6Network

import msgspec

from ipvsctl.model.net import IPAddress, IPFamily
from ipvsctl.model.rules import ChainRef
from ipvsctl.model.sets import SetKey

_TEXT = (IPAddress, IPv4Network, IPv6Network)


def plain(value: object, set_name: Callable[[SetKey], str] = str) -> object:
    """The value in dicts, lists, text, numbers, true, false and null.

    A struct that is one of several kinds says which in `type`. Sets become sorted
    lists, keys that are structs their text.

    Args:
        value: any value of ours.
        set_name: what operators call a set of the firewall.
    """
    return _Plain(set_name).of(value)


class _Plain:
    def __init__(self, set_name: Callable[[SetKey], str]) -> None:
        self._set_name = set_name

    def of(self, value: object) -> object:
        if isinstance(value, SetKey | Enum):
            return self._word(value)
        if value is None or isinstance(value, str | int | float):
            return value
        if isinstance(value, _TEXT):
            return str(value)
        if isinstance(value, msgspec.Struct):
            return self._struct(value)
        if isinstance(value, Mapping):
            return {self._key(key): self.of(item) for key, item in value.items()}
        if isinstance(value, AbstractSet):
            value = sorted(value, key=str)
        if not isinstance(value, Iterable):
            raise TypeError(f"no plain form of {type(value).__name__}")
        return [self.of(item) for item in value]

    def _struct(self, value: msgspec.Struct) -> dict[str, object]:
        tag = value.__struct_config__.tag
        names = value.__struct_fields__
        fields = {name: self.of(getattr(value, name)) for name in names}
        return {"type": tag, **fields} if tag is not None else fields

    def _key(self, key: object) -> str:
        if isinstance(key, ChainRef):
            return f"{key.table}/{key.name}"
        return str(self._word(key) if isinstance(key, SetKey | Enum) else key)

    def _word(self, value: SetKey | Enum) -> object:
        if isinstance(value, SetKey):
            return self._set_name(value)
        if isinstance(value, StrEnum):
            return value.value
        if isinstance(value, IPFamily):
            return value.label
        if isinstance(value, IntFlag):
            return [str(flag.name).lower() for flag in value]
        return value.name.lower()
