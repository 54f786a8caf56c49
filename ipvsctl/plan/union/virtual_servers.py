"""The virtual and real servers that are desired: who has each, and what it is now.

Whose a virtual server is, is decided in three steps. The best claim of a Service has
it; unless another program of this host has it in the kernel, then the Service's wish is
withheld; and while no fwmark is free for its inside clients, it is the same for all
clients.
"""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import NamedTuple

import msgspec

from ipvsctl.model.ipvs import (
    RealServers,
    VirtualServer,
    VirtualServerKey,
)
from ipvsctl.model.marks import MarkRange
from ipvsctl.model.net import IPFamily
from ipvsctl.model.problem import Kind, ObjectRef, Problem
from ipvsctl.model.problem_book import ListedProblems, ProblemPart
from ipvsctl.model.state import NodeState, Observed
from ipvsctl.plan.service.program import (
    InsideProgram,
    ServerProgram,
    ServiceProgram,
    SetMember,
    needs_the_same,
    precedence,
    without_mark,
)
from ipvsctl.plan.union.claims import Claim, Claims
from ipvsctl.plan.union.foreign import TAKEN, Foreign
from ipvsctl.plan.union.fwmark_allocator import BesideKind, Place
from ipvsctl.plan.union.shared import Shared
from ipvsctl.plan.union.short_circuits import Circuit, ShortCircuits
from ipvsctl.plan.union.silent_checks import SilentChecks

_Keys = AbstractSet[VirtualServerKey]


class TouchedServers(NamedTuple):
    """The virtual servers that a change is about.

    Attributes:
        keys: those that came or went, or may be others than they were.
        likely: see `DesiredChange`.
        fresh: those of the keys that are not known to be ours yet, see `Foreign`.
    """

    keys: frozenset[VirtualServerKey]
    likely: Mapping[VirtualServerKey, RealServers]
    fresh: frozenset[VirtualServerKey]


class VirtualServers:
    """Every desired virtual server, with its real servers.

    Args:
        families: of the virtual servers.
        marks: the fwmarks that may be given out.
        shared: is told which entries and VIPs the virtual servers need.
        silent_checks: is told which virtual servers there are.
    """

    def __init__(
        self,
        families: Iterable[IPFamily],
        marks: MarkRange,
        shared: Shared,
        silent_checks: SilentChecks,
    ) -> None:
        self._shared = shared
        self._silent_checks = silent_checks
        self._claims: Claims[VirtualServerKey, ServerProgram] = Claims(_problem)
        self._served: dict[VirtualServerKey, ServerProgram] = {}
        """Address virtual server -> the program of the best claim, unless withheld."""
        self._virtual_servers: dict[VirtualServerKey, VirtualServer] = {}
        self._real_servers: dict[VirtualServerKey, RealServers] = {}
        self._touched: set[VirtualServerKey] = set()
        self._before: dict[VirtualServerKey, RealServers] = {}
        """What those that have others by now had at the last `take_touched`."""
        self._foreign = Foreign()
        self._all_foreign: frozenset[VirtualServerKey] = frozenset()
        self._withheld: dict[VirtualServerKey, ObjectRef] = {}
        """Virtual server of others -> the Service that would have it."""
        self._taken: ListedProblems[VirtualServerKey] = ListedProblems(
            lambda _, key: self._claims.problem(key, TAKEN), TAKEN
        )
        self._short_circuits = ShortCircuits(families, marks)
        self._unmarked: dict[VirtualServerKey, ServerProgram] = {}
        """Virtual server that no mark is free for -> the program that holds instead."""
        self._shortages: ListedProblems[VirtualServerKey] = ListedProblems(
            lambda _, key: self._claims.problem(key, self._short_circuits.shortage),
            self._short_circuits.shortage,
        )

    @property
    def real_servers(
        self,
    ) -> Mapping[VirtualServerKey, RealServers]:
        """Desired virtual server -> its real servers; a view that follows changes."""
        return self._real_servers

    @property
    def served(self) -> Mapping[VirtualServerKey, ServerProgram]:
        """Address virtual server -> its program; a view that follows changes."""
        return self._served

    @property
    def short_circuits(self) -> Mapping[VirtualServerKey, VirtualServerKey]:
        """Fwmark virtual server -> the virtual server of the address it is for."""
        return self._short_circuits.addresses

    @property
    def foreign(self) -> frozenset[VirtualServerKey]:
        """The virtual servers of others, fwmarks included, as of the last `agree`."""
        return self._all_foreign

    @property
    def problem_parts(self) -> tuple[ProblemPart, ...]:
        """Virtual servers that a Service wants and has not got, by reason."""
        return self._claims.lost, self._taken, self._shortages

    def find(self, key: VirtualServerKey) -> ServerProgram | None:
        """The program of a virtual server; that of a fwmark is its address's.

        None if nobody wants the virtual server, or if it is another's.
        """
        return self._served.get(self._short_circuits.addresses.get(key, key))

    def state(self) -> NodeState:
        """The virtual and real servers alone; views that follow changes."""
        return NodeState(
            virtual_servers=self._virtual_servers, real_servers=self._real_servers
        )

    def some(self, keys: _Keys) -> NodeState:
        """The virtual and real servers of those keys that are desired."""
        wanted = [key for key in keys if key in self._virtual_servers]
        return NodeState(
            virtual_servers={key: self._virtual_servers[key] for key in wanted},
            real_servers={key: self._real_servers[key] for key in wanted},
        )

    def claim(self, program: ServiceProgram, server: ServerProgram) -> None:
        """Make or renew a Service's claim to one virtual server of its program."""
        key = server.server.key
        rank = precedence(server.way)
        if self._claims.put(key, Claim(rank, program.created, program.ref, server)):
            self._settle(key)

    def withdraw(self, program: ServiceProgram, server: ServerProgram) -> None:
        """Give up a Service's claim to one virtual server of its program."""
        key = server.server.key
        self._claims.withdraw(key, program.ref)
        self._settle(key)

    def agree(
        self, observed: Observed, touched: _Keys, *, keeps_unwanted: bool
    ) -> None:
        """See `Desired.agree`."""
        for key in self._foreign.agree(
            observed, self._virtual_servers.keys(), self._wanted, touched
        ):
            self._shared.set_foreign(key, is_foreign=key in self._foreign.keys)
            self._settle(key)
        moved, found = self._short_circuits.agree(
            observed.state, self._served, keeps_unwanted=keeps_unwanted
        )
        for circuit in moved.values():
            self._withdraw_inside(circuit)
        for key in {place.key for place in moved}:
            self._mark_again(key)
        for place in found:
            self._shared.add(self._short_circuits.member(place))
            self._close_beside(place, self._served[place.key])
        for place in self._short_circuits.closed(observed, touched):
            self._withdraw_inside(self._short_circuits.close(place))
        self._all_foreign = self._foreign.keys | self._short_circuits.foreign()

    def confirm(self, keys: _Keys) -> None:
        """See `Desired.confirm`."""
        self._foreign.confirm(keys)
        self._short_circuits.confirm(keys)

    def doubt(self, keys: _Keys) -> None:
        """See `Desired.doubt`."""
        self._foreign.doubt({key for key in keys if not key.fwmark})
        self._short_circuits.doubt(keys)

    @property
    def has_marks_to_give(self) -> bool:
        """Whether a virtual server waits for a mark although one is free."""
        return self._short_circuits.ready is not None

    def give_marks(self, most: int) -> None:
        """Give free marks to at most so many virtual servers that wait for one."""
        for _ in range(most):
            ready = self._short_circuits.ready
            if ready is None:
                break
            self._mark_again(ready.key)

    @property
    def touched(self) -> _Keys:
        """Those that `take_touched` would have: they may be others than they were."""
        return self._touched

    def touch(self, keys: _Keys) -> None:
        """See `Desired.touch`."""
        self._touched |= keys & self._virtual_servers.keys()

    def take_touched(self) -> TouchedServers:
        """The virtual servers that calls since the last one of this were about."""
        keys, self._touched = frozenset(self._touched), set()
        likely, self._before = self._before, {}
        fresh = keys & self._foreign.take_unconfirmed()
        fresh |= keys & self._short_circuits.take_fresh()
        return TouchedServers(keys, likely, fresh)

    def with_insides(self, keys: _Keys) -> _Keys:
        """The keys, and the fwmark virtual servers beside each of them."""
        places = (Place(key, kind) for key in keys for kind in BesideKind)
        insides = map(self._short_circuits.find, places)
        return keys | {inside for inside in insides if inside is not None}

    def programs(self, keys: _Keys) -> list[ServerProgram]:
        """The programs that hold for the address virtual servers among the keys."""
        return [
            program
            for key in keys
            if not key.fwmark and (program := self._unmarked.get(key) or self.find(key))
        ]

    def marked_entries(self, keys: _Keys) -> list[SetMember]:
        """The entries about the fwmark virtual servers among the keys."""
        circuits = self._short_circuits
        places = map(circuits.place, keys & circuits.addresses.keys())
        return [circuits.member(place) for place in places if place is not None]

    def _wanted(self, key: VirtualServerKey) -> ServerProgram | None:
        """The program whose claim to an address virtual server is the best."""
        claim = self._claims.holder(key)
        return None if claim is None else claim.value

    def _settle(self, key: VirtualServerKey) -> None:
        """Let the best claim to an address virtual server hold, or withhold it."""
        before, after = self._served.get(key), self._wanted(key)
        known = self._withheld.pop(key, None)
        if known is not None:
            self._taken.discard(known, key)
        if after is not None and key in self._foreign.keys:
            self._withheld[key] = after.port_name.service
            self._taken.add(after.port_name.service, key)
            after = None
        if after is before:
            return
        if after is None:
            del self._served[key]
        else:
            self._served[key] = after
        self._touched.add(key)
        self._replace(key, self._unmarked.pop(key, before), after)

    def _mark_again(self, key: VirtualServerKey) -> None:
        """Give an address a mark if one is free; maybe another than before."""
        program = self.find(key)
        self._replace(key, self._unmarked.pop(key, program), program)

    def _replace(
        self,
        key: VirtualServerKey,
        before: ServerProgram | None,
        program: ServerProgram | None,
    ) -> None:
        """Let a program hold in place of the one before, without a mark if need be."""
        if before is not None:
            self._shortages.discard(before.port_name.service, key)
        after = program
        if program is not None and not self._settle_beside(key, program):
            after = self._unmarked[key] = without_mark(program)
            self._shortages.add(program.port_name.service, key)
        elif program is None:
            for kind in BesideKind:
                self._withdraw_inside(self._short_circuits.close(Place(key, kind)))
        if after is before:
            return
        self._touched.add(key)
        if after is None:
            self._drop(key)
            self._foreign.go(key)
        else:
            self._set(key, after.server, after.real_servers)
            if before is None:
                self._foreign.come(key)
        if before is None or after is None or not needs_the_same(before, after):
            self._shared.replace(before, after)
            self._silent_checks.replace(before, after)

    def _settle_beside(self, key: VirtualServerKey, program: ServerProgram) -> bool:
        """Have the fwmark virtual servers beside that of an address, or none.

        Where one has no mark the other stays: its packets are masqueraded meanwhile,
        with another mark.

        Returns:
            Whether there is what should be; False when no mark is free.
        """
        has_marks = True
        for kind, wanted in (
            (BesideKind.INSIDE, program.inside),
            (BesideKind.ARRIVAL, program.arrival),
        ):
            place = Place(key, kind)
            if wanted is None:
                self._close_beside(place, program)
            else:
                has_marks &= self._open_beside(place, wanted)
        return has_marks

    def _open_beside(self, place: Place, wanted: InsideProgram) -> bool:
        circuits = self._short_circuits
        inside = circuits.find(place)
        if inside is None or circuits.is_closing(place):
            closing = None if inside is None else circuits.member(place)
            inside = circuits.open(place)
            if inside is None:
                return False
            self._shared.exchange(closing, circuits.member(place))
        self._touched.add(inside)
        self._set(inside, wanted.server(inside), wanted.real_servers)
        return True

    def _close_beside(self, place: Place, program: ServerProgram) -> None:
        """Keep a fwmark virtual server for what connections it has, if any."""
        circuits = self._short_circuits
        inside = circuits.find(place)
        opened = None if inside is None else circuits.member(place)
        if inside is None or not circuits.begin_to_close(place):
            self._withdraw_inside(circuits.close(place))
            return
        self._shared.exchange(opened, circuits.member(place))
        self._touched.add(inside)
        server = msgspec.structs.replace(program.server, key=inside)
        self._set(inside, server, program.real_servers)

    def _withdraw_inside(self, circuit: Circuit | None) -> None:
        """Take a fwmark virtual server away, if there was one."""
        if circuit is None:
            return
        self._touched.add(circuit.inside)
        self._drop(circuit.inside)
        self._shared.discard(circuit.member)

    def _set(
        self,
        key: VirtualServerKey,
        server: VirtualServer,
        real_servers: RealServers,
    ) -> None:
        if key in self._real_servers:
            self._before.setdefault(key, self._real_servers[key])
        self._virtual_servers[key] = server
        self._real_servers[key] = real_servers

    def _drop(self, key: VirtualServerKey) -> None:
        self._before.setdefault(key, self._real_servers.pop(key))
        del self._virtual_servers[key]


def _problem(
    key: VirtualServerKey, claim: Claim[ServerProgram], reason: str
) -> Problem:
    return Problem(
        kind=Kind.SERVICE,
        ref=claim.service,
        field=claim.value.field,
        value=str(key),
        reason=reason,
    )
