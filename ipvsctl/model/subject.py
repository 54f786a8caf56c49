"""Subjects of changes and ops: each names one thing in the kernel, without its value.

Two ops about the same thing have equal subjects, whatever they want of it.
"""

import msgspec

from ipvsctl.model.ipvs import VirtualServerKey
from ipvsctl.model.net import IPAddress, IPFamily
from ipvsctl.model.sets import Leftover, SetEntry, SetKey


class SysctlSubject(msgspec.Struct, gc=False, frozen=True):
    """A sysctl; `name` is relative to `/proc/sys`."""

    name: str


class TimeoutsSubject(msgspec.Struct, gc=False, frozen=True):
    """The idle timeouts of IPVS connections, all together."""


class LinkSubject(msgspec.Struct, gc=False, frozen=True):
    """A link, without its addresses."""

    name: str


class EntrySubject(msgspec.Struct, gc=False, frozen=True):
    """An entry of a set.

    Attributes:
        entry: the entry's `identity`.
    """

    key: SetKey
    entry: SetEntry


class RulesSubject(msgspec.Struct, gc=False, frozen=True):
    """All rules of a family."""

    family: IPFamily


class FirewallSubject(msgspec.Struct, gc=False, frozen=True):
    """Another firewall than the one in use."""

    name: str


Subject = (
    VirtualServerKey
    | EntrySubject
    | IPAddress
    | SysctlSubject
    | TimeoutsSubject
    | LinkSubject
    | SetKey
    | Leftover
    | RulesSubject
    | FirewallSubject
)
"""A set's key stands for the set without its entries, a virtual server's for its real
servers and flows too, and a VIP for its address and its route: who changes one of them
changes them together."""
