"""Chunks of a body to lines.

aiohttp's own line reader has a limit that an object may exceed: etcd takes 1.5 MiB in
a request by default, which is more as JSON, and clusters raise it.
"""

from collections.abc import AsyncIterator
from typing import Final

LINE_MAX_BYTES: Final = 64 * 2**20
"""No object is longer; a longer line would only fill the memory."""


class LineTooLong(ValueError):
    """A line does not end."""


async def lines(
    chunks: AsyncIterator[bytes], *, limit_bytes: int = LINE_MAX_BYTES
) -> AsyncIterator[bytes]:
    """Every complete line without its end, not the empty ones.

    The bytes after the last line break are no line: it was cut off.

    Raises:
        LineTooLong: a line has more bytes than the limit.
    """
    pieces: list[bytes] = []
    held = 0
    async for chunk in chunks:
        head, *rest = chunk.split(b"\n")
        pieces.append(head)
        held += len(head)
        if rest:
            first = b"".join(pieces)
            tail = rest.pop()
            pieces, held = [tail], len(tail)
            for line in (first, *rest):
                if line.strip():
                    yield line
        if held > limit_bytes:
            raise LineTooLong(f"a line of more than {limit_bytes} bytes")
