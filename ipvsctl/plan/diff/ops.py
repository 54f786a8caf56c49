"""Operations: every change to the kernel as a value, and the order they run in."""

import msgspec

from ipvsctl.model.ipset import SetEntry, SetSpec
from ipvsctl.model.ipvs import (
    RealServer,
    RealServerKey,
    Timeouts,
    VirtualServer,
    VirtualServerKey,
)
from ipvsctl.model.net import IPAddress, IPFamily
from ipvsctl.model.rules import RulesChange


class SetSysctl(msgspec.Struct, gc=False, frozen=True, tag=True):
    """Write a sysctl; `name` is relative to `/proc/sys`."""

    name: str
    value: str

    def __str__(self) -> str:
        return f"set sysctl {self.name}={self.value}"


class SetTimeouts(msgspec.Struct, gc=False, frozen=True, tag=True):
    """Change the idle timeouts of IPVS connections; 0 leaves one as it is."""

    timeouts: Timeouts

    def __str__(self) -> str:
        return f"set IPVS timeouts {self.timeouts}"


class EnsureVipLink(msgspec.Struct, gc=False, frozen=True, tag=True):
    """Create the dummy link if it is not there, and set it up."""

    name: str

    def __str__(self) -> str:
        return f"add link {self.name}"


class DeleteVipLink(msgspec.Struct, gc=False, frozen=True, tag=True):
    """Delete the dummy link, with every address and route on it."""

    name: str

    def __str__(self) -> str:
        return f"delete link {self.name}"


class CreateSet(msgspec.Struct, gc=False, frozen=True, tag=True):
    """Create an empty set."""

    spec: SetSpec

    def __str__(self) -> str:
        return f"create set {self.spec.name} {self.spec.type}"


class SwapSets(msgspec.Struct, gc=False, frozen=True, tag=True):
    """Exchange the contents of two sets of one type, atomically."""

    first: str
    second: str

    def __str__(self) -> str:
        return f"swap sets {self.first} {self.second}"


class DestroySet(msgspec.Struct, gc=False, frozen=True, tag=True):
    """Delete a set that no rule refers to."""

    name: str

    def __str__(self) -> str:
        return f"destroy set {self.name}"


class ChangeRules(msgspec.Struct, gc=False, frozen=True, tag=True):
    """Run one `iptables-restore --noflush` for one family."""

    change: RulesChange

    def __str__(self) -> str:
        change = self.change
        tool = "iptables" if change.family is IPFamily.IPV4 else "ip6tables"
        parts = [f"write {len(change.write)} chains"] if change.write else []
        if change.link:
            parts.append(f"link {sum(len(rules) for _, rules in change.link)} jumps")
        if change.unlink:
            parts.append(f"unlink {len(change.unlink)} jumps")
        if change.remove:
            parts.append(f"remove {len(change.remove)} chains")
        return f"change {tool} rules: {', '.join(parts)}"


class AddEntry(msgspec.Struct, gc=False, frozen=True, tag=True):
    """Put an entry into a set; fine if it is there."""

    set_name: str
    entry: SetEntry

    def __str__(self) -> str:
        return f"add entry {self.set_name} {self.entry}"


class DeleteEntry(msgspec.Struct, gc=False, frozen=True, tag=True):
    """Take an entry out of a set; fine if it is not there."""

    set_name: str
    entry: SetEntry

    def __str__(self) -> str:
        return f"delete entry {self.set_name} {self.entry}"


class AddVirtualServer(msgspec.Struct, gc=False, frozen=True, tag=True):
    """Add a virtual server; fails with Exists if there is one with its key."""

    server: VirtualServer

    def __str__(self) -> str:
        return f"add virtual server {self.server}"


class UpdateVirtualServer(msgspec.Struct, gc=False, frozen=True, tag=True):
    """Change scheduler, flags or persistence in place; NotFound if it is not there.

    Real servers and connections stay.
    """

    server: VirtualServer

    def __str__(self) -> str:
        return f"update virtual server {self.server}"


class DeleteVirtualServer(msgspec.Struct, gc=False, frozen=True, tag=True):
    """Delete a virtual server with its real servers."""

    key: VirtualServerKey

    def __str__(self) -> str:
        return f"delete virtual server {self.key}"


class AddRealServer(msgspec.Struct, gc=False, frozen=True, tag=True):
    """Add a real server; fails with Exists if there is one with its key."""

    virtual_server: VirtualServerKey
    server: RealServer

    def __str__(self) -> str:
        return f"add real server {self.virtual_server} -> {self.server}"


class UpdateRealServer(msgspec.Struct, gc=False, frozen=True, tag=True):
    """Change weight, forwarding or thresholds in place; connections stay.

    Weight 0 starts a drain, a weight restored ends one.
    """

    virtual_server: VirtualServerKey
    server: RealServer

    def __str__(self) -> str:
        return f"update real server {self.virtual_server} -> {self.server}"


class DeleteRealServer(msgspec.Struct, gc=False, frozen=True, tag=True):
    """Delete a real server."""

    virtual_server: VirtualServerKey
    key: RealServerKey

    def __str__(self) -> str:
        return f"delete real server {self.virtual_server} -> {self.key}"


class DeleteStaleFlows(msgspec.Struct, gc=False, frozen=True, tag=True):
    """Delete the UDP flows of a virtual server that lead to none of these endpoints.

    Flows are conntrack entries; fine if there are none.

    Attributes:
        keep: where flows may lead.
    """

    virtual_server: VirtualServerKey
    keep: frozenset[RealServerKey]

    def __str__(self) -> str:
        return f"delete stale flows {self.virtual_server}"


class BindAddress(msgspec.Struct, gc=False, frozen=True, tag=True):
    """Put an address on the VIP link with a full-length prefix; fine if it is there."""

    address: IPAddress

    def __str__(self) -> str:
        return f"bind address {self.address}"


class UnbindAddress(msgspec.Struct, gc=False, frozen=True, tag=True):
    """Take an address off the VIP link; fine if it is not there."""

    address: IPAddress

    def __str__(self) -> str:
        return f"unbind address {self.address}"


class AddRoute(msgspec.Struct, gc=False, frozen=True, tag=True):
    """Make an address the host's own by a route of ours; fine if it is there.

    It comes before the route of the bound address if that is an IPv4 one, and in place
    of it if it is an IPv6 one.

    Attributes:
        source: what the host's own connections to it come from, an address of the
            host; None is the kernel's choice.
        stand_in: on the loopback link, for an IPv4 address while the VIP link loses
            its routes; else on the VIP link.
    """

    address: IPAddress
    source: IPAddress | None
    stand_in: bool = False

    def __str__(self) -> str:
        kind = "stand-in route" if self.stand_in else "route"
        return f"add {kind} {self.address}{_from(self.source)}"


class UpdateRoute(msgspec.Struct, gc=False, frozen=True, tag=True):
    """Change the source of our route in place; NotFound if it is not there.

    For an IPv6 address it also takes away the route of the bound address.
    """

    address: IPAddress
    source: IPAddress | None

    def __str__(self) -> str:
        return f"update route {self.address}{_from(self.source)}"


class DeleteRoute(msgspec.Struct, gc=False, frozen=True, tag=True):
    """Delete our route to an address; fine if it is not there."""

    address: IPAddress
    stand_in: bool = False

    def __str__(self) -> str:
        kind = "stand-in route" if self.stand_in else "route"
        return f"delete {kind} {self.address}"


def _from(source: IPAddress | None) -> str:
    return "" if source is None else f" from {source}"


Op = (
    SetSysctl
    | SetTimeouts
    | EnsureVipLink
    | DeleteVipLink
    | CreateSet
    | SwapSets
    | DestroySet
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
        errno: positive errno; ipset's own codes start at 4096.
        reason: in words.
    """

    op: Op
    errno: int
    reason: str

    def __str__(self) -> str:
        return f"{self.op}: {self.reason}"
