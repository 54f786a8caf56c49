"""A plan for people: every op with the Service it is for, and whether it adds."""

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import msgspec

from ipvsctl.cli.plain import plain
from ipvsctl.model.ipset import SetEntry
from ipvsctl.model.ipvs import (
    RealServer,
    RealServerKey,
    VirtualServer,
    VirtualServerKey,
)
from ipvsctl.model.net import IPAddress
from ipvsctl.model.state import EMPTY, NodeState
from ipvsctl.plan.diff.ops import (
    AddEntry,
    AddRealServer,
    AddRoute,
    AddVirtualServer,
    BindAddress,
    ChangeRules,
    CreateSet,
    DeleteEntry,
    DeleteRealServer,
    DeleteRoute,
    DeleteStaleFlows,
    DeleteVipLink,
    DeleteVirtualServer,
    DestroySet,
    EnsureVipLink,
    Op,
    Plan,
    SetSysctl,
    SetTimeouts,
    SwapSets,
    UnbindAddress,
    UpdateRealServer,
    UpdateRoute,
    UpdateVirtualServer,
)
from ipvsctl.plan.union.frozen import DesiredLookups
from ipvsctl.plan.union.shared import bound_entry
from ipvsctl.plan.union.short_circuits import marked_entry


class Action(StrEnum):
    """What an op does to what is there."""

    ADD = "add"
    CHANGE = "change"
    DELETE = "delete"


ACTIONS: Mapping[type[Op], Action] = MappingProxyType(
    {
        SetSysctl: Action.CHANGE,
        SetTimeouts: Action.CHANGE,
        EnsureVipLink: Action.ADD,
        DeleteVipLink: Action.DELETE,
        CreateSet: Action.ADD,
        SwapSets: Action.CHANGE,
        DestroySet: Action.DELETE,
        ChangeRules: Action.CHANGE,
        AddEntry: Action.ADD,
        DeleteEntry: Action.DELETE,
        AddVirtualServer: Action.ADD,
        UpdateVirtualServer: Action.CHANGE,
        DeleteVirtualServer: Action.DELETE,
        AddRealServer: Action.ADD,
        UpdateRealServer: Action.CHANGE,
        DeleteRealServer: Action.DELETE,
        DeleteStaleFlows: Action.DELETE,
        BindAddress: Action.ADD,
        UnbindAddress: Action.DELETE,
        AddRoute: Action.ADD,
        UpdateRoute: Action.CHANGE,
        DeleteRoute: Action.DELETE,
    }
)


class PlanLine(msgspec.Struct, frozen=True, kw_only=True):
    """One op, described.

    Attributes:
        service: the Service it is for; "" for none that is known, None for the node
            itself.
        text: what is added, changed or deleted.
        op: the op as data, its kind in `type`; None unless it was asked for.
    """

    action: Action
    service: str | None
    text: str
    op: Any = None


class PlanView(msgspec.Struct, frozen=True, kw_only=True):
    """A plan, described; `changes` in the order they run."""

    add: int
    change: int
    delete: int
    changes: tuple[PlanLine, ...]

    @property
    def is_empty(self) -> bool:
        """Nothing is to be done."""
        return not self.changes


def describe(
    plan: Plan,
    observed: NodeState,
    desired: DesiredLookups | None = None,
    *,
    as_data: bool = False,
) -> PlanView:
    """Describe a plan.

    Args:
        plan: the ops.
        observed: what it was made for, to say what changes were before.
        desired: gives names; without it, no Service is known.
        as_data: with the ops as data, which takes longer than all the rest.
    """
    names = _Names(desired)
    counts = Counter(ACTIONS[type(op)] for op in plan)
    return PlanView(
        add=counts[Action.ADD],
        change=counts[Action.CHANGE],
        delete=counts[Action.DELETE],
        changes=tuple(
            PlanLine(
                action=ACTIONS[type(op)],
                service=names.service_of(op),
                text=_what(op, observed),
                op=plain(op) if as_data else None,
            )
            for op in plan
        ),
    )


def _what(op: Op, observed: NodeState) -> str:
    """The op without its verb, which its action stands for, and what was before."""
    text = str(op).partition(" ")[2]
    match op:
        case SetSysctl(name, _):
            return f"{text} (was {observed.sysctls.get(name, 'not there')})"
        case SetTimeouts(_):
            return f"{text} (were {observed.timeouts})"
        case UpdateVirtualServer(server):
            return text + _was(server.key, observed.virtual_servers.get(server.key))
        case UpdateRealServer(key, real_server):
            held = observed.real_servers.get(key, EMPTY)
            drains = "" if real_server.weight else ", drains"
            was = _was(real_server.key, held.get(real_server.key))
            return f"{text}{drains}{was}"
        case _:
            return text


def _was(
    key: VirtualServerKey | RealServerKey, before: VirtualServer | RealServer | None
) -> str:
    return "" if before is None else f" (was{str(before).removeprefix(str(key))})"


class _Names:
    """Finds the Service an op is for."""

    def __init__(self, desired: DesiredLookups | None) -> None:
        self._desired = desired
        self._entries: dict[tuple[str, SetEntry], str] = {}
        self._addresses: dict[IPAddress, str] = {}
        for ref, program in sorted(desired.programs.items()) if desired else ():
            for named in (
                *program.entries,
                *(e for server in program.servers for e in server.entries),
            ):
                self._entries.setdefault((named.set_name, named.entry), str(ref))
            for address in program.addresses:
                self._addresses.setdefault(address, str(ref))
                bound = bound_entry(address)
                self._entries.setdefault((bound.set_name, bound.entry), str(ref))
        for inside, key in desired.short_circuits.items() if desired else ():
            named = marked_entry(key, inside)
            self._entries[named.set_name, named.entry.identity] = self._of_key(key)

    def service_of(self, op: Op) -> str | None:
        match op:
            case AddVirtualServer(server) | UpdateVirtualServer(server):
                return self._of_key(server.key)
            case DeleteVirtualServer(key):
                return self._of_key(key)
            case (
                AddRealServer(key)
                | UpdateRealServer(key)
                | DeleteRealServer(key)
                | DeleteStaleFlows(key)
            ):
                return self._of_key(key)
            case AddEntry(name, entry) | DeleteEntry(name, entry):
                return self._entries.get((name, entry.identity), "")
            case (
                BindAddress(address)
                | UnbindAddress(address)
                | AddRoute(address)
                | UpdateRoute(address)
                | DeleteRoute(address)
            ):
                return self._addresses.get(address, "")
            case _:
                return None

    def _of_key(self, key: VirtualServerKey) -> str:
        server = self._desired.server(key) if self._desired else None
        return str(server.port_name.service) if server else ""
