"""What else there is on a node that packets to Services meet: others' rules, tables.

None of it is desired or undesired. A part that could not be read is None, and `unread`
says why.
"""

from collections.abc import Mapping

import msgspec

from ipvsctl.model.conntrack import ConntrackFill
from ipvsctl.model.ipvs import RealServerKey, VirtualServerKey
from ipvsctl.model.net import IPFamily
from ipvsctl.model.rules import Chains
from ipvsctl.model.state import EMPTY


class FilterTable(msgspec.Struct, frozen=True, kw_only=True):
    """Everybody's rules of one family's filter table.

    Attributes:
        policies: built-in chain -> what becomes of a packet at its end.
        chains: all that a packet may come to, ours included.
        is_cut: there are more rules than are read.
    """

    policies: Mapping[str, str] = EMPTY
    chains: Chains = msgspec.field(default_factory=dict)
    is_cut: bool = False


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of IPVS' table of connections.

    Attributes:
        client: address and port, as IPVS sees them.
        virtual_server: that it was sent to; a fwmark's is told by its address.
        state: the kernel's word: `ESTABLISHED`, `SYN_RECV`.
        expires_s: until it is forgotten, unless a packet comes.
    """

    client: RealServerKey
    virtual_server: VirtualServerKey
    real_server: RealServerKey
    state: str
    expires_s: int


class Neighbours(msgspec.Struct, frozen=True, kw_only=True):
    """What was found beside the state.

    Attributes:
        filters: by family; a packet passes them one after the other.
        nft_tables: `ip kube-proxy`, as nft names them, sorted; without those of the
            iptables commands.
        connections: those to the addresses that were asked about.
        unread: what could not be read, and why, a line each.
    """

    filters: Mapping[IPFamily, tuple[FilterTable, ...]] | None = None
    nft_tables: tuple[str, ...] | None = None
    conntrack: ConntrackFill | None = None
    connections: tuple[Connection, ...] | None = None
    unread: tuple[str, ...] = ()
