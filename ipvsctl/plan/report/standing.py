"""How what is in the kernel stands to what is desired."""

import msgspec

from ipvsctl.model.ipvs import RealServer, VirtualServer
from ipvsctl.model.status import RealServerStatus, Standing


def standing_of(
    known: VirtualServer | RealServer | None, wanted: VirtualServer | RealServer
) -> Standing:
    """That of something that is desired."""
    if known is None:
        return Standing.MISSING
    return Standing.OK if known == wanted else Standing.DIFFERENT


def is_growing(known: RealServer, wanted: RealServer) -> bool:
    """Whether a real server lacks nothing but weight, and has some."""
    whole = msgspec.structs.replace(known, weight=wanted.weight)
    return 0 < known.weight < wanted.weight and whole == wanted


def as_different(
    servers: tuple[RealServerStatus, ...],
) -> tuple[RealServerStatus, ...]:
    """Those of a virtual server that packets miss: none of them is as it should be."""
    return tuple(
        msgspec.structs.replace(real, standing=Standing.DIFFERENT)
        if real.standing is Standing.OK
        else real
        for real in servers
    )
