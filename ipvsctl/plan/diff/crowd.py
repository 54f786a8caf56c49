"""Virtual servers with very many real servers, changed portion by portion.

To read twenty thousand real servers for the sake of one, or to add all of them in one
go, keeps everybody else waiting. So what the kernel holds of such a virtual server is
remembered, and a sync compares no more than a portion of it.
"""

from collections.abc import Iterable, Mapping
from itertools import chain, islice
from typing import Final

import msgspec

from ipvsctl.model.ipvs import RealServer, RealServerKey, VirtualServer
from ipvsctl.plan.diff.ops import (
    AddRealServer,
    AddVirtualServer,
    DeleteRealServer,
    DeleteVirtualServer,
    Op,
    UpdateRealServer,
    UpdateVirtualServer,
)

CROWD: Final = 1000
"""A virtual server with more real servers is a crowd: these take some twenty
milliseconds to read."""

RealServers = Mapping[RealServerKey, RealServer]


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """What the kernel is taken to hold of a virtual server.

    Attributes:
        server: None if it has none.
        real_servers: those on their way out with them, at weight 0.
    """

    server: VirtualServer | None
    real_servers: RealServers

    def after(self, ops: Iterable[Op]) -> "Held":
        """What it holds when ops that are about it have been done."""
        server, real_servers = self.server, dict(self.real_servers)
        for op in ops:
            match op:
                case AddRealServer(server=one) | UpdateRealServer(server=one):
                    real_servers[one.key] = one
                case DeleteRealServer(key=key):
                    real_servers.pop(key, None)
                case AddVirtualServer(server=one) | UpdateVirtualServer(server=one):
                    server = one
                case DeleteVirtualServer():
                    server = None
                case _:
                    pass
        return Held(server=server, real_servers=real_servers)


class Portion(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the difference, small enough for one sync.

    It has a real server that does not change, if there is one: what is left out is no
    reason to take the virtual server for one without any.

    Attributes:
        held, wanted: what there is and what there is to be of some real servers.
        is_last: nothing is left to be done after it.
    """

    held: RealServers
    wanted: RealServers
    is_last: bool


def portion(held: RealServers, wanted: RealServers, most: int) -> Portion:
    """Choose what to change next; real servers come before others go.

    What is on its way out already is left to an audit, which reads how many
    connections it has.

    Args:
        held: all that there is.
        wanted: all that there is to be.
        most: how many real servers to change.
    """
    # For two dictionaries this runs no Python code for what is the same in both.
    differing = {key for key, _ in held.items() ^ wanted.items()}
    coming = (key for key in wanted if key in differing)
    going = (
        key
        for key in held
        if key in differing and key not in wanted and held[key].weight
    )
    changed = list(islice(chain(coming, going), most + 1))
    same = islice((key for key in wanted if key not in differing), 1)
    chosen = (*changed[:most], *same)
    return Portion(
        held={key: held[key] for key in chosen if key in held},
        wanted={key: wanted[key] for key in chosen if key in wanted},
        is_last=len(changed) <= most,
    )
