"""A virtual server for inside clients that is needed no more ends with its connections.

Its address is served as before, only by another virtual server: nothing may be cut.
"""

from collections.abc import Mapping

import msgspec
import pytest

from ipvsctl.model.ipvs import RealServerStats, VirtualServerKey
from ipvsctl.model.net import IPFamily
from ipvsctl.model.objects import TrafficPolicy
from ipvsctl.model.problem import ObjectRef
from ipvsctl.model.sets import SetRole, set_key
from ipvsctl.model.state import EMPTY, NodeState, Observed
from ipvsctl.plan.diff.plan import DiffOptions, diff, owned_keys
from ipvsctl.plan.service.program import ServiceProgram
from ipvsctl.plan.union.desired import Desired
from tests.addresses import later
from tests.builders import in_words
from tests.plan.service.test_compile import HERE, THERE
from tests.plan.union.test_short_circuits import (
    CONFIG,
    EXTERNAL,
    FIRST,
    KEY,
    MARKED,
    external,
    marks,
    union_of,
)

CLOSING = set_key(SetRole.SHORT_CIRCUIT_CLOSING, IPFamily.IPV4)
ENTRY = "203.0.113.50,tcp:80 skbmark 0x20000"
OFF = msgspec.structs.replace(CONFIG, short_circuit=False)
CLUSTER = external(policy=TrafficPolicy.CLUSTER)


def busy(state: NodeState, *, connections: int = 1) -> Observed:
    """A kernel that has all of it, with connections from inside clients."""
    stats = RealServerStats(active=0, inactive=connections)
    counted = dict.fromkeys(state.real_servers[FIRST], stats)
    return Observed(state=copied(state), connections={FIRST: counted})


def copied(state: NodeState) -> NodeState:
    """The state as it is now: what is desired goes on changing."""
    return msgspec.structs.replace(
        state,
        entries={key: frozenset(held) for key, held in state.entries.items()},
        virtual_servers=dict(state.virtual_servers),
        real_servers=dict(state.real_servers),
        addresses=frozenset(state.addresses),
    )


def plan(observed: Observed, union: Desired) -> list[str]:
    """What an audit would do."""
    options = DiffOptions(vip_link="kube-ipvs0", short_circuits=union.short_circuits)
    return in_words(diff(observed, union.state(), options))


def served() -> Desired:
    """An address with a short circuit, as the kernel has it."""
    union = union_of(external())
    union.agree(Observed(state=NodeState()))
    union.confirm(union.take_change().fresh)
    return union


def closing(program: ServiceProgram = CLUSTER) -> Desired:
    """The same address, no longer in need of it."""
    union = served()
    union.put(program)
    return union


@pytest.mark.parametrize(
    "program",
    [CLUSTER, external(config=OFF)],
    ids=["policy Cluster", "short circuits are off"],
)
def test_no_new_connection_takes_it_and_it_stays(program: ServiceProgram) -> None:
    """The mark leaves the set that rules look into, and the other one has it before."""
    union = served()
    before = busy(union.state())
    union.put(program)
    state = union.state()
    assert marks(state) == []
    assert list(map(str, state.entries[CLOSING])) == [ENTRY]
    assert state.real_servers[FIRST] == state.real_servers[KEY]
    ops = plan(before, union)
    assert [op for op in ops if "SHORT-CIRCUIT" in op] == [
        f"add entry KUBE-SHORT-CIRCUIT-CLOSING {ENTRY}",
        f"delete entry KUBE-SHORT-CIRCUIT {ENTRY}",
    ]
    assert not [op for op in ops if "delete virtual server" in op]


def test_a_sync_knows_what_goes_where() -> None:
    """The change has the virtual server, the entry that came and the one that went."""
    union = closing()
    change = union.take_change()
    assert {FIRST, KEY} <= change.keys
    assert FIRST in change.desired.virtual_servers
    assert list(map(str, change.desired.entries[CLOSING])) == [ENTRY]
    assert list(map(str, change.presumed.entries[MARKED])) == [ENTRY]
    assert FIRST not in change.fresh


@pytest.mark.parametrize("connections", [1, 0])
def test_it_goes_when_its_connections_have_ended(connections: int) -> None:
    """Audit by audit; then its entry goes, after it."""
    union = closing()
    observed = busy(union.state(), connections=connections)
    union.agree(observed)
    ops = plan(observed, union)
    if connections:
        assert FIRST in union.state().virtual_servers
        assert ops == []
    else:
        assert FIRST not in union.state().virtual_servers
        assert not union.short_circuits
        assert ops == [
            f"delete virtual server {FIRST}",
            f"delete entry KUBE-SHORT-CIRCUIT-CLOSING {ENTRY}",
        ]


def test_what_was_read_while_it_was_open_says_nothing() -> None:
    """A connection may have come since, so it takes another look."""
    union = served()
    observed = busy(union.state(), connections=0)
    union.put(CLUSTER)
    union.agree(observed)
    assert FIRST in union.state().virtual_servers
    # So it is if the rules still lead there from another firewall's set.
    both = copied(union.state())
    both = msgspec.structs.replace(
        both, entries={**both.entries, MARKED: observed.state.entries[MARKED]}
    )
    union.agree(Observed(state=both))
    assert FIRST in union.state().virtual_servers


def test_what_a_sync_has_touched_since_is_left_for_the_next_audit() -> None:
    """It was read before that."""
    union = closing()
    union.agree(busy(union.state(), connections=0), frozenset({FIRST}))
    assert FIRST in union.state().virtual_servers


def test_its_endpoints_are_those_of_the_address() -> None:
    """One that goes drains here too; one that comes may serve."""
    union = closing()
    union.put(external("web", EXTERNAL, HERE, policy=TrafficPolicy.CLUSTER))
    state = union.state()
    assert list(map(str, state.real_servers[FIRST])) == ["172.16.0.5:8080"]
    union.put(external("web", EXTERNAL, HERE, THERE, policy=TrafficPolicy.CLUSTER))
    assert len(union.state().real_servers[FIRST]) == 2


def test_it_opens_again_with_the_same_mark() -> None:
    """Policy Local again: connections made before and after go the same way."""
    union = closing()
    union.take_change()
    union.put(external())
    state = union.state()
    assert marks(state) == [ENTRY]
    assert not state.entries[CLOSING]
    assert FIRST in state.virtual_servers
    union.agree(busy(state, connections=0))
    assert FIRST in union.state().virtual_servers


def test_nobody_else_gets_its_mark_meanwhile() -> None:
    """Its connections would be taken for another address's."""
    union = closing()
    union.take_change()
    union.agree(busy(union.state()))
    union.put(external("other", later(EXTERNAL, 1)))
    (other,) = union.state().entries[MARKED]
    assert other.mark == FIRST.fwmark + 1


def test_an_address_that_goes_takes_it_along() -> None:
    """Its connections end with it, as those of everybody do."""
    union = closing()
    held = busy(union.state())
    union.remove(ObjectRef("default", "web"))
    assert not union.short_circuits
    assert not union.state().entries[CLOSING]
    assert f"delete virtual server {FIRST}" in plan(held, union)


def test_what_was_never_in_the_kernel_has_nothing_to_end() -> None:
    """A policy that changes twice before anything was imposed leaves nothing."""
    union = union_of(external())
    union.put(CLUSTER)
    assert not union.short_circuits
    assert not union.state().entries[CLOSING]


@pytest.mark.parametrize("role", [SetRole.SHORT_CIRCUIT, SetRole.SHORT_CIRCUIT_CLOSING])
def test_the_next_process_takes_it_over(role: SetRole) -> None:
    """Killed while it closed, or while it was open and with other settings since."""
    first = served() if role is SetRole.SHORT_CIRCUIT else closing()
    observed = busy(first.state())
    assert FIRST in owned_keys(observed.state)
    union = union_of(external(config=OFF))
    union.agree(observed)
    assert FIRST in union.state().virtual_servers
    assert list(map(str, union.state().entries[CLOSING])) == [ENTRY]
    ops = plan(observed, union)
    assert not [op for op in ops if "delete virtual server" in op]
    union.agree(busy(union.state(), connections=0))
    assert FIRST not in union.state().virtual_servers


@pytest.mark.parametrize(
    ("fact", "programs", "virtual_servers"),
    [
        ("nobody serves the address any more", (), {FIRST}),
        ("there is nothing to end", (external(config=OFF),), set()),
    ],
)
def test_what_is_not_taken_over(
    fact: str,
    programs: tuple[ServiceProgram, ...],
    virtual_servers: set[VirtualServerKey],
) -> None:
    """An entry alone, and one for an address of nobody's."""
    state = copied(served().state())
    servers: Mapping[VirtualServerKey, object] = EMPTY
    servers = {k: v for k, v in state.virtual_servers.items() if k in virtual_servers}
    union = union_of(*programs)
    union.agree(Observed(state=msgspec.structs.replace(state, virtual_servers=servers)))
    assert not union.short_circuits, fact
    assert not union.state().entries[CLOSING], fact
