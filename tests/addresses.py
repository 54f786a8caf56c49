"""Addresses by the number, which the program has no need of."""

import ipaddress
from typing import TypeVar

from ipvsctl.model.net import IPAddress, to_address

A = TypeVar("A", bound=IPAddress)


def later(address: A, number: int) -> A:
    """The address that comes so many after another one."""
    return type(address)(int(address) + number)


def of(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> IPAddress:
    """The program's own for one of `ipaddress`', which has networks and interfaces."""
    return to_address(address.packed)
