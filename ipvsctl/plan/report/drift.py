"""Drift: changes by others that an audit repairs."""

from collections.abc import Collection, Iterator
from types import MappingProxyType
from typing import Final

from ipvsctl.model.state import EMPTY, Observed
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
from ipvsctl.plan.union.desired_change import DesiredChange

OBJECT_KINDS: Final = MappingProxyType[type[Op], str](
    {
        SetSysctl: "sysctl",
        SetTimeouts: "timeouts",
        EnsureVipLink: "link",
        DeleteVipLink: "link",
        CreateSet: "set",
        SwapSets: "set",
        DestroySet: "set",
        ChangeRules: "rules",
        AddEntry: "entry",
        DeleteEntry: "entry",
        AddVirtualServer: "virtual_server",
        UpdateVirtualServer: "virtual_server",
        DeleteVirtualServer: "virtual_server",
        AddRealServer: "real_server",
        UpdateRealServer: "real_server",
        DeleteRealServer: "real_server",
        BindAddress: "address",
        UnbindAddress: "address",
        AddRoute: "route",
        UpdateRoute: "route",
        DeleteRoute: "route",
    }
)
"""The kind of kernel object an op is about. Stale flows are nobody's doing, so that op
is not here."""


_SHARED: Final = (
    *(CreateSet, SwapSets, DestroySet),
    *(BindAddress, UnbindAddress, AddRoute, UpdateRoute, DeleteRoute),
)


def find_drift(
    plan: Plan,
    observed: Observed,
    changes: Collection[DesiredChange],
    tried: Collection[str],
) -> Iterator[Op]:
    """The ops of an audit that no event is the reason of.

    Args:
        plan: of the audit.
        observed: what it was made from.
        changes: what was desired anew.
        tried: the ops that failed before, as text.
    """
    for op in plan:
        if type(op) not in OBJECT_KINDS or _ends_drain(op, observed):
            continue
        if any(_is_reason(change, op) for change in changes):
            continue
        if tried and str(op) in tried:
            continue
        yield op


def _ends_drain(op: Op, observed: Observed) -> bool:
    """Whether a real server goes that took no new connections any more."""
    if not isinstance(op, DeleteRealServer):
        return False
    held = observed.state.real_servers.get(op.virtual_server, EMPTY).get(op.key)
    return held is not None and held.weight == 0


def _is_reason(change: DesiredChange, op: Op) -> bool:
    if change.ends_hold:
        return True
    states = (change.desired, change.presumed)
    match op:
        case AddVirtualServer(server=server) | UpdateVirtualServer(server=server):
            found = server.key in change.keys
        case (
            DeleteVirtualServer(key=key)
            | AddRealServer(virtual_server=key)
            | UpdateRealServer(virtual_server=key)
            | DeleteRealServer(virtual_server=key)
        ):
            found = key in change.keys
        case (
            AddEntry(set_name=name, entry=entry)
            | DeleteEntry(set_name=name, entry=entry)
        ):
            found = any(entry in state.entries.get(name, ()) for state in states)
        case BindAddress(address=address) | UnbindAddress(address=address):
            found = any(address in state.addresses for state in states)
        case (
            AddRoute(address=address)
            | UpdateRoute(address=address)
            | DeleteRoute(address=address)
        ):
            found = any(address in state.routes for state in states)
        case SetSysctl(name=name, value=value):
            found = change.presumed.sysctls.get(name) != value
            found &= change.desired.sysctls.get(name) == value
        case _:
            found = False
    # What needs an audit, another way of binding or larger sets, is in no state of it.
    return found or (change.needs_audit and isinstance(op, _SHARED))
