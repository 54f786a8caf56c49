"""Operations: every change to the kernel as a value, and what became of a plan."""

import msgspec

from ipvsctl.plan.diff.firewall_ops import (
    AddEntry,
    ChangeRules,
    CreateSet,
    DeleteEntry,
    DestroySet,
    RebuildSet,
    RemoveFormer,
)
from ipvsctl.plan.diff.ipvs_ops import (
    AddRealServer,
    AddVirtualServer,
    DeleteRealServer,
    DeleteStaleFlows,
    DeleteVirtualServer,
    SetTimeouts,
    UpdateRealServer,
    UpdateVirtualServer,
)
from ipvsctl.plan.diff.node_ops import (
    AddRoute,
    BindAddress,
    DeleteRoute,
    DeleteVipLink,
    EnsureVipLink,
    MakeTunnelEnd,
    RaiseVipLink,
    RemoveTunnelEnd,
    SetSysctl,
    UnbindAddress,
    UpdateRoute,
)
from ipvsctl.plan.diff.words import PLAIN_WORDS, FirewallWords

# Whoever reads or makes a plan finds its ops here, wherever each of them stands.
__all__ = [
    "AddEntry",
    "AddRealServer",
    "AddRoute",
    "AddVirtualServer",
    "BindAddress",
    "ChangeRules",
    "CreateSet",
    "DeleteEntry",
    "DeleteRealServer",
    "DeleteRoute",
    "DeleteStaleFlows",
    "DeleteVipLink",
    "DeleteVirtualServer",
    "DestroySet",
    "EnsureVipLink",
    "FailedOp",
    "MakeTunnelEnd",
    "Op",
    "Plan",
    "RaiseVipLink",
    "RebuildSet",
    "RemoveFormer",
    "RemoveTunnelEnd",
    "Report",
    "SetSysctl",
    "SetTimeouts",
    "UnbindAddress",
    "UpdateRealServer",
    "UpdateRoute",
    "UpdateVirtualServer",
]

Op = (
    SetSysctl
    | SetTimeouts
    | EnsureVipLink
    | RaiseVipLink
    | DeleteVipLink
    | MakeTunnelEnd
    | RemoveTunnelEnd
    | CreateSet
    | RebuildSet
    | DestroySet
    | RemoveFormer
    | ChangeRules
    | AddEntry
    | DeleteEntry
    | AddVirtualServer
    | UpdateVirtualServer
    | DeleteVirtualServer
    | AddRealServer
    | UpdateRealServer
    | DeleteRealServer
    | DeleteStaleFlows
    | BindAddress
    | UnbindAddress
    | AddRoute
    | UpdateRoute
    | DeleteRoute
)

Plan = tuple[Op, ...]
"""Operations in the order they must run; any prefix leaves a legal state."""


class Report(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """What became of a plan.

    Attributes:
        applied: how many ops the kernel accepted.
        failed: the others, with why; unrelated ops ran all the same.
    """

    applied: int
    failed: tuple["FailedOp", ...] = ()


class FailedOp(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """An op the kernel refused.

    Attributes:
        errno: positive errno; a firewall may have codes of its own beyond those.
        reason: in words.
    """

    op: Op
    errno: int
    reason: str

    def __str__(self) -> str:
        return self.words(PLAIN_WORDS)

    def words(self, firewall: FirewallWords) -> str:
        """The op, as operators of a firewall say it, and the reason."""
        return f"{self.op.words(firewall)}: {self.reason}"
