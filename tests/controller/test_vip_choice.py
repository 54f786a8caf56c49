"""A node with `vipBinding: auto`, from start to start."""

import pytest
from structlog.testing import capture_logs

from ipvsctl.cli.show_status import status_lines
from ipvsctl.cli.status import read_status
from ipvsctl.cluster.events import Event, Synced
from ipvsctl.cluster.store import Store
from ipvsctl.controller.audit_run import AuditRun
from ipvsctl.controller.look import see
from ipvsctl.controller.reconciler import Reconciler
from ipvsctl.model.config import Compatibility, ProxyConfig, VipBinding
from ipvsctl.model.net import IPAddress, parse_address
from ipvsctl.model.status import Selection
from ipvsctl.model.steps import finish
from ipvsctl.plan.diff.ops import (
    AddRoute,
    BindAddress,
    DeleteRoute,
    UnbindAddress,
    UpdateRoute,
)
from ipvsctl.plan.union import vip_binding
from ipvsctl.plan.union.vip_binding import VipChoice
from tests import builders
from tests.addresses import later
from tests.controller.cluster import endpoints, has, take
from tests.controller.test_hold import BROKEN_FILE
from tests.fakes.kernel import FakeKernel

AUTO = ProxyConfig(vip_binding=VipBinding.AUTO)
ADDRESS, ROUTE = VipBinding.ADDRESS, VipBinding.ROUTE
VIP_OPS = BindAddress | UnbindAddress | AddRoute | UpdateRoute | DeleteRoute


@pytest.fixture
def kernel() -> FakeKernel:
    """A kernel with nothing of ours."""
    return FakeKernel(host_addresses=[parse_address("10.0.0.10")])


def vips(count: int) -> list[IPAddress]:
    """The VIPs of `web`: its cluster IP, and external IPs."""
    first = parse_address("203.0.113.0")
    return [
        parse_address("10.96.0.10"),
        *(later(first, number) for number in range(count - 1)),
    ]


def web(count: int) -> tuple[Event, ...]:
    """`default/web` on so many VIPs."""
    external = tuple(vips(count)[1:])
    return (
        has(builders.service(external_ips=external)),
        endpoints("172.16.0.1"),
        Synced(),
    )


def start(
    kernel: FakeKernel,
    *events: Event,
    config: ProxyConfig = AUTO,
    lasts: bool = True,
) -> Reconciler:
    """A process that starts, and knows this."""
    made = Reconciler(kernel=kernel, config=config, store=Store("node-0"), lasts=lasts)
    take(made, *events)
    return made


def serve(kernel: FakeKernel, count: int) -> Reconciler:
    """A daemon that starts and serves so many VIPs; nothing is left to do."""
    made = start(kernel, *web(count))
    assert not made.audit().report.failed
    assert made.audit().plan == ()
    return made


def way(kernel: FakeKernel, count: int) -> VipBinding:
    """How so many VIPs are in the kernel, all in one way."""
    state = kernel.observe().state
    if state.addresses:
        assert state.addresses == {*vips(count)}
        return ADDRESS
    assert state.routes.keys() == {*vips(count)}
    return ROUTE


@pytest.mark.parametrize(
    ("counts", "ways"),
    [
        ((1_999, 2_500, 2_501), (ADDRESS, ADDRESS, ROUTE)),
        ((2_000, 1_500, 1_499, 2_000), (ROUTE, ROUTE, ADDRESS, ADDRESS)),
    ],
)
def test_each_start_chooses(
    kernel: FakeKernel, counts: tuple[int, ...], ways: tuple[VipBinding, ...]
) -> None:
    """By how many VIPs there are then, and by the way they have from before."""
    for count, expected in zip(counts, ways, strict=True):
        made = serve(kernel, count)
        assert made.vip_choice == VipChoice(expected, count)
        assert way(kernel, count) is expected


def test_a_process_stays_with_its_choice(kernel: FakeKernel) -> None:
    """However many VIPs come later, none changes its way, by sync or audit."""
    made = serve(kernel, 1_000)
    take(made, *web(3_000))
    change = made.prepare()
    assert not change.needs_audit
    assert not made.sync(change).report.failed
    assert made.audit().plan == ()
    assert way(kernel, 3_000) is ADDRESS
    assert made.vip_choice == VipChoice(ADDRESS, 1_000)


def test_another_address_of_the_node_is_no_other_choice(kernel: FakeKernel) -> None:
    """The node's part is compiled anew, with the same binding."""
    made = serve(kernel, 2_000)
    kernel.host_addresses = [parse_address("10.0.0.11")]
    assert not made.audit().report.failed
    assert way(kernel, 2_000) is ROUTE


def test_whoever_does_not_last_keeps_what_is_there(kernel: FakeKernel) -> None:
    """A `diff` beside a daemon whose VIPs have become more or fewer has no VIP in it.

    Nor has an `apply`, which the daemon would undo.
    """
    for before, after in ((1_000, 3_000), (3_000, 1_000)):
        kernel.reboot()
        daemon = serve(kernel, before)
        take(daemon, *web(after))
        daemon.sync(daemon.prepare())
        once = start(kernel, *web(after), lasts=False)
        assert see(once, once.survey()).plan() == ()
        assert daemon.audit().plan == ()


def test_on_an_empty_node_all_choose_alike(kernel: FakeKernel) -> None:
    """`apply` before the first start leaves the daemon nothing to do."""
    once = start(kernel, *web(2_000), lasts=False)
    assert not once.audit().report.failed
    assert way(kernel, 2_000) is ROUTE
    assert start(kernel, *web(2_000)).audit().plan == ()


def test_input_that_is_not_whole_changes_no_way(kernel: FakeKernel) -> None:
    """What is not known of may be many, and goes by routes: so does what is known."""
    serve(kernel, 3_000)
    made = start(kernel, BROKEN_FILE, *web(10))
    assert not made.audit().report.failed
    assert made.vip_choice == VipChoice(ROUTE, 3_000)
    assert way(kernel, 3_000) is ROUTE


def test_as_kube_proxy_there_is_no_choice(kernel: FakeKernel) -> None:
    """Its VIPs are addresses, whatever their number."""
    config = ProxyConfig(
        vip_binding=VipBinding.AUTO, compatibility=Compatibility.KUBE_PROXY
    )
    made = start(kernel, *web(2_600), config=config)
    assert not made.audit().report.failed
    assert made.vip_choice is None
    assert way(kernel, 2_600) is ADDRESS


@pytest.mark.parametrize(("before", "after"), [(6, 20), (20, 6)])
def test_every_step_of_a_change_has_all_vips(
    kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch, before: int, after: int
) -> None:
    """A VIP that is to stay is this host's own after each op of the start's plan."""
    monkeypatch.setattr(vip_binding, "ADDRESSES_BELOW", 8)
    monkeypatch.setattr(vip_binding, "MANY_FOR_ADDRESSES", 10)
    monkeypatch.setattr(vip_binding, "ROUTES_ABOVE", 12)
    serve(kernel, before)
    made = start(kernel, *web(after))
    plan = see(made, made.survey()).plan()
    assert sum(isinstance(op, VIP_OPS) for op in plan) >= before
    staying = vips(min(before, after))
    for op in plan:
        assert not kernel.apply((op,)).failed
        assert all(map(kernel.is_local, staying)), op
    assert made.audit().plan == ()
    assert way(kernel, after) is (ROUTE if after > before else ADDRESS)
    assert not kernel.observe().state.stand_ins


def test_the_log_says_it_once(kernel: FakeKernel) -> None:
    """Before anything is imposed: a change of 5,000 VIPs takes its time."""
    made = start(kernel, *web(2_000))
    with capture_logs() as logs:
        for _ in range(2):
            finish(AuditRun(made).alone(made.take(), has_rules=True))
    assert [line for line in logs if line["event"] == "VIPs"] == [
        {
            "event": "VIPs",
            "binding": "route",
            "wanted": 2_000,
            "setting": "auto",
            "log_level": "info",
        }
    ]


@pytest.mark.parametrize(
    ("config", "count", "binding", "told"),
    [
        (AUTO, 2_000, "route", "VIPs as routes (auto: 2,000 at start)"),
        (AUTO, 1, "address", "VIPs as addresses (auto: 1 at start)"),
        (ProxyConfig(vip_binding=ROUTE), 1, "route", ""),
        (ProxyConfig(), 1, "address", ""),
    ],
)
def test_status_says_it(
    kernel: FakeKernel, config: ProxyConfig, count: int, binding: str, told: str
) -> None:
    """What `auto` came to and why; of other settings there is nothing to tell."""
    store = Store("node-0")
    for event in web(count):
        store.apply(event)
    status = read_status(kernel, store, config, "a test", Selection())
    assert status.summary.vip_binding == binding
    first = next(status_lines(status, wide=False, width=None))
    assert [span.text for span in first if "VIPs" in span.text] == [told] * bool(told)
