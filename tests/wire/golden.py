"""Golden files: datagrams that named kernels sent."""

from pathlib import Path

import pytest

from ipvsctl.wire.netlink.messages import MessageType, iter_messages

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


def payloads(kernel: str, name: str) -> list[tuple[bytes, int, int]]:
    """The payloads of the messages that say something, in their datagrams."""
    return [
        (datagram, start, end)
        for datagram in datagrams(kernel, name)
        for kind, _, _, start, end in iter_messages(datagram)
        if kind > max(MessageType)
    ]
