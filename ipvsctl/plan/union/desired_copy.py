"""A copy of the desired state, made part by part while that state goes on changing.

Copying ten thousand Services at once takes only some milliseconds of computing, but no
other thread gets the interpreter meanwhile, and each page of new memory may cost a trip
to the kernel. So each part is small, and what has changed since a part was copied is
copied again at the end.
"""

from collections.abc import Generator, Hashable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Final, Generic, TypeVar

from ipvsctl.model.net import IPAddress
from ipvsctl.model.problem import ObjectRef
from ipvsctl.model.state import NodeState
from ipvsctl.model.steps import parts
from ipvsctl.plan.service.program import ServiceProgram
from ipvsctl.plan.union.counted import Counted
from ipvsctl.plan.union.frozen import FrozenDesired
from ipvsctl.plan.union.localhost_ports import LocalhostPorts
from ipvsctl.plan.union.node_part import NodePart
from ipvsctl.plan.union.shared import Shared
from ipvsctl.plan.union.virtual_servers import VirtualServers

K = TypeVar("K")
V = TypeVar("V")
H = TypeVar("H", bound=Hashable)

_PART: Final = 500
"""Entries of a dict that are copied, or routes that are made, in one step: less than
a millisecond."""


class DesiredCopy:
    """A copy under way, of one `Desired`, which tells it of changes in time.

    Args:
        programs: every Service's.
        node: the node's own part.
        servers: the virtual and real servers.
        shared: the entries and VIPs.
        localhost_ports: the listeners on localhost, few enough to copy at the end.
    """

    def __init__(
        self,
        programs: Mapping[ObjectRef, ServiceProgram],
        node: NodePart,
        servers: VirtualServers,
        shared: Shared,
        localhost_ports: LocalhostPorts,
    ) -> None:
        state = servers.state()
        self._node = node
        self._servers = servers
        self._shared = shared
        self._localhost_ports = localhost_ports
        self._programs = _DictCopy(programs)
        self._served = _DictCopy(servers.served)
        self._short_circuits = _DictCopy(servers.short_circuits)
        self._virtual_servers = _DictCopy(state.virtual_servers)
        self._real_servers = _DictCopy(state.real_servers)
        self._placement = node.program.placement
        self._vips = _CountedCopy(shared.counted_vips)
        self._routes: dict[IPAddress, IPAddress | None] = {}
        self._entries = {
            key: _CountedCopy(counted)
            for key, counted in shared.counted_entries.items()
        }

    def in_steps(self) -> Generator[None, None, None]:
        """Copy everything; all of it may change between two steps."""
        yield from self._programs.in_steps()
        yield from self._served.in_steps()
        yield from self._short_circuits.in_steps()
        yield from self._virtual_servers.in_steps()
        yield from self._real_servers.in_steps()
        yield from self._vips.in_steps()
        for vips in parts(tuple(self._vips.source), _PART):
            yield
            self._put_routes(frozenset(vips))
        for entries in self._entries.values():
            yield from entries.in_steps()

    def note_program(self, ref: ObjectRef) -> None:
        """A Service's program has come, gone or become another."""
        self._programs.note((ref,))

    def note_changes(self) -> None:
        """Which things have changed is about to be forgotten by those that had them."""
        touched = self._servers.touched
        self._served.note(touched)
        self._short_circuits.note(touched)
        self._virtual_servers.note(touched)
        self._real_servers.note(touched)
        self._vips.note_changes()
        for entries in self._entries.values():
            entries.note_changes()

    def finish(self) -> FrozenDesired:
        """What is desired at this moment, when all of `in_steps` is done."""
        self.note_changes()
        needs, program = self._node.needs(), self._node.program
        vips, changed_vips = self._vips.finish()
        if needs.placement == self._placement:
            self._put_routes(changed_vips)
        else:
            self._routes = dict(needs.placement.routes(vips))
        return FrozenDesired(
            programs=self._programs.finish(),
            served=self._served.finish(),
            short_circuits=self._short_circuits.finish(),
            foreign=self._servers.foreign,
            localhost_ports=self._localhost_ports.all(),
            state=NodeState(
                vip_link_up=True,
                sysctls=needs.sysctls,
                timeouts=program.timeouts,
                sets=self._shared.sets(),
                entries={key: held.finish()[0] for key, held in self._entries.items()},
                chains=program.chains,
                virtual_servers=self._virtual_servers.finish(),
                real_servers=self._real_servers.finish(),
                addresses=needs.placement.addresses(vips),
                routes=self._routes,
                tunnel_ends=program.tunnel_ends,
            ),
        )

    def _put_routes(self, vips: AbstractSet[IPAddress]) -> None:
        """Have the routes to these as they are to be bound now."""
        for vip in vips:
            self._routes.pop(vip, None)
        bound = self._vips.source
        self._routes.update(self._placement.routes(vip for vip in vips if vip in bound))


class _DictCopy(Generic[K, V]):
    """A copy of a dict that changes meanwhile."""

    def __init__(self, source: Mapping[K, V]) -> None:
        self._source = source
        self._copy: dict[K, V] = {}
        self.changed: set[K] = set()

    def in_steps(self) -> Generator[None, None, None]:
        for keys in parts(tuple(self._source), _PART):
            yield
            self._put(keys)

    def note(self, keys: Iterable[K]) -> None:
        self.changed.update(keys)

    def finish(self) -> dict[K, V]:
        self._put(self.changed)
        return self._copy

    def _put(self, keys: Iterable[K]) -> None:
        source, copy = self._source, self._copy
        for key in keys:
            if key in source:
                copy[key] = source[key]
            else:
                copy.pop(key, None)


class _CountedCopy(Generic[H]):
    """A copy of the members of a set that changes meanwhile."""

    def __init__(self, source: Counted[H]) -> None:
        self._counted = source
        self._copy = _DictCopy(source.counts)

    @property
    def source(self) -> AbstractSet[H]:
        """The members now."""
        return self._counted.counts.keys()

    def in_steps(self) -> Generator[None, None, None]:
        return self._copy.in_steps()

    def note_changes(self) -> None:
        self._copy.note(self._counted.changed)

    def finish(self) -> tuple[AbstractSet[H], AbstractSet[H]]:
        """The members, and those that may have changed since the copy was begun."""
        return self._copy.finish().keys(), self._copy.changed
