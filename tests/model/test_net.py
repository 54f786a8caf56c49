"""Addresses and networks are read as Kubernetes reads what it has stored."""

import copy
import ipaddress
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipvsctl.model.net import (
    IPAddress,
    IPv4Address,
    IPv6Address,
    family_of,
    first_of,
    is_in,
    last_of,
    network_of,
    parse_address,
    parse_network,
    to_address,
)
from tests.addresses import of

READ = [
    ("10.0.0.1", "10.0.0.1"),
    ("10.96.011.012", "10.96.11.12"),
    ("010.000.000.000", "10.0.0.0"),
    ("0000000000010.0.0.1", "10.0.0.1"),
    ("000.000.000.000", "0.0.0.0"),
    ("255.255.0255.0255", "255.255.255.255"),
    ("fd00::1", "fd00::1"),
    ("FD00::ABCD", "fd00::abcd"),
    ("fd00:0000:0:00:0::01", "fd00::1"),
    ("fd00::00001", "fd00::1"),
    ("::", "::"),
    ("::ffff:10.0.0.1", "10.0.0.1"),
    ("::FFFF:010.0.0.01", "10.0.0.1"),
    ("::ffff:a00:1", "10.0.0.1"),
    ("0:0:0:0:0:ffff:0a00:0001", "10.0.0.1"),
    ("::10.0.0.1", "::a00:1"),
    ("64:ff9b::10.0.0.1", "64:ff9b::a00:1"),
]
"""What `ParseIPSloppy` makes of a text."""

REFUSED = [
    "",
    " ",
    " 10.0.0.1",
    "10.0.0.1 ",
    "10.0.0.1\n",
    "10.0.0",
    "10.0.1",
    "10",
    "10.0.0.1.1",
    "10.0.0.1.",
    ".10.0.0.1",
    "10..0.1",
    "10.0.0.256",
    "10.0.0.0256",
    "10.0.0.-1",
    "10.0.0.+1",
    "10.0.0.0x1",
    "0xa.0.0.1",
    "10.0.0.a",
    "10.0.0.\u0661",
    "10.0.0.1/32",
    "10.0.0.1:80",
    "fd00",
    "fd00:",
    ":::",
    "fd00::1::2",
    "fd00::12345",
    "fd00::g",
    "1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:8:9",
    "1:2:3:4:5:6:7:8::",
    "fe80::1%eth0",
    "fe80::1%25eth0",
    "[fd00::1]",
    "::ffff:10.0.0",
    "::ffff:0xa.0.0.1",
    "localhost",
    "0" * 300 + ".0.0.1",
]

NETWORKS = [
    ("10.0.0.0/8", "10.0.0.0/8"),
    ("010.000.000.000/8", "10.0.0.0/8"),
    ("10.1.2.3/8", "10.0.0.0/8"),
    ("1.2.3.4/024", "1.2.3.0/24"),
    ("10.0.0.0/0000000008", "10.0.0.0/8"),
    ("10.0.0.1/32", "10.0.0.1/32"),
    ("10.0.0.1/0", "0.0.0.0/0"),
    (" 10.0.0.0/8\t", "10.0.0.0/8"),
    ("FD00::/8", "fd00::/8"),
    ("fd00::00001/128", "fd00::1/128"),
    ("::/0", "::/0"),
    ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
    ("::FFFF:010.1.2.3/104", "10.0.0.0/8"),
    ("::ffff:0:0/96", "0.0.0.0/0"),
    ("::ffff:10.0.0.1/128", "10.0.0.1/32"),
    # Shorter than the prefix of mapped addresses, it is a network of IPv6 addresses.
    ("::ffff:10.0.0.0/95", "::fffe:0:0/95"),
    ("::ffff:10.0.0.0/0", "::/0"),
    ("::10.0.0.0/104", "::a00:0/104"),
]
"""What kube-proxy makes of a text: `ParseCIDRSloppy`, shown as it shows it to ipset."""

NO_NETWORKS = [
    "",
    " ",
    "/",
    "/8",
    "10.0.0.0",
    "10.0.0.0/",
    "10.0.0.0/ 8",
    "10.0.0.0 /8",
    "10.0.0.0/33",
    "10.0.0.0/-1",
    "10.0.0.0/+8",
    "10.0.0.0/8.0",
    "10.0.0.0/\u0668",
    "10.0.0.0/8/8",
    "10.0.0.0/255.0.0.0",
    "10.0.0.0/0.255.255.255",
    "10.0.0.0/" + "9" * 10_000,
    "10.0.0/8",
    "10/8",
    "fd00::/129",
    "::ffff:10.0.0.0/129",
    "fe80::%eth0/64",
    "fe80::/64%eth0",
    "10.0.0.0-10.0.0.255",
    "10.0.0.0/8,10.1.0.0/16",
    "0" * 300 + ".0.0.0/8",
]


def is_read(parse: Callable[[str], object], text: str) -> bool:
    """Whether the parser takes it."""
    try:
        parse(text)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(("text", "address"), READ)
def test_addresses(text: str, address: str) -> None:
    """Leading zeros are decimal and idle; mapped addresses are IPv4's."""
    assert str(parse_address(text)) == address


@pytest.mark.parametrize("text", REFUSED)
def test_no_addresses(text: str) -> None:
    """What Go's parser refuses is refused."""
    assert not is_read(parse_address, text)


@pytest.mark.parametrize(("text", "network"), NETWORKS)
def test_networks(text: str, network: str) -> None:
    """Host bits and space are idle, and a network of mapped addresses is IPv4's."""
    assert str(parse_network(text)) == network


@pytest.mark.parametrize("text", NO_NETWORKS)
def test_no_networks(text: str) -> None:
    """A netmask is no length, and what Go's parser refuses is refused."""
    assert not is_read(parse_network, text)


@given(st.ip_addresses(v=4), st.lists(st.integers(0, 9), min_size=4, max_size=4))
def test_zeros_before_a_number_are_idle(
    address: ipaddress.IPv4Address, counts: list[int]
) -> None:
    """However many there are, in whichever number."""
    parts = zip(counts, str(address).split("."), strict=True)
    assert parse_address(".".join("0" * n + part for n, part in parts)) == of(address)


@given(st.ip_addresses(v=6), st.integers(0, 9))
def test_zeros_before_a_group_are_idle(
    address: ipaddress.IPv6Address, count: int
) -> None:
    """In IPv6 too."""
    groups = address.exploded.split(":")
    text = ":".join("0" * count + group for group in groups)
    assert parse_address(text) == of(address.ipv4_mapped or address)


@given(st.ip_addresses())
def test_an_address_is_the_same_as_that_of_the_standard_library(
    other: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    """Bytes, number, text, and what kind of address it is."""
    address = of(other)
    assert bytes(address) == address.packed == other.packed
    assert int(address) == int(other)
    assert address.version == other.version
    assert type(address)(str(address)) == type(address)(int(address)) == address
    assert ipaddress.ip_address(str(address)) == other
    assert str(address) == str(other)
    assert f"{address}" == str(address)
    assert address.is_loopback == other.is_loopback
    assert address.is_link_local == other.is_link_local
    assert address.is_unspecified == other.is_unspecified
    assert copy.deepcopy(address) == address
    assert repr(address) == f"{type(other).__name__}({str(address)!r})"


@given(st.ip_addresses(), st.ip_addresses(), st.integers(0, 128))
def test_what_is_in_a_network(
    one: ipaddress.IPv4Address | ipaddress.IPv6Address,
    other: ipaddress.IPv4Address | ipaddress.IPv6Address,
    length: int,
) -> None:
    """As `ipaddress` has it, and never one of the other family."""
    length = min(length, one.max_prefixlen)
    network = network_of(of(one), length)
    assert network == ipaddress.ip_network((one, length), strict=False)
    assert is_in(of(other), network) == (other in network)
    for end in (first_of(network), last_of(network)):
        assert is_in(end, network)
        assert family_of(end) is family_of(network)
    assert str(first_of(network)) == str(of(network[0]))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (IPv4Address, "::1"),
        (IPv4Address, "10.0.0"),
        (IPv4Address, "010.0.0.1"),
        (IPv4Address, bytes(16)),
        (IPv4Address, -1),
        (IPv4Address, 1 << 32),
        (IPv6Address, "10.0.0.1"),
        (IPv6Address, "fe80::1%eth0"),
        (IPv6Address, bytes(4)),
    ],
)
def test_no_addresses_of_a_family(
    kind: type[IPAddress], value: str | bytes | int
) -> None:
    """The error says of which family it is none."""
    with pytest.raises(ValueError, match=f"no {kind.family.label} address"):
        kind(value)


def test_as_many_bytes_as_no_address_has() -> None:
    """Neither family's."""
    with pytest.raises(ValueError, match="5 bytes"):
        to_address(bytes(5))


def test_addresses_of_two_families_are_never_equal() -> None:
    """Not even when both are all zeros, nor is the order of keys theirs alone."""
    assert len({IPv4Address(0), IPv6Address(0), IPv4Address("0.0.0.0")}) == 2
