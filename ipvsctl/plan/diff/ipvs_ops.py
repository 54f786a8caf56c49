"""Ops about virtual servers, their real servers and flows, and IPVS itself."""

from typing import ClassVar

from ipvsctl.model.ipvs import (
    RealServer,
    RealServerKey,
    Timeouts,
    VirtualServer,
    VirtualServerKey,
)
from ipvsctl.model.subject import TimeoutsSubject
from ipvsctl.plan.diff.kinds import ObjectKind, Verb
from ipvsctl.plan.diff.op import Operation
from ipvsctl.plan.diff.stages import Stage


class SetTimeouts(Operation, frozen=True):
    """Change the idle timeouts of IPVS connections; 0 leaves one as it is."""

    kind: ClassVar = ObjectKind.TIMEOUTS
    verb: ClassVar = Verb.CHANGE
    stage: ClassVar = Stage.SYSCTLS
    urgent: ClassVar = None

    timeouts: Timeouts

    @property
    def subject(self) -> TimeoutsSubject:
        """All of them."""
        return TimeoutsSubject()

    def __str__(self) -> str:
        return f"set IPVS timeouts {self.timeouts}"


class _ServerOp(Operation, frozen=True):
    kind: ClassVar = ObjectKind.VIRTUAL_SERVER
    stage: ClassVar = Stage.VIRTUAL_SERVERS
    urgent: ClassVar = Stage.URGENT_VIRTUAL_SERVERS

    server: VirtualServer

    @property
    def subject(self) -> VirtualServerKey:
        """The virtual server."""
        return self.server.key


class AddVirtualServer(_ServerOp, frozen=True):
    """Add a virtual server; fails with Exists if there is one with its key."""

    verb: ClassVar = Verb.ADD
    # Clients are led to it already, see `Stage`.
    other_stages: ClassVar = frozenset({Stage.REAL_SERVERS})

    def __str__(self) -> str:
        return f"add virtual server {self.server}"


class UpdateVirtualServer(_ServerOp, frozen=True):
    """Change scheduler, flags or persistence in place; NotFound if it is not there.

    Real servers and connections stay.
    """

    verb: ClassVar = Verb.CHANGE

    def __str__(self) -> str:
        return f"update virtual server {self.server}"


class DeleteVirtualServer(Operation, frozen=True):
    """Delete a virtual server with its real servers."""

    kind: ClassVar = ObjectKind.VIRTUAL_SERVER
    verb: ClassVar = Verb.DELETE
    stage: ClassVar = Stage.REMOVE_VIRTUAL_SERVERS
    urgent: ClassVar = None
    # Its mark is to be another address's.
    other_stages: ClassVar = frozenset({Stage.MOVED_MARKS})

    key: VirtualServerKey

    @property
    def subject(self) -> VirtualServerKey:
        """The virtual server."""
        return self.key

    def __str__(self) -> str:
        return f"delete virtual server {self.key}"


class _RealServerOp(Operation, frozen=True):
    kind: ClassVar = ObjectKind.REAL_SERVER

    virtual_server: VirtualServerKey

    @property
    def subject(self) -> VirtualServerKey:
        """The virtual server it is of."""
        return self.virtual_server


class AddRealServer(_RealServerOp, frozen=True):
    """Add a real server; fails with Exists if there is one with its key."""

    verb: ClassVar = Verb.ADD
    stage: ClassVar = Stage.REAL_SERVERS
    urgent: ClassVar = Stage.URGENT_REAL_SERVERS

    server: RealServer

    def __str__(self) -> str:
        return f"add real server {self.virtual_server} -> {self.server}"


class UpdateRealServer(_RealServerOp, frozen=True):
    """Change weight, forwarding or thresholds in place; connections stay.

    Weight 0 starts a drain, a weight restored ends one.
    """

    verb: ClassVar = Verb.CHANGE
    stage: ClassVar = Stage.REAL_SERVERS
    urgent: ClassVar = Stage.URGENT_REAL_SERVERS
    # A drain begins after those that take its place have come.
    other_stages: ClassVar = frozenset({Stage.REMOVE_REAL_SERVERS})

    server: RealServer

    def __str__(self) -> str:
        return f"update real server {self.virtual_server} -> {self.server}"


class DeleteRealServer(_RealServerOp, frozen=True):
    """Delete a real server."""

    verb: ClassVar = Verb.DELETE
    stage: ClassVar = Stage.REMOVE_REAL_SERVERS
    urgent: ClassVar = None

    key: RealServerKey

    def __str__(self) -> str:
        return f"delete real server {self.virtual_server} -> {self.key}"


class DeleteStaleFlows(Operation, frozen=True):
    """Delete the UDP flows of a virtual server that lead to none of these endpoints.

    Flows are conntrack entries; fine if there are none.

    Attributes:
        keep: where flows may lead.
    """

    kind: ClassVar = ObjectKind.FLOWS
    verb: ClassVar = Verb.DELETE
    stage: ClassVar = Stage.STALE_FLOWS
    urgent: ClassVar = None

    virtual_server: VirtualServerKey
    keep: frozenset[RealServerKey]

    @property
    def subject(self) -> VirtualServerKey:
        """The virtual server they are of."""
        return self.virtual_server

    def __str__(self) -> str:
        return f"delete stale flows {self.virtual_server}"
