"""Foreign virtual servers where a Service wants its own, call by call."""

from errno import EEXIST

import msgspec
import pytest

from ipvsctl.cluster.events import Event
from ipvsctl.cluster.store import Store
from ipvsctl.controller.audit_run import AuditRun
from ipvsctl.controller.reconciler import Reconciler
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.ipvs import (
    ForwardingMethod,
    RealServer,
    RealServerKey,
    VirtualServer,
    VirtualServerKey,
)
from ipvsctl.model.net import IPv4Address, Protocol, parse_address
from ipvsctl.model.objects import ServicePort, ServiceType, SlicePort
from ipvsctl.model.sets import SetEntry
from ipvsctl.model.steps import finish
from ipvsctl.plan.diff.ops import (
    AddEntry,
    AddVirtualServer,
    BindAddress,
    DeleteEntry,
    EnsureVipLink,
    Op,
)
from ipvsctl.plan.report.counts import count_foreign
from ipvsctl.plan.union.foreign import TAKEN
from ipvsctl.wire.ipset.sets import SetSpec, SetType, set_name
from tests import builders
from tests.builders import set_called
from tests.controller.cluster import (
    WEB,
    has,
    has_not,
    has_slice,
    real_servers,
    take,
)
from tests.fakes.kernel import FakeKernel

NODE = parse_address("10.0.0.10")
VIP = IPv4Address("203.0.113.50")
PORTS = (
    ServicePort(name="http", protocol=Protocol.TCP, port=80, node_port=30080),
    ServicePort(name="https", protocol=Protocol.TCP, port=443, node_port=30443),
)
BALANCED = builders.service(
    type=ServiceType.NODE_PORT, ports=PORTS, external_ips=(VIP,)
)


def key(address: object, port: int) -> VirtualServerKey:
    """A TCP virtual server."""
    return msgspec.structs.replace(WEB, address=parse_address(str(address)), port=port)


def endpoints(*addresses: str) -> Event:
    """The endpoints of both ports."""
    ports = tuple(
        SlicePort(name=port.name, protocol=Protocol.TCP, port=8080) for port in PORTS
    )
    return has_slice(builders.endpoint_slice("web-1", *addresses, ports=ports))


KEEPALIVED = VirtualServer(key=key(VIP, 443), scheduler="wlc", netmask_bits=32)
ITS_SERVER = RealServer(
    key=RealServerKey(IPv4Address("192.0.2.1"), 443),
    forwarding=ForwardingMethod.DIRECT_ROUTE,
)


def new(kernel: FakeKernel) -> Reconciler:
    """A process that begins on this kernel."""
    return Reconciler(kernel=kernel, config=ProxyConfig(), store=Store("node-0"))


@pytest.fixture
def kernel() -> FakeKernel:
    """A fresh kernel."""
    return FakeKernel(host_addresses=[NODE])


@pytest.fixture
def reconciler(kernel: FakeKernel) -> Reconciler:
    """One that has programmed `web` with one endpoint."""
    made = new(kernel)
    take(made, has(builders.service()), endpoints("172.16.0.1"))
    assert not made.audit().report.failed
    return made


def keepalived_is_there(kernel: FakeKernel) -> bool:
    """As it was made."""
    state = kernel.observe().state
    held = state.real_servers[KEEPALIVED.key]
    return state.virtual_servers[KEEPALIVED.key] == KEEPALIVED and held == {
        ITS_SERVER.key: ITS_SERVER
    }


def taken(reconciler: Reconciler) -> list[str]:
    """What Services have not got because somebody else has."""
    return [p.value for p in reconciler.problems() if p.reason == TAKEN]


def test_a_sync_does_all_else(reconciler: Reconciler, kernel: FakeKernel) -> None:
    """The one that is there already is as if refused; the audit says whose it is."""
    kernel.preload(KEEPALIVED, ITS_SERVER)
    take(reconciler, has(BALANCED))
    report = reconciler.sync(reconciler.prepare())
    assert [str(failed) for failed in report.report.failed] == [
        "add virtual server tcp 203.0.113.50:443 rr: another one is there already"
    ]
    assert keepalived_is_there(kernel)
    served = {str(key) for key in kernel.observe().state.virtual_servers}
    assert served == {
        "tcp 10.96.0.10:80",
        "tcp 10.96.0.10:443",
        "tcp 203.0.113.50:80",
        "tcp 203.0.113.50:443",
        "tcp 10.0.0.10:30080",
        "tcp 10.0.0.10:30443",
    }
    # Another event may come before that audit.
    take(reconciler, endpoints("172.16.0.2"))
    reconciler.sync(reconciler.prepare())
    assert keepalived_is_there(kernel)
    assert real_servers(kernel, key(VIP, 80)) == {"172.16.0.2:8080": 1}
    assert not reconciler.audit().report.failed
    assert taken(reconciler) == ["tcp 203.0.113.50:443"]
    assert reconciler.audit().plan == ()
    assert keepalived_is_there(kernel)


def test_its_whole_life(reconciler: Reconciler, kernel: FakeKernel) -> None:
    """It stays through the Service's life and death, and a restart, and is counted."""
    kernel.preload(KEEPALIVED, ITS_SERVER)
    reconciler.audit()
    assert count_foreign(kernel.observe(), reconciler.desired) == 1
    take(reconciler, has(BALANCED))
    # It is known: no sync is refused, and no audit is needed.
    assert not reconciler.sync(reconciler.prepare()).report.failed
    assert taken(reconciler) == ["tcp 203.0.113.50:443"]
    assert count_foreign(kernel.observe(), reconciler.desired) == 1
    assert reconciler.audit().plan == ()
    restarted = new(kernel)
    take(restarted, has(BALANCED), endpoints("172.16.0.1"))
    assert restarted.audit().plan == ()
    assert taken(restarted) == ["tcp 203.0.113.50:443"]
    take(restarted, has_not(BALANCED))
    restarted.sync(restarted.prepare())
    restarted.audit()
    assert taken(restarted) == []
    assert keepalived_is_there(kernel)
    assert kernel.observe().state.virtual_servers.keys() == {KEEPALIVED.key}


def test_when_it_leaves_the_service_has_its_place(
    reconciler: Reconciler, kernel: FakeKernel
) -> None:
    """At the next audit, in one piece."""
    kernel.preload(KEEPALIVED, ITS_SERVER)
    take(reconciler, has(BALANCED))
    reconciler.audit()
    kernel.withdraw(KEEPALIVED.key)
    assert not reconciler.audit().report.failed
    assert real_servers(kernel, KEEPALIVED.key) == {"172.16.0.1:8080": 1}
    assert taken(reconciler) == []
    assert reconciler.audit().plan == ()


def test_who_adds_it_while_we_do_has_it(
    reconciler: Reconciler, kernel: FakeKernel
) -> None:
    """Both start with the node; it comes between our look and our op."""

    def comes(op: Op) -> bool:
        is_first = KEEPALIVED.key not in kernel.observe().state.virtual_servers
        if isinstance(op, AddVirtualServer) and op.server.key == KEEPALIVED.key:
            if is_first:
                kernel.preload(KEEPALIVED, ITS_SERVER)
            return True
        return False

    kernel.fail_on(comes, EEXIST)
    take(reconciler, has(BALANCED))
    assert reconciler.audit().report.failed
    assert keepalived_is_there(kernel)
    # Our owning entry is there, since it goes in first.
    assert not reconciler.audit().report.failed
    assert keepalived_is_there(kernel)
    assert taken(reconciler) == ["tcp 203.0.113.50:443"]
    owning = kernel.observe().state.entries[set_called("KUBE-EXTERNAL-IP")]
    assert [entry.port for entry in owning] == [80]


def test_another_ipvsctl_that_adds_it_is_no_stranger(
    reconciler: Reconciler, kernel: FakeKernel
) -> None:
    """`ipvsctl apply` beside the daemon: what it made does the Service's work."""
    other = new(kernel)
    pod = RealServer(key=RealServerKey(IPv4Address("172.16.0.1"), 8080))
    ours = VirtualServer(key=key(VIP, 443), scheduler="rr", netmask_bits=32)

    def comes(op: Op) -> bool:
        if isinstance(op, AddVirtualServer) and op.server.key == ours.key:
            kernel.preload(ours, pod)
            return True
        return False

    kernel.fail_on(comes, EEXIST)
    take(reconciler, has(BALANCED))
    assert reconciler.audit().report.failed
    kernel.stop_failing()
    assert not reconciler.audit().report.failed
    assert taken(reconciler) == []
    take(other, has(BALANCED), endpoints("172.16.0.1"))
    assert other.audit().plan == ()


def test_a_failed_op_does_not_make_it_ours(
    reconciler: Reconciler, kernel: FakeKernel
) -> None:
    """Whoever is there after it has come in between."""
    kernel.fail_on(lambda op: isinstance(op, AddVirtualServer), EEXIST)
    take(reconciler, has(BALANCED))
    assert reconciler.sync(reconciler.prepare()).report.failed
    kernel.stop_failing()
    kernel.preload(KEEPALIVED, ITS_SERVER)
    assert not reconciler.audit().report.failed
    assert keepalived_is_there(kernel)


def test_events_that_no_sync_imposes_are_left_out_of_a_running_audit(
    reconciler: Reconciler, kernel: FakeKernel
) -> None:
    """What waits for the next audit is compiled, and may be another's."""
    run = AuditRun(reconciler)
    steps = run.between_syncs()
    while not run.changes:
        next(steps)
    kernel.preload(KEEPALIVED, ITS_SERVER)
    take(reconciler, has(BALANCED))
    reconciler.prepare()
    finish(steps)
    assert keepalived_is_there(kernel)
    assert not reconciler.audit().report.failed
    assert taken(reconciler) == ["tcp 203.0.113.50:443"]


@pytest.mark.parametrize(
    "flushed", [("KUBE-CLUSTER-IP",), ("KUBE-NODE-PORT",), ("KUBE-IPVS-IPS",), ()]
)
def test_flushed_sets_make_nobody_foreign(
    reconciler: Reconciler, kernel: FakeKernel, flushed: tuple[str, ...]
) -> None:
    """The daemon remembers; one that is started after it sees what they are for."""
    take(reconciler, has(BALANCED))
    reconciler.sync(reconciler.prepare())
    before = kernel.observe().state
    for process in (reconciler, new(kernel)):
        entries = kernel.observe().state.entries
        kernel.apply(
            tuple(
                DeleteEntry(key, entry)
                for key, held in entries.items()
                if not flushed or set_name(key) in flushed
                for entry in held
            )
        )
        take(process, has(BALANCED), endpoints("172.16.0.1"))
        ops = process.audit().plan
        assert ops
        assert {type(op) for op in ops} == {AddEntry}
        assert taken(process) == []
        assert kernel.observe().state == before


def test_on_a_node_of_kube_proxys(kernel: FakeKernel) -> None:
    """Its node ports are bits of a bitmap; keepalived's are not among them."""
    http = VirtualServer(key=key(NODE, 30080), scheduler="rr", netmask_bits=32)
    cluster_ip = VirtualServer(key=WEB, scheduler="rr", netmask_bits=32)
    stranger = VirtualServer(key=key(NODE, 30443), scheduler="rr", netmask_bits=32)
    name = "KUBE-NODE-PORT-TCP"
    bitmap = SetSpec(name=name, type=SetType.BITMAP_PORT)
    kernel.preload_set(bitmap, [SetEntry(port=30080)])
    kernel.apply(
        (
            EnsureVipLink("kube-ipvs0"),
            AddVirtualServer(http),
            AddVirtualServer(cluster_ip),
            BindAddress(parse_address("10.96.0.10")),
        )
    )
    kernel.preload(stranger, ITS_SERVER)
    made = new(kernel)
    take(made, has(BALANCED), endpoints("172.16.0.1"))
    assert not made.audit().report.failed
    assert taken(made) == ["tcp 10.0.0.10:30443"]
    state = kernel.observe().state
    assert state.real_servers[stranger.key] == {ITS_SERVER.key: ITS_SERVER}
    assert real_servers(kernel, http.key) == {"172.16.0.1:8080": 1}
    assert real_servers(kernel) == {"172.16.0.1:8080": 1}
    assert not state.leftovers
