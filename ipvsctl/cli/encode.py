"""JSON of large answers, made in pieces.

Encoding stops every other thread, and so does getting tens of megabytes in one, or
freeing a hundred thousand values in one.
"""

from collections.abc import Generator
from typing import Final

import msgspec

_PART: Final = 20
"""Items that are encoded in one step: less than a millisecond, some 70 kB."""


def encode_in_steps(
    value: msgspec.Struct, field: str
) -> Generator[None, None, tuple[bytes, ...]]:
    """The value as JSON, in pieces that make the whole one after the other.

    Args:
        value: all but one of its fields are small, and there is another one. Nobody
            else should have it: its items are let go of as they are encoded.
        field: that one, a tuple. It comes last.
    """
    small = msgspec.structs.asdict(value)
    left = [*reversed(small.pop(field))]
    del value
    pieces = [
        msgspec.json.encode(small)[:-1],
        b"," + msgspec.json.encode(field) + b":[",
    ]
    comma = b""
    while left:
        yield
        some = left[: -_PART - 1 : -1]
        del left[-_PART:]
        pieces.append(comma + msgspec.json.encode(some)[1:-1])
        comma = b","
    return (*pieces, b"]}")
