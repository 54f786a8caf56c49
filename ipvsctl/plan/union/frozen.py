"""A desired state to look things up in while it changes, and one that never does."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Protocol

import msgspec

from ipvsctl.model.config import Listener
from ipvsctl.model.ipvs import RealServer, RealServerKey, VirtualServerKey
from ipvsctl.model.net import IPFamily
from ipvsctl.model.problem import ObjectRef
from ipvsctl.model.sets import SetRole, set_key
from ipvsctl.model.state import EMPTY, NodeState
from ipvsctl.plan.service.program import LocalhostPort, ServerProgram, ServiceProgram
from ipvsctl.plan.union.fwmark_allocator import BesideKind


class DesiredLookups(Protocol):
    """What may be looked up of a desired state in any thread, whoever changes it.

    Every answer is one lookup in a dict, of a value that never changes: another one
    takes its place. Two lookups may belong to two moments. To go through all of one of
    these mappings, copy it first: copying a dict runs no Python, so no other thread
    comes in between.
    """

    @property
    def programs(self) -> Mapping[ObjectRef, ServiceProgram]:
        """Every Service's program."""
        ...

    @property
    def real_servers(
        self,
    ) -> Mapping[VirtualServerKey, Mapping[RealServerKey, RealServer]]:
        """Those of every virtual server that is desired; some have none."""
        ...

    @property
    def short_circuits(self) -> Mapping[VirtualServerKey, VirtualServerKey]:
        """Fwmark virtual server -> that of the address it is for."""
        ...

    @property
    def foreign(self) -> AbstractSet[VirtualServerKey]:
        """The virtual servers of others, as of the last look at everything."""
        ...

    def server(self, key: VirtualServerKey) -> ServerProgram | None:
        """The program of a virtual server, with the Service port it is for.

        That of a fwmark is part of the program of its address. None if nobody wants it
        or it is another's.
        """
        ...


class FrozenDesired(msgspec.Struct, frozen=True, kw_only=True):
    """A desired state as it was at one moment; see `DesiredLookups`.

    Attributes:
        served: the program of each address virtual server.
        state: the whole state.
        localhost_ports: every listener on localhost, with whose it is.
    """

    programs: Mapping[ObjectRef, ServiceProgram]
    served: Mapping[VirtualServerKey, ServerProgram]
    short_circuits: Mapping[VirtualServerKey, VirtualServerKey]
    foreign: frozenset[VirtualServerKey]
    state: NodeState
    localhost_ports: Mapping[Listener, LocalhostPort] = EMPTY

    def beside(self, kind: BesideKind) -> Mapping[VirtualServerKey, VirtualServerKey]:
        """The virtual server of an address -> the fwmark one of a kind beside it."""
        arrivals = {
            VirtualServerKey(family=family, fwmark=entry.mark)
            for family in IPFamily
            for entry in self.state.entries.get(
                set_key(SetRole.TUNNEL_ARRIVAL, family), ()
            )
        }
        is_arrival = kind is BesideKind.ARRIVAL
        return {
            address: key
            for key, address in self.short_circuits.items()
            if (key in arrivals) == is_arrival
        }

    @property
    def real_servers(
        self,
    ) -> Mapping[VirtualServerKey, Mapping[RealServerKey, RealServer]]:
        """See `DesiredLookups`."""
        return self.state.real_servers

    def server(self, key: VirtualServerKey) -> ServerProgram | None:
        """See `DesiredLookups`."""
        return self.served.get(self.short_circuits.get(key, key))
