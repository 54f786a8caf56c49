"""What somebody asks about: a Service by name, or an address with or without a port."""

import re
from typing import Final

import msgspec

from ipvsctl.model.errors import ConfigError
from ipvsctl.model.net import IPAddress, format_host_port, parse_address
from ipvsctl.model.problem import ObjectRef

FIELD: Final = "TARGET"

_HOST_PORT: Final = re.compile(r"\[([^\]]*)\](?::(.*))?|([^:]*):([^:]*)", re.DOTALL)
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_LONGEST_NAME: Final = 253
_LAST_PORT: Final = 65535


class NamedTarget(msgspec.Struct, frozen=True, kw_only=True):
    """A Service.

    Attributes:
        namespace: "" if it was not said.
        port: name or number of one of its ports, "" for all.
    """

    namespace: str = ""
    name: str
    port: str = ""

    def __str__(self) -> str:
        name = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{name}:{self.port}" if self.port else name

    def is_of(self, ref: ObjectRef) -> bool:
        """Whether a Service is meant."""
        return self.name == ref.name and self.namespace in {"", ref.namespace}


class AddressTarget(msgspec.Struct, frozen=True, kw_only=True):
    """An address: a VIP, a node's, or a pod's.

    Attributes:
        port: 0 for all.
    """

    address: IPAddress
    port: int = 0

    def __str__(self) -> str:
        if not self.port:
            return str(self.address)
        return format_host_port(self.address, self.port)


Target = NamedTarget | AddressTarget


def parse_target(text: str, namespace: str = "") -> Target:
    """Read what somebody asks about.

    Args:
        text: `ns/name`, `ns/name:port`, `name`, `name:port`, `10.96.0.10`,
            `10.96.0.10:53`, `fd00::10`, `[fd00::10]:53`.
        namespace: of a name without one.

    Raises:
        ConfigError: it is none of these.
    """
    address = _address(text)
    if address is not None:
        return AddressTarget(address=address)
    found = _HOST_PORT.fullmatch(text)
    if found is not None:
        is_bracketed = found[3] is None
        address = _address(found[1] if is_bracketed else found[3])
        port = found[2] if is_bracketed else found[4]
        if address is not None:
            number = 0 if port is None else _port(text, port)
            return AddressTarget(address=address, port=number)
    return _named(text, namespace)


def parse_name(text: str, namespace: str = "") -> NamedTarget:
    """Likewise, where nothing but a Service as a whole has an answer.

    Raises:
        ConfigError: it is none.
    """
    target = parse_target(text, namespace)
    if not isinstance(target, NamedTarget) or target.port:
        raise _unusable(text, "only a Service, [NAMESPACE/]NAME, has an answer here")
    return target


def _named(text: str, namespace: str) -> NamedTarget:
    where, colon, port = text.partition(":")
    space, slash, name = where.rpartition("/")
    if slash and namespace and space != namespace:
        raise _unusable(text, f"is not in the namespace {namespace} that was given")
    for word in (name, *([space] if slash else ()), *([port] if colon else ())):
        if len(word) > _LONGEST_NAME or not _NAME.fullmatch(word.lower()):
            raise _unusable(
                text, "neither [NAMESPACE/]NAME[:PORT] nor ADDRESS nor ADDRESS:PORT"
            )
    return NamedTarget(namespace=space or namespace, name=name, port=port)


def _address(text: str) -> IPAddress | None:
    try:
        return parse_address(text)
    except ValueError:
        return None


def _port(text: str, digits: str) -> int:
    # Not a number yet: thousands of digits are none to Python.
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 5):
        raise _unusable(text, "the port is no number")
    if not 0 < int(digits) <= _LAST_PORT:
        raise _unusable(text, f"the port is not between 1 and {_LAST_PORT}")
    return int(digits)


def _unusable(text: str, reason: str) -> ConfigError:
    return ConfigError(field=FIELD, value=text, reason=reason)
