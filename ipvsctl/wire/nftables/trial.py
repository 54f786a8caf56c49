"""One of everything that the firewall asks of nftables, to see whether it is there.

A kernel may have nftables and lack families of it, or kinds of expressions: each may be
a module of its own.
"""

from collections.abc import Iterator
from typing import Final

from ipvsctl.model.net import IPFamily
from ipvsctl.model.rules import (
    ChainRef,
    Masquerade,
    MatchAddrTypeLocal,
    MatchConntrackState,
    Reject,
    Rule,
    Side,
    Table,
    Verdict,
)
from ipvsctl.model.sets import SetRole, set_key
from ipvsctl.wire.nftables.requests import (
    add_rule,
    create_set,
    delete_set,
    make_chain,
    try_table,
)
from ipvsctl.wire.nftables.words import FAMILY_WORDS

_INPUT: Final = ChainRef(Table.FILTER, "INPUT")
_PREROUTING: Final = ChainRef(Table.NAT, "PREROUTING")
_POSTROUTING: Final = ChainRef(Table.NAT, "POSTROUTING")
_OUTPUT: Final = ChainRef(Table.MANGLE, "OUTPUT")
_NEW: Final = MatchConntrackState(("NEW",))
_LOCAL: Final = MatchAddrTypeLocal(Side.DST)

_NO_SET: Final = "none"
"""No set of ours has this name."""


def trials(family: IPFamily) -> Iterator[tuple[bytes, str]]:
    """Requests of one transaction, each with what it is that is tried.

    What is there already may be answered with EEXIST.
    """
    word = FAMILY_WORDS[family]
    # One that sleeps is not woken: it could not have new chains at the same time.
    yield try_table(family), f"family {word}"
    for role, what in (
        (SetRole.CLUSTER_IP, "sets of places"),
        (SetRole.SHORT_CIRCUIT, "maps"),
        # Concatenations of intervals are of Linux 5.6.
        (SetRole.LOAD_BALANCER_SOURCE_CIDR, "sets of places and networks"),
    ):
        yield create_set(set_key(role, family)), f"{what} in family {word}"
    for ref in (_INPUT, _PREROUTING, _POSTROUTING, _OUTPUT):
        yield make_chain(family, ref), f"chain type of {ref} in family {word}"
    for ref, rule, what in (
        (_INPUT, Rule(matches=(_NEW,), target=Reject(family)), "ct and reject"),
        (_PREROUTING, Rule(matches=(_LOCAL,), target=Verdict.ACCEPT), "fib and nat"),
        (_POSTROUTING, Rule(target=Masquerade(random_fully=True)), "masq"),
    ):
        yield add_rule(family, ref, rule), f"{what} in family {word}"


def impossible(family: IPFamily) -> bytes:
    """A request that no kernel grants, so that nothing of its transaction is done."""
    return delete_set(family, _NO_SET)
