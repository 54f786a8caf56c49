"""What the kernel tells of links and addresses, byte by byte."""

from struct import pack

import pytest

from ipvsctl.model.errors import WireError
from ipvsctl.model.glance import Notice, NoticeKind
from ipvsctl.model.net import parse_address
from ipvsctl.wire.netlink.attributes import attribute, text_attribute
from ipvsctl.wire.netlink.messages import message_header
from ipvsctl.wire.route.attributes import IfaAttr, IfaFlag, RtmType
from ipvsctl.wire.route.notices import parse_notices

LINK = 7


def message(kind: int, body: bytes) -> bytes:
    """One of a datagram."""
    return message_header(kind, 0, len(body)) + body


def link(kind: RtmType, name: str, *, is_up: bool) -> bytes:
    """Of a link, with an attribute before its name."""
    header = pack("=BxHiII", 0, 1, LINK, int(is_up), 0xFFFFFFFF)
    return message(kind, header + attribute(13, b"\0" * 4) + text_attribute(3, name))


def address(kind: RtmType, text: str, flags: int = 0) -> bytes:
    """Of an address."""
    found = parse_address(text)
    family = 2 if found.version == 4 else 10
    header = pack("=BBBBI", family, found.family.bits, 0, 0, LINK)
    return message(
        kind,
        header
        + attribute(IfaAttr.ADDRESS, found.packed)
        + attribute(IfaAttr.FLAGS, pack("=I", flags)),
    )


@pytest.mark.parametrize(
    ("datagram", "notices"),
    [
        (
            link(RtmType.NEWLINK, "kube-ipvs0", is_up=False),
            [Notice(kind=NoticeKind.LINK_DOWN, link="kube-ipvs0")],
        ),
        (
            link(RtmType.DELLINK, "veth1", is_up=True),
            [Notice(kind=NoticeKind.LINK_DOWN, link="veth1")],
        ),
        (link(RtmType.NEWLINK, "veth1", is_up=True), []),
        (
            address(RtmType.DELADDR, "10.96.0.10")
            + address(RtmType.NEWADDR, "fd00::10"),
            [
                Notice(
                    kind=NoticeKind.ADDRESS_GONE, address=parse_address("10.96.0.10")
                ),
                Notice(
                    kind=NoticeKind.ADDRESS_ADDED, address=parse_address("fd00::10")
                ),
            ],
        ),
        # It is told again when it can be used.
        (address(RtmType.NEWADDR, "fd00::10", IfaFlag.TENTATIVE), []),
        (address(RtmType.NEWADDR, "fe80::1"), []),
        (address(RtmType.NEWADDR, "127.0.0.2"), []),
        # Clouds have these on links of nodes, and node ports are served there.
        (
            address(RtmType.NEWADDR, "169.254.1.1"),
            [
                Notice(
                    kind=NoticeKind.ADDRESS_ADDED, address=parse_address("169.254.1.1")
                )
            ],
        ),
        (message(RtmType.NEWROUTE, b"\0" * 12), []),
        (b"", []),
    ],
)
def test_notices(datagram: bytes, notices: list[Notice]) -> None:
    """Those that may matter, in their order."""
    assert [*parse_notices(datagram)] == notices


@pytest.mark.parametrize(
    "datagram",
    [
        message(RtmType.NEWLINK, b"\0" * 4),
        message(RtmType.DELADDR, b"\2"),
        address(RtmType.DELADDR, "10.96.0.10")[:-3],
    ],
)
def test_what_is_no_notice(datagram: bytes) -> None:
    """Is refused, and nothing is made up."""
    with pytest.raises(WireError):
        [*parse_notices(datagram)]


def test_words() -> None:
    """As the log has them."""
    assert str(Notice(kind=NoticeKind.LOST)) == "notices lost"
    assert str(Notice(kind=NoticeKind.LINK_DOWN, link="a")) == "link down: a"
