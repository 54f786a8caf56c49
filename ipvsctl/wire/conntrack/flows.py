"""UDP flows as connection tracking has them.

The original tuple is the question as the client sent it, the reply tuple the answer
as it is to come. A flow that IPVS forwards keeps the virtual server as destination of
the first and has the real server as source of the second
(ip_vs_nfct.c:ip_vs_update_conntrack).
"""

from typing import NamedTuple

from ipvsctl.model.net import IPAddress, IPFamily
from ipvsctl.wire.netlink.addresses import unpack_address


class Flow(NamedTuple):
    """A UDP flow, in the kernel's form: thousands are read, a few are looked at.

    Attributes:
        source, destination: of the question, as the client sent it: an address and a
            port (see `pack_host_port`).
        target: where the answer is to come from.
        identity: tells the flow from a later one between the same ends; 4 bytes.
    """

    family: IPFamily
    source: bytes
    destination: bytes
    target: bytes
    identity: bytes


def pack_host_port(address: IPAddress, port: int) -> bytes:
    """An address and a port as a `Flow` has them: 6 or 18 bytes, network order."""
    return address + port.to_bytes(2)


def unpack_host_port(family: IPFamily, packed: bytes) -> tuple[IPAddress, int]:
    """The reverse of `pack_host_port`."""
    return unpack_address(family, packed[:-2]), int.from_bytes(packed[-2:])
