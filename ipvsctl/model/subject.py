"""Subjects of changes and ops: each names one thing in the kernel, without its value.

Two ops about the same thing have equal subjects, whatever they want of it.
"""

import msgspec

from ipvsctl.model.ipset import SetEntry
from ipvsctl.model.ipvs import VirtualServerKey
from ipvsctl.model.net import IPAddress, IPFamily


class SysctlSubject(msgspec.Struct, gc=False, frozen=True):
    """A sysctl; `name` is relative to `/proc/sys`."""

    name: str


class TimeoutsSubject(msgspec.Struct, gc=False, frozen=True):
    """The idle timeouts of IPVS connections, all together."""


class LinkSubject(msgspec.Struct, gc=False, frozen=True):
    """A link, without its addresses."""

    name: str


class SetSubject(msgspec.Struct, gc=False, frozen=True):
    """A set, without its entries."""

    name: str


class EntrySubject(msgspec.Struct, gc=False, frozen=True):
    """An entry of a set.

    Attributes:
        entry: the entry's `identity`.
    """

    set_name: str
    entry: SetEntry


class RulesSubject(msgspec.Struct, gc=False, frozen=True):
    """All rules of a family."""

    family: IPFamily


Subject = (
    VirtualServerKey
    | EntrySubject
    | IPAddress
    | SysctlSubject
    | TimeoutsSubject
    | LinkSubject
    | SetSubject
    | RulesSubject
)
"""A virtual server's key stands for its real servers and flows too, and a VIP for its
address and its route: who changes one of them changes them together."""
