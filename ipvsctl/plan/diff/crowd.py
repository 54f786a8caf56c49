"""Virtual servers with very many real servers, changed portion by portion.

To read twenty thousand real servers for the sake of one, or to add all of them in one
go, keeps everybody else waiting. So what the kernel holds of such a virtual server is
remembered, and a sync compares no more than a portion of it.
"""

from collections.abc import Iterable
from typing import Final

from ipvsctl.model.ipvs import RealServerKey, RealServers

CROWD: Final = 1000
"""A virtual server with more real servers is a crowd: these take some twenty
milliseconds to read."""


def differing(held: RealServers, wanted: RealServers) -> list[RealServerKey]:
    """The real servers to change, those that come before those that go.

    If most are to come, they do in the order that is wanted.

    What is on its way out already is left to an audit, which reads how many
    connections it has.

    Args:
        held: all that there is.
        wanted: all that there is to be.
    """
    # For two dictionaries this runs no Python code for what is the same in both.
    found = {key for key, _ in held.items() ^ wanted.items()}
    # Most often they are few among many.
    coming = found if 2 * len(found) < len(wanted) else wanted
    return [
        *(key for key in coming if key in found and key in wanted),
        *(key for key in found if key not in wanted and held[key].weight),
    ]


def pick(servers: RealServers, keys: Iterable[RealServerKey]) -> RealServers:
    """Those of some real servers that there are."""
    return {key: servers[key] for key in keys if key in servers}
