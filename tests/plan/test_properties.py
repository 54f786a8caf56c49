"""What holds for every pair of states, tried on random clusters that overlap."""

from collections.abc import Iterator

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.ipvs import RealServerStats, VirtualServer, VirtualServerKey
from ipvsctl.model.net import IPFamily, Protocol, parse_address
from ipvsctl.model.rules import MatchSet, Rule
from ipvsctl.model.state import NodeState
from ipvsctl.plan.catalogue import SetRole, set_name
from ipvsctl.plan.diff import DiffOptions, diff, owned_keys
from ipvsctl.plan.ops import Plan
from tests.clusters import NODE, Cluster, clusters, configs
from tests.fakes.kernel import FakeKernel

OPTIONS = DiffOptions(vip_link="kube-ipvs0")

FOREIGN = tuple(
    VirtualServer(key=key, scheduler="wlc", netmask_bits=32)
    for key in (
        VirtualServerKey(
            family=IPFamily.IPV4,
            protocol=Protocol.TCP,
            address=parse_address("10.103.97.12"),
            port=6443,
        ),
        VirtualServerKey(family=IPFamily.IPV4, fwmark=7),
    )
)
"""As lvscare and keepalived would have."""


def new_kernel() -> FakeKernel:
    """A kernel with foreign virtual servers and nothing else."""
    kernel = FakeKernel(host_addresses=NODE.host_addresses)
    for server in FOREIGN:
        kernel.preload(server)
    return kernel


def plan_for(kernel: FakeKernel, desired: NodeState) -> Plan:
    """What is to change in this kernel."""
    return diff(kernel.observe(), desired, OPTIONS)


def impose(kernel: FakeKernel, desired: NodeState) -> None:
    """Make it so; no op may fail."""
    report = kernel.apply(plan_for(kernel, desired))
    assert not report.failed


def ours(kernel: FakeKernel, desired: NodeState) -> NodeState:
    """What the kernel holds, without foreign things and sysctls nobody asked for."""
    state = kernel.observe().state
    foreign = {server.key for server in FOREIGN}
    keys = [key for key in state.virtual_servers if key not in foreign]
    return msgspec.structs.replace(
        state,
        sysctls={n: v for n, v in state.sysctls.items() if n in desired.sysctls},
        entries={name: held for name, held in state.entries.items() if held},
        chains={family: held for family, held in state.chains.items() if held},
        virtual_servers={key: state.virtual_servers[key] for key in keys},
        real_servers={key: state.real_servers[key] for key in keys},
    )


def frozen(desired: NodeState) -> NodeState:
    """The desired state as values that can be compared."""
    return msgspec.structs.replace(
        desired,
        entries={n: frozenset(held) for n, held in desired.entries.items() if held},
        virtual_servers=dict(desired.virtual_servers),
        real_servers={k: dict(held) for k, held in desired.real_servers.items()},
        addresses=frozenset(desired.addresses),
    )


def foreign_is_untouched(kernel: FakeKernel) -> bool:
    """Every foreign virtual server is as it was."""
    servers = kernel.observe().state.virtual_servers
    return all(servers.get(server.key) == server for server in FOREIGN)


@given(clusters(), clusters(), configs())
def test_applying_the_difference_makes_them_equal(
    before: Cluster, after: Cluster, config: ProxyConfig
) -> None:
    """From any state, one plan leads to any other one, with no op refused."""
    kernel = new_kernel()
    impose(kernel, before.desired().state())
    desired = after.desired(config=config).state()
    impose(kernel, desired)
    assert ours(kernel, desired) == frozen(desired)
    assert foreign_is_untouched(kernel)


@given(clusters(), configs())
def test_equal_states_need_nothing(cluster: Cluster, config: ProxyConfig) -> None:
    """The second plan is empty."""
    kernel = new_kernel()
    desired = cluster.desired(config=config).state()
    impose(kernel, desired)
    assert plan_for(kernel, desired) == ()


@given(clusters())
def test_cleanup_leaves_nothing_of_ours(cluster: Cluster) -> None:
    """The difference to the empty state takes out all that was put in."""
    kernel = new_kernel()
    impose(kernel, cluster.desired().state())
    impose(kernel, NodeState())
    state = ours(kernel, NodeState())
    assert (
        state == NodeState(chains={family: {} for family in IPFamily})
        or state == NodeState()
    )
    assert foreign_is_untouched(kernel)


@given(clusters(), st.data())
def test_any_damage_is_repaired(cluster: Cluster, data: st.DataObject) -> None:
    """Whatever subset of our state goes missing, the next plan puts it back."""
    kernel = new_kernel()
    desired = cluster.desired().state()
    impose(kernel, desired)
    undone = diff(kernel.observe(), NodeState(), OPTIONS)
    kernel.apply(tuple(op for op in undone if data.draw(st.booleans())))
    kernel.apply(plan_for(kernel, desired))
    # A set that was still referred to could not be rebuilt before its rules were.
    kernel.apply(plan_for(kernel, desired))
    assert ours(kernel, desired) == frozen(desired)


@settings(deadline=None)
@given(clusters(), clusters(), st.data())
def test_killed_anywhere_it_converges(
    before: Cluster, after: Cluster, data: st.DataObject
) -> None:
    """A process that dies after any op is followed by one that finishes the job."""
    kernel = new_kernel()
    impose(kernel, before.desired().state())
    desired = after.desired().state()
    plan = plan_for(kernel, desired)
    kernel.apply(plan[: data.draw(st.integers(0, len(plan)))])
    impose(kernel, desired)
    assert ours(kernel, desired) == frozen(desired)
    assert foreign_is_untouched(kernel)


@settings(deadline=None, max_examples=50)
@given(clusters(), clusters())
def test_every_prefix_of_a_plan_is_legal(before: Cluster, after: Cluster) -> None:
    """However far a plan gets, what is there can be served and can be taken over."""
    kernel = new_kernel()
    old = before.desired().state()
    impose(kernel, old)
    old = frozen(old)
    new = frozen(after.desired().state())
    assert not list(illegal(kernel, old, new))
    for op in plan_for(kernel, new):
        assert not kernel.apply((op,)).failed
        assert not list(illegal(kernel, old, new)), op


def illegal(kernel: FakeKernel, old: NodeState, new: NodeState) -> Iterator[str]:
    """What must never be, on the way from one state to the other."""
    state = kernel.observe().state
    foreign = {server.key for server in FOREIGN}
    for key in state.virtual_servers.keys() - owned_keys(state) - foreign:
        yield f"{key} is nobody's: a restart would leave it behind"
    vips = {
        entry.address
        for family in IPFamily
        for entry in state.entries.get(set_name(SetRole.IPVS_IPS, family), ())
    }
    for address in state.addresses - vips:
        yield f"{address} is bound, and every port of the host answers on it"
    for key in new.virtual_servers:
        newly_bound = key.address in state.addresses - old.addresses
        if newly_bound and key not in state.virtual_servers:
            yield f"{key.address} is bound before {key} is there"
        had = old.real_servers.get(key) and new.real_servers.get(key)
        usable = [s for s in state.real_servers.get(key, {}).values() if s.weight]
        if had and not usable:
            yield f"{key} is empty on the way"
    yield from dangling_rules(state)


def dangling_rules(state: NodeState) -> Iterator[str]:
    """Rules that refer to sets that are not there."""
    for chains in state.chains.values():
        for rules in chains.values():
            for rule in rules:
                assert isinstance(rule, Rule)
                for match in rule.matches:
                    if isinstance(match, MatchSet) and match.set_name not in state.sets:
                        yield f"a rule refers to {match.set_name}, which is not there"


@given(clusters(), clusters(), st.data())
def test_connections_outlive_their_endpoints(
    before: Cluster, after: Cluster, data: st.DataObject
) -> None:
    """No TCP real server with connections is ever deleted while its VIP stays."""
    kernel = new_kernel()
    old = before.desired().state()
    impose(kernel, old)
    busy = {
        (key, server)
        for key, servers in old.real_servers.items()
        for server in servers
        if data.draw(st.booleans())
    }
    for key, server in busy:
        kernel.set_connections(key, server, RealServerStats(active=1))
    old = frozen(old)
    new = after.desired().state()
    impose(kernel, new)
    state = kernel.observe().state
    for key, server in busy:
        if key.protocol is not Protocol.TCP or key not in new.virtual_servers:
            continue
        held = state.real_servers[key].get(server)
        assert held is not None
        is_wanted = server in new.real_servers.get(key, {})
        assert held.weight == int(is_wanted)
        kernel.set_connections(key, server, RealServerStats())
    impose(kernel, new)
    assert ours(kernel, new) == frozen(new)


def test_the_strategies_reach_what_they_should() -> None:
    """The clusters above do collide: without that the properties prove little."""
    seen: set[str] = set()

    @settings(max_examples=200, database=None, derandomize=True)
    @given(clusters())
    def look(cluster: Cluster) -> None:
        union = cluster.desired()
        state = union.state()
        seen.update(problem.reason.split()[0] for problem in union.problems())
        seen.update(
            role.name
            for role in SetRole
            for family in IPFamily
            if state.entries[set_name(role, family)]
        )

    look()
    assert {role.name for role in SetRole} <= seen
    assert {"already", "is", "the"} <= seen
