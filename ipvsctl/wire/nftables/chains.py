"""Chains of nftables: what they are called, and where in the kernel they begin.

A table of ours has a chain for each of `Chains`, named `nat-KUBE-SERVICES`. A built-in
one (`nat-PREROUTING`) begins at a hook of the kernel:

- mangle at mangle - 5 = -155: behind connection tracking (-200), so states are known;
  before nat (-100), so the address is still the one that the client asked for; OUTPUT
  before IPVS takes the host's own packets (-98, ip_vs_core.c:ip_vs_ops4), and of type
  route, for the mark may choose another one.
- nat at dstnat - 5 = -105 and srcnat - 5 = 95: all chains of type nat run where nat
  itself does (nf_nat_core.c:nf_nat_register_fn); among them ours is the first, and
  what it has decided no other changes. POSTROUTING is behind IPVS, which has chosen the
  endpoint in INPUT (98) or OUTPUT (-98).
- filter at filter - 5 = -5: INPUT is before IPVS (98), so the address is the VIP;
  FORWARD and OUTPUT see what IPVS has made of a packet.

Five before others' usual places, as the jumps of iptables are at the top of its chains.
"""

from types import MappingProxyType
from typing import Final, NamedTuple

from ipvsctl.model.rules import BUILTIN_CHAINS, ChainRef, Table
from ipvsctl.wire.nftables.attributes import NF_ACCEPT

_EARLIER: Final = 5


class BaseChain(NamedTuple):
    """Where a chain begins.

    Attributes:
        type: `filter`, `nat` or `route`.
        hook: its number [enum nf_inet_hooks].
        priority: among all that begin at the hook, the lowest first.
        policy: what becomes of a packet at its end [NF_ACCEPT, NF_DROP].
    """

    type: str
    hook: int
    priority: int
    policy: int = NF_ACCEPT


_HOOKS: Final = {
    "PREROUTING": 0,
    "INPUT": 1,
    "FORWARD": 2,
    "OUTPUT": 3,
    "POSTROUTING": 4,
}

# NF_IP_PRI_* of uapi/linux/netfilter_ipv4.h; those of IPv6 are the same.
_MANGLE: Final = -150
_DSTNAT: Final = -100
_FILTER: Final = 0
_SRCNAT: Final = 100


def _base(table: Table, hook: str) -> BaseChain:
    kind, priority = "filter", _FILTER
    if table is Table.NAT:
        kind = "nat"
        priority = _DSTNAT if hook in {"PREROUTING", "OUTPUT"} else _SRCNAT
    elif table is Table.MANGLE:
        kind = "route" if hook == "OUTPUT" else "filter"
        priority = _MANGLE
    return BaseChain(kind, _HOOKS[hook], priority - _EARLIER)


_WITHOUT: Final = {
    Table.FILTER: {"PREROUTING", "POSTROUTING"},
    Table.NAT: {"FORWARD"},
    Table.MANGLE: set[str](),
}

BASE_CHAINS: Final = MappingProxyType(
    {
        ChainRef(table, hook): _base(table, hook)
        for table, without in _WITHOUT.items()
        for hook in sorted(BUILTIN_CHAINS - without)
    }
)
"""Where built-in chains begin."""

HOOK_NAMES: Final = MappingProxyType(
    {number: name.lower() for name, number in _HOOKS.items()}
)

_FOREIGN: Final = ":"
"""Begins the name of a chain that is none of ours; of ours none begins so."""

_TABLES: Final = {str(table): table for table in Table}


def chain_name(ref: ChainRef) -> str:
    """The name of a chain in its table."""
    if ref.name.startswith(_FOREIGN):
        return ref.name.removeprefix(_FOREIGN)
    return f"{ref.table}-{ref.name}"


def ref_of(name: str) -> ChainRef:
    """The chain of a name; any that is found is to be seen."""
    table, _, rest = name.partition("-")
    ref = ChainRef(_TABLES.get(table, Table.FILTER), rest)
    is_ours = table in _TABLES and rest and not rest.startswith(_FOREIGN)
    if not is_ours or (ref.is_builtin and ref not in BASE_CHAINS):
        return ChainRef(Table.FILTER, f"{_FOREIGN}{name}")
    return ref
