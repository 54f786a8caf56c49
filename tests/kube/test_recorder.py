"""`kube.recorder`: problems become Events that a real API server would take."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ipvsctl.kube.budget import EVENTS_OF_ONE
from ipvsctl.kube.connect.access import Access, Address
from ipvsctl.kube.event_body import event_of, reason_of
from ipvsctl.kube.recorder import QUEUE_MAX, EventRecorder
from ipvsctl.kube.transport import Api
from ipvsctl.model.problem import Kind, ObjectRef, Problem
from tests.fakes.apiserver import EVENTS, SERVICES, Door, FakeApiServer, Refuse, When
from tests.fakes.clock import FakeClock

NOW = datetime(2026, 11, 22, 20, 53, 0, 1234, tzinfo=UTC)


def problem(
    field: str = "spec.externalIPs[0]",
    *,
    kind: Kind = Kind.SERVICE,
    namespace: str = "default",
    name: str = "web",
    reason: str = "is the address of node node-1",
) -> Problem:
    """A problem of `default/web`."""
    ref = ObjectRef(namespace, name)
    return Problem(kind=kind, ref=ref, field=field, value="10.0.0.11", reason=reason)


@asynccontextmanager
async def recording(kubeconfig: Path, clock: FakeClock) -> AsyncIterator[EventRecorder]:
    """A recorder that runs."""
    api = Api(Access(Address(kubeconfig=str(kubeconfig))), read_timeout_s=5)
    recorder = EventRecorder(api, "node-0", clock=clock, now=lambda: NOW)
    running = asyncio.ensure_future(recorder.run())
    try:
        yield recorder
    finally:
        running.cancel()
        await asyncio.wait({running})
        assert running.cancelled()


async def done(recorder: EventRecorder, count: int) -> None:
    """Wait until so many have been posted or dropped."""
    async with asyncio.timeout(60):
        while recorder.posted + recorder.dropped < count:  # noqa: ASYNC110  # it tells nobody
            await asyncio.sleep(0.001)


def events(server: FakeApiServer) -> list[dict[str, Any]]:
    """What the server keeps."""
    return [entry.decode() for entry in server.store.shelf(EVENTS).entries()]


async def test_service(
    server: FakeApiServer, kubeconfig: Path, clock: FakeClock
) -> None:
    """An Event is about the Service by uid, and says node, field, value and reason."""
    async with recording(kubeconfig, clock) as recorder:
        recorder.tell((problem(),))
        await done(recorder, 1)
    (event,) = events(server)
    (service,) = [
        entry.decode()
        for entry in server.store.shelf(SERVICES).entries()
        if entry.name == "web"
    ]
    assert event["regarding"] == {
        "apiVersion": "v1",
        "kind": "Service",
        "namespace": "default",
        "name": "web",
        "uid": service["metadata"]["uid"],
    }
    assert event["reason"] == "VIPRefused"
    assert event["type"] == "Warning"
    assert event["eventTime"] == "2026-11-22T20:53:00.001234Z"
    assert event["reportingController"] == "ipvsctl"
    assert event["reportingInstance"] == "node-0"
    assert event["note"] == (
        "node node-0: spec.externalIPs[0]: 10.0.0.11: is the address of node node-1"
    )


async def test_node(server: FakeApiServer, kubeconfig: Path, clock: FakeClock) -> None:
    """A Node's Events are in `default`, and have its name for a uid."""
    async with recording(kubeconfig, clock) as recorder:
        recorder.tell((problem(kind=Kind.NODE, namespace="", name="node-0"),))
        await done(recorder, 1)
    (event,) = events(server)
    assert event["metadata"]["namespace"] == "default"
    assert event["regarding"] == {
        "apiVersion": "v1",
        "kind": "Node",
        "name": "node-0",
        "uid": "node-0",
    }


async def test_rate(server: FakeApiServer, kubeconfig: Path, clock: FakeClock) -> None:
    """A flapping problem is told a few times; the others are counted as dropped."""
    async with recording(kubeconfig, clock) as recorder:
        for _ in range(100):
            recorder.tell((problem(),))
        await done(recorder, 100)
        assert (recorder.posted, recorder.dropped) == (EVENTS_OF_ONE.burst, 95)
    assert len(events(server)) == EVENTS_OF_ONE.burst


async def test_manifests(
    server: FakeApiServer, kubeconfig: Path, clock: FakeClock
) -> None:
    """What is no object of the API has no Events."""
    async with recording(kubeconfig, clock) as recorder:
        recorder.tell((problem(kind=Kind.MANIFEST), problem()))
        await done(recorder, 1)
    assert len(events(server)) == 1


@pytest.mark.parametrize("trouble", ["forbidden", "away", "overload"])
async def test_refusal(
    server: FakeApiServer,
    kubeconfig: Path,
    clock: FakeClock,
    log: list[dict[str, Any]],
    trouble: str,
) -> None:
    """A server that takes no Events is a line in the log, once, and no more."""
    server.access.denied |= {("create", "events")} if trouble == "forbidden" else set()
    if trouble == "overload":
        server.script(When(fault=Refuse(code=429, retry_after_s=1)))
    if trouble == "away":
        await server.set_door(Door.REFUSED)
    async with recording(kubeconfig, clock) as recorder:
        recorder.tell((problem(), problem("spec.ports[0].port")))
        await done(recorder, 2)
        assert recorder.dropped == 2
        assert [entry["event"] for entry in log] == ["event not posted"]
        server.access.denied.clear()
        server.script()
        await server.set_door(Door.OPEN)
        recorder.tell((problem(),))
        await done(recorder, 3)
        assert recorder.posted == 1


async def test_queue(kubeconfig: Path) -> None:
    """What waits is bounded, whatever the budget says."""
    recorder = EventRecorder(
        Api(Access(Address(kubeconfig=str(kubeconfig)))),
        "node-0",
        clock=iter(range(0, 10**9, 10**5)).__next__,
    )
    for number in range(QUEUE_MAX + 10):
        recorder.tell((problem(name=f"s{number}"),))
    assert recorder.dropped == 10


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        ("spec.clusterIPs[1]", "VIPRefused"),
        ("status.loadBalancer.ingress[0].ip", "VIPRefused"),
        ("spec.healthCheckNodePort", "FailedToStartServiceHealthcheck"),
        ("spec.ports[0].nodePort", "PortRefused"),
        ("metadata.annotations.ipvsctl.io/scheduler", "SchedulerNotAvailable"),
        ("metadata.annotations.ipvsctl.io/weight", "AnnotationNotHonoured"),
        ("spec.sessionAffinity", "FieldNotHonoured"),
    ],
)
def test_reasons(field: str, reason: str) -> None:
    """Each kind of problem has a word, which alerts can be built on."""
    assert reason_of(problem(field)) == reason


def test_limits() -> None:
    """Names and notes are cut to what the API takes, between two characters."""
    long = problem(name="a" * 250, reason="ü" * 2000)
    event = event_of(long, uid="u", node_name="n" * 300, unique="0" * 16, now=NOW)
    assert len(event["metadata"]["name"]) == 253
    assert 1020 <= len(event["note"].encode()) <= 1024
    assert len(event["reportingInstance"]) == 128
