"""ipsets as values."""

from enum import StrEnum
from typing import Self

import msgspec

from ipvsctl.model.net import IPAddress, IPFamily, IPNetwork, Protocol


class SetType(StrEnum):
    """Set types in use, in the kernel's spelling."""

    HASH_IP = "hash:ip"
    HASH_IP_PORT = "hash:ip,port"
    HASH_IP_PORT_IP = "hash:ip,port,ip"
    HASH_IP_PORT_NET = "hash:ip,port,net"
    BITMAP_PORT = "bitmap:port"


class SetSpec(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """A set without its entries.

    Attributes:
        name: at most 31 characters [IPSET_MAXNAMELEN - 1].
        family: None for `bitmap:port`, which has none.
        maxelem: most entries it takes; 0 for `bitmap:port` (range 0-65535).
        skbinfo: its entries may have a mark.
    """

    name: str
    type: SetType
    family: IPFamily | None = None
    maxelem: int = 0
    skbinfo: bool = False


class SetEntry(msgspec.Struct, gc=False, frozen=True, kw_only=True, cache_hash=True):
    """An entry of a set; the set's type says which fields are used.

    `hash:ip` address; `hash:ip,port` address, protocol, port; `hash:ip,port,ip` also
    second_address; `hash:ip,port,net` also network; `bitmap:port` port alone.

    Attributes:
        mark: the mark that a packet gets which is found in the set; 0 for none, as for
            every port of a bitmap. The entry is found without it, see `identity`.
    """

    address: IPAddress | None = None
    protocol: Protocol | None = None
    port: int | None = None
    second_address: IPAddress | None = None
    network: IPNetwork | None = None
    mark: int = 0

    @property
    def identity(self) -> Self:
        """The entry without its mark: a set has no two entries of one identity."""
        return msgspec.structs.replace(self, mark=0) if self.mark else self

    def __str__(self) -> str:
        """As `ipset save` prints it: `10.96.0.1,tcp:443 skbmark 0x20001`."""
        if self.address is None:
            return str(self.port)
        text = str(self.address)
        if self.protocol is not None:
            text += f",{self.protocol.label}:{self.port}"
        if self.second_address is not None:
            text += f",{self.second_address}"
        if self.network is not None:
            # ipset prints a full-length network as a bare address.
            net = self.network
            full = net.prefixlen == net.max_prefixlen
            text += f",{net.network_address}" if full else f",{net}"
        return f"{text} skbmark {self.mark:#x}" if self.mark else text
