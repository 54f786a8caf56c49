"""Sysctls that cannot be set are problems of the node."""

import errno
from collections.abc import Callable

import pytest

from ipvsctl.cluster.events import Synced
from ipvsctl.cluster.store import Store
from ipvsctl.controller.observers import AuditDone, SyncDone
from ipvsctl.controller.reconciler import Reconciler
from ipvsctl.controller.refused_settings import RefusedSettings, is_lasting
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.net import parse_address
from ipvsctl.model.objects import ServiceType
from ipvsctl.plan.diff.ops import AddVirtualServer, FailedOp, Op, SetSysctl
from ipvsctl.plan.union.node import STRICT_ARP_SYSCTLS
from tests import builders
from tests.controller.cluster import FIRST, has, take
from tests.fakes.kernel import FakeKernel

CLOSE_WAIT = SetSysctl("net/netfilter/nf_conntrack_tcp_timeout_close_wait", "3600")


def is_arp(op: Op) -> bool:
    """Whether an op sets one of ARP."""
    return isinstance(op, SetSysctl) and op.name in STRICT_ARP_SYSCTLS


def is_conntrack(op: Op) -> bool:
    """Whether an op sets one of connection tracking."""
    return isinstance(op, SetSysctl) and op.name.startswith("net/netfilter/")


async def problems_of(
    refuse: Callable[[Op], bool], code: int
) -> tuple[list[str], list[str]]:
    """What is said of a host that refuses these, and once it does not any more."""
    kernel = FakeKernel()
    kernel.fail_on(refuse, code)
    reconciler = Reconciler(kernel=kernel, config=ProxyConfig(), store=Store("node-0"))
    take(reconciler, *FIRST, Synced())
    settings = RefusedSettings("node-0")
    said = []
    for _ in range(2):
        await settings.audited(
            AuditDone(report=reconciler.audit(), context=reconciler.context)
        )
        said.append([str(problem) for problem in settings.problems()])
        kernel.stop_failing()
    return said[0], said[1]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.EROFS, "EROFS (read-only here; see --proc-sys)"),
        (errno.ENOENT, "ENOENT (not there)"),
        (errno.EACCES, "EACCES"),
    ],
)
async def test_each_is_named_until_it_is_set(code: int, words: str) -> None:
    """With its value and why it cannot be set, and nothing else is said."""
    refused, then = await problems_of(is_conntrack, code)
    assert f"Node node-0: sysctl {CLOSE_WAIT.name}: 3600: cannot be set: {words}" in (
        refused
    )
    assert {line.split(": ")[1] for line in refused} == {
        f"sysctl net/netfilter/nf_conntrack_{name}"
        for name in (
            "max",
            "buckets",
            "tcp_timeout_established",
            "tcp_timeout_close_wait",
        )
    }
    assert then == []


async def test_a_sync_that_sets_one_tells_too() -> None:
    """The ARP sysctls come with a load balancer's first VIP."""
    kernel = FakeKernel()
    kernel.fail_on(is_arp, errno.EROFS)
    reconciler = Reconciler(kernel=kernel, config=ProxyConfig(), store=Store("node-0"))
    take(reconciler, *FIRST, Synced())
    settings = RefusedSettings("node-0")
    await settings.audited(
        AuditDone(report=reconciler.audit(), context=reconciler.context)
    )
    assert settings.problems() == ()
    balancer = builders.service(
        "lb",
        type=ServiceType.LOAD_BALANCER,
        ingress_vips=(parse_address("203.0.113.7"),),
    )
    take(reconciler, has(balancer))
    change = reconciler.prepare()
    report = reconciler.sync(change)
    await settings.synced(SyncDone(report=report, change=change))
    assert {problem.field for problem in settings.problems()} == {
        f"sysctl {name}" for name in STRICT_ARP_SYSCTLS
    }


@pytest.mark.parametrize(
    ("op", "code", "expected"),
    [
        (CLOSE_WAIT, errno.EROFS, True),
        (CLOSE_WAIT, errno.EINVAL, False),
        (CLOSE_WAIT, errno.EIO, False),
        (None, errno.EPERM, False),
    ],
)
def test_only_what_lasts_is_not_tried_again(
    op: SetSysctl | None, code: int, *, expected: bool
) -> None:
    """Whatever else is refused may pass a moment later."""
    kernel = FakeKernel()
    reconciler = Reconciler(kernel=kernel, config=ProxyConfig(), store=Store("node-0"))
    take(reconciler, *FIRST, Synced())
    other = next(o for o in reconciler.audit().plan if isinstance(o, AddVirtualServer))
    failure = FailedOp(op=op or other, errno=code, reason="")
    assert is_lasting(failure) is expected
