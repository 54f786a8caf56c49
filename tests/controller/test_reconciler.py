"""One node's desired state against a kernel, call by call."""

import errno
from typing import Any

import msgspec
import pytest

from ipvsctl.cluster.events import Upserted
from ipvsctl.cluster.store import Store
from ipvsctl.controller.reconciler import Reconciler
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.ipvs import (
    RealServerKey,
    RealServerStats,
    VirtualServer,
    VirtualServerKey,
)
from ipvsctl.model.net import IPFamily, IPv4Address, Protocol, parse_address
from ipvsctl.model.objects import ServicePort, ServiceType, TrafficPolicy
from ipvsctl.model.problem import Kind, ObjectRef
from ipvsctl.plan.diff.ops import (
    AddVirtualServer,
    ChangeRules,
    DeleteEntry,
    Op,
)
from tests import builders
from tests.controller.cluster import (
    FIRST,
    WEB,
    endpoints,
    has,
    has_not,
    real_servers,
    take,
)
from tests.fakes.clock import FakeClock
from tests.fakes.kernel import FakeKernel

POD_1 = RealServerKey(IPv4Address("172.16.0.1"), 8080)


@pytest.fixture
def clock() -> FakeClock:
    """Time at the test's will."""
    return FakeClock()


@pytest.fixture
def kernel() -> FakeKernel:
    """A fresh kernel."""
    return FakeKernel(host_addresses=[parse_address("10.0.0.10")])


@pytest.fixture
def reconciler(kernel: FakeKernel, clock: FakeClock) -> Reconciler:
    """A reconciler that has programmed `web` with one endpoint."""
    made = Reconciler(
        kernel=kernel,
        config=ProxyConfig(drain_timeout_s=60),
        store=Store("node-0"),
        clock=clock,
    )
    take(made, *FIRST)
    assert not made.audit().report.failed
    return made


def synced(reconciler: Reconciler) -> list[str]:
    """Sync what changed; the ops as text."""
    report = reconciler.sync(reconciler.prepare())
    assert not report.report.failed
    return builders.in_words(report.plan)


def test_a_second_audit_has_nothing_to_do(reconciler: Reconciler) -> None:
    """The kernel holds what was planned, read back."""
    assert reconciler.audit().plan == ()


def test_a_sync_reads_and_writes_only_what_changed(
    reconciler: Reconciler, kernel: FakeKernel
) -> None:
    """A new endpoint of one Service among many is one read and one write."""
    take(
        reconciler,
        *(
            has(builders.service(f"s{n}", cluster_ips=(IPv4Address(f"10.96.1.{n}"),)))
            for n in range(20)
        ),
    )
    synced(reconciler)
    full_reads = kernel.reads
    take(reconciler, endpoints("172.16.0.1", "172.16.0.2"))
    assert synced(reconciler) == [
        "add entry KUBE-LOOP-BACK 172.16.0.2,tcp:8080,172.16.0.2",
        "add real server tcp 10.96.0.10:80 -> 172.16.0.2:8080 masquerade weight 1",
    ]
    assert kernel.partial_reads[-1] == {WEB}
    assert kernel.reads == full_reads


def test_rules_do_not_change_with_services(
    reconciler: Reconciler, kernel: FakeKernel
) -> None:
    """Iptables runs once, at the start, whatever Services come and go."""
    load_balancer = builders.service(
        "lb",
        type=ServiceType.LOAD_BALANCER,
        cluster_ips=(IPv4Address("10.96.0.20"),),
        ingress_vips=(IPv4Address("198.51.100.7"),),
        ports=(
            ServicePort(name="http", protocol=Protocol.TCP, port=80, node_port=30080),
        ),
    )
    take(reconciler, has(load_balancer))
    synced(reconciler)
    take(reconciler, has_not(load_balancer))
    synced(reconciler)
    reconciler.audit()
    changes = [op for op in kernel.log if isinstance(op, ChangeRules)]
    assert len(changes) == 2, "one for each family"


SHORT_CIRCUIT = builders.set_called("KUBE-SHORT-CIRCUIT")
LOCAL = builders.service(
    external_traffic_policy=TrafficPolicy.LOCAL,
    external_ips=(IPv4Address("203.0.113.50"),),
)
STRANGER = VirtualServer(
    key=VirtualServerKey(family=IPFamily.IPV4, fwmark=0x20000),
    scheduler="wlc",
    netmask_bits=32,
)


def test_a_sync_keeps_off_a_strangers_fwmark(
    reconciler: Reconciler, kernel: FakeKernel
) -> None:
    """It does the rest, and the audit that follows uses another one."""
    kernel.preload(STRANGER)
    take(reconciler, has(LOCAL))
    report = reconciler.sync(reconciler.prepare())
    assert [str(failed) for failed in report.report.failed] == [
        "add virtual server fwmark 0x20000 rr: the fwmark is somebody else's"
    ]
    state = kernel.observe().state
    assert state.virtual_servers[STRANGER.key] == STRANGER
    assert not state.real_servers.get(STRANGER.key)
    assert not state.entries.get(SHORT_CIRCUIT)
    assert tcp_key("203.0.113.50", 80) in state.virtual_servers
    # Another event may come before that audit.
    take(reconciler, endpoints("172.16.0.2"))
    assert reconciler.sync(reconciler.prepare()).report.failed
    assert not kernel.observe().state.real_servers.get(STRANGER.key)
    assert not reconciler.audit().report.failed
    state = kernel.observe().state
    assert state.virtual_servers[STRANGER.key] == STRANGER
    assert list(map(str, state.entries[SHORT_CIRCUIT])) == [
        "203.0.113.50,tcp:80 skbmark 0x20001"
    ]
    assert reconciler.audit().plan == ()


def test_a_fwmark_is_checked_once(reconciler: Reconciler, kernel: FakeKernel) -> None:
    """Once imposed it is ours: later syncs change its virtual server."""
    take(reconciler, has(LOCAL))
    synced(reconciler)
    take(reconciler, endpoints("172.16.0.1", "172.16.0.2"))
    ops = synced(reconciler)
    assert (
        "add real server fwmark 0x20000 -> 172.16.0.2:8080 masquerade weight 1" in ops
    )
    take(reconciler, has(builders.service()))
    synced(reconciler)
    assert not [key for key in kernel.observe().state.virtual_servers if key.fwmark]
    take(reconciler, has(LOCAL))
    synced(reconciler)
    assert reconciler.audit().plan == ()


def test_flushed_sets_leave_the_fwmarks(
    reconciler: Reconciler, kernel: FakeKernel
) -> None:
    """Who lives on knows its own virtual servers, and puts the entries back."""
    take(reconciler, has(LOCAL))
    synced(reconciler)
    marked = kernel.observe().state.entries[SHORT_CIRCUIT]
    kernel.apply(tuple(DeleteEntry(SHORT_CIRCUIT, entry) for entry in marked))
    assert builders.in_words(reconciler.audit().plan) == [
        "add entry KUBE-SHORT-CIRCUIT 203.0.113.50,tcp:80 skbmark 0x20000"
    ]


def test_a_service_that_goes_leaves_nothing(reconciler: Reconciler) -> None:
    """A sync takes out what the last Service had, an audit finds nothing more."""
    take(reconciler, has_not(builders.service()))
    ops = synced(reconciler)
    assert ops[:3] == [
        "unbind address 10.96.0.10",
        "delete route 10.96.0.10",
        "delete virtual server tcp 10.96.0.10:80",
    ]
    assert sorted(ops[3:]) == [
        "delete entry KUBE-CLUSTER-IP 10.96.0.10,tcp:80",
        "delete entry KUBE-IPVS-IPS 10.96.0.10",
        "delete entry KUBE-LOOP-BACK 172.16.0.1,tcp:8080,172.16.0.1",
    ]
    assert reconciler.audit().plan == ()


def test_a_drain_ends_with_its_connections(
    reconciler: Reconciler, kernel: FakeKernel
) -> None:
    """Weight 0 while there are connections, then deleted by the drain check."""
    kernel.set_connections(WEB, POD_1, RealServerStats(active=1))
    take(reconciler, endpoints("172.16.0.2"))
    synced(reconciler)
    assert real_servers(kernel) == {"172.16.0.1:8080": 0, "172.16.0.2:8080": 1}
    assert reconciler.draining == {WEB}
    assert reconciler.sync(reconciler.recheck_drains()).plan == ()
    kernel.set_connections(WEB, POD_1, RealServerStats())
    reconciler.sync(reconciler.recheck_drains())
    assert real_servers(kernel) == {"172.16.0.2:8080": 1}
    reconciler.sync(reconciler.recheck_drains())
    assert reconciler.draining == frozenset()


def test_a_drain_ends_with_its_time(
    reconciler: Reconciler, kernel: FakeKernel, clock: FakeClock
) -> None:
    """A connection that never ends is cut after `drainTimeout`, and not before."""
    kernel.set_connections(WEB, POD_1, RealServerStats(active=1))
    take(reconciler, endpoints("172.16.0.2"))
    synced(reconciler)
    clock.advance(59)
    assert reconciler.sync(reconciler.recheck_drains()).plan == ()
    assert list(reconciler.drain_ages_s().values()) == [59]
    clock.advance(1)
    reconciler.sync(reconciler.recheck_drains())
    assert real_servers(kernel) == {"172.16.0.2:8080": 1}


def test_an_endpoint_that_returns_gets_its_weight_back_in_place(
    reconciler: Reconciler, kernel: FakeKernel
) -> None:
    """Its connections see nothing of it (k/k#117205)."""
    kernel.set_connections(WEB, POD_1, RealServerStats(active=1))
    take(reconciler, endpoints("172.16.0.2"))
    synced(reconciler)
    take(reconciler, endpoints("172.16.0.1", "172.16.0.2"))
    ipvs = [op for op in synced(reconciler) if "real server" in op]
    assert ipvs == [
        "update real server tcp 10.96.0.10:80 -> 172.16.0.1:8080 masquerade weight 1"
    ]
    assert reconciler.draining == frozenset()


def test_a_restart_goes_on_with_a_drain(
    reconciler: Reconciler, kernel: FakeKernel, clock: FakeClock
) -> None:
    """The drain is a fact of the kernel; a new process sees it and bounds it."""
    kernel.set_connections(WEB, POD_1, RealServerStats(active=1))
    take(reconciler, endpoints("172.16.0.2"))
    synced(reconciler)
    restarted = Reconciler(
        kernel=kernel,
        config=ProxyConfig(drain_timeout_s=60),
        store=Store("node-0"),
        clock=clock,
    )
    take(restarted, has(builders.service()), endpoints("172.16.0.2"))
    assert restarted.audit().plan == ()
    assert restarted.draining == {WEB}
    clock.advance(60)
    restarted.sync(restarted.recheck_drains())
    assert real_servers(kernel) == {"172.16.0.2:8080": 1}


def test_a_failed_op_stops_nothing_else(
    reconciler: Reconciler, kernel: FakeKernel
) -> None:
    """One virtual server is refused, its neighbour is programmed; an audit retries."""

    def is_bad(op: Op) -> bool:
        return isinstance(op, AddVirtualServer) and "10.96.0.66" in str(op)

    kernel.fail_on(is_bad, errno.ENOMEM)
    take(
        reconciler,
        has(builders.service("bad", cluster_ips=(IPv4Address("10.96.0.66"),))),
        has(builders.service("good", cluster_ips=(IPv4Address("10.96.0.77"),))),
    )
    report = reconciler.sync(reconciler.prepare()).report
    assert [str(f) for f in report.failed] == [
        "add virtual server tcp 10.96.0.66:80 rr: ENOMEM (out of memory)"
    ]
    served = {str(key) for key in kernel.observe().state.virtual_servers}
    assert "tcp 10.96.0.77:80" in served
    kernel.stop_failing()
    assert builders.in_words(reconciler.audit().plan) == [
        "add virtual server tcp 10.96.0.66:80 rr"
    ]


def test_new_host_addresses_get_node_ports(
    reconciler: Reconciler, kernel: FakeKernel
) -> None:
    """An address that appears on the node is served at the next audit."""
    node_port = builders.service(
        type=ServiceType.NODE_PORT,
        ports=(
            ServicePort(name="http", protocol=Protocol.TCP, port=80, node_port=30080),
        ),
    )
    take(reconciler, has(node_port))
    synced(reconciler)
    kernel.host_addresses |= {parse_address("10.7.7.7")}
    reconciler.audit()
    served = {str(key) for key in kernel.observe().state.virtual_servers}
    assert "tcp 10.7.7.7:30080" in served
    kernel.host_addresses -= {parse_address("10.7.7.7")}
    reconciler.audit()
    served = {str(key) for key in kernel.observe().state.virtual_servers}
    assert "tcp 10.7.7.7:30080" not in served


def test_drift_is_repaired_and_foreign_things_are_left(
    reconciler: Reconciler, kernel: FakeKernel
) -> None:
    """After somebody wiped everything, an audit restores what is ours."""
    kernel.reboot()
    foreign = VirtualServer(
        key=tcp_key("10.103.97.12", 6443), scheduler="wlc", netmask_bits=32
    )
    kernel.preload(foreign)
    assert not reconciler.audit().report.failed
    servers = kernel.observe().state.virtual_servers
    assert set(servers) == {WEB, foreign.key}
    assert servers[foreign.key] == foreign


def tcp_key(address: str, port: int) -> VirtualServerKey:
    """A TCP virtual server's key."""
    return msgspec.structs.replace(WEB, address=parse_address(address), port=port)


def test_services_with_mistakes_harm_no_other(
    reconciler: Reconciler, kernel: FakeKernel
) -> None:
    """Each mistake is a problem of its Service; whatever else there is, is served."""
    node = builders.node("node-1", "10.0.0.11")
    shared = parse_address("203.0.113.9")
    mistakes: dict[str, dict[str, Any]] = {
        "peer-address": {"external_ips": (parse_address("10.0.0.11"),)},
        "second": {"external_ips": (shared,), "created": "2026-02-02T00:00:00Z"},
        "scheduler": {"annotations": (("ipvsctl.io/scheduler", "fastest"),)},
    }
    take(
        reconciler,
        Upserted(kind=Kind.NODE, ref=ObjectRef("", node.name), values=(node,)),
        has(
            builders.service(
                "first",
                cluster_ips=(parse_address("10.96.1.1"),),
                external_ips=(shared,),
                created="2026-01-01T00:00:00Z",
            )
        ),
        *(
            has(
                builders.service(
                    name, cluster_ips=(parse_address(f"10.96.2.{number}"),), **fields
                )
            )
            for number, (name, fields) in enumerate(mistakes.items())
        ),
    )
    assert not reconciler.audit().report.failed
    assert {p.ref.name for p in reconciler.problems()} == set(mistakes)
    served = {str(key) for key in kernel.observe().state.virtual_servers}
    assert served == {
        "tcp 10.96.0.10:80",
        "tcp 10.96.1.1:80",
        "tcp 203.0.113.9:80",
        *(f"tcp 10.96.2.{number}:80" for number in range(len(mistakes))),
    }
