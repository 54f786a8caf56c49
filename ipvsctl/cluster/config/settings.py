"""Values of settings: each reader takes a field's path and value, and checks it.

Every reader raises `ConfigError` with that path.
"""

import re
from collections.abc import Callable
from enum import StrEnum
from typing import TypeVar

from ipvsctl.cluster.config.duration import parse_duration
from ipvsctl.cluster.text.scalars import Letter
from ipvsctl.model.config import Listener, NodePortAddresses
from ipvsctl.model.errors import ConfigError
from ipvsctl.model.ipvs import SCHEDULERS, PersistenceNetmask
from ipvsctl.model.marks import ALL_BITS, MarkRange
from ipvsctl.model.net import (
    IPAddress,
    IPNetwork,
    IPv4Address,
    parse_address,
    parse_network,
)

E = TypeVar("E", bound=StrEnum)

# apimachinery pkg/util/validation/validation.go:IsValidLabelValue.
_LABEL_VALUE = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")

_TEXT_MAX = 4096
# More of them are more than anything that is counted; int() takes no 5,000.
_DIGITS_MAX = 20
_LINK_NAME_MAX = 15
# The loopback link is in every network namespace; the others are directories of
# settings for all links (devinet.c, addrconf.c).
_NEVER_A_DUMMY = frozenset({"lo", "all", "default"})
# ip_vs_ctl.c:ip_vs_set_timeout refuses more than INT_MAX jiffies; HZ is at most 1000.
_KERNEL_TIMEOUT_MAX_S = (2**31 - 1) // 1000


def boolean(field: str, value: object) -> bool:
    """True or false."""
    if isinstance(value, bool):
        return value
    if isinstance(value, Letter):
        return value.boolean
    raise ConfigError(field=field, value=value, reason="not true or false")


def boolean_word(word: str) -> object:
    """True or false for its word; any other word stays as it is."""
    return {"true": True, "false": False}.get(word, word)


def text(field: str, value: object) -> str:
    """A string of no more than 4,096 characters, the longest path there is.

    It may not hold a character that names of files and kernel objects cannot have, nor
    bytes that are no UTF-8 (surrogates, as Python has those of the command line).
    """
    if isinstance(value, Letter):
        return str(value)
    if not isinstance(value, str):
        raise ConfigError(field=field, value=value, reason="not a string")
    if len(value) > _TEXT_MAX:
        reason = f"longer than {_TEXT_MAX} characters"
        raise ConfigError(field=field, value=value, reason=reason)
    if any(c == "\0" or "\ud800" <= c <= "\udfff" for c in value):
        raise ConfigError(field=field, value=value, reason="not text in UTF-8")
    return value


def directory(field: str, value: object) -> str:
    """An absolute path; whether it is there is seen later."""
    path = text(field, value)
    if path.startswith("/"):
        return path
    raise ConfigError(field=field, value=value, reason="not an absolute path")


def texts(field: str, value: object) -> list[str]:
    """A list of strings."""
    if not isinstance(value, list):
        raise ConfigError(field=field, value=value, reason="not a list")
    return [text(f"{field}[{index}]", item) for index, item in enumerate(value)]


def one_of(words: type[E]) -> Callable[[str, object], E]:
    """A reader of one of these words."""

    def read(field: str, value: object) -> E:
        try:
            return words(text(field, value))
        except ValueError:
            known = ", ".join(words)
            raise ConfigError(
                field=field, value=value, reason=f"not one of {known}"
            ) from None

    return read


def scheduler(field: str, value: object) -> str:
    """An IPVS scheduler; whether this kernel has it is seen later."""
    name = text(field, value)
    if name not in SCHEDULERS:
        known = " ".join(sorted(SCHEDULERS))
        raise ConfigError(field=field, value=value, reason=f"not one of {known}")
    return name


def link(field: str, value: object) -> str:
    """The name of a network link, or the start of one [dev.c:dev_valid_name]."""
    name = text(field, value)
    bad = set(name) & set("/:") or any(map(str.isspace, name)) or name in {".", ".."}
    if not 0 < len(name.encode()) <= _LINK_NAME_MAX or bad:
        raise ConfigError(
            field=field,
            value=value,
            reason=f"not a link name (1-{_LINK_NAME_MAX} bytes; no slash or space)",
        )
    return name


def vip_link(field: str, value: object) -> str:
    """The name of a dummy link of ours; what other link there is, is seen later."""
    name = link(field, value)
    if name in _NEVER_A_DUMMY or "%" in name:
        # The kernel puts a number for %d (dev.c:dev_alloc_name).
        reason = "cannot be the name of a dummy link"
        raise ConfigError(field=field, value=value, reason=reason)
    return name


def label_value(field: str, value: object) -> str:
    """The value of a label; "" is none."""
    word = text(field, value)
    if word and not _LABEL_VALUE.fullmatch(word):
        raise ConfigError(field=field, value=value, reason="not a label's value")
    return word


def mark_bit(field: str, value: object) -> int:
    """A bit of the packet mark."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 31:
        return value
    raise ConfigError(field=field, value=value, reason="not a bit (0-31)")


def mark_range(field: str, value: object) -> MarkRange:
    """Packet marks, `value/mask` in any of C's notations."""
    first, slash, second = text(field, value).partition("/")
    try:
        found = MarkRange(int(first, 0), int(second, 0))
    except ValueError:
        slash = ""
    if not slash:
        reason = "not value/mask, such as 0x20000/0xffffc000"
        raise ConfigError(field=field, value=value, reason=reason)
    if not 0 < found.value <= found.mask <= ALL_BITS or found.value & ~found.mask:
        reason = "the value is 0, or has bits that the mask has not"
        raise ConfigError(field=field, value=value, reason=reason)
    return found


def port(field: str, value: object) -> int:
    """A port; 0 is none."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**16:
        return value
    raise ConfigError(field=field, value=value, reason="not a port (0-65535)")


def count(field: str, value: object) -> int:
    """A count that the kernel holds in 31 bits."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31:
        return value
    raise ConfigError(field=field, value=value, reason="not a count (0-2147483647)")


def count_word(word: str) -> object:
    """The number that a word of digits is; any other word stays as it is."""
    is_number = word.isascii() and word.isdigit() and len(word) <= _DIGITS_MAX
    return int(word) if is_number else word


def persistence_netmask(field: str, value: object) -> PersistenceNetmask:
    """Prefix lengths, `24`, `24,64` or `,64`; a family without one has all bits.

    That of IPv4 may be a mask: `255.255.255.0,64`.
    """
    first, _, second = text(field, value).partition(",")
    bits = []
    for word, most in ((first.strip(), 32), (second.strip(), 128)):
        found = _prefix_length(word, most) if word else most
        if found is None:
            reason = "not prefix lengths IPv4,IPv6 such as 24,64 (1-32, 1-128)"
            raise ConfigError(field=field, value=value, reason=reason)
        bits.append(found)
    return PersistenceNetmask(*bits)


def _prefix_length(word: str, most: int) -> int | None:
    number = count_word(word)
    if isinstance(number, int):
        return number if 0 < number <= most else None
    if most != 32:
        return None
    try:
        mask = int(IPv4Address(word))
    except ValueError:
        return None
    ones = mask.bit_count()
    return ones if ones and mask == (0xFFFF_FFFF << (32 - ones)) & 0xFFFF_FFFF else None


def node_name(field: str, value: object) -> str:
    """The name of a Node, as the kubelet makes it of what it is given."""
    name = text(field, value).strip().lower()
    if not name:
        raise ConfigError(field=field, value=value, reason="blank")
    return name


def address(field: str, value: object) -> IPAddress:
    """An address."""
    try:
        return parse_address(text(field, value))
    except ValueError:
        raise ConfigError(field=field, value=value, reason="not an address") from None


def node_address(field: str, value: object) -> IPAddress | None:
    """An address of the node; None for an unspecified one, which says nothing."""
    found = address(field, value)
    return None if found.is_unspecified else found


def listener(port: int) -> Callable[[str, object], Listener]:
    """A reader of an address with a port, which is `port` unless it is given.

    Source: kube-proxy pkg/proxy/apis/config/v1alpha1/defaults.go.
    """

    def read(field: str, value: object) -> Listener:
        given = text(field, value)
        try:
            return Listener(parse_address(given.strip("[]")), port)
        except ValueError:
            host, _, number = given.rpartition(":")
        try:
            found = parse_address(host.strip("[]"))
        except ValueError:
            reason = "not an address, nor address:port"
            raise ConfigError(field=field, value=value, reason=reason) from None
        is_number = number.isascii() and number.isdigit()
        if not is_number or len(number) > _DIGITS_MAX or int(number) > 65535:
            raise ConfigError(field=field, value=value, reason="not a port (0-65535)")
        return Listener(found, int(number))

    return read


def duration(field: str, value: object) -> float:
    """Seconds, from a duration as Go writes it."""
    try:
        return parse_duration(text(field, value))
    except ValueError as exc:
        raise ConfigError(field=field, value=value, reason=str(exc)) from None


def kernel_timeout(field: str, value: object) -> int:
    """Whole seconds that IPVS takes as a timeout."""
    seconds = duration(field, value)
    if not seconds.is_integer() or seconds > _KERNEL_TIMEOUT_MAX_S:
        raise ConfigError(
            field=field,
            value=value,
            reason=f"not whole seconds up to {_KERNEL_TIMEOUT_MAX_S}",
        )
    return int(seconds)


def network(field: str, value: object) -> IPNetwork:
    """A CIDR."""
    try:
        return parse_network(text(field, value))
    except ValueError:
        raise ConfigError(
            field=field, value=value, reason="not a network (address/length)"
        ) from None


def networks(field: str, value: object) -> tuple[IPNetwork, ...]:
    """A list of CIDRs."""
    return tuple(
        network(f"{field}[{index}]", item)
        for index, item in enumerate(texts(field, value))
    )


def ports(field: str, value: object) -> tuple[int, ...]:
    """A list of port numbers."""
    if not isinstance(value, list):
        raise ConfigError(field=field, value=value, reason="not a list")
    for index, item in enumerate(value):
        if not isinstance(item, int) or isinstance(item, bool) or not 0 < item < 65536:
            raise ConfigError(
                field=f"{field}[{index}]", value=item, reason="not a port (1-65535)"
            )
    return tuple(value)


def items_of_words(text: str) -> object:
    """The list that words separated by commas are; `none` is the empty one."""
    return [] if text == "none" else [item.strip() for item in text.split(",")]


def ports_of_words(text: str) -> object:
    """The numbers that words separated by commas are; a word that is none stays."""
    words = text.split(",")
    return [] if text == "none" else [count_word(word.strip()) for word in words]


def cluster_cidrs(field: str, value: object) -> tuple[IPNetwork, ...]:
    """One CIDR, or one of each family separated by a comma."""
    found = tuple(network(field, item) for item in text(field, value).split(","))
    if len({cidr.version for cidr in found}) != len(found):
        raise ConfigError(field=field, value=value, reason="two CIDRs of one family")
    return found


def node_port_addresses(field: str, value: object) -> NodePortAddresses:
    """CIDRs, or the word `primary` in place of them; beside either `localhost`."""
    items = texts(field, value)
    localhost = "localhost" in items
    if "primary" in items:
        if set(items) - {"primary", "localhost"}:
            raise ConfigError(
                field=field, value=value, reason="primary goes alone, or with localhost"
            )
        return NodePortAddresses(primary=True, localhost=localhost)
    found = tuple(
        network(f"{field}[{index}]", item)
        for index, item in enumerate(items)
        if item != "localhost"
    )
    return NodePortAddresses(networks=found, localhost=localhost)
