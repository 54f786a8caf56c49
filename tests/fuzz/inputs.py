"""Inputs: what is right, with some of it changed, and what was never right."""

import copy
from collections.abc import Iterator
from typing import Any, Final

from hypothesis import strategies as st

from tests.builders import Raw

ADDRESSES: Final = (
    "10.96.0.10", "fd00:10:96::a", "0.0.0.0", "::", "255.255.255.255", "127.0.0.1",
    "::1", "::ffff:10.0.0.1", "fe80::1", "fe80::1%eth0", "224.0.0.1", "10.0.0.0/8",
    "10.0.0.0/33", "010.1.1.1", "None", "", " 10.0.0.1", "10.0.0.1\n",
)  # fmt: skip

NUMBERS: Final = (
    0, 1, -1, 22, 80, 10250, 30000, 32767, 65535, 65536, 2**31, 2**32, 2**63, 2**64,
    10**400, 1.5, float("inf"), float("nan"),
)  # fmt: skip

WORDS: Final = (
    "TCP", "UDP", "SCTP", "tcp", "ClusterIP", "NodePort", "LoadBalancer", "Local",
    "ExternalName", "Cluster", "ClientIP", "IPv4", "IPv6", "FQDN", "VIP", "Proxy",
    "PreferSameZone", "true", "yes", "null", "a" * 300, "\x00", "\x1b[2J",
    "../../etc/passwd", "web", "default",
)  # fmt: skip

LEAVES: Final[st.SearchStrategy[Any]] = (
    st.none()
    | st.booleans()
    | st.sampled_from(ADDRESSES)
    | st.sampled_from(NUMBERS)
    | st.sampled_from(WORDS)
    | st.text(max_size=20)
    | st.just([])
    | st.just({})
)


def _places(value: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    inside: Any = ()
    if isinstance(value, dict):
        inside = value.items()
    elif isinstance(value, list):
        inside = enumerate(value)
    for name, part in inside:
        yield from _places(part, (*path, name))


@st.composite
def changed_object(draw: st.DrawFn, *examples: Raw) -> Raw:
    """One of these objects with some of its parts replaced, doubled or left out."""
    found = copy.deepcopy(draw(st.sampled_from(examples)))
    for _ in range(draw(st.integers(0, 4))):
        places = list(_places(found))
        if not places:
            break
        *path, last = draw(st.sampled_from(places))
        holder: Any = found
        for name in path:
            holder = holder[name]
        match draw(st.sampled_from(("replace", "drop", "wrap", "repeat"))):
            case "replace":
                holder[last] = draw(LEAVES)
            case "drop":
                del holder[last]
            case "wrap":
                holder[last] = [holder[last]]
            case _:
                old = holder[last]
                holder[last] = old * 3 if isinstance(old, list | str) else [old, old]
    return found


@st.composite
def changed_bytes(draw: st.DrawFn, *examples: bytes) -> bytes:
    """One of these with some of its bytes changed, cut, moved or made more."""
    found = bytearray(draw(st.sampled_from(examples)))
    for _ in range(draw(st.integers(0, 6))):
        place = draw(st.integers(0, len(found)))
        match draw(st.sampled_from(("set", "cut", "put", "end", "twice", "flip"))):
            case "set" if place < len(found):
                found[place] = draw(st.sampled_from((0, 1, 4, 0x7F, 0x80, 0xFF)))
            case "flip" if place < len(found):
                found[place] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del found[place : place + draw(st.integers(1, 16))]
            case "put":
                found[place:place] = draw(st.binary(min_size=1, max_size=16))
            case "end":
                del found[place:]
            case "twice":
                found += found[place:]
            case _:
                pass
    return bytes(found)


@st.composite
def attributes(draw: st.DrawFn, depth: int = 3) -> bytes:
    """Netlink attributes, some with a length that is wrong."""
    found = b""
    for _ in range(draw(st.integers(0, 4))):
        nested = depth and draw(st.booleans())
        inner = draw(attributes(depth - 1)) if nested else draw(st.binary(max_size=20))
        length = 4 + len(inner) + draw(st.sampled_from((0, 0, 0, 0, -5, -1, 1, 300)))
        kind = draw(st.integers(0, 40)) | (0x8000 if nested else 0)
        head = max(length, 0).to_bytes(2, "little") + kind.to_bytes(2, "little")
        found += head + inner + b"\0" * (-len(inner) % 4)
    return found
