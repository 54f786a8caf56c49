"""Golden files: datagrams that named kernels sent."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import pytest

from ipvsctl.model.net import IPAddress
from ipvsctl.wire.netlink.messages import NLMSG_HDRLEN, MessageType, iter_messages

T = TypeVar("T")

GOLDEN = Path(__file__).parent.parent / "golden" / "wire"

KERNELS = sorted(
    {
        path.name.rsplit("-virtual-servers", 1)[0]
        for path in GOLDEN.glob("*-servers.hex")
    }
    - {path.name for path in GOLDEN.glob("*-real-servers.hex")}
)

each_kernel = pytest.mark.parametrize("kernel", KERNELS)


def datagrams(kernel: str, name: str) -> list[bytes]:
    """What a kernel sent."""
    text = (GOLDEN / f"{kernel}-{name}.hex").read_text(encoding="ascii")
    return [bytes.fromhex(line) for line in text.splitlines()]


def in_runs(
    decode: Callable[[bytes, int, int], Sequence[T]],
    found: Sequence[tuple[bytes, int, int]],
) -> list[T]:
    """The values of payloads that are decoded in runs."""
    values: list[T] = []
    while len(values) < len(found):
        values += decode(*found[len(values)])
    return values


def repeated(
    payload: tuple[bytes, int, int], address: IPAddress, others: Sequence[IPAddress]
) -> tuple[bytes, int, int]:
    """A payload, and behind it its message with other addresses in place of its own."""
    buffer, start, end = payload
    message = buffer[start - NLMSG_HDRLEN : end]
    more = [message.replace(address, other) for other in others]
    return b"".join([message, *more]), NLMSG_HDRLEN, len(message)


def payloads(kernel: str, name: str) -> list[tuple[bytes, int, int]]:
    """The payloads of the messages that say something, in their datagrams."""
    return [
        (datagram, start, end)
        for datagram in datagrams(kernel, name)
        for kind, _, _, start, end in iter_messages(datagram)
        if kind > max(MessageType)
    ]
