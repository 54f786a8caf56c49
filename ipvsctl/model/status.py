"""The Services of a node as it serves them, as values for people and scripts.

Plain text and numbers, so that they can leave the process as JSON and come back.
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum

import msgspec

from ipvsctl.model.history import Entry
from ipvsctl.model.ipvs import TrafficStats
from ipvsctl.model.parts import Part
from ipvsctl.model.problem import ObjectRef, Problem
from ipvsctl.model.source_state import SourceState
from ipvsctl.model.state import EMPTY


class Standing(StrEnum):
    """How something in the kernel stands to the desired state."""

    OK = "ok"
    TERMINATING = "terminating"
    """Desired, although its endpoint is terminating: no other is ready."""
    DRAINING = "draining"
    """Not desired, at weight 0 until its connections end."""
    WARMING = "warming up"
    """Desired, and on the way to its whole weight."""
    DIFFERENT = "different"
    """Desired with other settings."""
    UNWANTED = "unwanted"
    """Ours and not desired; the next audit removes it."""
    MISSING = "missing"
    """Desired and not in the kernel."""
    UNKNOWN = "unknown"
    """Nobody says what is desired: it is foreign, or no objects were read."""


_WELL = frozenset(
    {Standing.OK, Standing.TERMINATING, Standing.DRAINING, Standing.WARMING}
)


class RealServerStatus(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """A real server.

    Attributes:
        node: name of the endpoint's node, "" when unknown; `zone` is that node's.
        is_tunnelled: it is a node, to which packets go in a tunnel; its weight is that
            of its endpoints together.
        max_connections: from how many on it gets no new ones; 0 is no limit.
        whole_weight: that it will have; 0 if that is what it has.
        draining_s: for how many seconds the drain has been seen, None if it has not.
    """

    address: str
    port: int
    node: str = ""
    zone: str = ""
    weight: int
    active: int = 0
    inactive: int = 0
    persistent: int = 0
    is_tunnelled: bool = False
    max_connections: int = 0
    whole_weight: int = 0
    standing: Standing
    draining_s: float | None = None

    @property
    def is_full(self) -> bool:
        """It gets no new connections for having enough."""
        return 0 < self.max_connections <= self.active + self.inactive


class VirtualServerStatus(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """A virtual server.

    Attributes:
        service_port: name of the Service's port, "" if it has none.
        way: the way in, "" when unknown.
        address: "" for a fwmark; then `protocol` is too.
        flags: kernel names without PERSISTENT, lower case.
        persistence_timeout_s: None without persistence.
        persistence_bits: of their addresses, that clients share which are one; None
            if each is its own.
        bound: whether its address, or a route to it, is on the VIP link; None if it
            need not be, since it is the node's own or the virtual server is foreign.
        sets: sets of ours it is an entry of.
        why: why some or all clients are refused; "" if none are.
        lacks: what else the kernel lacks for it, a clause each.
    """

    service_port: str = ""
    way: str = ""
    protocol: str
    address: str
    port: int
    fwmark: int = 0
    scheduler: str
    flags: tuple[str, ...] = ()
    persistence_timeout_s: int | None = None
    persistence_bits: int | None = None
    bound: bool | None = None
    sets: tuple[str, ...] = ()
    why: str = ""
    lacks: tuple[str, ...] = ()
    standing: Standing
    traffic: TrafficStats = TrafficStats()
    real_servers: tuple[RealServerStatus, ...] = ()

    @property
    def is_well(self) -> bool:
        """It is as it should be, and refuses nobody."""
        return (
            self.standing is Standing.OK
            and self.bound is not False
            and not (self.why or self.lacks)
            and all(real.standing in _WELL for real in self.real_servers)
        )


class ServiceStatus(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """A Service with the virtual servers it has on this node.

    Attributes:
        health_check_node_port: 0 when there is none.
        local_endpoints: how many the health check tells; 0 without a check.
        localhost_ports: node ports on localhost, where the daemon listens; no virtual
            servers, and shown as such.
    """

    namespace: str
    name: str
    type: str
    health_check_node_port: int = 0
    local_endpoints: int = 0
    virtual_servers: tuple[VirtualServerStatus, ...]
    localhost_ports: tuple[VirtualServerStatus, ...] = ()

    @property
    def ways_in(self) -> tuple[VirtualServerStatus, ...]:
        """All of them; a listener after the virtual servers of its port and family."""
        found = [*self.virtual_servers]
        for listener in self.localhost_ports:
            at = len(found)
            while at and _sort(found[at - 1]) != _sort(listener):
                at -= 1
            found.insert(at or len(found), listener)
        return tuple(found)


def _sort(server: VirtualServerStatus) -> tuple[str, str, bool]:
    return server.service_port, server.protocol, ":" in server.address


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """How many there are on the node.

    Attributes:
        services: with virtual servers.
        without_real_servers: virtual servers that refuse their clients.
        draining: real servers.
        foreign: virtual servers of others.
        problems: of objects.
    """

    services: int
    virtual_servers: int
    without_real_servers: int
    draining: int
    foreign: int
    problems: int


class LoopStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How the daemon is doing.

    Attributes:
        audited_s_ago: seconds since the last audit ended, None before the first.
        audits, syncs: how many ran.
        failed_ops: failed ops of the last audit or sync.
        sync_period_s: seconds from the end of one audit to the next.
        last_repair: of what others changed; None if there was none.
        read_ages_s: how long ago each part of the kernel was read, or since when it
            could not be.
    """

    audited_s_ago: float | None
    audits: int
    syncs: int
    failed_ops: int
    sync_period_s: float = 0.0
    last_repair: Entry | None = None
    read_ages_s: Mapping[Part, float] = EMPTY

    @property
    def is_overdue(self) -> bool:
        """Whether audits do not come when they should."""
        ago = self.audited_s_ago
        return ago is not None and 0 < 2 * self.sync_period_s < ago


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The head of a status.

    Attributes:
        firewall: what has rules and sets, "" of a daemon that does not say.
        firewall_reason: why it is that one.
        vip_binding: how VIPs are bound, `auto` until that is chosen; "" of a daemon
            that does not say.
        vips_at_choice: how many VIPs were wanted when `auto` chose; None if it did not.
        source: where the objects come from, "" when none were read: nothing has a
            name then.
        source_state: what the source's word is worth now; None when none were read.
        loop: None when no daemon answered.
        pending_ops: how many ops would make the kernel equal to what is known, None
            when nothing is. Those that are held are not among them.
        short_circuits: how many external addresses and ports of policy Local have
            other endpoints for clients inside the cluster, told by a fwmark.
    """

    version: str
    node: str
    zone: str = ""
    scheduler: str
    compatibility: str
    firewall: str = ""
    firewall_reason: str = ""
    vip_binding: str = ""
    vips_at_choice: int | None = None
    source: str = ""
    source_state: SourceState | None = None
    loop: LoopStatus | None = None
    pending_ops: int | None = None
    short_circuits: int = 0


class NodeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one node.

    Attributes:
        services: sorted by namespace and name.
        unclaimed: virtual servers that are ours, of no Service that is known.
        foreign: virtual servers of others.
        problems: sorted.
        counts: of the whole node; None when only some Services were looked at.
        not_there: why nothing is here of what was asked for; "" if something is.
    """

    summary: Summary
    counts: Counts | None = None
    not_there: str = ""
    services: tuple[ServiceStatus, ...] = ()
    unclaimed: tuple[VirtualServerStatus, ...] = ()
    foreign: tuple[VirtualServerStatus, ...] = ()
    problems: tuple[Problem, ...] = ()


class Only(StrEnum):
    """A kind of virtual servers."""

    PROBLEMS = "problems"
    """Those that are not as they should be, or whose Service has a problem."""
    DRAINING = "draining"
    """Those with a real server that drains."""
    EMPTY = "empty"
    """Those without real servers."""

    def has(self, server: VirtualServerStatus) -> bool:
        """Whether a virtual server is of the kind."""
        match self:
            case Only.PROBLEMS:
                return not server.is_well
            case Only.DRAINING:
                standings = (real.standing for real in server.real_servers)
                return Standing.DRAINING in standings
            case Only.EMPTY:
                return not server.real_servers


def _places(server: VirtualServerStatus) -> Iterator[tuple[str, int]]:
    return ((real.address, real.port) for real in server.real_servers)


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which Services to show; "" is any.

    Attributes:
        name: also `namespace/name`.
        address: of a virtual server or of a real server.
        port: beside the address; 0 is any.
        only: a kind of virtual servers.
    """

    namespace: str = ""
    name: str = ""
    address: str = ""
    port: int = 0
    only: Only | None = None

    def __bool__(self) -> bool:
        return self != Selection()

    def keeps(self, server: VirtualServerStatus) -> bool:
        """Whether a virtual server of a chosen Service is to be shown."""
        places = ((server.address, server.port), *_places(server))
        return (
            not self.address
            or any(
                address == self.address and self.port in {0, port}
                for address, port in places
            )
        ) and (self.only is None or self.only.has(server))

    def has(self, ref: ObjectRef) -> bool:
        """Whether a Service is to be shown."""
        return (not self.namespace or ref.namespace == self.namespace) and (
            not self.name or self.name in {ref.name, str(ref)}
        )
