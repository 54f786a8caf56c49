"""Names of nftables' tables over netlink."""

import pytest

from ipvsctl.model.errors import WireError
from ipvsctl.wire.nftables.replies import table
from ipvsctl.wire.nftables.requests import list_tables

HEADER = bytes((2, 0, 0, 1))
NAME = b"\x0f\x00\x01\x00kube-proxy\0\0"
HANDLE = b"\x0c\x00\x04\x00" + bytes(8)


def test_the_question() -> None:
    """A dump of NFT_MSG_GETTABLE [0xa01] of no family."""
    assert list_tables() == (
        b"\x14\0\0\0" + b"\x01\x0a" + b"\x01\x03" + bytes(8) + bytes(4)
    )


def test_a_table() -> None:
    """Family and name, in nft's words."""
    payload = HEADER + NAME + HANDLE
    assert str(table(b"xxxx" + payload, 4, 4 + len(payload))) == "ip kube-proxy"
    inet = bytes((1,)) + payload[1:]
    assert str(table(inet, 0, len(inet))) == "inet kube-proxy"
    new = bytes((99,)) + payload[1:]
    assert str(table(new, 0, len(new))) == "99 kube-proxy"


@pytest.mark.parametrize("payload", [b"", HEADER[:2], HEADER, HEADER + HANDLE])
def test_no_table(payload: bytes) -> None:
    """Without a name, or cut short."""
    with pytest.raises(WireError):
        table(payload, 0, len(payload))
