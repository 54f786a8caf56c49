"""The status of a node: what is desired and what the kernel holds, side by side."""

from collections.abc import Generator, Iterator, Mapping
from typing import Final

import msgspec

from ipvsctl.model.ipvs import (
    ForwardingMethod,
    RealServer,
    RealServerKey,
    RealServerStats,
    ServiceFlags,
    TrafficStats,
    VirtualServer,
    VirtualServerKey,
)
from ipvsctl.model.net import IPAddress
from ipvsctl.model.objects import Endpoint
from ipvsctl.model.problem import ObjectRef
from ipvsctl.model.sets import MARKING_ROLES, SetEntry, set_key
from ipvsctl.model.state import EMPTY
from ipvsctl.model.status import (
    NodeStatus,
    RealServerStatus,
    Selection,
    ServiceStatus,
    Standing,
    VirtualServerStatus,
)
from ipvsctl.model.steps import finish, parts
from ipvsctl.plan.diff.plan import owned_keys
from ipvsctl.plan.report.full import all_are_full
from ipvsctl.plan.report.order import real_order, server_order
from ipvsctl.plan.report.standing import as_different, is_growing, standing_of
from ipvsctl.plan.report.status_inputs import StatusInputs
from ipvsctl.plan.report.status_localhost import localhost_status
from ipvsctl.plan.report.status_selection import selected
from ipvsctl.plan.report.status_why import Lacks, why
from ipvsctl.plan.service.endpoints import replaces
from ipvsctl.plan.service.program import ServerProgram, ServiceProgram
from ipvsctl.plan.union.fwmark_allocator import BesideKind

_STEP_SERVICES: Final = 10
"""Services that are put together in one step: about a millisecond."""


EVERYTHING: Final = Selection()


def node_status(inputs: StatusInputs, selection: Selection = EVERYTHING) -> NodeStatus:
    """See `node_status_in_steps`."""
    return finish(node_status_in_steps(inputs, selection))


def node_status_in_steps(
    inputs: StatusInputs, selection: Selection = EVERYTHING
) -> Generator[None, None, NodeStatus]:
    """Put what is desired and what the kernel holds side by side, some at a time.

    Args:
        inputs: the values it is made from.
        selection: the Services to show; virtual servers of no Service are shown only
            with an empty selection.
    """
    view = _View(inputs)
    programs = inputs.desired.programs
    found: list[ServiceStatus] = []
    for some in parts(sorted(filter(selection.has, programs)), _STEP_SERVICES):
        yield
        found += (view.service(programs[ref]) for ref in some)
    unclaimed, foreign = view.rest()
    whole = NodeStatus(
        summary=inputs.summary,
        services=tuple(found),
        unclaimed=unclaimed,
        foreign=foreign,
        problems=inputs.problems,
    )
    return selected(whole, selection, inputs.objects)


class _View:
    """Reads one virtual server after the other out of the inputs."""

    def __init__(self, inputs: StatusInputs) -> None:
        self._desired = inputs.desired
        self._observed = inputs.observed
        self._state = inputs.observed.state
        self._objects = inputs.objects
        self._node = inputs.context
        self._words = inputs.words
        self._listeners = inputs.listeners
        self._lacks = Lacks(inputs.desired.state, inputs.observed, inputs.words)
        self._drain_ages_s = inputs.drain_ages_s
        self._has_objects = bool(inputs.summary.source)
        self._beside = {kind: inputs.desired.beside(kind) for kind in BesideKind}
        self._entries = {
            held_in: {entry.identity for entry in entries}
            for held_in, entries in sorted(self._state.entries.items())
        }

    def service(self, program: ServiceProgram) -> ServiceStatus:
        service = self._objects.service(program.ref)
        health = program.health_check
        endpoints = self._endpoints(program.ref)
        return ServiceStatus(
            namespace=program.ref.namespace,
            name=program.ref.name,
            type=service.type if service else "",
            health_check_node_port=health.port if health else 0,
            local_endpoints=health.local_endpoints if health else 0,
            virtual_servers=tuple(
                virtual_server
                for server in program.servers
                # Another Service may have the older claim to its address and port.
                if self._has_claim(server)
                for virtual_server in (
                    self._claimed(server, endpoints),
                    *self._marked(server, endpoints),
                )
            ),
            localhost_ports=tuple(
                localhost_status(
                    port, self._listeners, endpoints, self._objects, self._node
                )
                for port in program.localhost_ports
                if self._desired.localhost_ports.get(port.listener) == port
            ),
        )

    def rest(
        self,
    ) -> tuple[tuple[VirtualServerStatus, ...], tuple[VirtualServerStatus, ...]]:
        """The virtual servers of no known Service: ours, and foreign ones; sorted."""
        owned = owned_keys(self._state, self._observed.host_addresses)
        owned -= self._desired.foreign
        rest = sorted(
            (k for k in self._state.virtual_servers if not self._desired.server(k)),
            key=server_order,
        )
        return (
            tuple(self._unclaimed(key) for key in rest if key in owned),
            tuple(self._foreign(key) for key in rest if key not in owned),
        )

    def _has_claim(self, program: ServerProgram) -> bool:
        holder = self._desired.server(program.server.key)
        return holder is not None and holder.port_name == program.port_name

    def _claimed(
        self,
        program: ServerProgram,
        endpoints: Mapping[IPAddress, Endpoint],
    ) -> VirtualServerStatus:
        key = program.server.key
        known = self._state.virtual_servers.get(key)
        bound = self._is_bound(key.address) if program.is_bound else None
        return self._virtual_server(
            known or program.server,
            service_port=program.port_name.port,
            way=program.way,
            bound=bound,
            standing=standing_of(known, program.server),
            why=why(program, self._objects, self._node),
            lacks=tuple(self._lacks.of(program)),
            # It may have more than its program says, see `without_mark`.
            real_servers=tuple(
                self._real_servers(
                    key,
                    self._desired.real_servers[key],
                    endpoints,
                    is_slow=bool(program.slow_start_s),
                )
            ),
        )

    def _marked(
        self, program: ServerProgram, endpoints: Mapping[IPAddress, Endpoint]
    ) -> Iterator[VirtualServerStatus]:
        """Those for clients inside the cluster and for other nodes, if any."""
        for kind, wanted, who in (
            (BesideKind.INSIDE, program.inside, "from inside"),
            (BesideKind.ARRIVAL, program.arrival, "from other nodes"),
        ):
            key = self._beside[kind].get(program.server.key)
            if key is not None:
                ends = ", until its connections end" if wanted is None else ""
                yield self._of_mark(program, key, endpoints, f"{who}{ends}")

    def _of_mark(
        self,
        program: ServerProgram,
        key: VirtualServerKey,
        endpoints: Mapping[IPAddress, Endpoint],
        who: str,
    ) -> VirtualServerStatus:
        server = self._desired.state.virtual_servers[key]
        known = self._state.virtual_servers.get(key)
        return self._virtual_server(
            known or server,
            service_port=program.port_name.port,
            way=f"{program.way}, {who}",
            standing=standing_of(known, server),
            real_servers=tuple(
                self._real_servers(
                    key,
                    self._desired.real_servers[key],
                    endpoints,
                    is_slow=bool(program.slow_start_s),
                )
            ),
        )

    def _unclaimed(self, key: VirtualServerKey) -> VirtualServerStatus:
        bound = self._is_bound(key.address)
        is_own = key.address in self._observed.host_addresses
        standing = Standing.UNWANTED if self._has_objects else Standing.UNKNOWN
        return self._virtual_server(
            self._state.virtual_servers[key],
            bound=None if is_own and not bound else bound,
            standing=standing,
            real_servers=tuple(self._others(key, standing)),
        )

    def _foreign(self, key: VirtualServerKey) -> VirtualServerStatus:
        return self._virtual_server(
            self._state.virtual_servers[key],
            standing=Standing.UNKNOWN,
            real_servers=tuple(self._others(key, Standing.UNKNOWN)),
        )

    def _virtual_server(
        self,
        server: VirtualServer,
        *,
        standing: Standing,
        real_servers: tuple[RealServerStatus, ...],
        why: str = "",
        lacks: tuple[str, ...] = (),
        service_port: str = "",
        way: str = "",
        bound: bool | None = None,
    ) -> VirtualServerStatus:
        key = server.key
        is_persistent = ServiceFlags.PERSISTENT in server.flags
        is_missed = bool(lacks) or bound is False
        return VirtualServerStatus(
            service_port=service_port,
            way=way,
            protocol=key.protocol.label if key.protocol else "",
            address=str(key.address) if key.address else "",
            port=key.port,
            fwmark=key.fwmark,
            scheduler=server.scheduler,
            flags=tuple(_flag_names(server.flags)),
            persistence_timeout_s=server.timeout_s if is_persistent else None,
            persistence_bits=None
            if server.netmask_bits == key.family.bits
            else server.netmask_bits,
            bound=bound,
            sets=tuple(self._sets(key)),
            standing=standing,
            why=why or (_FULL if self._is_full(key) else ""),
            lacks=lacks,
            traffic=self._observed.traffic.get(key, TrafficStats()),
            # Packets that miss the virtual server miss them, too.
            real_servers=as_different(real_servers) if is_missed else real_servers,
        )

    def _real_servers(
        self,
        key: VirtualServerKey,
        wanted: Mapping[RealServerKey, RealServer],
        endpoints: Mapping[IPAddress, Endpoint],
        *,
        is_slow: bool,
    ) -> Iterator[RealServerStatus]:
        held = self._state.real_servers.get(key, EMPTY)
        for found in sorted(wanted.keys() | held.keys(), key=real_order):
            endpoint = endpoints.get(found.address)
            known = held.get(found)
            want = wanted.get(found)
            if want is None:
                standing = (
                    Standing.UNWANTED if known and known.weight else Standing.DRAINING
                )
            else:
                standing = standing_of(known, want)
                if standing is Standing.OK and endpoint and endpoint.terminating:
                    standing = Standing.TERMINATING
                if is_slow and known is not None and is_growing(known, want):
                    standing = Standing.WARMING
            server = known or want
            if server is not None:
                told = self._real_server(key, server, standing, endpoint)
                if standing is Standing.WARMING and want is not None:
                    told = msgspec.structs.replace(told, whole_weight=want.weight)
                yield told

    def _others(
        self, key: VirtualServerKey, standing: Standing
    ) -> Iterator[RealServerStatus]:
        held = self._state.real_servers.get(key, EMPTY)
        for found in sorted(held, key=real_order):
            yield self._real_server(key, held[found], standing, None)

    def _real_server(
        self,
        key: VirtualServerKey,
        server: RealServer,
        standing: Standing,
        endpoint: Endpoint | None,
    ) -> RealServerStatus:
        stats = self._observed.connections.get(key, EMPTY).get(
            server.key, RealServerStats()
        )
        node_name = endpoint.node_name if endpoint else ""
        is_tunnelled = server.forwarding is ForwardingMethod.TUNNEL
        if is_tunnelled:
            node_name = self._node.tunnel_node(server.key.address)
        node = self._objects.node(node_name)
        return RealServerStatus(
            address=str(server.key.address),
            port=server.key.port,
            node=node_name,
            zone=node.zone if node else "",
            weight=server.weight,
            active=stats.active,
            inactive=stats.inactive,
            persistent=stats.persistent,
            is_tunnelled=is_tunnelled,
            max_connections=server.upper_threshold,
            standing=standing,
            draining_s=self._drain_ages_s.get((key, server.key)),
        )

    def _endpoints(self, ref: ObjectRef) -> Mapping[IPAddress, Endpoint]:
        """A Service's endpoints by address, each the one that counts."""
        found: dict[IPAddress, Endpoint] = {}
        for piece in self._objects.slices_of(ref):
            for endpoint in piece.endpoints:
                if endpoint.address not in found or replaces(endpoint):
                    found[endpoint.address] = endpoint
        return found

    def _is_full(self, key: VirtualServerKey) -> bool:
        held = self._state.real_servers.get(key, EMPTY)
        return all_are_full(held, self._observed.connections.get(key, EMPTY))

    def _is_bound(self, address: IPAddress | None) -> bool:
        return address in self._state.addresses or address in self._state.routes

    def _sets(self, key: VirtualServerKey) -> Iterator[str]:
        if key.fwmark:
            for role in MARKING_ROLES:
                marking = set_key(role, key.family)
                marked = self._state.entries.get(marking, ())
                if any(entry.mark == key.fwmark for entry in marked):
                    yield self._words.set_name(marking)
            return
        entry = SetEntry(address=key.address, protocol=key.protocol, port=key.port)
        for held_in, entries in self._entries.items():
            if entry in entries:
                yield self._words.set_name(held_in)


_FULL: Final = "full: each real server has all the connections it may have"


def _flag_names(flags: ServiceFlags) -> Iterator[str]:
    for flag in flags & ~ServiceFlags.PERSISTENT:
        yield str(flag.name).lower()
