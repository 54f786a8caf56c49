"""Ops about sysctls, links, addresses and routes."""

from typing import ClassVar

from ipvsctl.model.net import IPAddress, family_of
from ipvsctl.model.subject import LinkSubject, SysctlSubject
from ipvsctl.model.tunnel import TUNNEL_LINKS, TunnelEnd
from ipvsctl.plan.diff.kinds import ObjectKind, Verb
from ipvsctl.plan.diff.op import Operation
from ipvsctl.plan.diff.stages import Stage


class SetSysctl(Operation, frozen=True):
    """Write a sysctl; `name` is relative to `/proc/sys`."""

    kind: ClassVar = ObjectKind.SYSCTL
    verb: ClassVar = Verb.CHANGE
    stage: ClassVar = Stage.SYSCTLS
    urgent: ClassVar = None

    name: str
    value: str

    @property
    def subject(self) -> SysctlSubject:
        """The sysctl."""
        return SysctlSubject(self.name)

    def __str__(self) -> str:
        return f"set sysctl {self.name}={self.value}"


class _LinkOp(Operation, frozen=True):
    kind: ClassVar = ObjectKind.LINK
    urgent: ClassVar = None

    name: str

    @property
    def subject(self) -> LinkSubject:
        """The link."""
        return LinkSubject(self.name)


class EnsureVipLink(_LinkOp, frozen=True):
    """Create the dummy link if it is not there, and set it up."""

    verb: ClassVar = Verb.ADD
    stage: ClassVar = Stage.LINK

    def __str__(self) -> str:
        return f"add link {self.name}"


class RaiseVipLink(_LinkOp, frozen=True):
    """Set the dummy link up, which somebody has set down; as `EnsureVipLink`."""

    verb: ClassVar = Verb.CHANGE
    stage: ClassVar = Stage.LINK

    def __str__(self) -> str:
        return f"set link {self.name} up"


class DeleteVipLink(_LinkOp, frozen=True):
    """Delete the dummy link, with every address and route on it."""

    verb: ClassVar = Verb.DELETE
    stage: ClassVar = Stage.UNBIND_ADDRESSES

    def __str__(self) -> str:
        return f"delete link {self.name}"


class _TunnelOp(Operation, frozen=True):
    kind: ClassVar = ObjectKind.TUNNEL
    urgent: ClassVar = None

    end: TunnelEnd

    @property
    def name(self) -> str:
        """Of its link."""
        return TUNNEL_LINKS[family_of(self.end.address)]

    @property
    def subject(self) -> LinkSubject:
        """Its link."""
        return LinkSubject(self.name)


class MakeTunnelEnd(_TunnelOp, frozen=True):
    """Have the end of all tunnels to this node, and its link, made anew.

    It is refused if the rules of its family were: they say who may use it.
    """

    verb: ClassVar = Verb.ADD
    stage: ClassVar = Stage.TUNNEL

    def __str__(self) -> str:
        return f"add link {self.name}, end of tunnels to {self.end}"


class RemoveTunnelEnd(_TunnelOp, frozen=True):
    """Take the end of tunnels away, with its link; fine if it is not there."""

    verb: ClassVar = Verb.DELETE
    stage: ClassVar = Stage.REMOVE_TUNNEL

    def __str__(self) -> str:
        return f"delete link {self.name}, end of tunnels"


class _VipOp(Operation, frozen=True):
    address: IPAddress

    @property
    def subject(self) -> IPAddress:
        """The VIP."""
        return self.address


class BindAddress(_VipOp, frozen=True):
    """Put an address on the VIP link with a full-length prefix; fine if it is there."""

    kind: ClassVar = ObjectKind.ADDRESS
    verb: ClassVar = Verb.ADD
    stage: ClassVar = Stage.ADDRESSES
    urgent: ClassVar = Stage.URGENT_ADDRESSES

    def __str__(self) -> str:
        return f"bind address {self.address}"


class UnbindAddress(_VipOp, frozen=True):
    """Take an address off the VIP link; fine if it is not there."""

    kind: ClassVar = ObjectKind.ADDRESS
    verb: ClassVar = Verb.DELETE
    stage: ClassVar = Stage.UNBIND_ADDRESSES
    urgent: ClassVar = Stage.URGENT_ADDRESSES
    # To be bound anew at once.
    other_stages: ClassVar = frozenset({Stage.ADDRESSES})

    def __str__(self) -> str:
        return f"unbind address {self.address}"


class AddRoute(_VipOp, frozen=True):
    """Make an address the host's own by a route of ours; fine if it is there.

    It comes before the route of the bound address if that is an IPv4 one, and in place
    of it if it is an IPv6 one.

    Attributes:
        source: what the host's own connections to it come from, an address of the
            host; None is the kernel's choice.
        stand_in: on the loopback link, for an IPv4 address while the VIP link loses
            its routes; else on the VIP link.
    """

    kind: ClassVar = ObjectKind.ROUTE
    verb: ClassVar = Verb.ADD
    stage: ClassVar = Stage.ROUTES
    urgent: ClassVar = Stage.URGENT_ROUTES
    # To be put back after the kernel took it away.
    other_stages: ClassVar = frozenset({Stage.RESTORE_ROUTES})

    source: IPAddress | None
    stand_in: bool = False

    def __str__(self) -> str:
        kind = "stand-in route" if self.stand_in else "route"
        return f"add {kind} {self.address}{_from(self.source)}"


class UpdateRoute(_VipOp, frozen=True):
    """Change the source of our route in place; NotFound if it is not there.

    For an IPv6 address it also takes away the route of the bound address.
    """

    kind: ClassVar = ObjectKind.ROUTE
    verb: ClassVar = Verb.CHANGE
    stage: ClassVar = Stage.ROUTES
    urgent: ClassVar = Stage.URGENT_ROUTES

    source: IPAddress | None

    def __str__(self) -> str:
        return f"update route {self.address}{_from(self.source)}"


class DeleteRoute(_VipOp, frozen=True):
    """Delete our route to an address; fine if it is not there."""

    kind: ClassVar = ObjectKind.ROUTE
    verb: ClassVar = Verb.DELETE
    stage: ClassVar = Stage.REMOVE_ROUTES
    urgent: ClassVar = Stage.URGENT_ROUTES
    # A stand-in: one in the way of a route that comes, or one that has done its work.
    other_stages: ClassVar = frozenset({Stage.ROUTES, Stage.REMOVE_STAND_INS})

    stand_in: bool = False

    def __str__(self) -> str:
        kind = "stand-in route" if self.stand_in else "route"
        return f"delete {kind} {self.address}"


def _from(source: IPAddress | None) -> str:
    return "" if source is None else f" from {source}"
