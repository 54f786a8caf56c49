"""`ipvsctl top`: which Services are the busiest."""

import json
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner, Result

from ipvsctl.cli.app import app
from ipvsctl.cli.environment import Environment
from ipvsctl.cli.top import Top, number
from ipvsctl.model.errors import NotFound, NotKnown
from ipvsctl.model.ipvs import VirtualServerKey
from ipvsctl.model.net import IPFamily, Protocol, parse_address
from ipvsctl.model.rate_kind import RateKind
from ipvsctl.model.rates import Rates, RealServerRates, RealServers, VirtualServerRates
from ipvsctl.model.status import NodeStatus, Summary
from tests.cli.conftest import Invoke
from tests.cli.test_sync import WEB, real_server
from tests.fakes.kernel import FakeKernel

FOREIGN = VirtualServerKey(
    family=IPFamily.IPV4,
    protocol=Protocol.UDP,
    address=parse_address("10.0.0.10"),
    port=53,
)


class Busy:
    """A kernel that is busy with one Service."""

    def __init__(self) -> None:
        self.asked: list[VirtualServerKey] = []
        self.estimates = True

    def is_estimating(self) -> bool:
        """Unless it is told not to."""
        return self.estimates

    def virtual_servers(self) -> VirtualServerRates:
        """Three hundred connections a second, and none of another's."""
        return {
            FOREIGN: Rates(),
            WEB: Rates(connections=300, packets_in=30, bytes_in=3_000_000),
        }

    def real_servers(self, keys: Iterable[VirtualServerKey]) -> RealServers:
        """The first gets twice as many as the second."""
        self.asked = [*keys]
        servers = {
            real_server(address).key: RealServerRates(
                weight=weight, active=share, rates=Rates(connections=100 * share)
            )
            for address, share, weight in (("172.16.0.1", 2, 1), ("172.16.1.1", 1, 2))
        }
        return {key: servers if key == WEB else {} for key in self.asked}


@pytest.fixture
def source() -> Busy:
    """The node's."""
    return Busy()


@pytest.fixture
def top(kernel: FakeKernel, manifests: Path, invoke: Invoke, source: Busy) -> Invoke:
    """The command, on a node that is served."""
    invoke("apply", "--manifests", manifests)

    def call(*words: object) -> Result:
        return CliRunner().invoke(
            app,
            [
                *("top", *map(str, words), "--manifests", str(manifests)),
                *("--socket", "/nowhere", "--node-name", "node-0"),
            ],
            obj=Environment(
                open_kernel=lambda _config, *, to_change: kernel,  # noqa: ARG005  # the protocol's name
                open_rates=lambda: source,
            ),
        )

    return call


def test_a_table(top: Invoke) -> None:
    """Who gets more than a fair share is named."""
    said = top()
    assert said.exit_code == 0, said.output
    assert said.stdout == (
        "300 connections/s, 30 packets/s, 3.0M bytes/s\n"
        "\n"
        "SERVICE           CONNS/s  PKTS/s IN  OUT  B/s IN  OUT  ACTIVE  SPREAD\n"
        "default/web:http      300         30    0    3.0M    0       3"
        "  2.0x 172.16.0.1:8080\n"
        "udp 10.0.0.10:53        0          0    0       0    0       0\n"
    )


def test_one_service_has_its_endpoints(top: Invoke, source: Busy) -> None:
    """And nothing else is read of the kernel."""
    said = top("default/web")
    assert said.stdout.splitlines()[3:] == [
        (
            "default/web:http       300         30    0    3.0M    0       3"
            "  2.0x 172.16.0.1:8080"
        ),
        "  172.16.0.1:8080      200          0    0       0    0       2",
        "  172.16.1.1:8080      100          0    0       0    0       1  weight 2",
    ]
    assert source.asked == [WEB]


def test_a_kernel_that_does_not_estimate(top: Invoke, source: Busy) -> None:
    """Says so: everything would look idle."""
    source.estimates = False
    said = top()
    assert "net.ipv4.vs.run_estimation is 0: IPVS counts nothing" in said.stdout


def test_as_data(top: Invoke) -> None:
    """Plain numbers, by the second."""
    said = json.loads(top("--by", "bytes", "-o", "json").stdout)
    assert said["is_estimating"]
    assert said["total"]["connections"] == 300
    web, _ = said["services"]
    assert web["rates"]["connections"] == 300
    assert [e["rates"]["connections"] for e in web["endpoints"]] == [200, 100]


def test_a_name_that_is_not_there(top: Invoke) -> None:
    """The reason is an error; an empty screen would tell that nothing is busy."""
    said = top("shop/web")
    assert (said.exit_code, said.stdout) == (2, "")
    assert "there is one in default" in said.stderr


def test_names_are_asked_for_when_something_is_new(source: Busy) -> None:
    """Nobody names a foreign one, and asking again would not help; an error stays."""
    asked = 0
    summary = Summary(version="1", node="n", scheduler="rr", compatibility="")
    known = NodeStatus(summary=summary)
    answers = [msgspec.structs.replace(known, not_there="nowhere"), known, known]

    def read_status() -> NodeStatus:
        nonlocal asked
        asked += 1
        return answers.pop(0)

    now = 0.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "monotonic", lambda: now)
        top = Top(source, read_status, RateKind.BYTES, only=False)
        with pytest.raises(NotKnown, match="nowhere"):
            top.measure(1)
        for _ in range(5):
            now += 60
            top.measure(1)
    assert asked == 2


def test_without_ipvs(manifests: Path) -> None:
    """Whatever the kernel says is an error with its name."""

    def no_ipvs() -> Busy:
        raise NotFound(errno=2, op="read rates")

    said = CliRunner().invoke(
        app,
        ["top", "--manifests", str(manifests)],
        obj=Environment(open_rates=no_ipvs),
    )
    assert said.exit_code == 2
    assert "read rates" in said.stderr


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        (0, "0"),
        (9, "9"),
        (999, "999"),
        (1000, "1.0k"),
        (99_400, "99.4k"),
        (99_600, "100k"),
        (123_456_789, "123M"),
        (10**13, "10T"),
    ],
)
def test_numbers_are_short(amount: int, expected: str) -> None:
    """Five characters at most."""
    assert number(amount) == expected
