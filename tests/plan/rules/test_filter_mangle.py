"""The fixed rules as data, and the change that gets a node there."""

import pytest

from ipvsctl.model.config import Compatibility
from ipvsctl.model.net import IPFamily, parse_network
from ipvsctl.model.rules import (
    ChainRef,
    Chains,
    Jump,
    MapMark,
    MatchMark,
    MatchSet,
    Rule,
    RulesChange,
    SetXMark,
    Table,
    UnknownRule,
    Verdict,
)
from ipvsctl.model.sets import TUNNEL_ROLES, SetRole, set_key
from ipvsctl.plan.diff.rules import plan_rules
from ipvsctl.plan.rules.chains import CLUSTER_IP_CLIENTS, FORMER_CHAINS, OUR_CHAINS
from tests.plan.trace.one_node import (
    BOTH,
    V4,
    V6,
    address,
    chains,
    config,
    known,
)


@pytest.mark.parametrize("bit", [0, 14, 31])
def test_the_mark_is_the_configured_bit(bit: int) -> None:
    """`iptablesMasqueradeBit` moves the mark in every rule that uses it.

    The other rules know the marks of inside clients, or take all marks off.
    """
    settings = config(masquerade_bit=bit)
    marks = {
        part.value
        for rules in chains(V4, settings).values()
        for rule in known(rules)
        for part in (*rule.matches, rule.target)
        if isinstance(part, MatchMark | SetXMark)
    }

    assert marks == {1 << bit, settings.marks.value, 0}


@BOTH
def test_every_set_is_matched(family: IPFamily) -> None:
    """No set of the catalogue is filled for nothing, and no other is needed.

    But one: it says whose a virtual server is that gets no packets any more.
    """
    matched = {
        part.key
        for rules in chains(family, config(family, tunnel_port=6080)).values()
        for rule in known(rules)
        for part in (*rule.matches, rule.target)
        if isinstance(part, MatchSet | MapMark)
    }

    assert matched == {
        set_key(role, family)
        for role in SetRole
        if role is not SetRole.SHORT_CIRCUIT_CLOSING
    }


@BOTH
def test_chains_are_ours_and_reached(family: IPFamily) -> None:
    """Every chain is in the list that cleanup works from, and something jumps to it."""
    other = parse_network(f"{address(family, 'outsider')}/{family.bits}")
    cidrs = (*config(family).cluster_cidrs, other)
    planned = chains(family, config(family, cluster_cidrs=cidrs, tunnel_port=6080))
    own = {ref for ref in planned if not ref.is_builtin}
    jumped = {
        ChainRef(ref.table, rule.target.chain)
        for ref, rules in planned.items()
        for rule in known(rules)
        if isinstance(rule.target, Jump)
    }

    assert own == jumped
    listed = {ChainRef(t, name) for t, names in OUR_CHAINS.items() for name in names}
    assert own == listed - FORMER_CHAINS
    assert listed >= FORMER_CHAINS


@BOTH
def test_tunnels_cost_a_node_nothing_that_has_none(family: IPFamily) -> None:
    """No rule, no chain; without the short circuit a port does not have them either."""
    without = chains(family)
    of_tunnels = {set_key(role, family) for role in TUNNEL_ROLES}
    for settings in (
        config(family),
        config(family, tunnel_port=6080, short_circuit=False),
        config(family, tunnel_port=6080, compatibility=Compatibility.KUBE_PROXY),
    ):
        planned = chains(family, settings)
        assert planned.keys() <= without.keys()
        for rules in planned.values():
            for rule in known(rules):
                for part in (*rule.matches, rule.target):
                    assert getattr(part, "key", None) not in of_tunnels


def test_both_families_have_the_same_rules() -> None:
    """IPv6 is not a second-class copy: chains and numbers of rules are equal."""
    assert {ref: len(rules) for ref, rules in chains(V4).items()} == {
        ref: len(rules) for ref, rules in chains(V6).items()
    }


def test_kubelet_chains_are_not_ours() -> None:
    """Chains of the kubelet and of CNI plugins are neither read nor removed."""
    every = frozenset().union(*OUR_CHAINS.values())

    assert not every & {"KUBE-FIREWALL", "KUBE-KUBELET-CANARY", "KUBE-MARK-DROP"}


def test_pod_networks_of_the_other_family_do_not_count() -> None:
    """A family without a pod network of its own masquerades as with none."""
    v4_only = config(V4)

    assert chains(V6, v4_only) == chains(V6, config(V6, cluster_cidrs=()))


def restored(observed: Chains, change: RulesChange) -> Chains:
    """What a kernel holds after a change; strict where iptables-restore is."""
    after = {**observed, **dict(change.write)}
    for ref, rule in change.unlink:
        left = list(after[ref])
        left.remove(rule)
        after[ref] = tuple(left)
    for ref, rules in change.link:
        after[ref] = (*rules, *after.get(ref, ()))
    for ref in change.remove:
        del after[ref]
    for chain in after.values():
        targets = [rule.target for rule in chain if isinstance(rule, Rule)]
        names = {target.chain for target in targets if isinstance(target, Jump)}
        assert names <= {ref.name for ref in after}, "a jump to a chain that is gone"
    return {ref: rules for ref, rules in after.items() if rules or not ref.is_builtin}


SERVICES = ChainRef(Table.NAT, "KUBE-SERVICES")
INPUT = ChainRef(Table.FILTER, "INPUT")
OUT_FILTER = ChainRef(Table.FILTER, "KUBE-IPVS-OUT-FILTER")
STALE = ChainRef(Table.NAT, CLUSTER_IP_CLIENTS)
WANTED: Chains = chains(V4)
FOREIGN_JUMP = UnknownRule("-m bpf -j KUBE-IPVS-FILTER")
PER_LOAD_BALANCER = UnknownRule(
    "-s 198.51.100.7/32 -m ipvs --vaddr 198.51.100.7 -j DROP"
)


def without(ref: ChainRef) -> Chains:
    """The desired chains but one."""
    return {other: rules for other, rules in WANTED.items() if other != ref}


@pytest.mark.parametrize(
    ("observed", "expected"),
    [
        pytest.param(
            without(SERVICES),
            RulesChange(family=V4, write=((SERVICES, known(WANTED[SERVICES])),)),
            id="missing chain",
        ),
        pytest.param(
            {**WANTED, SERVICES: ()},
            RulesChange(family=V4, write=((SERVICES, known(WANTED[SERVICES])),)),
            id="flushed chain",
        ),
        pytest.param(
            {**WANTED, SERVICES: WANTED[SERVICES][::-1]},
            RulesChange(family=V4, write=((SERVICES, known(WANTED[SERVICES])),)),
            id="other order",
        ),
        pytest.param(
            {**WANTED, OUT_FILTER: (PER_LOAD_BALANCER,)},
            RulesChange(family=V4, write=((OUT_FILTER, ()),)),
            id="kube-proxy's rule for one load balancer",
        ),
        pytest.param(
            without(INPUT),
            RulesChange(family=V4, link=((INPUT, known(WANTED[INPUT])),)),
            id="missing jumps",
        ),
        pytest.param(
            {**WANTED, INPUT: WANTED[INPUT][::-1]},
            RulesChange(
                family=V4,
                unlink=tuple((INPUT, rule) for rule in WANTED[INPUT][::-1]),
                link=((INPUT, known(WANTED[INPUT])),),
            ),
            id="jumps in another order",
        ),
        pytest.param(
            {**WANTED, INPUT: (*WANTED[INPUT], FOREIGN_JUMP)},
            RulesChange(
                family=V4,
                unlink=tuple((INPUT, rule) for rule in (*WANTED[INPUT], FOREIGN_JUMP)),
                link=((INPUT, known(WANTED[INPUT])),),
            ),
            id="a jump more",
        ),
        pytest.param(
            {**WANTED, STALE: (Rule(target=Verdict.RETURN),)},
            RulesChange(family=V4, remove=(STALE,)),
            id="leftover chain",
        ),
    ],
)
def test_only_what_differs_is_changed(observed: Chains, expected: RulesChange) -> None:
    """A chain that differs is written whole; jumps are put back to the top."""
    change = plan_rules(V4, observed, WANTED)

    assert change == expected
    assert restored(observed, change) == WANTED


def test_nothing_to_do() -> None:
    """Rules that are as they should be cause no restore."""
    assert plan_rules(V4, WANTED, WANTED) is None
    assert plan_rules(V4, {}, {}) is None


def test_first_start_and_cleanup() -> None:
    """Everything is made from nothing, and nothing is left when nothing is desired."""
    start = plan_rules(V4, {}, WANTED)
    cleanup = plan_rules(V4, WANTED, {})

    assert start is not None
    assert not start.unlink
    assert not start.remove
    assert restored({}, start) == WANTED
    assert cleanup is not None
    assert not cleanup.write
    assert not cleanup.link
    assert restored(WANTED, cleanup) == {}


def test_an_unknown_rule_cannot_be_desired() -> None:
    """Text that nobody understands is never written into a kernel."""
    with pytest.raises(ValueError, match="not understood"):
        plan_rules(V4, {}, {SERVICES: (PER_LOAD_BALANCER,)})
