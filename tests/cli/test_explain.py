"""`ipvsctl explain` without a daemon: what is printed, and the exit status."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from ipvsctl.cli import explain as command
from ipvsctl.cli.app import app
from ipvsctl.cli.environment import Environment
from ipvsctl.cli.layout import Line
from ipvsctl.cli.show_explain import explanation_lines
from ipvsctl.kernel.interface import Kernel
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.conntrack import ConntrackFill
from ipvsctl.model.errors import NotFound
from ipvsctl.model.explanation import Explanation, Part, Step, Verdict
from ipvsctl.model.ipvs import RealServerKey, VirtualServerKey
from ipvsctl.model.neighbours import Connection, FilterTable, Neighbours
from ipvsctl.model.net import IPFamily, Protocol, parse_address
from ipvsctl.model.rules import ChainRef, Rule, Table, UnknownRule
from ipvsctl.model.rules import Verdict as Verdict_
from ipvsctl.model.target import parse_target
from ipvsctl.plan.diff.ops import (
    DeleteRealServer,
    DeleteVirtualServer,
    SetSysctl,
    UnbindAddress,
)
from tests.builders import raw_endpoint, raw_node, raw_service, raw_slice
from tests.cli.conftest import Invoke, write
from tests.cli.test_sync import WEB, real_server
from tests.fakes.kernel import FakeKernel

VIP = parse_address("10.96.0.10")


@pytest.fixture
def served(invoke: Invoke, manifests: Path) -> Path:
    """The manifests of a node that holds all they ask for."""
    assert invoke("apply", "--manifests", manifests).exit_code == 0
    return manifests


def explained(invoke: Invoke, manifests: Path, *words: str) -> tuple[int, Any]:
    """Exit status and the explanation as data."""
    said = invoke("explain", *words, "--manifests", manifests, "-o", "json")
    return said.exit_code, json.loads(said.stdout)


def headline(data: Any) -> str:  # JSON
    """What is wrong first."""
    return f"{data['headline']['subject']}: {data['headline']['found']}"


def test_a_service_that_works(invoke: Invoke, served: Path) -> None:
    """Every step is there, in order, and says what it has found."""
    said = invoke("explain", "default/web", "--manifests", served)
    assert said.exit_code == 0, said.output
    assert said.stdout.startswith("default/web works on this node\n")
    status, data = explained(invoke, served, "default/web")
    assert status == 0
    assert data["headline"] is None
    assert [part["title"] for part in data["parts"]] == [
        "what is known",
        "node node-0",
        "Service default/web",
        "cluster IP 10.96.0.10:80/TCP",
    ]
    subjects = [step["subject"] for part in data["parts"] for step in part["steps"]]
    assert subjects == [
        *("source", "daemon"),
        *("node", "rules", "link", "sets", "sysctls", "conntrack"),
        *("accepted", "endpoints of http IPv4"),
        *("virtual server", "address", "sets", "real servers", "connections"),
        *("packet from pod", "others' rules"),
    ]


def test_what_an_audit_would_do_is_what_is_broken(
    invoke: Invoke, served: Path, kernel: FakeKernel
) -> None:
    """Each drift is its own step; the first one is the headline."""
    gone = real_server("172.16.0.1").key
    kernel.apply((UnbindAddress(VIP), DeleteRealServer(WEB, gone)))
    status, data = explained(invoke, served, "web")
    assert status == 1
    assert headline(data).startswith("address: missing: address 10.96.0.10")
    broken = [
        step["found"]
        for part in data["parts"]
        for step in part["steps"]
        if step["verdict"] == "BROKEN"
    ]
    real = "real server tcp 10.96.0.10:80 -> 172.16.0.1:8080 masquerade weight 1"
    assert f"missing: {real}" in broken


def test_it_says_who_puts_it_right(
    invoke: Invoke, served: Path, kernel: FakeKernel
) -> None:
    """Without a daemon, nobody."""
    kernel.apply((DeleteVirtualServer(WEB),))
    said = invoke("explain", "10.96.0.10:80", "--manifests", served)
    assert said.exit_code == 1
    assert "virtual server: missing: virtual server tcp 10.96.0.10:80" in said.stdout
    assert "no daemon puts it right: start ipvsctl run, or ipvsctl apply" in said.stdout


def connection(state: str, expires_s: int, server: str = "172.16.0.1") -> Connection:
    """To the Service."""
    return Connection(
        client=RealServerKey(parse_address("10.0.0.77"), 40000),
        virtual_server=VirtualServerKey(
            family=IPFamily.IPV4, protocol=Protocol.TCP, address=VIP, port=80
        ),
        real_server=RealServerKey(parse_address(server), 8080),
        state=state,
        expires_s=expires_s,
    )


def beside(**found: object) -> Neighbours:
    """What else is on a node."""
    nothing = FakeKernel().read_neighbours(frozenset())
    return msgspec.structs.replace(nothing, **found)


MAYBE = FilterTable(
    policies={"INPUT": "ACCEPT"},
    chains={
        ChainRef(Table.FILTER, "INPUT"): (
            UnknownRule("-m magic -j ACCEPT"),
            Rule(target=Verdict_.DROP),
        )
    },
)
DROPPING = FilterTable(
    policies={"FORWARD": "DROP"},
    chains={ChainRef(Table.FILTER, "FORWARD"): ()},
)
OBSCURE = FilterTable(
    policies={"INPUT": "ACCEPT"},
    chains={
        ChainRef(Table.FILTER, "INPUT"): (UnknownRule("-m magic --spell x -j DROP"),)
    },
)


@pytest.mark.parametrize(
    ("neighbours", "status", "told"),
    [
        (beside(nft_tables=("ip kube-proxy",)), 1, "nft delete table ip kube-proxy"),
        (beside(nft_tables=("inet cilium",)), 0, "not read: table inet cilium"),
        (beside(nft_tables=("ip ipvsctl", "ip6 ipvsctl")), 0, "works on this node"),
        (
            beside(nft_tables=("inet mine", "ip ipvsctl")),
            0,
            "that are not read: table inet mine\n",
        ),
        (beside(conntrack=ConntrackFill(999, 1000)), 1, "table full: 999 of 1,000"),
        (beside(conntrack=ConntrackFill(850, 1000)), 0, "850 of 1,000"),
        (beside(conntrack=ConntrackFill(1, 0)), 0, "works on this node"),
        (
            beside(filters={IPFamily.IPV4: (DROPPING,)}),
            1,
            "the answer of an endpoint is dropped in FORWARD: policy DROP",
        ),
        (
            beside(filters={IPFamily.IPV4: (OBSCURE,)}),
            0,
            "not understood: filter INPUT: -m magic --spell x -j DROP",
        ),
        (
            beside(filters={IPFamily.IPV4: (MAYBE,)}),
            0,
            "maybe dropped in INPUT: filter INPUT 2: -j DROP",
        ),
        (beside(filters=None), 2, "the filter was not read"),
        (beside(unread=("IPVS connections: EPERM",)), 2, "IPVS connections: EPERM"),
        (
            beside(connections=(connection("SYN_RECV", 40),)),
            1,
            "172.16.0.1:8080 answers no SYN",
        ),
        (beside(connections=(connection("SYN_RECV", 60),)), 0, "1 SYN_RECV"),
        (
            beside(
                connections=(
                    connection("SYN_RECV", 40),
                    connection("ESTABLISHED", 900),
                )
            ),
            0,
            "1 SYN_RECV, 1 ESTABLISHED",
        ),
        (
            beside(
                connections=(
                    connection("SYN_RECV", 40),
                    connection("ESTABLISHED", 900, "172.16.1.1"),
                )
            ),
            1,
            "172.16.0.1:8080 answers no SYN",
        ),
    ],
)
def test_what_else_there_is(
    invoke: Invoke,
    served: Path,
    kernel: FakeKernel,
    neighbours: Neighbours,
    status: int,
    told: str,
) -> None:
    """Others' rules, a full table and dead pods are seen, and what cannot be read."""
    kernel.neighbours = neighbours
    said = invoke("explain", "web", "--manifests", served)
    assert told in said.stdout
    assert said.exit_code == status


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("default/nosuch", "no Service nosuch in namespace default is known"),
        ("other/web", "in namespace other is known; there is one in default"),
        ("web:https", "Service default/web has no port https; it has http (80/TCP)"),
        ("10.96.0.10:81", "no Service has port 81 at 10.96.0.10; there are 80"),
        ("10.0.0.10:30000", "is this node's, and no Service has node port 30000"),
        ("[fd00::1]:53", "no Service, endpoint or virtual server has [fd00::1]:53"),
    ],
)
def test_a_target_that_is_not_there(
    invoke: Invoke, served: Path, target: str, told: str
) -> None:
    """The reason is the headline."""
    status, data = explained(invoke, served, target)
    assert status == 1
    assert told in headline(data)


@pytest.mark.parametrize(
    "words",
    [
        ("",),
        ("a b",),
        ("web\x1b[31m",),
        ("10.96.0.10:http",),
        ("10.96.0.10:65536",),
        ("10.96.0.10:0",),
        ("[fd00::1]:",),
        ("a/b/c",),
        ("other/web", "-n", "default"),
        ("web", "--from", "nowhere"),
        ("web", "--protocol", "icmp"),
        ("web:" + "9" * 5000,),
    ],
)
def test_a_question_that_is_none(
    invoke: Invoke, served: Path, words: tuple[str, ...]
) -> None:
    """It is named, in a line, without what a terminal would obey."""
    said = invoke("explain", *words, "--manifests", served)
    assert said.exit_code == 2
    assert said.stdout == ""
    assert "\x1b" not in said.stderr
    assert said.stderr.count("\n") == 1


def test_a_pod_is_explained_by_its_services(invoke: Invoke, tmp_path: Path) -> None:
    """One that is not ready says so."""
    manifests = tmp_path / "cluster.json"
    write(
        manifests,
        raw_node("node-0"),
        raw_service("web"),
        raw_slice(
            "web-a",
            raw_endpoint("172.16.0.1"),
            raw_endpoint("172.16.0.2", conditions={"ready": False}),
        ),
    )
    invoke("apply", "--manifests", manifests)
    status, data = explained(invoke, manifests, "172.16.0.2")
    assert status == 1
    assert headline(data) == "endpoint 172.16.0.2: 172.16.0.2:8080: out, not ready"
    assert explained(invoke, manifests, "172.16.0.1")[0] == 0


def test_a_node_without_its_node(invoke: Invoke, tmp_path: Path) -> None:
    """A wrong name is named, where endpoints have the names of nodes."""
    manifests = tmp_path / "cluster.json"
    write(
        manifests,
        raw_node("node-7"),
        raw_service("web"),
        raw_slice("web-a", raw_endpoint("172.16.0.1", nodeName="node-7")),
    )
    invoke("apply", "--manifests", manifests)
    status, data = explained(invoke, manifests, "web")
    assert status == 1
    assert headline(data).startswith("node: no Node node-0 is known")


def test_a_kernel_without_ipvs(manifests: Path) -> None:
    """The missing module is the headline, and no traceback."""

    def open_kernel(_config: ProxyConfig, *, to_change: bool) -> Kernel:
        raise NotFound(errno=2, op="find IPVS", reason=f"no ip_vs {to_change}")

    said = CliRunner().invoke(
        app,
        ["explain", "web", "--manifests", str(manifests), "--socket", "/nowhere"],
        obj=Environment(open_kernel=open_kernel),
        env={"IPVSCTL_NODE_NAME": "node-0"},
    )
    assert said.exit_code == 1
    assert "kernel: find IPVS: no ip_vs False" in said.stdout


SAMPLE = Explanation(
    target="shop/web",
    by="no daemon was asked",
    parts=(
        Part(
            title="Service shop/web",
            steps=(
                Step(verdict=Verdict.OK, subject="accepted", found="ClusterIP, 80/TCP"),
                Step(
                    verdict=Verdict.BROKEN,
                    subject="endpoints of http IPv4",
                    found="no endpoint has a port http TCP; there are web TCP, other"
                    " TCP, and-a-name-of-a-port TCP",
                    details=("172.16.0.1:8080: out, not ready",),
                    remedy="targetPort or the name of port 80 of Service shop/web does"
                    " not fit its pods or slices",
                ),
            ),
        ),
    ),
)
AT_80 = """\
shop/web is broken (step 2)
  endpoints of http IPv4: no endpoint has a port http TCP; there are web TCP,
  other TCP, and-a-name-of-a-port TCP
  -> targetPort or the name of port 80 of Service shop/web does not fit its pods
  or slices
(no daemon was asked)

Service shop/web
  1  ok       accepted                ClusterIP, 80/TCP
  2  BROKEN   endpoints of http IPv4  no endpoint has a port http TCP; there are
                                      web TCP, other TCP, and-a-name-of-a-port
                                      TCP
                                      172.16.0.1:8080: out, not ready
                                      -> targetPort or the name of port 80 of
                                      Service shop/web does not fit its pods or
                                      slices
"""
AT_120 = """\
shop/web is broken (step 2)
  endpoints of http IPv4: no endpoint has a port http TCP; there are web TCP, other TCP, and-a-name-of-a-port TCP
  -> targetPort or the name of port 80 of Service shop/web does not fit its pods or slices
(no daemon was asked)

Service shop/web
  1  ok       accepted                ClusterIP, 80/TCP
  2  BROKEN   endpoints of http IPv4  no endpoint has a port http TCP; there are web TCP, other TCP,
                                      and-a-name-of-a-port TCP
                                      172.16.0.1:8080: out, not ready
                                      -> targetPort or the name of port 80 of Service shop/web does not fit its pods or
                                      slices
"""  # noqa: E501  # a screen of 120 columns


def text(lines: Iterator[Line]) -> str:
    """Without styles."""
    return "".join("".join(s.text for s in line) + "\n" for line in lines)


@pytest.mark.parametrize(("width", "expected"), [(80, AT_80), (120, AT_120)])
def test_screens(width: int, expected: str) -> None:
    """Nothing is wider than the terminal."""
    assert text(explanation_lines(SAMPLE, width)) == expected


def test_colours() -> None:
    """What is broken is red, and what is well is green."""
    lines = [*explanation_lines(SAMPLE, 80)]
    styles = {span.text.strip(): span.style for line in lines for span in line}
    assert styles["BROKEN"] == styles["is broken"] == "bold red"
    assert styles["ok"] == "green"


@given(
    st.text(max_size=60),
    st.lists(st.text(max_size=200), max_size=3),
    st.integers(60, 200),
)
def test_hostile_words_never_reach_a_terminal(
    word: str, details: list[str], width: int
) -> None:
    """Nor do they make a line wider than it is."""
    step = Step(
        verdict=Verdict.BROKEN,
        subject="packet",
        found=word,
        details=tuple(details),
        remedy=word,
    )
    explanation = Explanation(
        target="a/b", by=word, parts=(Part(title="p", steps=(step,)),)
    )
    for line in explanation_lines(explanation, width):
        whole = "".join(span.text for span in line)
        assert whole.isprintable() or not whole
        assert len(whole) <= width or "(" in whole


def test_a_question_reaches_the_daemon_as_it_was_asked() -> None:
    """Names, addresses, clients: what is read is what was written."""
    for target in ("shop/web:http", "10.0.0.1:80", "[fd00::1]:53", "fd00::1", "web"):
        question = command.Question(
            target=parse_target(target), client="host", protocol="udp"
        )
        sent = msgspec.json.encode(command.words_of(question)).decode()
        assert command.read_question(sent) == question


def test_beside_kube_proxy_its_table_is_no_fault(
    invoke: Invoke, tmp_path: Path, kernel: FakeKernel
) -> None:
    """Who serves only what is given to it has kube-proxy beside it."""
    manifests = tmp_path / "cluster.json"
    labels = {"service.kubernetes.io/service-proxy-name": "ipvsctl"}
    write(
        manifests,
        raw_node("node-0"),
        raw_service("web", labels=labels),
        raw_slice("web-a", raw_endpoint("172.16.0.1"), labels=labels),
    )
    flag = "--service-proxy-name=ipvsctl"
    assert invoke("apply", "--manifests", manifests, flag).exit_code == 0
    kernel.neighbours = beside(nft_tables=("ip kube-proxy",))
    said = invoke("explain", "web", "--manifests", manifests, flag)
    assert said.exit_code == 0, said.output
    assert "not read: table ip kube-proxy" in said.stdout


def test_a_limit_that_the_node_refuses_is_no_break(
    invoke: Invoke, served: Path, kernel: FakeKernel
) -> None:
    """Packets pass; it is a note."""
    name = "net/netfilter/nf_conntrack_tcp_timeout_established"
    kernel.apply((SetSysctl(name, "7"),))
    said = invoke("explain", "web", "--manifests", served)
    assert said.exit_code == 0, said.output
    assert f"different: sysctl {name}=86400 (was 7)" in said.stdout
