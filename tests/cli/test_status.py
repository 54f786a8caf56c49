"""`ipvsctl status` without a daemon: what is printed."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ipvsctl.cli.layout import Line
from ipvsctl.cli.show_status import amount, duration, status_lines
from ipvsctl.cli.status import read_status
from ipvsctl.cluster.store import Store
from ipvsctl.model.capabilities import Capabilities
from ipvsctl.model.config import FirewallKind, ProxyConfig
from ipvsctl.model.ipvs import RealServerStats, TrafficStats
from ipvsctl.model.net import parse_address
from ipvsctl.model.parts import Part
from ipvsctl.model.source_state import SourceState
from ipvsctl.model.status import LoopStatus, NodeStatus, Selection, Summary
from ipvsctl.plan.diff.ops import AddRealServer, DeleteRealServer, UnbindAddress
from tests.builders import raw_endpoint, raw_node, raw_service, raw_slice
from tests.cli.conftest import Invoke, write
from tests.cli.test_sync import FOREIGN, WEB, real_server
from tests.fakes.kernel import FakeKernel


def body(text: str) -> str:
    """The output below the head."""
    return text.partition("\n\n")[2]


def test_services_are_shown_by_name(
    invoke: Invoke, manifests: Path, kernel: FakeKernel
) -> None:
    """A Service's port, its virtual server and each real server have a line."""
    invoke("apply", "--manifests", manifests)
    kernel.set_connections(
        WEB, real_server("172.16.0.1").key, RealServerStats(active=12, inactive=3)
    )
    result = invoke("status", "--manifests", manifests)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (
        "node-0  zone zone-a  ipvsctl 0.1.0  scheduler rr  firewall iptables"
        f"  manifests in {manifests}\n"
        "no daemon answers, kernel equal\n"
        "1 Service, 1 virtual server\n"
        "\n"
        "SERVICE              NODE        WEIGHT  ACTIVE  INACT  STATE\n"
        "default/web:http\n"
        "  tcp 10.96.0.10:80  cluster IP      rr      12      3  bound\n"
        "    172.16.0.1:8080  node-0           1      12      3  ok\n"
        "    172.16.1.1:8080  node-1           1       0      0  ok\n"
    )


def test_what_is_wrong_is_said_in_place(
    invoke: Invoke, manifests: Path, kernel: FakeKernel
) -> None:
    """A missing and a draining real server, an unbound VIP, a foreign neighbour."""
    invoke("apply", "--manifests", manifests)
    kernel.preload(FOREIGN, real_server("10.0.0.20", weight=0))
    gone = real_server("172.16.9.9", weight=0)
    kernel.apply(
        (
            DeleteRealServer(WEB, real_server("172.16.0.1").key),
            AddRealServer(WEB, gone),
            UnbindAddress(parse_address("10.96.0.10")),
        )
    )
    kernel.set_connections(WEB, gone.key, RealServerStats(active=2))
    result = invoke("status", "--manifests", manifests)
    assert body(result.stdout) == (
        "SERVICE                  NODE        WEIGHT  ACTIVE  INACT  STATE\n"
        "default/web:http\n"
        "  tcp 10.96.0.10:80      cluster IP      rr       2      0"
        "  not bound, no route\n"
        "    172.16.0.1:8080      node-0           1       0      0  missing\n"
        "    172.16.1.1:8080      node-1           1       0      0  different\n"
        "    172.16.9.9:8080                       0       2      0  draining\n"
        "\n"
        "foreign, left alone\n"
        "  tcp 10.103.97.12:6443                  rr       0      0\n"
        "    10.0.0.20:8080                        0       0      0\n"
    )
    assert "\nno daemon answers, 3 changes due (ipvsctl diff)\n" in result.stdout


def test_a_virtual_server_without_real_servers_stands_out(
    invoke: Invoke, tmp_path: Path
) -> None:
    """It is said in words; problems follow at the end."""
    path = tmp_path / "cluster.json"
    write(path, raw_node(), raw_service(externalIPs=["10.0.0.10"]))
    invoke("apply", "--manifests", path)
    result = invoke("status", "--manifests", path)
    assert body(result.stdout) == (
        "SERVICE              NODE        WEIGHT  ACTIVE  INACT  STATE\n"
        "default/web:http\n"
        "  tcp 10.96.0.10:80  cluster IP      rr       0      0"
        "  bound, no real servers: no IPv4 EndpointSlice for the Service\n"
        "\n"
        "PROBLEMS\n"
        "Service default/web: spec.externalIPs: 10.0.0.10:"
        " is the address of a Node; not served\n"
    )


def test_without_objects_virtual_servers_have_addresses_only(
    invoke: Invoke, manifests: Path, kernel: FakeKernel
) -> None:
    """Nothing is called unwanted when nobody says what is wanted."""
    invoke("apply", "--manifests", manifests)
    kernel.preload(FOREIGN)
    result = invoke("status")
    assert result.stdout == (
        "node-0  ipvsctl 0.1.0  scheduler rr  firewall iptables\n"
        "no daemon answers, no objects read: --manifests gives names\n"
        "\n"
        "SERVICE                  NODE  WEIGHT  ACTIVE  INACT  STATE\n"
        "ours, of no known Service\n"
        "  tcp 10.96.0.10:80                rr       0      0  bound\n"
        "    172.16.0.1:8080                 1       0      0\n"
        "    172.16.1.1:8080                 1       0      0\n"
        "\n"
        "foreign, left alone\n"
        "  tcp 10.103.97.12:6443            rr       0      0  no real servers\n"
    )


def test_an_empty_kernel_says_so(invoke: Invoke) -> None:
    """No table without rows."""
    assert body(invoke("status").stdout) == "no virtual servers\n"


def test_wide_adds_zone_traffic_and_sets(
    invoke: Invoke, manifests: Path, kernel: FakeKernel
) -> None:
    """`-o wide` is the same table with more columns."""
    invoke("apply", "--manifests", manifests)
    kernel.set_traffic(
        WEB, TrafficStats(connections=12, bytes_in=1_500, bytes_out=2_000_000)
    )
    result = invoke("status", "--manifests", manifests, "-o", "wide")
    assert body(result.stdout) == (
        "SERVICE              NODE        ZONE    WEIGHT  ACTIVE  INACT"
        "  CONNS     IN    OUT  STATE\n"
        "default/web:http\n"
        "  tcp 10.96.0.10:80  cluster IP              rr       0      0"
        "     12  1.5kB  2.0MB  bound, KUBE-CLUSTER-IP\n"
        "    172.16.0.1:8080  node-0      zone-a       1       0      0"
        "                       ok\n"
        "    172.16.1.1:8080  node-1      zone-b       1       0      0"
        "                       ok\n"
    )


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ((), ["api", "web", "web"]),
        (("web",), ["web", "web"]),
        (("other/web",), ["web"]),
        (("-n", "other"), ["api", "web"]),
        (("-n", "other", "web"), ["web"]),
        (("nobody",), []),
    ],
)
def test_services_can_be_chosen(
    invoke: Invoke, tmp_path: Path, words: tuple[str, ...], shown: list[str]
) -> None:
    """By name, by namespace, by both; a Service that is not there is not shown."""
    path = tmp_path / "cluster.json"
    write(
        path,
        raw_node(),
        raw_service("web"),
        raw_service("web", namespace="other", clusterIP="10.96.0.11"),
        raw_service("api", namespace="other", clusterIP="10.96.0.12"),
    )
    result = invoke("status", *words, "--manifests", path, "-o", "json")
    status = json.loads(result.stdout)
    assert sorted(service["name"] for service in status["services"]) == shown


def test_choosing_needs_names(invoke: Invoke) -> None:
    """Without a daemon and manifests no Service is known by name."""
    result = invoke("status", "web")
    assert result.exit_code == 2
    assert result.stderr.startswith("ipvsctl: error: --manifests: ")


def test_terminating_endpoints_are_named(invoke: Invoke, tmp_path: Path) -> None:
    """An endpoint that serves on its way out is in use when no other is ready."""
    path = tmp_path / "cluster.json"
    leaving = {"ready": False, "serving": True, "terminating": True}
    write(
        path,
        raw_node(),
        raw_service(),
        raw_slice("web-a", raw_endpoint("172.16.0.1", conditions=leaving)),
    )
    invoke("apply", "--manifests", path)
    result = invoke("status", "--manifests", path)
    assert result.stdout.endswith("  terminating\n")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (35.9, "35s"),
        (119, "119s"),
        (120, "2m"),
        (7199, "119m"),
        (7200, "2h"),
        (172800, "2d"),
    ],
)
def test_ages_are_short(seconds: float, text: str) -> None:
    """An age has one unit, rounded down."""
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0B"),
        (999, "999B"),
        (1_000, "1.0kB"),
        (123_456_789, "123.5MB"),
        (5 * 10**15, "5.0PB"),
        (5 * 10**18, "5000.0PB"),
    ],
)
def test_bytes_are_short(count: int, text: str) -> None:
    """An amount has one unit, of a thousand of the one before."""
    assert amount(count) == text


@pytest.mark.parametrize(
    ("reason", "wide", "told"),
    [
        ("no iptables-save", False, "firewall nftables"),
        ("no iptables-save", True, "firewall nftables (no iptables-save)"),
        ("", True, "firewall nftables"),
    ],
)
def test_the_firewall_is_told(reason: str, *, wide: bool, told: str) -> None:
    """Which one, always; why it is that one where there is room."""
    capabilities = Capabilities(firewall=FirewallKind.NFTABLES, firewall_reason=reason)
    kernel = FakeKernel(capabilities=capabilities)
    status = read_status(kernel, Store("node-0"), ProxyConfig(), "", Selection())
    assert status.summary.firewall == "nftables"
    assert status.summary.firewall_reason == reason
    assert first_line(status, wide=wide).endswith(f"scheduler rr  {told}")


def first_line(status: NodeStatus, *, wide: bool) -> str:
    """As it is printed where it has room."""
    first = next(status_lines(status, wide=wide, width=None))
    return "".join(span.text for span in first)


def test_a_daemon_that_names_no_firewall() -> None:
    """One of an older version is shown all the same, without one."""
    summary = Summary(version="0", node="n", scheduler="rr", compatibility="none")
    shown = first_line(NodeStatus(summary=summary), wide=True)
    assert shown == "n  ipvsctl 0  scheduler rr"


def head(source: SourceState | None, **loop: Any) -> list[str]:
    """The lines above the table, of a daemon whose kernel needs nothing."""
    usual = {"audited_s_ago": 12, "audits": 1, "syncs": 0, "failed_ops": 0}
    summary = Summary(
        version="0.1.0",
        node="node-0",
        scheduler="rr",
        compatibility="none",
        source=source.description if source else "",
        source_state=source,
        loop=LoopStatus(**{**usual, "sync_period_s": 30.0, **loop}),
        pending_ops=0,
    )
    lines = list(status_lines(NodeStatus(summary=summary), wide=False, width=None))
    return [
        "".join(f"[{span.text}]" if "red" in span.style else span.text for span in line)
        for line in lines[1 : lines.index(())]
    ]


API: dict[str, Any] = {"description": "API server of https://10.0.0.1:6443"}
LAST = "last audit 12s ago"
NOT_ALL = ", kernel equal to what is known, which may not be all"


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        (
            SourceState(**API, age_s=2.4),
            [f"{LAST}, API server heard 2 s ago, kernel equal"],
        ),
        (
            SourceState(**API, age_s=30, error="x"),
            [f"{LAST}, API server heard 30 s ago, kernel equal"],
        ),
        (
            SourceState(**API, age_s=31, error="connection refused"),
            [f"{LAST}, [API server not heard for 31 s: connection refused]{NOT_ALL}"],
        ),
        (
            SourceState(**API, age_s=None, error="not asked yet"),
            [f"{LAST}, [API server never heard: not asked yet]{NOT_ALL}"],
        ),
        (
            SourceState(**API, age_s=1, doubts=("the list", "a\x1bb"), held=7),
            [
                f"{LAST}, API server heard 1 s ago{NOT_ALL}, 7 deletions held",
                "[not known: the list]",
                "[not known: a\\x1bb]",
            ],
        ),
        (
            SourceState(description="manifests in /m", age_s=9),
            [f"{LAST}, manifests read 9 s ago, kernel equal"],
        ),
    ],
)
def test_equal_is_said_of_what_is_known(source: SourceState, lines: list[str]) -> None:
    """Fresh and whole; else it is said in red (here in brackets) what is not."""
    assert head(source) == lines


def test_an_audit_that_is_overdue() -> None:
    """Older than two sync periods."""
    source = SourceState(**API, age_s=2)
    assert head(source, audited_s_ago=60)[0].startswith("last audit 60s ago, API")
    assert head(source, audited_s_ago=61)[0].startswith(
        "[last audit 61s ago, overdue], API"
    )


@pytest.fixture
def several(tmp_path: Path, invoke: Invoke) -> Path:
    """Services of every kind, served."""
    path = tmp_path / "cluster.json"
    pods = raw_endpoint("172.16.0.1"), raw_endpoint("172.16.1.1", nodeName="node-1")
    write(
        path,
        raw_node("node-0"),
        raw_node("node-1", "10.0.0.11"),
        raw_service("web"),
        raw_slice("web-a", *pods),
        raw_service("bare", clusterIP="10.96.0.11"),
        raw_service("away", clusterIP="10.96.0.12", internalTrafficPolicy="Local"),
        raw_slice("away-a", pods[1], service="away"),
        raw_service("headless", clusterIP="None"),
        raw_service("greedy", clusterIP="10.96.0.13", externalIPs=["10.0.0.11"]),
        raw_slice("greedy-a", pods[0], service="greedy"),
    )
    assert invoke("apply", "--manifests", path).exit_code == 0
    return path


def shown(invoke: Invoke, manifests: Path, *words: str) -> set[str]:
    """The Services of a status with these words."""
    said = invoke("status", *words, "--manifests", manifests, "-o", "json")
    assert said.exit_code == 0, said.output
    return {service["name"] for service in json.loads(said.stdout)["services"]}


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("web",), {"web"}),
        (("default/web",), {"web"}),
        (("-n", "default"), {"web", "bare", "away", "greedy", "headless"}),
        (("10.96.0.10",), {"web"}),
        (("10.96.0.11:80",), {"bare"}),
        (("172.16.1.1",), {"web"}),
        (("172.16.0.1:8080",), {"web", "greedy"}),
        (("--empty",), {"bare", "away"}),
        (("--problems",), {"bare", "away", "greedy"}),
        (("--draining",), set()),
        (("web", "--problems"), set()),
        (("10.96.0.11", "--empty"), {"bare"}),
    ],
)
def test_what_is_chosen(
    invoke: Invoke, several: Path, words: tuple[str, ...], names: set[str]
) -> None:
    """By name, by address, by kind."""
    assert shown(invoke, several, *words) == names


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("nosuch", "no Service nosuch is known"),
        ("other/web", "in namespace other is known; there is one in default"),
        ("10.96.0.99", "no virtual or real server has 10.96.0.99"),
        ("10.96.0.10:81", "no virtual or real server has 10.96.0.10 with port 81"),
    ],
)
def test_what_is_not_there(invoke: Invoke, several: Path, word: str, told: str) -> None:
    """The reason in place of the table, and status 1."""
    said = invoke("status", word, "--manifests", several)
    assert said.exit_code == 1
    assert told in body(said.stdout)


def test_why_a_service_refuses_its_clients(invoke: Invoke, several: Path) -> None:
    """In place of one word for all; these come first."""
    said = invoke("status", "--manifests", several)
    lines = body(said.stdout).splitlines()
    assert lines[1] == "default/away:http"
    assert lines[2].endswith(
        "no real servers: policy Local, and none of 1 ready endpoint is on this node"
    )
    assert lines[3] == "default/bare:http"
    assert lines[4].endswith("no real servers: no IPv4 EndpointSlice for the Service")
    assert "\n4 Services, 4 virtual servers, 2 empty, 1 problem\n" in said.stdout


def test_two_kinds_at_once(invoke: Invoke, several: Path) -> None:
    """Are refused, by name."""
    said = invoke("status", "--empty", "--draining", "--manifests", several)
    assert said.exit_code == 2
    assert "--empty: not together with --draining" in said.stderr


@pytest.mark.parametrize("width", [80, 120])
def test_reasons_stay_in_the_terminal(
    invoke: Invoke, several: Path, width: int
) -> None:
    """They go on in the next line."""
    found = json.loads(
        invoke("status", "--manifests", several, "-o", "json").stdout,
    )
    status = msgspec.convert(found, NodeStatus)
    lines = ["".join(s.text for s in line) for line in table(status, width)]
    assert max(map(len, lines)) <= width
    assert " ".join("".join(lines).split()).count("EndpointSlice for the Service") == 1


def table(status: NodeStatus, width: int) -> list[Line]:
    """The lines between the head and the problems."""
    lines = [*status_lines(status, wide=False, width=width)]
    blanks = [place for place, line in enumerate(lines) if not line]
    return lines[blanks[0] + 1 : blanks[1]]


def test_names_alone(invoke: Invoke, several: Path) -> None:
    """For other commands to read."""
    said = invoke("status", "--empty", "--manifests", several, "-o", "name")
    assert said.stdout == "default/away\ndefault/bare\n"


@pytest.mark.parametrize(
    ("order", "first"), [("name", "away"), ("active", "web"), ("conns", "greedy")]
)
def test_orders(
    invoke: Invoke, several: Path, kernel: FakeKernel, order: str, first: str
) -> None:
    """By name, by connections now, by connections since it was made."""
    kernel.set_connections(
        WEB, real_server("172.16.0.1").key, RealServerStats(active=12)
    )
    greedy = next(
        key
        for key in kernel.observe().state.virtual_servers
        if str(key.address) == "10.96.0.13"
    )
    kernel.set_traffic(greedy, TrafficStats(connections=7))
    said = invoke("status", "--sort", order, "--manifests", several)
    assert body(said.stdout).splitlines()[1] == f"default/{first}:http"


@pytest.mark.parametrize("words", [(), ("--dry-run",)])
def test_cleanup_without_knowing_the_rules(
    invoke: Invoke, manifests: Path, kernel: FakeKernel, words: tuple[str, ...]
) -> None:
    """Rules would be left, and everything be called gone."""
    invoke("apply", "--manifests", manifests)
    done = len(kernel.log)
    kernel.unread[Part.RULES_IPV6] = "ip6tables-save: exit status 1"
    found = invoke("cleanup", *words)
    assert (found.exit_code, found.stdout) == (2, "")
    assert "ip6tables rules cannot be read: ip6tables-save" in found.stderr
    assert len(kernel.log) == done


@pytest.mark.parametrize("command", ["status", "diff", "explain web", "apply"])
def test_rules_that_cannot_be_read(
    invoke: Invoke, manifests: Path, kernel: FakeKernel, command: str
) -> None:
    """Are said; nothing is called equal, and nothing is changed over them."""
    invoke("apply", "--manifests", manifests)
    done = len(kernel.log)
    kernel.unread[Part.RULES_IPV4] = "iptables-save: exit status 1"
    found = invoke(*command.split(), "--manifests", manifests)
    reason = "iptables rules cannot be read: iptables-save: exit status 1"
    assert reason in " ".join(found.output.split())
    assert "kernel equal\n" not in found.stdout
    assert "differ" not in found.stdout.replace("no difference", "")
    assert (found.exit_code != 0) == (command != "status")
    assert len(kernel.log) == done
