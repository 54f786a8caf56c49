"""Netlink attributes: encoding them, walking them, reading tables of them.

    0        2      4
    | length | type | payload ... | padding to 4 |               [struct nlattr]

The length counts the header, not the padding. The two high bits of the type are
flags. Everything is in host byte order unless NLA_F_NET_BYTEORDER says otherwise.
Source: uapi/linux/netlink.h; lib/nlattr.c.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from struct import Struct, calcsize
from typing import Any, Final, NamedTuple

from ipvsctl.model.errors import WireError

NLA_HDRLEN: Final = 4
NLA_ALIGNTO: Final = 4
NLA_F_NESTED: Final = 0x8000
NLA_F_NET_BYTEORDER: Final = 0x4000
NLA_TYPE_MASK: Final = 0x3FFF

_HEADER: Final = Struct("=HH")
_MAX_LAYOUTS: Final = 16
_PADDING: Final = (b"", b"\0\0\0", b"\0\0", b"\0")


def attribute(kind: int, payload: bytes) -> bytes:
    """One attribute, padded; `kind` includes any flag."""
    size = len(payload)
    return _HEADER.pack(NLA_HDRLEN + size, kind) + payload + _PADDING[size & 3]


def text_attribute(kind: int, text: str) -> bytes:
    """A string attribute with its final NUL."""
    return attribute(kind, text.encode() + b"\0")


def text(payload: bytes) -> str:
    """A string attribute's payload, up to its NUL."""
    return payload.split(b"\0", 1)[0].decode("ascii", "replace")


def iter_attributes(
    buffer: bytes, start: int, end: int
) -> Iterator[tuple[int, int, int]]:
    """The attributes in a payload: type without flags, payload start, payload end.

    Raises:
        WireError: a length that is too small or goes beyond `end`.
    """
    offset = start
    while offset < end:
        if end - offset < NLA_HDRLEN:
            raise WireError(offset=offset, reason="truncated attribute header")
        length, kind = _HEADER.unpack_from(buffer, offset)
        stop = offset + length
        if length < NLA_HDRLEN or stop > end:
            raise WireError(offset=offset, reason=f"attribute length {length}")
        yield kind & NLA_TYPE_MASK, offset + NLA_HDRLEN, stop
        offset += (length + 3) & ~3


Table = Mapping[int, "str | Table"]
"""Attributes to read: type to a `struct` code (`B H I Q`, host order; `s` the whole
payload), or to the table inside a nested one; at least two values in all. Attributes
that are not in the table are passed over."""


Heads = tuple[int, int]
"""The sizes of two heads of a message, in bytes."""


class TableReader:
    """Reads a table of attributes out of many alike messages.

    A dump repeats one arrangement of attributes thousands of times, so the first
    message is walked and remembered as two `struct` formats: one for the attribute
    headers, which prove that a later message is arranged alike, and one for the
    values. An unseen arrangement (another kernel, an optional attribute) is walked
    and learned like the first.

    Args:
        table: what to read.
        required: refuse a message that lacks any of so many first values of the table.
    """

    def __init__(self, table: Table, *, required: int = 0) -> None:
        self._table = table
        self._required = required
        self._slots = _count(table)
        self._layouts: dict[int, list[_Layout]] = {}

    def read(self, buffer: bytes, start: int, end: int) -> tuple[Any, ...]:
        """The values in the order of the table, nested ones in place; absent: None.

        Raises:
            WireError: attributes that do not add up, one too short for its code, or
                one that is required missing.
        """
        layout = self._layout(buffer, start, end)
        return layout.pick(layout.values(buffer, start))

    def read_run(
        self, buffer: bytes, start: int, end: int, *, heads: Heads, length: int
    ) -> list[tuple[bytes, tuple[Any, ...]]]:
        """The second head and the values of messages that are arranged alike.

        Nearly all messages of a dump are, and no Python runs for one but to compare
        its headers. The run ends where a message has another first head, or other
        attributes.

        Args:
            buffer: where they follow each other without gaps.
            start: where the first one begins.
            end: where the last one ends at the latest.
            heads: bytes of each that come before its attributes: the same in all of
                them, and those that need not be.
            length: of the first one, in bytes.

        Returns:
            Of each the same as `read`; of the first one at least.

        Raises:
            WireError: as `read` does, for the first one.
        """
        layout = self._layout(buffer, start + sum(heads), start + length)
        run = layout.runs.get(heads)
        if run is None:
            run = layout.runs[heads] = layout.run(heads, length)
        count = (end - start) // length
        each = run.unpack(memoryview(buffer)[start : start + count * length])
        first = next(each)
        expected, fixed, values, pick = run.fixed(first), *run[1:], layout.pick
        found = [(first[1], pick(values(first)))]
        for fields in each:
            if fixed(fields) != expected:
                break
            found.append((fields[1], pick(values(fields))))
        return found

    def _layout(self, buffer: bytes, start: int, end: int) -> "_Layout":
        """How the attributes of a message are arranged; remembered, or learned now."""
        layouts = self._layouts.get(end - start)
        if layouts is not None and end <= len(buffer):
            for layout in layouts:
                if layout.headers(buffer, start) == layout.expected:
                    return layout
        if not start <= end <= len(buffer):
            raise WireError(offset=len(buffer), reason="truncated message")
        layout = self._learn(buffer, start, end)
        known = self._layouts.setdefault(end - start, [])
        if len(known) < _MAX_LAYOUTS:
            known.append(layout)
        return layout

    def _learn(self, buffer: bytes, start: int, end: int) -> "_Layout":
        walk = _Walk(buffer)
        walk.table(self._table, 0, start, end)
        if any(slot not in walk.values for slot in range(self._required)):
            raise WireError(offset=start, reason="attributes are missing")
        header_format = value_format = "="
        position = start
        for offset in walk.headers:
            header_format += f"{offset - position}xI"
            position = offset + NLA_HDRLEN
        position = start
        order = sorted(walk.values, key=lambda slot: walk.values[slot].offset)
        for slot in order:
            value = walk.values[slot]
            value_format += f"{value.offset - position}x{value.code}"
            position = value.offset + value.size
        headers = Struct(header_format).unpack_from
        place_of = {slot: place for place, slot in enumerate(order)}
        return _Layout(
            headers,
            headers(buffer, start),
            Struct(value_format).unpack_from,
            _picker([place_of.get(slot, -1) for slot in range(self._slots)]),
            tuple(offset - start for offset in walk.headers),
            tuple(
                walk.values[slot]._replace(offset=walk.values[slot].offset - start)
                for slot in order
            ),
            {},
        )


class _Run(NamedTuple):
    """How to take messages apart that follow each other.

    Attributes:
        unpack: each into its fields.
        fixed: the fields that are the same in all of a run.
        values: those of the others that are asked for, in the order they come in.
    """

    unpack: Callable[[memoryview], Iterator[tuple[Any, ...]]]
    fixed: Callable[[tuple[Any, ...]], Any]
    values: Callable[[tuple[Any, ...]], tuple[Any, ...]]


class _Value(NamedTuple):
    offset: int
    size: int
    code: str


class _Layout(NamedTuple):
    """An arrangement of attributes.

    Attributes:
        headers: takes out the attribute headers.
        expected: these.
        values: takes out the values, in the order they come in.
        pick: puts them in the order of the table.
        header_offsets: where the headers are, behind the head of a message.
        value_places: where the values are, likewise.
        runs: by the sizes of the heads.
    """

    headers: Callable[[bytes, int], tuple[Any, ...]]
    expected: tuple[Any, ...]
    values: Callable[[bytes, int], tuple[Any, ...]]
    pick: Callable[[tuple[Any, ...]], tuple[Any, ...]]
    header_offsets: tuple[int, ...]
    value_places: tuple[_Value, ...]
    runs: "dict[Heads, _Run]"

    def run(self, heads: Heads, length: int) -> _Run:
        """Messages of a length with so many bytes before their attributes."""
        headers = [_Value(offset, NLA_HDRLEN, "I") for offset in self.header_offsets]
        first, second = heads
        shape, head = f"={first}s{second}s", first + second
        position = head
        fixed, values = [0], list[int]()
        for place, one in enumerate(sorted([*headers, *self.value_places]), 2):
            shape += f"{head + one.offset - position}x{one.code}"
            position = head + one.offset + one.size
            (fixed if one in headers else values).append(place)
        whole = Struct(f"{shape}{length - position}x")
        return _Run(whole.iter_unpack, itemgetter(*fixed), _all_of(values))


class _Walk:
    """Where the attributes of one message are."""

    def __init__(self, buffer: bytes) -> None:
        self.buffer = buffer
        self.headers: list[int] = []
        self.values: dict[int, _Value] = {}

    def table(self, table: Table, first_slot: int, start: int, end: int) -> None:
        slots = _slots(table, first_slot)
        for kind, begin, stop in iter_attributes(self.buffer, start, end):
            self.headers.append(begin - NLA_HDRLEN)
            inside = table.get(kind)
            if isinstance(inside, str):
                self.value(slots[kind], inside, begin, stop)
            elif inside is not None:
                self.table(inside, slots[kind], begin, stop)

    def value(self, slot: int, code: str, begin: int, stop: int) -> None:
        if code == "s":
            code = f"{stop - begin}s"
        size = calcsize(f"={code}")
        if stop - begin < size:
            raise WireError(offset=begin, reason="attribute is too short")
        self.values[slot] = _Value(begin, size, code)


def _count(table: Table) -> int:
    return sum(1 if isinstance(v, str) else _count(v) for v in table.values())


def _slots(table: Table, first: int) -> dict[int, int]:
    slots = {}
    for kind, inside in table.items():
        slots[kind] = first
        first += 1 if isinstance(inside, str) else _count(inside)
    return slots


def _all_of(places: Sequence[int]) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    """A function that takes these out; a tuple also of one or none."""
    if len(places) > 1:
        return itemgetter(*places)
    return lambda fields: tuple([fields[place] for place in places])


def _picker(
    places: Sequence[int],
) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    """A function that puts values in the order of the table; place -1 is absent."""
    getter = itemgetter(*places)
    if -1 not in places:
        return getter
    return lambda values: getter((*values, None))
