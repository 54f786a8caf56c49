"""A plan for people: every op with the Service it is for, and whether it adds."""

from collections import Counter
from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import msgspec

from ipvsctl.cli.plain import plain
from ipvsctl.model.ipset import SetEntry
from ipvsctl.model.ipvs import VirtualServerKey
from ipvsctl.model.net import IPAddress
from ipvsctl.plan.desired import Desired
from ipvsctl.plan.ops import (
    AddEntry,
    AddRealServer,
    AddVirtualServer,
    BindAddress,
    ChangeRules,
    CreateSet,
    DeleteEntry,
    DeleteRealServer,
    DeleteVipLink,
    DeleteVirtualServer,
    DestroySet,
    EnsureVipLink,
    Op,
    Plan,
    SetSysctl,
    SwapSets,
    UnbindAddress,
    UpdateRealServer,
    UpdateVirtualServer,
)


class Sign(StrEnum):
    """What an op does to what is there; the value is how it is shown."""

    ADD = "+"
    CHANGE = "~"
    DELETE = "-"


SIGNS: Mapping[type[Op], Sign] = MappingProxyType(
    {
        SetSysctl: Sign.CHANGE,
        EnsureVipLink: Sign.ADD,
        DeleteVipLink: Sign.DELETE,
        CreateSet: Sign.ADD,
        SwapSets: Sign.CHANGE,
        DestroySet: Sign.DELETE,
        ChangeRules: Sign.CHANGE,
        AddEntry: Sign.ADD,
        DeleteEntry: Sign.DELETE,
        AddVirtualServer: Sign.ADD,
        UpdateVirtualServer: Sign.CHANGE,
        DeleteVirtualServer: Sign.DELETE,
        AddRealServer: Sign.ADD,
        UpdateRealServer: Sign.CHANGE,
        DeleteRealServer: Sign.DELETE,
        BindAddress: Sign.ADD,
        UnbindAddress: Sign.DELETE,
    }
)


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One op, described.

    Attributes:
        service: the Service it is for; "" for none that is known, None for the node
            itself.
        text: what is added, changed or deleted.
        op: the op as data, its kind in `type`.
    """

    sign: Sign
    service: str | None
    text: str
    op: Any


class PlanView(msgspec.Struct, frozen=True, kw_only=True):
    """A plan, described; `changes` in the order they run."""

    add: int
    change: int
    delete: int
    changes: tuple[Change, ...]

    @property
    def is_empty(self) -> bool:
        """Nothing is to be done."""
        return not self.changes


def describe(plan: Plan, desired: Desired | None = None) -> PlanView:
    """Describe a plan; names come from `desired`."""
    names = _Names(desired)
    counts = Counter(SIGNS[type(op)] for op in plan)
    return PlanView(
        add=counts[Sign.ADD],
        change=counts[Sign.CHANGE],
        delete=counts[Sign.DELETE],
        changes=tuple(
            Change(
                sign=SIGNS[type(op)],
                service=names.service_of(op),
                text=what(op),
                op=plain(op),
            )
            for op in plan
        ),
    )


def what(op: Op) -> str:
    """The op without its verb, which the sign stands for."""
    text = str(op).partition(" ")[2]
    if isinstance(op, UpdateRealServer) and not op.server.weight:
        return f"{text} (drain)"
    return text


class _Names:
    """Finds the Service an op is for."""

    def __init__(self, desired: Desired | None) -> None:
        self._desired = desired
        self._entries: dict[tuple[str, SetEntry], str] = {}
        self._addresses: dict[IPAddress, str] = {}
        for ref, program in sorted(desired.programs.items()) if desired else ():
            for named in (
                *program.entries,
                *(e for server in program.servers for e in server.entries),
            ):
                self._entries.setdefault((named.set_name, named.entry), str(ref))
            self._add_addresses(program.addresses, str(ref))

    def service_of(self, op: Op) -> str | None:
        match op:
            case AddVirtualServer(server) | UpdateVirtualServer(server):
                return self._of_key(server.key)
            case DeleteVirtualServer(key):
                return self._of_key(key)
            case AddRealServer(key) | UpdateRealServer(key) | DeleteRealServer(key):
                return self._of_key(key)
            case AddEntry(name, entry) | DeleteEntry(name, entry):
                return self._entries.get((name, entry), "")
            case BindAddress(address) | UnbindAddress(address):
                return self._addresses.get(address, "")
            case _:
                return None

    def _add_addresses(self, addresses: Iterable[IPAddress], name: str) -> None:
        for address in addresses:
            self._addresses.setdefault(address, name)

    def _of_key(self, key: VirtualServerKey) -> str:
        server = self._desired.server(key) if self._desired else None
        return str(server.port_name.service) if server else ""
