"""`kube.lines`: chunks to lines."""

from collections.abc import AsyncIterator

import pytest

from ipvsctl.kube.lines import LineTooLong, lines


async def chunked(body: bytes, size: int) -> AsyncIterator[bytes]:
    """A body in chunks of one size."""
    for start in range(0, len(body), size):
        yield body[start : start + size]


@pytest.mark.parametrize("size", range(1, 12))
async def test_any_chunks(size: int) -> None:
    """Lines are the same wherever chunks end; empty ones are none."""
    body = b"one\ntwo\n\nthree\r\n\nx\n"
    found = [line async for line in lines(chunked(body, size))]
    assert found == [b"one", b"two", b"three\r", b"x"]


async def test_cut() -> None:
    """What has no end is no line."""
    assert [line async for line in lines(chunked(b"one\ntw", 4))] == [b"one"]


async def test_too_long() -> None:
    """A line that does not end is given up before it fills the memory."""
    found = aiter(lines(chunked(b"one\n" + b"x" * 100, 3), limit_bytes=8))
    assert await anext(found) == b"one"
    with pytest.raises(LineTooLong, match="more than 8 bytes"):
        await anext(found)
