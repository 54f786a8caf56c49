"""The program that one Service compiles to."""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from ipvsctl.model.config import Listener
from ipvsctl.model.ipvs import (
    RealServer,
    RealServerKey,
    ServiceFlags,
    VirtualServer,
    VirtualServerKey,
)
from ipvsctl.model.net import IPAddress, IPFamily
from ipvsctl.model.objects import ServicePortName, TrafficPolicy
from ipvsctl.model.problem import ObjectRef, Problem
from ipvsctl.model.sets import SetEntry, SetKey, SetRole, set_key


class WayIn(StrEnum):
    """How a client reaches a Service."""

    CLUSTER_IP = "cluster IP"
    EXTERNAL_IP = "external IP"
    INGRESS_VIP = "ingress VIP"
    NODE_PORT = "node port"


def precedence(way: WayIn) -> int:
    """The rank of a way in; of two, the lower one has an address, protocol and port.

    The API server gives a cluster IP and a node port to one Service alone; an external
    IP or an ingress VIP is what somebody wrote down.
    """
    if way is WayIn.CLUSTER_IP:
        return 0
    return 1 if way is WayIn.NODE_PORT else 2


class SetMember(msgspec.Struct, gc=False, frozen=True):
    """An entry and the set it belongs in."""

    key: SetKey
    entry: SetEntry


class InsideProgram(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """The virtual server that some packets have instead of another, by their mark.

    Its fwmark is not known here: that takes all Services.

    Attributes:
        real_servers: in the order they are to be added.
        is_fallback: whether these real servers are for all clients, as long as there is
            no mark and the virtual server for the others has no real servers.
    """

    scheduler: str
    flags: ServiceFlags
    timeout_s: int
    netmask_bits: int
    real_servers: Mapping[RealServerKey, RealServer]
    is_fallback: bool = True

    def server(self, key: VirtualServerKey) -> VirtualServer:
        """The virtual server with that fwmark."""
        return VirtualServer(
            key=key,
            scheduler=self.scheduler,
            flags=self.flags,
            timeout_s=self.timeout_s,
            netmask_bits=self.netmask_bits,
        )


class ServerProgram(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """One virtual server of a Service.

    Attributes:
        real_servers: in the order they are to be added, which differs per node.
        entries: set entries that hold as long as this virtual server does; one of
            them, in an owning set, is what makes it ours.
        field: where in the Service its address or port comes from.
        policy: whose endpoints its clients have.
        drain_timeout_s: see `ProxyConfig`.
        slow_start_s: how long an endpoint that comes takes to get its whole weight.
        inside: None where all clients have the same.
        arrival: what packets have that another node has sent on in a tunnel; None
            where none may.
        plain: where real servers are other nodes: the same with the endpoints, for as
            long as there is no mark.
        is_bound: its address is a VIP to bind, in the node's way, and not one that
            another link of the host has.
    """

    port_name: ServicePortName
    way: WayIn
    server: VirtualServer
    real_servers: Mapping[RealServerKey, RealServer]
    entries: tuple[SetMember, ...]
    field: str
    policy: TrafficPolicy = TrafficPolicy.CLUSTER
    drain_timeout_s: float = 0.0
    slow_start_s: float = 0.0
    inside: InsideProgram | None = None
    arrival: InsideProgram | None = None
    plain: "ServerProgram | None" = None
    is_bound: bool = False


class HealthCheck(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """A health-check node port and what it answers.

    Attributes:
        port: `spec.healthCheckNodePort`.
        local_endpoints: ready endpoints on this node; 0 answers 503.
    """

    port: int
    local_endpoints: int


class LocalhostPort(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """A node port on a loopback address, where this process listens and relays.

    No virtual server can be there: the kernel sends no packet with a loopback source to
    another host or network namespace (ip_vs_xmit.c:crosses_local_route_boundary).

    Attributes:
        listener: address and port; unique in a program.
        field: where in the Service the port comes from.
        real_servers: those that the node itself has at the node port, in their order;
            without any, nobody listens.
        scheduler: of the Service's virtual servers; says whether weights count.
        affinity_timeout_s: for how long the last endpoint is that of all clients, who
            have one address; None without session affinity.
        drain_timeout_s: see `ProxyConfig`.
    """

    port_name: ServicePortName
    listener: Listener
    field: str
    policy: TrafficPolicy = TrafficPolicy.CLUSTER
    real_servers: Mapping[RealServerKey, RealServer]
    scheduler: str = "rr"
    affinity_timeout_s: int | None = None
    drain_timeout_s: float = 0.0

    @property
    def way(self) -> str:
        """The way in, in words."""
        return f"{WayIn.NODE_PORT} on localhost"

    @property
    def is_served(self) -> bool:
        """Whether any endpoint gets connections."""
        return any(server.weight for server in self.real_servers.values())


class ServiceProgram(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """Everything the kernel should hold for one Service.

    Attributes:
        created: the Service's `created`, which settles claims of one precedence.
        servers: unique by key.
        entries: set entries not tied to one virtual server.
        has_ingress_vip: a load-balancer VIP is bound, see `ProxyConfig.strict_arp`.
        lost_node_ports: families in which it has node ports, and the node no address
            that `nodePortAddresses` lets them be served on.
        localhost_ports: in no case more than one for a port and family.
        problems: what of the Service cannot be honoured.
    """

    ref: ObjectRef
    created: str = ""
    servers: tuple[ServerProgram, ...] = ()
    entries: tuple[SetMember, ...] = ()
    has_ingress_vip: bool = False
    lost_node_ports: tuple[IPFamily, ...] = ()
    health_check: HealthCheck | None = None
    localhost_ports: tuple[LocalhostPort, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def addresses(self) -> frozenset[IPAddress]:
        """The VIPs to bind, if its virtual servers are honoured."""
        return frozenset(
            server.server.key.address
            for server in self.servers
            if server.is_bound and server.server.key.address is not None
        )


def needs_the_same(before: ServerProgram, after: ServerProgram) -> bool:
    """Whether nothing but the real servers and how they are chosen has changed."""
    return (
        before.entries == after.entries
        and before.is_bound == after.is_bound
        and before.port_name == after.port_name
    )


def without_mark(program: ServerProgram) -> ServerProgram:
    """The program of an address that is the same to all clients, for want of a mark.

    Without endpoints on this node the address has the cluster's, and drops nobody:
    clients inside the cluster are served, as with `localFallback: cluster`.
    """
    if program.plain is not None:
        return program.plain
    inside = program.inside
    if inside is None:
        return program
    entries, real_servers = program.entries, program.real_servers
    if not real_servers and inside.is_fallback:
        shut = set_key(SetRole.NO_LOCAL_ENDPOINTS, program.server.key.family)
        entries = tuple(member for member in entries if member.key != shut)
        real_servers = inside.real_servers
    return msgspec.structs.replace(
        program, entries=entries, real_servers=real_servers, inside=None
    )
