"""Addresses and networks as kube-proxy v1.36 reads what an API server has stored.

Source: k8s.io/utils/net `ParseIPSloppy`, `ParseCIDRSloppy`, `IPFamilyOfCIDR`.
"""

from ipaddress import IPv4Network, IPv6Network, ip_network

from ipvsctl.model.net import IPAddress, IPv4Address, parse_address

_MAPPED = "::ffff:"


def address_of(text: str) -> IPAddress:
    """Numbers of IPv4 are decimal; a mapped address is the IPv4 address."""
    text = text.lower().removeprefix(_MAPPED)
    if ":" in text:
        return parse_address(text)
    return IPv4Address(bytes(int(number) for number in text.split(".")))


def network_of(text: str) -> IPv4Network | IPv6Network:
    """A network of mapped addresses is one of IPv4, its length without the prefix."""
    host, length = text.strip().split("/")
    bits = int(length) - (96 if host.lower().startswith(_MAPPED) else 0)
    return ip_network((address_of(host), bits), strict=False)


def is_of(text: str, version: int) -> bool:
    """Whether an address or network is of a family."""
    read = network_of if "/" in text else address_of
    return read(text).version == version
