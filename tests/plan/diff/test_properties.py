"""What holds for every pair of states, tried on random clusters that overlap."""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from ipvsctl.model.config import ProxyConfig, VipBinding
from ipvsctl.model.ipvs import (
    RealServerKey,
    RealServerStats,
    VirtualServer,
    VirtualServerKey,
)
from ipvsctl.model.net import (
    IPAddress,
    IPFamily,
    Protocol,
    family_of,
    parse_address,
)
from ipvsctl.model.rules import MapMark, MatchSet, Rule
from ipvsctl.model.sets import SetEntry, SetRole, set_key
from ipvsctl.model.state import NodeState
from ipvsctl.plan.diff.ops import Plan
from ipvsctl.plan.diff.plan import DiffOptions, diff, owned_keys
from ipvsctl.plan.union.desired import Desired
from tests.clusters import CONFIG, NODE, Cluster, clusters, configs
from tests.fakes.kernel import FakeKernel
from tests.lab.flows import Flow

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


def plan_for(
    kernel: FakeKernel, desired: NodeState, options: DiffOptions = OPTIONS
) -> Plan:
    """What is to change in this kernel."""
    return diff(kernel.observe(), desired, options)


def agreed(kernel: FakeKernel, desired: Desired) -> tuple[NodeState, DiffOptions]:
    """The desired state of a process that has looked at this kernel first."""
    desired.agree(kernel.observe())
    options = msgspec.structs.replace(OPTIONS, short_circuits=desired.short_circuits)
    return desired.state(), options


def impose(
    kernel: FakeKernel, desired: NodeState, options: DiffOptions = OPTIONS
) -> None:
    """Make it so; no op may fail."""
    report = kernel.apply(plan_for(kernel, desired, options))
    assert not report.failed


def ours(kernel: FakeKernel, desired: NodeState) -> NodeState:
    """What the kernel holds, without foreign things and sysctls nobody asked for."""
    state = kernel.observe().state
    foreign = {server.key for server in FOREIGN}
    keys = [key for key in state.virtual_servers if key not in foreign]
    return msgspec.structs.replace(
        state,
        sysctls={n: v for n, v in state.sysctls.items() if n in desired.sysctls},
        timeouts=desired.timeouts,
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


@given(clusters(), clusters(), st.data())
def test_udp_flows_lead_to_real_servers(
    before: Cluster, after: Cluster, data: st.DataObject
) -> None:
    """In the end, unless there is nowhere to go; then they stay as they were."""
    kernel = new_kernel()
    impose(kernel, before.desired().state())
    union = after.desired()
    desired = union.state()
    options = msgspec.structs.replace(OPTIONS, short_circuits=union.short_circuits)
    ends: dict[VirtualServerKey, set[RealServerKey]] = {}
    for key, held in desired.real_servers.items():
        address = union.short_circuits.get(key, key)
        if address.protocol is Protocol.UDP:
            ends.setdefault(address, set()).update(held)
    pods = [RealServerKey(parse_address(f"172.16.0.{n}"), 80) for n in range(1, 4)]
    passing = st.builds(
        flow_of, st.sampled_from(sorted(ends) or [DNS]), st.sampled_from(pods)
    )
    kernel.flows.udp = flows = data.draw(st.sets(passing, max_size=5))
    stay = {flow for flow in flows if not ends.get(key_of(flow))}
    for _ in range(2):
        # Those of a virtual server that is new are not read before it is there.
        kernel.apply(diff(kernel.observe(), desired, options))
    assert stay <= kernel.flows.udp <= flows
    for flow in kernel.flows.udp - stay:
        assert RealServerKey(flow.target, flow.target_port) in ends[key_of(flow)]
    assert diff(kernel.observe(), desired, options) == ()


DNS = VirtualServerKey(
    family=IPFamily.IPV4,
    protocol=Protocol.UDP,
    address=parse_address("10.96.0.1"),
    port=53,
)


def flow_of(key: VirtualServerKey, target: RealServerKey) -> Flow:
    """A flow to a virtual server."""
    assert key.address is not None
    client = parse_address("10.0.0.100")
    return Flow(client, 4000, key.address, key.port, target.address, target.port)


def key_of(flow: Flow) -> VirtualServerKey:
    """The virtual server that a flow is to."""
    return msgspec.structs.replace(
        DNS, family=family_of(flow.address), address=flow.address, port=flow.port
    )


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
@given(clusters(), clusters(), st.sampled_from(VipBinding), st.sampled_from(VipBinding))
def test_every_prefix_of_a_plan_is_legal(
    before: Cluster, after: Cluster, binding: VipBinding, next_binding: VipBinding
) -> None:
    """However far a plan gets, what is there can be served and can be taken over."""
    kernel = new_kernel()
    config = msgspec.structs.replace(CONFIG, vip_binding=binding)
    old = before.desired(config=config).state()
    impose(kernel, old)
    old = frozen(old)
    config = msgspec.structs.replace(CONFIG, vip_binding=next_binding)
    state, options = agreed(kernel, after.desired(config=config))
    new = frozen(state)
    assert not list(illegal(kernel, old, new))
    for op in plan_for(kernel, new, options):
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
        for entry in state.entries.get(set_key(SetRole.IPVS_IPS, family), ())
    }
    for address in bound(state) - vips:
        yield f"{address} is bound, and every port of the host answers on it"
    for address in bound(old) & bound(new):
        if not kernel.is_local(address):
            yield f"{address} is not the host's for a moment"
    for key in new.virtual_servers:
        newly_bound = key.address in bound(state) - bound(old)
        if newly_bound and key not in state.virtual_servers:
            yield f"{key.address} is bound before {key} is there"
        had = old.real_servers.get(key) and new.real_servers.get(key)
        usable = [s for s in state.real_servers.get(key, {}).values() if s.weight]
        if had and not usable:
            yield f"{key} is empty on the way"
    yield from dangling_rules(state)


def bound(state: NodeState) -> AbstractSet[IPAddress]:
    """The addresses that are the host's, in whichever way."""
    return state.addresses | state.routes.keys()


def dangling_rules(state: NodeState) -> Iterator[str]:
    """Rules that refer to sets that are not there."""
    for chains in state.chains.values():
        for rules in chains.values():
            for rule in rules:
                assert isinstance(rule, Rule)
                for part in (*rule.matches, rule.target):
                    if not isinstance(part, MatchSet | MapMark):
                        continue
                    if part.key not in state.sets:
                        yield f"a rule refers to {part.key}, which is not there"


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
    new, options = agreed(kernel, after.desired())
    impose(kernel, new, options)
    state = kernel.observe().state
    for key, server in busy:
        address = options.short_circuits.get(key, key)
        if address.protocol is not Protocol.TCP or key not in new.virtual_servers:
            continue
        held = state.real_servers[key].get(server)
        assert held is not None
        wanted = new.real_servers.get(key, {}).get(server)
        assert held.weight == (wanted.weight if wanted else 0)
        kernel.set_connections(key, server, RealServerStats())
    impose(kernel, new, options)
    assert ours(kernel, new) == frozen(new)


@given(clusters(), clusters())
def test_marks_outlive_the_process(before: Cluster, after: Cluster) -> None:
    """Whoever comes next uses the fwmarks that are there, and takes no stranger's."""
    kernel = new_kernel()
    old, _ = agreed(kernel, before.desired())
    impose(kernel, old)
    strangers = {
        family: VirtualServer(
            key=VirtualServerKey(family=family, fwmark=CONFIG.marks.mark(1)),
            scheduler="wlc",
            netmask_bits=family.bits,
        )
        for family in IPFamily
    }
    marks = marks_of(kernel.observe().state)
    taken = [s for s in strangers.values() if s.key not in marks.values()]
    for server in taken:
        kernel.preload(server)
    new, options = agreed(kernel, after.desired())
    impose(kernel, new, options)
    state = kernel.observe().state
    for address, mark in marks_of(new).items():
        assert mark == marks.get(address, mark)
    for server in taken:
        assert state.virtual_servers[server.key] == server
        assert server.key not in new.virtual_servers
    assert plan_for(kernel, new, options) == ()


def marks_of(state: NodeState) -> dict[SetEntry, VirtualServerKey]:
    """The fwmark virtual server that each marked entry is for."""
    return {
        entry.identity: VirtualServerKey(family=family, fwmark=entry.mark)
        for family in IPFamily
        for entry in state.entries.get(set_key(SetRole.SHORT_CIRCUIT, family), ())
    }


def test_the_strategies_reach_what_they_should() -> None:
    """The clusters above do collide: without that the properties prove little."""
    seen: set[str] = set()

    @settings(max_examples=500, database=None, derandomize=True)
    @given(clusters())
    def look(cluster: Cluster) -> None:
        union = cluster.desired()
        state = union.state()
        seen.update(problem.reason.split()[0] for problem in union.problems())
        seen.update(
            role.name
            for role in SetRole
            for family in IPFamily
            if state.entries[set_key(role, family)]
        )

    look()
    # Those two take a kernel.
    kernels = {SetRole.FOREIGN, SetRole.SHORT_CIRCUIT_CLOSING}
    assert {role.name for role in SetRole if role not in kernels} <= seen
    assert {"already", "is", "the"} <= seen
