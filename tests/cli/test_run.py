"""`ipvsctl run`: start, answers, end."""

import asyncio
import json
import os
import signal
import socket
import threading
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import closing
from ipaddress import ip_network
from pathlib import Path

import aiohttp
import msgspec
import pytest
import structlog
from structlog.testing import capture_logs

from ipvsctl import __version__
from ipvsctl.cli import control_answers
from ipvsctl.cli.daemon import PROTOCOL, DaemonError, DaemonHung, ask
from ipvsctl.cli.errors import ExitStatus
from ipvsctl.cli.logs import configure_logs
from ipvsctl.cli.options import LogFormat
from ipvsctl.cli.run import Daemon, run, serve, warn_of
from ipvsctl.cli.sync import DiffAnswer
from ipvsctl.cluster.events import Event, Synced, Upserted
from ipvsctl.cluster.store import Store
from ipvsctl.kernel.interface import Reading
from ipvsctl.model.capabilities import Capabilities
from ipvsctl.model.config import (
    FirewallKind,
    Listener,
    NodePortAddresses,
    ProxyConfig,
    ServeConfig,
)
from ipvsctl.model.errors import ConfigError
from ipvsctl.model.net import parse_address
from ipvsctl.model.objects import Service, ServiceType, TrafficPolicy
from ipvsctl.model.problem import Kind, ObjectRef
from ipvsctl.model.state import NodeState
from ipvsctl.model.status import NodeStatus
from ipvsctl.model.watch_health import WatchHealth
from ipvsctl.plan.report.findings import Finding, Severity
from tests.builders import endpoint_slice, node, service
from tests.cli.conftest import Invoke
from tests.cli.test_sync import WEB
from tests.controller.cluster import ListSource, endpoints, has, has_slice
from tests.fakes.kernel import FakeKernel
from tests.serve.test_health_checks import free_port, listener

EVENTS: tuple[Event, ...] = (
    Upserted(
        kind=Kind.NODE, ref=ObjectRef("", "node-0"), values=(node(zone="zone-a"),)
    ),
    Upserted(kind=Kind.SERVICE, ref=service().ref, values=(service(),)),
    Upserted(
        kind=Kind.ENDPOINT_SLICE,
        ref=endpoint_slice().ref,
        values=(endpoint_slice(),),
    ),
    Synced(),
)


@pytest.fixture(autouse=True)
def logs_as_usual() -> Iterator[None]:
    """Logs go to stderr, away from what commands print, and back again."""
    configure_logs(LogFormat.JSON, verbose=0)
    yield
    structlog.reset_defaults()


NOWHERE = Listener(parse_address("127.0.0.1"), 0)
UNSERVED = ProxyConfig(serve=ServeConfig(healthz=NOWHERE, metrics=NOWHERE))
"""The ports of one machine are shared by all that run on it, other tests too."""


class Script:
    """A source that tells a few events and then runs `then`."""

    description = "a script"

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error

    def health(self) -> tuple[WatchHealth, ...]:
        """See `sources.source.Source`."""
        return ()

    async def events(self) -> AsyncGenerator[Event, None]:
        """See `sources.source.Source`."""
        for event in EVENTS:
            yield event
        if self._error is not None:
            raise self._error
        await asyncio.Event().wait()


def daemon(kernel: FakeKernel, source: Script | None = None) -> Daemon:
    """A daemon of node-0."""
    return Daemon(
        kernel=kernel,
        store=Store("node-0"),
        config=UNSERVED,
        source=source or Script(),
    )


async def first_audit(path: Path) -> None:
    """Wait until the daemon has something to tell."""
    while True:
        try:
            await asyncio.to_thread(ask, path, "/v1/status")
        except DaemonError as error:
            if error.reason != "its first audit has not ended yet":
                raise
        else:
            return


async def answers_of(kernel: FakeKernel, path: Path) -> Mapping[str, bytes]:
    """Start a daemon, ask it everything after its first audit, and stop it."""
    return await all_answers(daemon(kernel), path)


async def all_answers(made: Daemon, path: Path) -> Mapping[str, bytes]:
    """What a daemon answers after its first audit; then it is stopped."""
    bodies: dict[str, bytes] = {}

    async def ask_everything() -> None:
        await first_audit(path)
        for route in ("/v1/status", "/v1/diff", "/v1/names", "/v1/version"):
            answer = await asyncio.to_thread(ask, path, route)
            assert answer is not None
            bodies[route] = answer

    await serve(made, path, ask_everything)
    return bodies


async def test_it_programs_the_kernel_and_answers(
    kernel: FakeKernel, socket_path: Path
) -> None:
    """Status names Services and says how the loop does; diff is empty; version."""
    bodies = await answers_of(kernel, socket_path)
    status = msgspec.json.decode(bodies["/v1/status"], type=NodeStatus)
    assert [str(s.namespace + "/" + s.name) for s in status.services] == ["default/web"]
    assert status.services[0].virtual_servers[0].real_servers[0].node == "node-0"
    assert status.summary.source == "a script"
    assert status.summary.pending_ops == 0
    loop = status.summary.loop
    assert loop is not None
    assert loop.audited_s_ago is not None
    assert loop.failed_ops == 0
    answer = msgspec.json.decode(bodies["/v1/diff"], type=DiffAnswer)
    assert answer.plan.is_empty
    assert json.loads(bodies["/v1/names"]) == ["default/web"]
    assert json.loads(bodies["/v1/version"]) == {
        "version": __version__,
        "protocol": PROTOCOL,
    }


class HangingKernel(FakeKernel):
    """After its first audit a reading does not end until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.is_free = threading.Event()
        self.hangs = False

    def read_in_steps(self, likely: NodeState, *, has_rules: bool = True) -> Reading:
        """See `Kernel`."""
        if self.hangs:
            assert self.is_free.wait(60)
        return (yield from super().read_in_steps(likely, has_rules=has_rules))


async def test_a_call_that_does_not_end(
    socket_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks is told soon, and can look himself; then all is as before."""
    monkeypatch.setattr(control_answers, "_LOOK_S", 0.05)
    monkeypatch.setattr(control_answers, "_MOST_BUSY_S", 0.3)
    kernel = HangingKernel()

    async def ask_it() -> None:
        await first_audit(socket_path)
        kernel.hangs = True
        try:
            for route in ("/v1/status", "/v1/diff"):
                with pytest.raises(DaemonHung, match="hangs: in one call for"):
                    await asyncio.to_thread(ask, socket_path, route)
        finally:
            kernel.hangs = False
            kernel.is_free.set()
        assert await asyncio.to_thread(ask, socket_path, "/v1/status")

    await serve(daemon(kernel), socket_path, ask_it)


LOCALHOST = parse_address("127.0.0.1")
LOCAL_ALONE = ProxyConfig(
    node_port_addresses=NodePortAddresses(
        networks=(ip_network("127.0.0.0/8"), ip_network("fd00::/8"))
    ),
    min_sync_period_s=0,
    serve=UNSERVED.serve,
)


def local_service(port: int) -> Service:
    """`web` with a health-check node port."""
    return service(
        type=ServiceType.LOAD_BALANCER,
        external_traffic_policy=TrafficPolicy.LOCAL,
        health_check_node_port=port,
    )


async def health(port: int, until: int) -> Mapping[str, object]:
    """What a port answers as soon as it answers with that status."""
    async with asyncio.timeout(60), aiohttp.ClientSession() as client:
        while True:
            try:
                async with client.get(f"http://127.0.0.1:{port}/") as answer:
                    if answer.status == until:
                        found: Mapping[str, object] = await answer.json()
                        return found
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0)


async def test_health_checks_follow_services(socket_path: Path) -> None:
    """They are answered after the first audit, change with a sync, and end with it."""
    port = free_port()
    source = ListSource((has(local_service(port)), endpoints("172.16.0.1")))
    kernel = FakeKernel(host_addresses=[LOCALHOST])
    made = Daemon(
        kernel=kernel, store=Store("node-0"), config=LOCAL_ALONE, source=source
    )

    async def watch() -> None:
        assert (await health(port, 200))["localEndpoints"] == 1
        source.tell(has_slice(endpoint_slice("web-1", endpoints=())))
        assert (await health(port, 503))["serviceProxyHealthy"] is True
        source.tell(endpoints("172.16.0.1"))
        await health(port, 200)

    watching = asyncio.ensure_future(watch())
    await serve(made, socket_path, lambda: asyncio.wait({watching}))
    await watching
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


async def test_a_health_check_port_in_use_is_shown(socket_path: Path) -> None:
    """Status has the problem, on that Service."""
    with closing(listener(LOCALHOST)) as taken:
        port = taken.getsockname()[1]
        made = Daemon(
            kernel=FakeKernel(host_addresses=[LOCALHOST]),
            store=Store("node-0"),
            config=LOCAL_ALONE,
            source=ListSource((has(local_service(port)), endpoints("172.16.0.1"))),
        )
        bodies = await all_answers(made, socket_path)
    status = msgspec.json.decode(bodies["/v1/status"], type=NodeStatus)
    (problem,) = status.problems
    assert str(problem) == (
        f"Service default/web: spec.healthCheckNodePort: {port}:"
        f" cannot listen on 127.0.0.1:{port}: Address already in use"
    )


async def test_the_kernel_state_stays_when_it_ends(
    kernel: FakeKernel, socket_path: Path
) -> None:
    """Ending is not cleaning up; the socket goes."""
    await answers_of(kernel, socket_path)
    assert WEB in kernel.observe().state.virtual_servers
    assert ask(socket_path, "/v1/version") is None


async def test_what_ends_the_daemon_is_raised_alone(
    kernel: FakeKernel, socket_path: Path
) -> None:
    """An error of the source comes out as it is, not in a group of tasks."""
    lost = ConfigError(field="--manifests", value="/gone", reason="is not there")
    for error in (lost, ValueError("a defect")):
        with pytest.raises(type(error)) as caught:
            await serve(
                daemon(kernel, Script(error)), socket_path, asyncio.Event().wait
            )
        assert caught.value is error
    assert ask(socket_path, "/v1/version") is None


def test_sigterm_ends_it(socket_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """It logs the start and the reason of the end as JSON, and exits 0."""
    kernel = FakeKernel(
        capabilities=Capabilities(
            firewall=FirewallKind.NFTABLES,
            firewall_reason="iptables-save: not installed",
        )
    )

    class Terminated(Script):
        async def events(self) -> AsyncGenerator[Event, None]:
            async for event in super().events():
                yield event
                if isinstance(event, Synced):
                    os.kill(os.getpid(), signal.SIGTERM)

    configure_logs(LogFormat.JSON, verbose=0)
    status = run(kernel, Store("node-0"), UNSERVED, Terminated(), socket_path)
    assert status is ExitStatus.OK
    assert kernel.is_closed
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert lines[0]["event"] == "start"
    assert lines[0]["node"] == "node-0"
    assert lines[0]["version"] == __version__
    assert lines[0]["firewall"] == "nftables"
    assert lines[0]["firewall_reason"] == "iptables-save: not installed"
    (stop,) = (line for line in lines if line["event"] == "stop")
    assert stop["reason"] == "SIGTERM"


def test_console_logs_are_key_value(capfd: pytest.CaptureFixture[str]) -> None:
    """For people: level, event, key=value; debug only when asked for."""
    configure_logs(LogFormat.CONSOLE, verbose=0)
    log = structlog.get_logger("test")
    log.debug("hidden")
    log.info("audit", ops=3)
    configure_logs(LogFormat.CONSOLE, verbose=1)
    log.debug("shown")
    text = capfd.readouterr().err
    assert "hidden" not in text
    assert "ops=3" in text
    assert "shown" in text


async def test_commands_ask_the_daemon(
    invoke: Invoke, kernel: FakeKernel, socket_path: Path
) -> None:
    """`status` and `diff` show its view, and `cleanup` refuses to work against it."""
    shown: dict[str, str] = {}

    async def use_commands() -> None:
        await first_audit(socket_path)
        result = await asyncio.to_thread(invoke, "status")
        shown["status"] = result.stdout
        result = await asyncio.to_thread(invoke, "diff")
        assert (result.exit_code, result.stderr) == (0, "")
        shown["diff"] = result.stdout
        result = await asyncio.to_thread(invoke, "cleanup")
        assert result.exit_code == 2
        shown["cleanup"] = result.stderr

    await serve(daemon(kernel), socket_path, use_commands)
    head, _, table = shown["status"].partition("\n\n")
    assert head.startswith(
        "node-0  zone zone-a  ipvsctl 0.1.0  scheduler rr  firewall iptables"
        "  a script\n"
    )
    assert "last audit " in head
    assert "default/web:http\n" in table
    assert shown["diff"] == "equal: the kernel holds what it should\n"
    assert "put everything back" in shown["cleanup"]
    assert WEB in kernel.observe().state.virtual_servers


async def test_it_serves_probes_and_metrics(
    kernel: FakeKernel, socket_path: Path
) -> None:
    """At their addresses, from the first moment to the last."""
    probes, scrapes = free_port(), free_port()
    made = Daemon(
        kernel=kernel,
        store=Store("node-0"),
        config=ProxyConfig(
            serve=ServeConfig(
                healthz=Listener(LOCALHOST, probes),
                metrics=Listener(LOCALHOST, scrapes),
                must_bind=True,
            )
        ),
        source=Script(),
    )

    async def ask_everything() -> None:
        await first_audit(socket_path)
        async with aiohttp.ClientSession() as client:
            for port, path in (
                (probes, "/healthz"),
                (probes, "/livez"),
                (probes, "/readyz"),
                (scrapes, "/proxyMode"),
                (scrapes, "/configz"),
            ):
                async with client.get(f"http://127.0.0.1:{port}{path}") as answer:
                    assert answer.status == 200
            async with client.get(f"http://127.0.0.1:{scrapes}/metrics") as answer:
                text = await answer.text()
        assert "\nipvsctl_virtual_servers 1.0\n" in text
        labels = f'firewall="iptables",kernel="6.1",version="{__version__}"'
        assert f"ipvsctl_build_info{{{labels}}} 1.0" in text

    await serve(made, socket_path, ask_everything)
    for port in (probes, scrapes):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))


async def test_an_address_that_must_be_bound_ends_it(
    kernel: FakeKernel, socket_path: Path
) -> None:
    """With the setting and the address; nothing has been programmed."""
    with closing(listener(LOCALHOST)) as taken:
        address = Listener(LOCALHOST, taken.getsockname()[1])
        served = ServeConfig(healthz=address, metrics=NOWHERE, must_bind=True)
        made = Daemon(
            kernel=kernel,
            store=Store("node-0"),
            config=ProxyConfig(serve=served),
            source=Script(),
        )
        with pytest.raises(ConfigError, match=r"healthzBindAddress.*in use"):
            await serve(made, socket_path, asyncio.Event().wait)
    assert kernel.log == []


def test_what_is_in_the_way_is_logged() -> None:
    """Once, at the start; what is in order is not."""
    ok = Finding(severity=Severity.OK, subject="kernel", found="6.1")
    note = Finding(
        severity=Severity.NOTE, subject="bridges", found="cni0", advice="set it"
    )
    with capture_logs() as logs:
        warn_of((ok, note))
    assert logs == [
        {
            "event": "bridges",
            "log_level": "warning",
            "found": "cni0",
            "advice": "set it",
        }
    ]
