"""The desired state: the union of the node's program and every Service's.

Putting or removing one program costs what that program is long, not what the cluster
is large. What two Services share is counted, so that one leaving takes nothing from
the other; what only one can have is claimed, and the older Service keeps it.
"""

from collections.abc import Hashable, Mapping
from collections.abc import Set as AbstractSet
from typing import Generic, TypeVar

import msgspec

from ipvsctl.model.ipset import SetEntry, SetSpec
from ipvsctl.model.ipvs import (
    RealServer,
    RealServerKey,
    VirtualServer,
    VirtualServerKey,
)
from ipvsctl.model.net import IPAddress
from ipvsctl.model.problem import Kind, ObjectRef, Problem
from ipvsctl.model.state import EMPTY, NodeState
from ipvsctl.plan.catalogue import (
    DEFAULT_MAXELEM,
    URGENT_SERVICES,
    SetRole,
    set_name,
    set_spec,
)
from ipvsctl.plan.health_checks import HealthChecks, ServiceHealth
from ipvsctl.plan.node import STRICT_ARP_SYSCTLS, NodeProgram
from ipvsctl.plan.program import ServerProgram, ServiceProgram
from ipvsctl.plan.short_circuits import ShortCircuits, marked_entry

_Item = TypeVar("_Item", bound=Hashable)


class _Counted(Generic[_Item]):
    """A set whose members stay as long as somebody has put them in.

    It remembers what was in it when `take_change` was last called.
    """

    __slots__ = ("_before", "counts")

    def __init__(self) -> None:
        self.counts: dict[_Item, int] = {}
        self._before: dict[_Item, bool] = {}

    def add(self, item: _Item) -> None:
        count = self.counts.get(item, 0)
        if not count:
            self._before.setdefault(item, False)
        self.counts[item] = count + 1

    def discard(self, item: _Item) -> None:
        left = self.counts[item] - 1
        if left:
            self.counts[item] = left
        else:
            del self.counts[item]
            self._before.setdefault(item, True)

    def take_change(self) -> tuple[frozenset[_Item], frozenset[_Item]]:
        """What came and what went since the last call."""
        before, self._before = self._before, {}
        came = frozenset(i for i, was in before.items() if not was and i in self.counts)
        went = frozenset(i for i, was in before.items() if was and i not in self.counts)
        return came, went


class _Claim(msgspec.Struct, frozen=True, order=True):
    """A Service's wish for a virtual server; the least claim is honoured."""

    created: str
    ref: ObjectRef


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What must be compared after some programs changed, and nothing else.

    Attributes:
        keys: virtual servers to read from the kernel.
        desired: the desired state, of these keys, and the entries and addresses that
            came.
        presumed: what the kernel holds of the rest, if all is as it was left: the
            entries and addresses that went. Virtual servers are to be filled in.
        needs_audit: something shared by all Services changed (a set must grow), so
            only the whole state will do.
        health_checks: health-check node ports that came, went (None) or may answer
            something else.
        fresh: virtual servers by a fwmark that nobody is known to have; one that the
            kernel has all the same is a stranger's.
        ends_hold: what was not desired before may be taken away from now on.
    """

    keys: frozenset[VirtualServerKey]
    desired: NodeState
    presumed: NodeState
    needs_audit: bool
    health_checks: Mapping[int, ServiceHealth | None] = EMPTY
    fresh: frozenset[VirtualServerKey] = frozenset()
    ends_hold: bool = False


class Desired:
    """All programs, and the state they add up to."""

    def __init__(self, node: NodeProgram) -> None:
        self._node = node
        self._programs: dict[ObjectRef, ServiceProgram] = {}
        self._troubled: set[ObjectRef] = set()
        self._claims: dict[VirtualServerKey, dict[_Claim, ServerProgram]] = {}
        self._contested: set[VirtualServerKey] = set()
        self._virtual_servers: dict[VirtualServerKey, VirtualServer] = {}
        self._real_servers: dict[
            VirtualServerKey, Mapping[RealServerKey, RealServer]
        ] = {}
        self._addresses: _Counted[IPAddress] = _Counted()
        self._entries: dict[str, _Counted[SetEntry]] = {
            set_name(role, family): _Counted()
            for family in node.families
            for role in SetRole
        }
        self._short_circuits = ShortCircuits(node.families, node.marks)
        self._health_checks = HealthChecks()
        self._room = dict.fromkeys(self._entries, DEFAULT_MAXELEM)
        self._ingress_vip_services = 0
        self._touched: set[VirtualServerKey] = set()
        self._sysctls_told = self._sysctls()
        self._placement_told = node.placement

    @property
    def programs(self) -> Mapping[ObjectRef, ServiceProgram]:
        """Every Service's program."""
        return self._programs

    @property
    def real_servers(
        self,
    ) -> Mapping[VirtualServerKey, Mapping[RealServerKey, RealServer]]:
        """Those of every virtual server that is desired; some have none."""
        return self._real_servers

    @property
    def short_circuits(self) -> Mapping[VirtualServerKey, VirtualServerKey]:
        """Fwmark virtual server -> that of the address it is for."""
        return self._short_circuits.addresses

    def agree_on_marks(
        self, observed: NodeState, *, keeps_unwanted: bool = False
    ) -> None:
        """Take over the fwmarks the kernel knows, and keep off those of strangers.

        To be called with each complete state, before it is compared with. See
        `Marks.agree`.
        """
        moved = self._short_circuits.agree(observed, keeps_unwanted=keeps_unwanted)
        for key, inside in moved.items():
            self._withdraw_inside(key, inside)
        for key in moved:
            self._settle_inside(key, self.server(key))

    def confirm_marks(self, keys: AbstractSet[VirtualServerKey]) -> None:
        """Take note that the kernel had none of these fresh virtual servers."""
        self._short_circuits.confirm(keys)

    def set_node(self, node: NodeProgram) -> None:
        """Replace the node's program; its families must stay the same."""
        self._node = node

    def put(self, program: ServiceProgram) -> None:
        """Add a Service's program, or replace the one it had."""
        old = self._programs.get(program.ref)
        if old == program:
            return
        # The new one goes in first: what both have never counts as gone.
        self._insert(program)
        if old is not None:
            self._withdraw(old, keep=program)
        self._programs[program.ref] = program
        if program.problems:
            self._troubled.add(program.ref)
        else:
            self._troubled.discard(program.ref)
        self._health_checks.put(program)

    def remove(self, ref: ObjectRef) -> None:
        """Take a Service's program out; fine if it has none."""
        self._health_checks.remove(ref)
        old = self._programs.pop(ref, None)
        self._troubled.discard(ref)
        if old is not None:
            self._withdraw(old, keep=None)

    def take_change(self) -> Change:
        """What all `put` and `remove` since the last call add up to.

        The cost is that of the programs put and removed.
        """
        keys, self._touched = frozenset(self._touched), set()
        wanted = [key for key in keys if key in self._virtual_servers]
        came_entries, gone_entries = {}, {}
        needs_audit = False
        for name, counted in self._entries.items():
            came_entries[name], gone_entries[name] = counted.take_change()
            needs_audit |= len(counted.counts) > self._room[name]
        came, went = self._addresses.take_change()
        sysctls_before, self._sysctls_told = self._sysctls_told, self._sysctls()
        placement = self._node.placement
        before, self._placement_told = self._placement_told, placement
        needs_audit |= placement != before
        return Change(
            keys=keys,
            desired=NodeState(
                vip_link_up=True,
                sysctls=self._sysctls_told,
                entries=came_entries,
                virtual_servers={key: self._virtual_servers[key] for key in wanted},
                real_servers={key: self._real_servers[key] for key in wanted},
                addresses=placement.addresses(came),
                routes=placement.routes(came),
            ),
            presumed=NodeState(
                vip_link_up=True,
                sysctls=sysctls_before,
                entries=gone_entries,
                addresses=before.addresses(went),
                routes=before.routes(went),
            ),
            needs_audit=needs_audit,
            health_checks=self._health_checks.take_change(),
            fresh=self._short_circuits.take_fresh(),
        )

    def unchanged(self, keys: AbstractSet[VirtualServerKey]) -> Change:
        """A change that is none, to look at some virtual servers again."""
        wanted = [key for key in keys if key in self._virtual_servers]
        return Change(
            keys=frozenset(wanted),
            desired=NodeState(
                vip_link_up=True,
                virtual_servers={key: self._virtual_servers[key] for key in wanted},
                real_servers={key: self._real_servers[key] for key in wanted},
            ),
            presumed=NodeState(vip_link_up=True),
            needs_audit=False,
        )

    def server(self, key: VirtualServerKey) -> ServerProgram | None:
        """The program of a virtual server, with the Service port it is for.

        That of a fwmark is part of the program of its address.
        """
        claims = self._claims.get(self._short_circuits.addresses.get(key, key))
        return claims[min(claims)] if claims else None

    def problems(self) -> tuple[Problem, ...]:
        """Every Service's problems, and its lost claims; sorted.

        The cost is that of the problems: they are asked for after every sync.
        """
        found = [p for ref in self._troubled for p in self._programs[ref].problems]
        for key in self._contested:
            claims = self._claims[key]
            winner = min(claims)
            found += [
                Problem(
                    kind=Kind.SERVICE,
                    ref=claim.ref,
                    field=program.field,
                    value=str(key),
                    reason=f"already taken by Service {winner.ref}",
                )
                for claim, program in claims.items()
                if claim != winner
            ]
        for key, reason in self._short_circuits.unmarked().items():
            claims = self._claims[key]
            unmarked = min(claims)
            found.append(
                Problem(
                    kind=Kind.SERVICE,
                    ref=unmarked.ref,
                    field=claims[unmarked].field,
                    value=str(key),
                    reason=reason,
                )
            )
        found += self._health_checks.problems()
        return tuple(sorted(found))

    def health_checks(self) -> Mapping[int, ServiceHealth]:
        """What every health-check node port answers."""
        return self._health_checks.all()

    def urgent_addresses(self) -> frozenset[IPAddress]:
        """Addresses of the Services that must work before all others."""
        return frozenset(
            address
            for ref in URGENT_SERVICES
            if ref in self._programs
            for address in self._programs[ref].addresses
        )

    def servers(self) -> NodeState:
        """The virtual and real servers alone; views that follow changes."""
        return NodeState(
            virtual_servers=self._virtual_servers, real_servers=self._real_servers
        )

    def state(self) -> NodeState:
        """The whole desired state; all but its routes are views that follow changes."""
        return NodeState(
            vip_link_up=True,
            sysctls=self._sysctls(),
            timeouts=self._node.timeouts,
            sets=self._sets(),
            entries={n: c.counts.keys() for n, c in self._entries.items()},
            chains=self._node.chains,
            virtual_servers=self._virtual_servers,
            real_servers=self._real_servers,
            addresses=self._node.placement.addresses(self._addresses.counts.keys()),
            routes=self._node.placement.routes(self._addresses.counts),
        )

    def _insert(self, program: ServiceProgram) -> None:
        claim = _Claim(program.created, program.ref)
        for server in program.servers:
            self._claim(claim, server)
        for named in program.entries:
            self._entries[named.set_name].add(named.entry)
        for address in program.addresses:
            self._addresses.add(address)
        self._ingress_vip_services += program.has_ingress_vip

    def _withdraw(
        self, program: ServiceProgram, *, keep: ServiceProgram | None
    ) -> None:
        """Take a program out of the counts, but not the claims `keep` has renewed."""
        claim = _Claim(program.created, program.ref)
        renewed = (
            frozenset(server.server.key for server in keep.servers)
            if keep is not None and keep.created == program.created
            else frozenset()
        )
        for server in program.servers:
            if server.server.key not in renewed:
                self._unclaim(claim, server.server.key)
        for named in program.entries:
            self._entries[named.set_name].discard(named.entry)
        for address in program.addresses:
            self._addresses.discard(address)
        self._ingress_vip_services -= program.has_ingress_vip

    def _claim(self, claim: _Claim, server: ServerProgram) -> None:
        claims = self._claims.setdefault(server.server.key, {})
        if claims.get(claim) == server:
            return
        before = claims[min(claims)] if claims else None
        claims[claim] = server
        self._settle(server.server.key, before)

    def _unclaim(self, claim: _Claim, key: VirtualServerKey) -> None:
        claims = self._claims[key]
        before = claims[min(claims)]
        del claims[claim]
        self._settle(key, before)

    def _settle(self, key: VirtualServerKey, before: ServerProgram | None) -> None:
        """Let the least claim to `key` hold, and its entries with it."""
        claims = self._claims[key]
        after = claims[min(claims)] if claims else None
        if len(claims) > 1:
            self._contested.add(key)
        else:
            self._contested.discard(key)
        if after is before:
            return
        self._touched.add(key)
        if after is None:
            del self._claims[key], self._virtual_servers[key], self._real_servers[key]
        else:
            self._virtual_servers[key] = after.server
            self._real_servers[key] = after.real_servers
            for named in after.entries:
                self._entries[named.set_name].add(named.entry)
        if before is not None:
            for named in before.entries:
                self._entries[named.set_name].discard(named.entry)
        self._settle_inside(key, after)

    def _settle_inside(
        self, key: VirtualServerKey, program: ServerProgram | None
    ) -> None:
        """Give inside clients of an address their virtual server, or take it away."""
        if program is None or program.inside is None:
            self._withdraw_inside(key, self._short_circuits.close(key))
            return
        inside = self._short_circuits.find(key)
        if inside is None:
            inside = self._short_circuits.open(key)
            if inside is None:
                return
            named = marked_entry(key, inside)
            self._entries[named.set_name].add(named.entry)
        self._touched.add(inside)
        self._virtual_servers[inside] = program.inside.server(inside)
        self._real_servers[inside] = program.inside.real_servers

    def _withdraw_inside(
        self, key: VirtualServerKey, inside: VirtualServerKey | None
    ) -> None:
        if inside is None:
            return
        self._touched.add(inside)
        del self._virtual_servers[inside], self._real_servers[inside]
        named = marked_entry(key, inside)
        self._entries[named.set_name].discard(named.entry)

    def _sysctls(self) -> Mapping[str, str]:
        strict = self._node.strict_arp
        if strict is None:
            strict = self._ingress_vip_services > 0
        return {**self._node.sysctls, **(STRICT_ARP_SYSCTLS if strict else {})}

    def _sets(self) -> Mapping[str, SetSpec]:
        """The sets with room for what is in them, and for more until they are full."""
        specs = {}
        for family in self._node.families:
            for role in SetRole:
                name = set_name(role, family)
                self._room[name] = _room_for(len(self._entries[name].counts))
                specs[name] = set_spec(role, family, maxelem=self._room[name])
        return specs


def _room_for(entries: int) -> int:
    """Entries to create a set for: the default, or a power of two with a quarter free.

    A set cannot grow in place; the room to spare means it is seldom rebuilt.
    """
    maxelem = DEFAULT_MAXELEM
    if entries <= maxelem:
        return maxelem
    while maxelem * 3 // 4 < entries:
        maxelem *= 2
    return maxelem
