"""Attributes: walking them, and reading tables of them."""

from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipvsctl.model.errors import WireError
from ipvsctl.wire.netlink.attributes import (
    NLA_F_NESTED,
    Table,
    TableReader,
    attribute,
    iter_attributes,
    text,
    text_attribute,
)

TABLE: Table = {1: "I", 2: {1: "4s", 2: "16s"}, 3: "s", 4: "H"}

ONE = attribute(1, pack("=I", 7))
NESTED = attribute(NLA_F_NESTED | 2, attribute(0x4001, b"\x0a\0\0\1"))
TEXT = text_attribute(3, "rr")
SHORT = attribute(4, pack("=H", 9))
UNKNOWN = attribute(77, b"whatever")


def read(message: bytes, reader: TableReader | None = None) -> tuple[object, ...]:
    """Read a message that stands between other bytes."""
    padded = b"\xff" * 5 + message + b"\xff" * 9
    return (reader or TableReader(TABLE)).read(padded, 5, 5 + len(message))


def test_attributes_are_padded() -> None:
    """The length counts header and payload, the next attribute starts aligned."""
    assert attribute(1, b"abc") == pack("=HH", 7, 1) + b"abc\0"
    assert list(iter_attributes(attribute(1, b"abc") + ONE, 0, 16)) == [
        (1, 4, 7),
        (1, 12, 16),
    ]


def test_text_ends_at_its_nul() -> None:
    """What follows the NUL of a string is not part of it; bad bytes are shown."""
    assert text(b"rr\0junk") == "rr"
    assert text(b"rr") == "rr"
    assert text(b"\xff") == "\ufffd"


@pytest.mark.parametrize(
    ("message", "values"),
    [
        (b"", (None, None, None, None, None)),
        (ONE, (7, None, None, None, None)),
        (ONE + NESTED, (7, b"\x0a\0\0\1", None, None, None)),
        (NESTED + ONE, (7, b"\x0a\0\0\1", None, None, None)),
        (UNKNOWN + TEXT + UNKNOWN, (None, None, None, b"rr\0", None)),
        (SHORT + TEXT, (None, None, None, b"rr\0", 9)),
        (ONE + attribute(1, pack("=I", 8)), (8, None, None, None, None)),
        (attribute(1, pack("=II", 7, 1)), (7, None, None, None, None)),
        (attribute(3, b""), (None, None, None, b"", None)),
    ],
)
def test_table(message: bytes, values: tuple[object, ...]) -> None:
    """Values come in the order of the table, whatever the order of the message.

    Unknown attributes are passed over, the last of two alike counts, and a payload
    may have grown since the table was written.
    """
    reader = TableReader(TABLE)
    assert read(message, reader) == values
    assert read(message, reader) == values


def test_one_length_many_layouts() -> None:
    """Messages of one length that are arranged differently are not mixed up."""
    reader = TableReader(TABLE)
    first = text_attribute(3, "wlc") + attribute(1, pack("=I", 1))
    second = text_attribute(3, "rr") + attribute(1, pack("=I", 2))
    third = attribute(1, pack("=I", 3)) + text_attribute(3, "mh")
    assert len({len(first), len(second), len(third)}) == 1
    for _ in range(3):
        assert read(first, reader) == (1, None, None, b"wlc\0", None)
        assert read(second, reader) == (2, None, None, b"rr\0", None)
        assert read(third, reader) == (3, None, None, b"mh\0", None)


def test_many_layouts_stay_right() -> None:
    """More arrangements than are remembered are read all the same."""
    reader = TableReader(TABLE)
    for _ in range(2):
        for kind in range(100, 160):
            message = attribute(kind, b"1234") + ONE
            assert read(message, reader)[0] == 7


@pytest.mark.parametrize(
    "message",
    [
        attribute(1, b"\0\0"),
        attribute(2, attribute(1, b"\x0a\0")),
        pack("=HH", 3, 1),
        pack("=HH", 0, 1),
        pack("=HH", 9, 1) + b"\0" * 4,
        attribute(2, pack("=HH", 60, 1)),
        b"\0\0\0",
    ],
    ids=[
        "short",
        "nested-short",
        "length-3",
        "length-0",
        "beyond",
        "nested-beyond",
        "3",
    ],
)
def test_bad_attributes(message: bytes) -> None:
    """Attributes that do not add up are an error, again and again."""
    reader = TableReader(TABLE)
    for _ in range(2):
        with pytest.raises(WireError):
            read(message, reader)


def test_a_complete_table_wants_every_value() -> None:
    """A message that lacks a value of a complete table is an error."""
    table: Table = {1: "I", 4: "H"}
    assert read(ONE + SHORT, TableReader(table, required=2)) == (7, 9)
    with pytest.raises(WireError, match="missing"):
        read(ONE, TableReader(table, required=2))


@given(st.lists(st.binary(max_size=64), max_size=8))
def test_a_reader_is_as_good_as_a_new_one(messages: list[bytes]) -> None:
    """What a reader has learned never changes what it reads."""
    learned = TableReader(TABLE)

    def outcome(reader: TableReader, message: bytes) -> object:
        try:
            return read(message, reader)
        except WireError as error:
            return error.offset, error.reason

    for message in (*messages, *messages):
        assert outcome(learned, message) == outcome(TableReader(TABLE), message)


ALIKE = [
    ONE,
    attribute(1, pack("=I", 8)),
    ONE + NESTED,
    attribute(1, pack("=I", 9))
    + attribute(NLA_F_NESTED | 2, attribute(0x4001, b"\x0a\0\0\2")),
    NESTED + ONE,
    TEXT + SHORT,
    text_attribute(3, "lc") + attribute(4, pack("=H", 10)),
    UNKNOWN,
    attribute(77, b"whoever!"),
    b"",
]


@given(
    st.lists(
        st.tuples(st.sampled_from([b"abc", b"abd", b"bcd"]), st.sampled_from(ALIKE))
    ),
    st.binary(max_size=12),
)
def test_runs_are_what_is_read_one_by_one(
    made: list[tuple[bytes, bytes]], rest: bytes
) -> None:
    """Each message once, whatever stands behind the last one."""
    reader = TableReader(TABLE)
    # A head always tells how long its message is.
    messages = [(bytes([len(body)]) + tag, body) for tag, body in made]
    buffer = b"".join(head + attributes for head, attributes in messages) + rest
    place = start = 0
    while place < len(messages):
        head, attributes = messages[place]
        length = len(head) + len(attributes)
        end = len(buffer) - len(rest)
        found = reader.read_run(buffer, start, end, heads=(2, 2), length=length)
        assert found
        for second, values in found:
            assert messages[place][0] == head[:2] + second
            assert values == read(messages[place][1])
            place += 1
        start += length * len(found)
    assert start == len(buffer) - len(rest)


def test_a_run_has_all_that_are_alike() -> None:
    """Only another first head, or other attributes, end it."""
    reader = TableReader(TABLE)
    heads = [b"12:a", b"12:b", b"12:a", b"12:a", b"12:c"]
    alike = b"".join(h + attribute(1, pack("=I", n)) for n, h in enumerate(heads))
    for last in (b"12?a" + ONE, b"12:a" + SHORT, b"20:a" + ONE + SHORT, b"12"):
        buffer = alike + last
        found = reader.read_run(buffer, 0, len(buffer), heads=(3, 1), length=12)
        assert [(second, values[0]) for second, values in found] == [
            (head[3:], number) for number, head in enumerate(heads)
        ]


def test_a_run_begins_with_a_message_that_can_be_read() -> None:
    """What is wrong with the first one is an error."""
    table = TableReader({1: "I", 4: "H"}, required=2)
    with pytest.raises(WireError, match="missing"):
        table.read_run(b"head" + ONE, 0, 12, heads=(4, 0), length=12)
    with pytest.raises(WireError, match="truncated"):
        table.read_run(b"head" + ONE[:4], 0, 8, heads=(4, 0), length=12)
