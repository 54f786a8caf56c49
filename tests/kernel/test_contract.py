"""One contract for the fake kernel and for Linux."""

import errno
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import get_args

import pytest

from ipvsctl.kernel.firewall import Firewall
from ipvsctl.kernel.interface import Kernel
from ipvsctl.kernel.iptables import Iptables
from ipvsctl.kernel.iptables_firewall import IptablesFirewall
from ipvsctl.kernel.linux import LinuxKernel
from ipvsctl.kernel.nftables_firewall import NftablesFirewall
from ipvsctl.model.config import FirewallKind
from ipvsctl.model.glance import Glance
from ipvsctl.model.ipvs import RealServerKey, RealServerStats, TrafficStats
from ipvsctl.model.net import IPFamily, IPv4Address, Protocol
from ipvsctl.model.processes import Process, Processes
from ipvsctl.model.rules import Jump, Rule
from ipvsctl.model.sets import SetEntry
from ipvsctl.model.state import NodeState
from ipvsctl.model.steps import finish
from ipvsctl.plan.diff.ops import (
    AddEntry,
    AddRealServer,
    AddRoute,
    AddVirtualServer,
    BindAddress,
    DeleteStaleFlows,
    DeleteVirtualServer,
    EnsureVipLink,
    MakeTunnelEnd,
    Op,
    Plan,
    Report,
)
from tests.addresses import later
from tests.fakes.firewalls import FakeIptables, FakeNftables
from tests.fakes.kernel import FakeKernel
from tests.kernel.contract import CONNTRACK, MISSING_SYSCTL, VIP_LINK, Row
from tests.kernel.contract_ipvs import (
    FWMARK_KEY,
    KEY,
    KEY6,
    POD,
    REAL,
    REAL6,
    REAL_SERVER_ROWS,
    SERVER,
    SERVER6,
    UDP_KEY,
    VIP,
    VIRTUAL_SERVER_ROWS,
    changed,
    changed_real,
    key_of,
)
from tests.kernel.contract_node import (
    END,
    END6,
    LOCAL,
    NODE_ROWS,
    RULES_ROWS,
    TUNNEL_ROWS,
    change,
)
from tests.kernel.contract_routes import ROUTE_ROWS
from tests.kernel.contract_sets import ENTRY_ROWS, IPS, SET_ROWS, entry, spec
from tests.kernel.firewalls import BOTH, require
from tests.kernel.programs import LIVES, program
from tests.lab.flows import Flow, track

ROWS = (
    *VIRTUAL_SERVER_ROWS,
    *REAL_SERVER_ROWS,
    *SET_ROWS,
    *ENTRY_ROWS,
    *NODE_ROWS,
    *TUNNEL_ROWS,
    *ROUTE_ROWS,
)

SMALL = spec(room=600)
OTHER = changed_real(REAL, key=RealServerKey(POD, 9))


def _open_linux(kind: FirewallKind, *, with_rules: bool) -> Kernel:
    require(kind)
    firewall: Firewall
    if kind is FirewallKind.NFTABLES:
        firewall = NftablesFirewall(tuple(IPFamily))
    elif with_rules:
        firewall = IptablesFirewall({IPFamily.IPV4: Iptables(IPFamily.IPV4)})
    else:
        firewall = IptablesFirewall({})
    return LinuxKernel(
        vip_link=VIP_LINK,
        sysctl_names=(CONNTRACK, MISSING_SYSCTL),
        firewall=firewall,
        firewall_kind=kind,
    )


def _open_fake(kind: FirewallKind) -> Kernel:
    return FakeKernel(
        vip_link=VIP_LINK,
        sysctls={CONNTRACK: "0"},
        firewall=FakeNftables if kind is FirewallKind.NFTABLES else FakeIptables,
    )


KERNELS = [
    pytest.param((name, kind), marks=marks, id=f"{name}-{kind}")
    for name, marks in (("fake", ()), ("linux", pytest.mark.kernel))
    for kind in BOTH
]


@pytest.fixture(params=KERNELS)
def kernel(request: pytest.FixtureRequest) -> Iterator[Kernel]:
    """An empty kernel, without rules of iptables when it is a real one."""
    yield from _open(request, with_rules=False)


@pytest.fixture(params=KERNELS)
def kernel_with_rules(request: pytest.FixtureRequest) -> Iterator[Kernel]:
    """An empty kernel that has IPv4 rules; processes make the real one slow."""
    yield from _open(request, with_rules=True)


def _open(request: pytest.FixtureRequest, *, with_rules: bool) -> Iterator[Kernel]:
    name, kind = request.param
    if name == "fake":
        yield _open_fake(kind)
        return
    request.getfixturevalue("netns")
    with closing(_open_linux(kind, with_rules=with_rules)) as opened:
        yield opened


def _check(kernel: Kernel, row: Row) -> None:
    wanted = row.outcome(kernel.capabilities().firewall)
    assert kernel.apply(row.given).failed == ()
    before = kernel.observe()
    report = kernel.apply((row.op,))
    after = kernel.observe()
    if wanted.code:
        assert [(failed.op, failed.errno) for failed in report.failed] == [
            (row.op, wanted.code)
        ]
        assert report.failed[0].reason
        assert report.applied == 0
        assert after == before
    else:
        assert report.failed == ()
        assert report.applied == 1
        assert row.look(after.state) == wanted.then


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_op(kernel: Kernel, row: Row) -> None:
    """Every kernel does with the op what the row says."""
    _check(kernel, row)


@pytest.mark.parametrize("row", RULES_ROWS, ids=str)
def test_op_about_rules(kernel_with_rules: Kernel, row: Row) -> None:
    """Every kernel does with the op what the row says."""
    _check(kernel_with_rules, row)


def test_what_is_likely_does_not_change_what_is_read(kernel: Kernel) -> None:
    """Whether it is so or not, in weights, in real servers, in their number."""
    given = (
        AddVirtualServer(SERVER),
        AddRealServer(KEY, REAL),
        AddRealServer(KEY, OTHER),
    )
    assert not kernel.apply(given).failed
    observed = kernel.observe()
    held = observed.state.real_servers[KEY]
    heavier = changed_real(REAL, weight=REAL.weight + 1)
    third = changed_real(REAL, key=RealServerKey(POD, 10))
    for likely in (
        held,
        {REAL.key: heavier, OTHER.key: OTHER},
        {REAL.key: REAL, third.key: third},
        {REAL.key: REAL},
        {},
    ):
        state = NodeState(real_servers={KEY: likely})
        read = finish(kernel.read_in_steps(state))
        assert read.state == observed.state


def test_host_addresses_are_those_that_are_observed(kernel: Kernel) -> None:
    """They can be had without reading the rest."""
    assert kernel.read_host() == kernel.observe().host


def test_vips_are_those_that_are_observed(kernel: Kernel) -> None:
    """By addresses and by routes, which can be had without reading the rest."""
    assert kernel.read_vips() == frozenset()
    kernel.apply((EnsureVipLink(VIP_LINK), BindAddress(VIP), AddRoute(POD, None)))
    assert kernel.read_vips() == {VIP, POD}


def test_a_glance_has_the_numbers_of_what_is_observed(kernel: Kernel) -> None:
    """Of virtual servers and of entries, without any of them being listed."""
    is_counted = kernel.capabilities().firewall is FirewallKind.IPTABLES
    empty = Glance(virtual_servers=0, entries={} if is_counted else None)
    assert kernel.glance() == empty
    entries = [
        AddEntry(IPS.key, SetEntry(address=later(VIP, number))) for number in range(3)
    ]
    servers = (AddVirtualServer(SERVER), AddVirtualServer(SERVER6))
    kernel.apply((SMALL, IPS, *entries, *servers))
    seen = kernel.glance()
    assert seen.entries == ({IPS.key: 3, SMALL.key: 0} if is_counted else None)
    # Some kernels count those of IPv4, others all.
    assert seen.virtual_servers in {1, 2}
    kernel.apply((DeleteVirtualServer(KEY),))
    assert kernel.glance().virtual_servers == seen.virtual_servers - 1


def test_the_programs_that_are_asked_for(kernel: Kernel, tmp_path: Path) -> None:
    """Those that run are found, with their pids, and no others."""
    both = frozenset({"kube-proxy", "keepalived"})
    assert kernel.read_processes(both).running == ()
    with _program(kernel, tmp_path / "kube-proxy") as pid:
        (found,) = kernel.read_processes(both).running
        assert (found.pid, found.name) == (pid, "kube-proxy")
        assert kernel.read_processes(both - {"kube-proxy"}).running == ()


@contextmanager
def _program(kernel: Kernel, path: Path) -> Iterator[int]:
    if not isinstance(kernel, FakeKernel):
        with program(path, LIVES) as pid:
            yield pid
        return
    kernel.processes = Processes(running=(Process(pid=7, name=path.name),))
    yield 7


def test_every_kind_of_op_has_rows() -> None:
    """Every kind succeeds in some row, and no row succeeds unobserved."""
    rows = (*ROWS, *RULES_ROWS)
    succeeded = {type(row.op) for row in rows if not row.code}
    assert succeeded == set(get_args(Op))
    assert not [row.fact for row in rows if not row.code and row.then is None]


def test_nothing_is_observed_in_an_empty_kernel(kernel: Kernel) -> None:
    """An empty kernel has only its sysctls; one that is not there is left out."""
    state = kernel.observe().state
    assert dict(state.sysctls) == {CONNTRACK: "0"}
    assert not state.vip_link_up
    assert not state.sets
    assert not state.virtual_servers
    assert not state.addresses


def test_real_servers_of_a_refused_virtual_server(kernel: Kernel) -> None:
    """They are refused too and say why; others are not touched by it."""
    refused = changed(SERVER, scheduler="nonesuch")
    orphan = AddRealServer(KEY, REAL)
    plan: Plan = (
        AddVirtualServer(refused),
        AddVirtualServer(SERVER6),
        orphan,
        AddRealServer(KEY6, REAL6),
    )
    report = kernel.apply(plan)
    assert [failed.op for failed in report.failed] == [
        AddVirtualServer(refused),
        orphan,
    ]
    assert report.failed[1].reason == "its virtual server was refused"
    assert report.applied == 2
    assert set(kernel.observe().state.virtual_servers) == {KEY6}


def test_real_servers_of_a_virtual_server_that_is_there(kernel: Kernel) -> None:
    """They are refused with it: it was made by somebody else, and has its own."""
    theirs = changed(SERVER, scheduler="wrr")
    assert not kernel.apply((AddVirtualServer(theirs),)).failed
    report = kernel.apply((AddVirtualServer(SERVER), AddRealServer(KEY, REAL)))
    assert [failed.errno for failed in report.failed] == [errno.EEXIST, errno.ESRCH]
    state = kernel.observe().state
    assert state.virtual_servers == {KEY: theirs}
    assert not state.real_servers.get(KEY)


def test_a_refused_op_stops_no_other(kernel: Kernel) -> None:
    """Every failure in a long mixed plan finds its op, and everything else runs."""
    is_limited = kernel.capabilities().firewall is FirewallKind.IPTABLES
    plan, refused = long_plan(is_limited=is_limited)
    report = kernel.apply(plan)
    assert [failed.op for failed in report.failed] == refused
    assert report.applied == len(plan) - len(refused)
    state = kernel.observe().state
    assert len(state.virtual_servers) == 500
    assert sum(map(len, state.real_servers.values())) == 500
    assert {name: len(entries) for name, entries in state.entries.items()} == {
        SMALL.key: SMALL.room if is_limited else 1000,
        IPS.key: 500,
    }
    assert len(state.addresses) == 500


def test_partial_reads(kernel: Kernel) -> None:
    """Only what is asked for is read; what is not there is left out."""
    kernel.apply(
        (
            AddVirtualServer(SERVER),
            AddVirtualServer(SERVER6),
            AddRealServer(KEY, REAL),
            AddRealServer(KEY6, REAL6),
        )
    )
    observed = kernel.observe_virtual_servers([KEY, FWMARK_KEY])
    assert dict(observed.state.virtual_servers) == {KEY: SERVER}
    assert observed.state.real_servers == {KEY: {REAL.key: REAL}}
    assert observed.connections.keys() == {KEY}
    # One without connections may be absent.
    none = RealServerStats()
    assert observed.connections[KEY].get(REAL.key, none) == none
    assert dict(observed.traffic) == {KEY: TrafficStats()}
    assert not observed.state.sysctls


DNS_POD = RealServerKey(POD, 5353)
OLD_POD = RealServerKey(later(POD, 1), 5353)
CLIENT = later(VIP, 0x10000)


def flow(target: RealServerKey, client_port: int, address: IPv4Address = VIP) -> Flow:
    """A flow to port 53."""
    return Flow(CLIENT, client_port, address, 53, POD, 5353)._replace(
        target=target.address, target_port=target.port
    )


def test_flows(kernel: Kernel) -> None:
    """UDP flows are seen by where they lead, and end if it is nowhere to be kept."""
    kernel.apply((AddVirtualServer(changed(SERVER, key=UDP_KEY)),))
    assert kernel.observe().flows == {}
    other = flow(OLD_POD, 4, later(VIP, 1))
    for passing in (flow(DNS_POD, 1), flow(OLD_POD, 2), flow(OLD_POD, 3), other):
        pass_by(kernel, passing)
    assert kernel.observe().flows == {UDP_KEY: {DNS_POD, OLD_POD}}
    other_key = key_of(later(VIP, 1), Protocol.UDP, 53)
    kernel.apply((AddVirtualServer(changed(SERVER, key=other_key)),))
    plan: Plan = (DeleteStaleFlows(UDP_KEY, frozenset({DNS_POD})),)
    for _ in range(2):
        assert kernel.apply(plan) == Report(applied=1)
        assert kernel.observe().flows == {UDP_KEY: {DNS_POD}, other_key: {OLD_POD}}


def test_flows_are_not_part_of_a_partial_reading(kernel: Kernel) -> None:
    """They would cost as much as the table is long."""
    assert kernel.observe_virtual_servers([UDP_KEY]).flows is None


def pass_by(kernel: Kernel, passing: Flow) -> None:
    """Have a flow in the kernel."""
    if isinstance(kernel, FakeKernel):
        kernel.flows.udp.add(passing)
    else:
        track(passing)


def test_reading_nothing_of_nothing(kernel: Kernel) -> None:
    """No keys, no answer."""
    kernel.apply((AddVirtualServer(SERVER),))
    assert not kernel.observe_virtual_servers([]).state.virtual_servers


def test_facts(kernel: Kernel) -> None:
    """The facts are of a kernel that can run this suite."""
    capabilities = kernel.capabilities()
    assert capabilities.release >= (4, 19)
    assert capabilities.families == tuple(IPFamily)
    assert capabilities is kernel.capabilities()


def test_an_empty_plan_applies(kernel: Kernel) -> None:
    """Nothing to do is done at once."""
    assert kernel.apply(()) == Report(applied=0)


def long_plan(*, is_limited: bool) -> tuple[Plan, list[Op]]:
    """A plan that spans several batches, and the ops in it that are refused.

    Every tenth virtual server is there already, every real server with weight -1 is
    refused, and SMALL is full in the middle of a message of entries, where sets have a
    limit.
    """
    ops: list[Op] = [SMALL, IPS, EnsureVipLink(VIP_LINK)]
    refused: list[Op] = []
    for number in range(1000):
        address = later(VIP, number)
        op: Op = AddEntry(SMALL.key, entry(address))
        ops.append(op)
        if is_limited and number >= SMALL.room:
            refused.append(op)
    ops += (
        AddEntry(IPS.key, SetEntry(address=later(VIP, number))) for number in range(500)
    )
    for number in range(500):
        server = changed(SERVER, key=key_of(later(VIP, number)))
        ops.append(AddVirtualServer(server))
        if number % 10 == 0:
            again = AddVirtualServer(changed(server, scheduler="wrr"))
            ops.append(again)
            refused.append(again)
    for number in range(500):
        key = key_of(later(VIP, number))
        ops.append(AddRealServer(key, REAL))
        bad = AddRealServer(key, changed_real(OTHER, weight=-1))
        if number % 7 == 0:
            ops.append(bad)
            refused.append(bad)
        ops.append(BindAddress(later(VIP, number)))
    return tuple(ops), refused


def test_no_end_of_tunnels_without_its_rules(kernel_with_rules: Kernel) -> None:
    """Nobody would say who may use it; the other family's does not wait."""
    kernel = kernel_with_rules
    refused = change(Rule(target=Jump("KUBE-LOAD-BALANCER")))
    kernel.apply(LOCAL)
    report = kernel.apply((refused, MakeTunnelEnd(END), MakeTunnelEnd(END6)))
    assert [failed.op for failed in report.failed] == [refused, MakeTunnelEnd(END)]
    assert report.applied == 1
    assert kernel.observe().state.tunnel_ends == {IPFamily.IPV6: END6}
