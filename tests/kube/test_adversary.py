"""An API server, or what stands before it, that does everything wrong for a while.

Whatever it did, a while after it has come to its senses the daemon knows what the
server knows, and no more; it has never ended, and holds no more than that.
"""

import asyncio
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from tests.builders import raw_endpoint, raw_node, raw_service, raw_slice
from tests.fakes.apiserver import (
    Alter,
    Cut,
    Door,
    Expire,
    FakeApiServer,
    Garble,
    Hang,
    Refuse,
    Streaming,
    Throttle,
    When,
)
from tests.fakes.clock import FakeClock
from tests.kube.cluster import Watched, watched

Key = tuple[str, str]

NAMES: Final = tuple(f"s{number}" for number in range(6))
RESOURCES: Final = ("services", "endpointslices", "nodes", "")

CALM_S: Final = 900.0
"""An empty list is believed after 6 minutes, and a server that was away is asked again
every minute or so."""

FAULTS: Final = st.one_of(
    st.builds(
        Refuse,
        code=st.sampled_from((401, 403, 404, 429, 500, 503, 504)),
        retry_after_s=st.sampled_from((None, 0, 1, 3600, -5)),
    ),
    st.just(Expire()),
    st.builds(Cut, after_bytes=st.integers(0, 3000)),
    st.builds(Hang, after_bytes=st.integers(0, 3000)),
    st.builds(Throttle, bytes_per_s=st.sampled_from((50, 5000))),
    st.builds(
        Garble,
        text=st.sampled_from(
            (
                b"\x00\xff",
                b"{}",
                b"[]",
                b"null",
                b'{"type":"ADDED"}',
                b'{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"x"}}}',
                b'{"type":"ERROR","object":{"code":410}}',
                b'{"type":"ERROR","object":null}',
                b'{"kind":"ServiceList","items":[]}',
                b'{"metadata":{"resourceVersion":"0"},"items":null}',
                b"[" * 3000,
            )
        ),
        after_lines=st.integers(0, 2),
    ),
    st.builds(
        Alter,
        name=st.sampled_from(NAMES),
        patch=st.sampled_from(
            ({"spec": None}, {"metadata": {"name": None}}, {"metadata": {"uid": 7}})
        ),
    ),
)


class Adversary(RuleBasedStateMachine):
    """What the server does, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.clock = FakeClock()
        self.objects: dict[Key, dict[str, Any]] = {}
        self.backup: tuple[dict[Key, dict[str, Any]], int] | None = None

    @initialize(way=st.sampled_from(list(Streaming)))
    def begin(self, way: Streaming) -> None:
        """Have a server, and a daemon that knows what it says."""
        self.runner.run(self._begin(way))

    async def _begin(self, way: Streaming) -> None:
        scratch = self.stack.enter_context(tempfile.TemporaryDirectory())
        self.server = await self.stack.enter_async_context(
            FakeApiServer(clock=self.clock, sleep=self.clock.sleep)
        )
        self.server.streaming = way
        self._put("Node", raw_node("node-0"))
        self._put("Service", raw_service("kubernetes"))
        for name in NAMES[:3]:
            self._serve(name, "172.16.0.1")
        kubeconfig = self.server.kubeconfig(Path(scratch, "kubeconfig"))
        self.made: Watched = await self.stack.enter_async_context(
            watched(kubeconfig, self.clock)
        )
        await self.made.synced()

    @rule(name=st.sampled_from(NAMES), last=st.integers(1, 9))
    def change(self, name: str, last: int) -> None:
        """A Service comes, or has other endpoints."""
        self._serve(name, f"172.16.0.{last}")
        self._pass(1)

    @rule(name=st.sampled_from(NAMES))
    def delete(self, name: str) -> None:
        """A Service goes, with its slice."""
        for kind in ("Service", "EndpointSlice"):
            self.objects.pop((kind, name), None)
            self.server.delete(kind, name)
        self._pass(1)

    @rule(
        fault=FAULTS,
        verb=st.sampled_from(("list", "watch", "")),
        resource=st.sampled_from(RESOURCES),
        skip=st.integers(0, 2),
        times=st.sampled_from((1, 3, None)),
        duration_s=st.sampled_from((1, 20, 90)),
    )
    def fail(
        self,
        fault: Any,  # one of a union that has no name
        verb: str,
        resource: str,
        skip: int,
        times: int | None,
        duration_s: int,
    ) -> None:
        """Something goes wrong with requests for a while."""
        self.server.script(
            When(fault=fault, verb=verb, resource=resource, skip=skip, times=times)
        )
        self.server.end_watches()
        self._pass(duration_s)

    @rule(door=st.sampled_from(list(Door)), duration_s=st.sampled_from((1, 40)))
    def shut(self, door: Door, duration_s: int) -> None:
        """It is away, silent, or drops every connection."""
        self.runner.run(self.server.set_door(door))
        self._pass(duration_s)
        self.runner.run(self.server.set_door(Door.OPEN))

    @rule(keeps=st.booleans())
    def restart(self, *, keeps: bool) -> None:
        """It starts again, with or without its history."""
        self.runner.run(self.server.restart(keeps_history=keeps))

    @rule()
    def compact(self) -> None:
        """It forgets what was, and ends watches."""
        self.server.compact()
        self.server.end_watches()
        self._pass(2)

    @rule()
    def bookmark(self) -> None:
        """It says how far it is."""
        self.server.send_bookmarks()
        self._pass(1)

    @rule()
    def back_up(self) -> None:
        """Somebody keeps what there is."""
        self.backup = (dict(self.objects), self.server.store.revision)

    @rule()
    def restore(self) -> None:
        """What was kept takes the place of what is: resource versions go backwards."""
        if self.backup is None:
            return
        self.objects, revision = dict(self.backup[0]), self.backup[1]
        self._restore(revision)
        # Changes that come before anybody has asked look like those that were lost.
        self._pass(120)

    @rule(duration_s=st.sampled_from((1, 30)))
    def ask_an_older_server(self, duration_s: int) -> None:
        """Behind one address is one that lags, and then the first one again."""
        if self.backup is None:
            return
        now, revision = dict(self.objects), self.server.store.revision
        self.objects, older = dict(self.backup[0]), self.backup[1]
        self._restore(older)
        self._pass(duration_s)
        self.objects = now
        self._restore(revision)

    def teardown(self) -> None:
        """Come to one's senses, and look."""
        try:
            if hasattr(self, "made"):
                self.runner.run(self._calm())
        finally:
            self.runner.run(self.stack.aclose())
            self.runner.close()

    async def _calm(self) -> None:
        self.server.script()
        await self.server.set_door(Door.OPEN)
        end_s = self.clock.now_s + CALM_S
        while not self._agrees():
            assert self.clock.now_s < end_s, self._differences()
            await self.made.turn()
        # And it stays so.
        await self.made.pass_time(5)
        assert self._agrees(), self._differences()
        assert len(asyncio.all_tasks()) < 60

    def _agrees(self) -> bool:
        return not any(self._differences())

    def _differences(self) -> tuple[set[str], set[str]]:
        """What one has and the other has not: Services, and endpoints of slices."""
        store = self.made.store
        services = {str(ref) for ref in store.services}
        known = {
            f"{ref.name} {endpoint.address}"
            for ref in store.services
            for piece in store.slices_of(ref)
            for endpoint in piece.endpoints
        }
        wanted = {f"default/{n}" for k, n in self.objects if k == "Service"}
        there = {
            f"{name} {raw['endpoints'][0]['addresses'][0]}"
            for (kind, name), raw in self.objects.items()
            if kind == "EndpointSlice"
        }
        return services ^ wanted, known ^ there

    def _serve(self, name: str, address: str) -> None:
        self._put("Service", raw_service(name))
        self._put("EndpointSlice", raw_slice(name, raw_endpoint(address), service=name))

    def _put(self, kind: str, raw: dict[str, Any]) -> None:
        self.objects[kind, raw["metadata"]["name"]] = raw
        self.server.put(raw)

    def _restore(self, revision: int) -> None:
        restoring = self.server.restore(self.objects.values(), revision=revision)
        self.runner.run(restoring)

    def _pass(self, duration_s: float) -> None:
        self.runner.run(self.made.pass_time(duration_s))


@pytest.mark.timeout(1800)
def test_it_knows_in_the_end_what_the_server_knows() -> None:
    """A few days' misfortunes in some seconds, again and again."""
    many = settings.default.max_examples if settings.default else 100
    few = settings(
        max_examples=min(many // 4, 200),
        stateful_step_count=12,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Adversary, settings=few)
