"""A Service's program, gone through in parts: a large one keeps nobody waiting."""

from collections.abc import Callable, Generator
from collections.abc import Set as AbstractSet
from typing import Final

from ipvsctl.model.ipvs import VirtualServerKey
from ipvsctl.model.steps import parts
from ipvsctl.plan.service.program import ServerProgram, ServiceProgram, SetMember

PART: Final = 16
"""Virtual servers, real servers and entries in a part of a large Service: less than a
millisecond's work. A sync imposes several parts."""


def in_parts(
    program: ServiceProgram,
    skipped: AbstractSet[VirtualServerKey],
    do_server: Callable[[ServiceProgram, ServerProgram], None],
    do_entry: Callable[[SetMember], None],
) -> Generator[None, None, None]:
    """Do something with each virtual server and each entry of a program.

    Args:
        program: of a Service.
        skipped: virtual servers to leave alone.
        do_server: what to do with a virtual server.
        do_entry: what to do with an entry that is tied to no virtual server.

    Yields:
        After each part of `PART` things in the kernel.
    """
    cost = 0
    for server in program.servers:
        if server.server.key in skipped:
            continue
        do_server(program, server)
        cost += 1 + len(server.real_servers) + len(server.entries)
        if cost >= PART:
            yield
            cost = 0
    for some in parts(program.entries, PART):
        for member in some:
            do_entry(member)
        if len(some) == PART:
            yield
