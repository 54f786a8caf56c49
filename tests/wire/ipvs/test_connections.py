"""Rows of `/proc/net/ip_vs_conn`."""

import pytest

from ipvsctl.model.errors import WireError
from ipvsctl.model.ipvs import RealServerKey, VirtualServerKey
from ipvsctl.model.neighbours import Connection
from ipvsctl.model.net import IPFamily, Protocol, parse_address
from ipvsctl.wire.ipvs.connections import parse_connection, spelled

HEAD = "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData"
ROW = "TCP AC10000A 9C40 0A60000A 0050 AC10010A 1F90 ESTABLISHED     898"
ROW6 = (
    "UDP fd00:0172:0016:0000:0000:0000:0000:0010 9C40"
    " fd00:0010:0096:0000:0000:0000:0000:0010 0035"
    " fd00:0172:0016:0000:0000:0000:0000:0011 14E9 UDP             3"
)
TEMPLATE = "TCP AC10000A 0000 0A60000A 0050 AC10010A 1F90 NONE        10799"


def test_a_row() -> None:
    """Client, virtual server, real server, state and time."""
    assert parse_connection(ROW) == Connection(
        client=RealServerKey(parse_address("172.16.0.10"), 40000),
        virtual_server=VirtualServerKey(
            family=IPFamily.IPV4,
            protocol=Protocol.TCP,
            address=parse_address("10.96.0.10"),
            port=80,
        ),
        real_server=RealServerKey(parse_address("172.16.1.10"), 8080),
        state="ESTABLISHED",
        expires_s=898,
    )


def test_a_row_of_ipv6() -> None:
    """Its addresses are in eight groups."""
    found = parse_connection(ROW6)
    assert found is not None
    assert str(found.virtual_server) == "udp [fd00:10:96::10]:53"
    assert str(found.real_server) == "[fd00:172:16::11]:5353"


@pytest.mark.parametrize("line", ["", HEAD, TEMPLATE, "AH  AC10000A 9C40"])
def test_what_is_no_connection(line: str) -> None:
    """Headings, templates of persistence and other protocols are passed over."""
    assert parse_connection(line) is None


@pytest.mark.parametrize("line", ["TCP", ROW[:50], ROW.replace("9C40", "port")])
def test_what_is_no_row(line: str) -> None:
    """A row that is cut says so, with what was there."""
    with pytest.raises(WireError, match="TCP"):
        parse_connection(line)


@pytest.mark.parametrize("text", ["172.16.0.10", "fd00:172:16::10"])
def test_an_address_is_found_by_how_it_is_spelled(text: str) -> None:
    """As the rows have it."""
    assert f" {spelled(parse_address(text))} " in f"{ROW} {ROW6}"
