"""Commands that take their objects from an API server."""

import asyncio
import errno
import json
import os
import re
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import structlog

from ipvsctl.cli.daemon import DaemonError, ask
from ipvsctl.cli.errors import ExitStatus
from ipvsctl.cli.objects import Origin, open_api, open_recorder, open_source
from ipvsctl.cli.run import Tellers, run
from ipvsctl.cluster.store import Store
from ipvsctl.kube.connect.access import Access, Address
from ipvsctl.kube.probe import probe_api
from ipvsctl.kube.transport import Api
from ipvsctl.model.api_facts import ApiFacts
from ipvsctl.model.config import Listener, ProxyConfig, ServeConfig
from ipvsctl.model.net import parse_address
from ipvsctl.plan.report.preflight import check_api
from tests.builders import raw_endpoint, raw_node, raw_service, raw_slice
from tests.cli.conftest import Invoke
from tests.fakes.apiserver import EVENTS, Door, FakeApiServer
from tests.fakes.kernel import FakeKernel
from tests.serve.test_health_checks import free_port

LOCALHOST = parse_address("127.0.0.1")

AT_ONCE_S = 8
"""A busy machine takes seconds; whatever could be waited for takes ten and more."""


class Background:
    """An API server in a thread of its own, since commands have their own loop."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.server = FakeApiServer()
        self.do(self.server.__aenter__())

    def do(self, work: Coroutine[Any, Any, Any]) -> None:
        """Have the server's loop do this."""
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def close(self) -> None:
        """End the server and its thread."""
        self.do(self.server.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture
def background() -> Iterator[Background]:
    """`default/web` on an API server."""
    made = Background()
    for raw in (
        raw_node("node-0"),
        raw_node("node-1", "10.0.0.11"),
        raw_service("web"),
        raw_slice("web-a", raw_endpoint("172.16.0.1")),
    ):
        made.server.put(raw)
    yield made
    made.close()


@pytest.fixture
def kubeconfig(background: Background, tmp_path: Path) -> Path:
    """How to reach it."""
    return background.server.kubeconfig(tmp_path / "kubeconfig")


@pytest.fixture(autouse=True)
def logs_as_usual() -> Iterator[None]:
    """What a command configures lasts no longer than it."""
    yield
    structlog.reset_defaults()


def test_apply_and_diff(kubeconfig: Path, invoke: Invoke, kernel: FakeKernel) -> None:
    """`apply --kubeconfig` programs what the server has; then `diff` is empty."""
    applied = invoke("apply", "--kubeconfig", kubeconfig)
    assert applied.exit_code == ExitStatus.OK, applied.output
    servers = kernel.observe().state.virtual_servers
    assert [str(key.address) for key in servers] == ["10.96.0.10"]
    again = invoke("diff", "--kubeconfig", kubeconfig)
    assert again.exit_code == ExitStatus.OK, again.output


@pytest.mark.parametrize("command", ["render", "status", "check"])
def test_other_commands(command: str, kubeconfig: Path, invoke: Invoke) -> None:
    """They know what the server has, too."""
    result = invoke(command, "--kubeconfig", kubeconfig)
    assert result.exit_code in {ExitStatus.OK, ExitStatus.DIFFERENT}, result.output
    if command == "render":
        assert "-a -t 10.96.0.10:80 -r 172.16.0.1:8080 -m -w 1" in result.stdout
    if command == "status":
        assert "default/web" in result.stdout


def test_configured_kubeconfig(
    kubeconfig: Path, invoke: Invoke, tmp_path: Path
) -> None:
    """The kubeconfig may be the configuration's, as kubeadm writes it."""
    path = tmp_path / "config.conf"
    path.write_text(
        json.dumps(
            {
                "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
                "kind": "KubeProxyConfiguration",
                "clientConnection": {"kubeconfig": str(kubeconfig)},
            }
        )
    )
    result = invoke("render", "--config", path)
    assert "10.96.0.10:80" in result.stdout, result.output


@pytest.mark.parametrize("command", ["run", "apply", "diff", "render"])
def test_nothing_given(command: str, invoke: Invoke) -> None:
    """Without manifests, outside of a cluster, the error says what can be given."""
    result = invoke(command)
    assert result.exit_code == ExitStatus.ERROR
    assert "--manifests: a file or directory" in result.stderr
    assert "--kubeconfig or --master outside of a cluster" in result.stderr


def test_no_node(background: Background, kubeconfig: Path, invoke: Invoke) -> None:
    """A Node that the server does not have is said; the rest is done."""
    background.server.delete("Node", "node-0")
    result = invoke("render", "--kubeconfig", kubeconfig)
    assert "warning: no Node node-0 in the API server of" in result.stderr
    assert "10.96.0.10:80" in result.stdout


@pytest.mark.parametrize("trouble", ["away", "unauthorized", "missing"])
def test_errors(
    background: Background, kubeconfig: Path, invoke: Invoke, trouble: str
) -> None:
    """A server that does not tell is one sentence with its URL, at once."""
    said = {
        "away": "/api",
        "unauthorized": "401: Unauthorized",
        "missing": os.strerror(errno.ENOENT),
    }
    if trouble == "away":
        background.do(background.server.set_door(Door.REFUSED))
    if trouble == "unauthorized":
        background.server.access.users.clear()
    if trouble == "missing":
        kubeconfig.unlink()
    result = invoke("apply", "--kubeconfig", kubeconfig)
    assert result.exit_code == ExitStatus.ERROR
    assert said[trouble] in result.stderr
    assert result.stdout == ""


def run_until(
    kubeconfig: Path,
    kernel: FakeKernel,
    socket: Path,
    enough: Callable[[], bool],
    metrics: int = 0,
) -> float:
    """`ipvsctl run` on an API server until SIGTERM; `metrics` is their port.

    Returns:
        How long it took to end, in seconds.
    """
    config = ProxyConfig(
        kubeconfig=str(kubeconfig),
        min_sync_period_s=0.01,
        serve=ServeConfig(
            healthz=Listener(LOCALHOST, 0),
            metrics=Listener(LOCALHOST, metrics),
            must_bind=True,
        ),
    )
    origin = Origin.of(None, "", config)
    api = open_api(origin)
    told: list[float] = []
    is_over = threading.Event()

    def stop() -> None:
        deadline = time.monotonic() + 180
        while not enough() and time.monotonic() < deadline:
            if is_over.wait(0.01):
                return
        told.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGTERM)

    stopper = threading.Thread(target=stop)
    stopper.start()
    try:
        status = run(
            kernel,
            Store("node-0"),
            config,
            open_source(origin, "node-0", config, api),
            socket,
            Tellers(open_recorder(api, "node-0")),
            api.trace,
        )
        ended = time.monotonic()
    finally:
        # A signal that comes later would end all tests.
        is_over.set()
        stopper.join()
    assert status is ExitStatus.OK
    return ended - told[0]


def answers(socket: Path) -> bool:
    """Whether the daemon has imposed everything once."""
    try:
        return ask(socket, "/v1/status") is not None
    except DaemonError:
        return False


def test_run(
    background: Background, kubeconfig: Path, kernel: FakeKernel, socket_path: Path
) -> None:
    """The daemon programs what the server has, tells problems as Events, and ends.

    A VIP that is another Node's address is refused; its Service has an Event. Requests
    to the server are metrics.
    """
    port = free_port()
    scraped: list[str] = []
    background.server.put(
        raw_service("bad", clusterIP="10.96.0.11", externalIPs=["10.0.0.11"])
    )

    def enough() -> bool:
        entries = background.server.store.shelf(EVENTS).entries()
        if not answers(socket_path) or not entries:
            return False
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
            scraped.append(answer.read().decode())
        return True

    assert run_until(kubeconfig, kernel, socket_path, enough, port) < AT_ONCE_S
    pattern = r'rest_client_requests_total{code="(\d+)".*method="(\w+)"'
    asked = re.findall(pattern, scraped[0])
    assert {("200", "GET"), ("201", "POST")} <= set(asked)
    addresses = {str(k.address) for k in kernel.observe().state.virtual_servers}
    assert addresses == {"10.96.0.10", "10.96.0.11"}
    (event,) = background.server.store.shelf(EVENTS).entries()
    assert event.decode()["regarding"]["name"] == "bad"
    assert parse_address("10.0.0.11") not in kernel.observe().state.addresses


def test_run_without_a_server(
    background: Background, kubeconfig: Path, kernel: FakeKernel, socket_path: Path
) -> None:
    """While the server is silent nothing is programmed, and SIGTERM ends it at once."""
    background.do(background.server.set_door(Door.SILENT))
    assert run_until(kubeconfig, kernel, socket_path, socket_path.exists) < AT_ONCE_S
    assert not kernel.observe().state.virtual_servers


def checked(invoke: Invoke, kubeconfig: Path) -> dict[str, str]:
    """Subject of each finding of `check` about the server -> verdict and what it is."""
    said = invoke("check", "--kubeconfig", kubeconfig, "-o", "json")
    subjects = {"API server", "permissions", "node name", "clock"}
    return {
        one["subject"]: f"{one['severity']} {one['found']}"
        for one in json.loads(said.stdout)
        if one["subject"] in subjects
    }


def test_check_asks_the_server(
    background: Background, kubeconfig: Path, invoke: Invoke
) -> None:
    """Whether it answers, what may be read, and whether this is one of its Nodes."""
    (answer,) = checked(invoke, kubeconfig).items()
    assert answer[0] == "API server"
    assert answer[1] == f"ok API server of {kubeconfig} answers"
    background.server.delete("Node", "node-0")
    found = checked(invoke, kubeconfig)
    assert found["node name"] == "problem there is no Node node-0"
    background.server.access.users.clear()
    assert "Unauthorized" in checked(invoke, kubeconfig)["permissions"]


@pytest.mark.parametrize(
    ("door", "told"),
    [(Door.REFUSED, "problem  API server"), (Door.SILENT, "no answer within")],
)
def test_check_of_a_server_that_is_away(
    background: Background, kubeconfig: Path, invoke: Invoke, door: Door, told: str
) -> None:
    """It is a problem, and the node is looked at all the same."""
    background.do(background.server.set_door(door))
    said = invoke("check", "--kubeconfig", kubeconfig)
    assert said.exit_code == ExitStatus.DIFFERENT, said.output
    assert told in said.stdout
    assert "modules" in said.stdout


@pytest.mark.parametrize("ahead_s", [-120.0, 0.0, 120.0])
def test_the_clock_is_compared(background: Background, ahead_s: float) -> None:
    """With the server's, which is told in whole seconds."""
    path = background.server.kubeconfig

    async def ask(scratch: Path) -> ApiFacts:
        api = Api(Access(Address(kubeconfig=str(path(scratch / "kubeconfig")))))
        return await probe_api(api, "node-0", wall_clock=lambda: time.time() + ahead_s)

    with tempfile.TemporaryDirectory() as scratch:
        facts = asyncio.run(ask(Path(scratch)))
    assert facts.skew_s is not None
    assert abs(facts.skew_s - ahead_s) < 60
    clocks = [f for f in check_api(facts, "node-0") if f.subject == "clock"]
    assert len(clocks) == (1 if ahead_s else 0)
