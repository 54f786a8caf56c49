"""What is found on a node before it is served."""

from typing import Any

import msgspec
import pytest

from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.conntrack import ConntrackFill
from ipvsctl.model.host import HostSocket
from ipvsctl.model.neighbours import FilterTable, Neighbours
from ipvsctl.model.net import IPFamily, Protocol, parse_address
from ipvsctl.model.node_facts import NodeFacts
from ipvsctl.plan.report.findings import Severity
from ipvsctl.plan.report.preflight import (
    BRIDGE_SYSCTL,
    ESTIMATION_SYSCTL,
    ESTIMATOR_SYSCTL,
    LOCAL_PORTS_SYSCTL,
    MANY_ESTIMATORS,
    RESERVED_PORTS_SYSCTL,
    check_before,
    check_estimators,
)

GOOD = NodeFacts(
    release=(6, 1),
    modules={"ip_vs": True},
    sysctls={
        "net/ipv4/ip_forward": "1",
        "net/ipv6/conf/all/forwarding": "1",
        LOCAL_PORTS_SYSCTL: "32768\t60999",
    },
    links=("eth0", "lo"),
    bridges=(),
    processes=("calico-node",),
    sockets=frozenset(),
    chains=frozenset({"KUBE-SERVICES", "KUBE-FIREWALL"}),
    neighbours=Neighbours(
        filters={IPFamily.IPV4: (FilterTable(policies={"FORWARD": "ACCEPT"}),)},
        nft_tables=("inet firewalld",),
        conntrack=ConntrackFill(10, 1000),
    ),
)
HEALTHZ = HostSocket(Protocol.TCP, parse_address("0.0.0.0"), 10256)


def but(**facts: Any) -> NodeFacts:
    """A good node, but for these."""
    return msgspec.structs.replace(GOOD, **facts)


def beside(**found: Any) -> NodeFacts:
    """A good node, but for these neighbours."""
    return but(neighbours=msgspec.structs.replace(GOOD.neighbours, **found))


def sysctl(**values: str) -> NodeFacts:
    """A good node with other values of sysctls."""
    return but(sysctls={**GOOD.sysctls, **values})


def test_a_node_that_is_ready() -> None:
    """Nothing is wrong, and what was looked at is said."""
    found = check_before(GOOD, ProxyConfig())
    assert {f.severity for f in found} == {Severity.OK}
    assert [f.subject for f in found] == ["modules", "conntrack"]


@pytest.mark.parametrize(
    ("facts", "severity", "told"),
    [
        (but(release=(4, 9)), Severity.PROBLEM, "4.9"),
        (but(modules={"ip_vs": False, "a": True}), Severity.PROBLEM, "missing: ip_vs"),
        (but(processes=("kube-proxy",)), Severity.PROBLEM, "kube-proxy runs"),
        (
            but(chains=frozenset({"KUBE-SVC-A", "KUBE-SVC-B", "KUBE-SEP-C"})),
            Severity.PROBLEM,
            "of kube-proxy's iptables mode: KUBE-SEP-C and 2 more",
        ),
        (but(chains=frozenset({"CILIUM_INPUT"})), Severity.NOTE, "CILIUM_INPUT"),
        (
            but(
                chains=frozenset({"KUBE-ROUTER-SERVICES", "KUBE-ROUTER-INPUT"}),
                links=("eth0", "kube-dummy-if"),
            ),
            Severity.PROBLEM,
            "of kube-router's service proxy: KUBE-ROUTER-SERVICES and 1 more",
        ),
        (
            beside(nft_tables=("ip kube-proxy", "ip6 kube-proxy")),
            Severity.PROBLEM,
            "nft table ip kube-proxy and 1 more",
        ),
        (
            beside(
                filters={IPFamily.IPV4: (FilterTable(policies={"FORWARD": "DROP"}),)}
            ),
            Severity.NOTE,
            "DROP",
        ),
        (beside(conntrack=ConntrackFill(900, 1000)), Severity.PROBLEM, "900 of 1,000"),
        (but(sockets=frozenset({HEALTHZ})), Severity.PROBLEM, "10256 (healthz"),
        (but(bridges=("cni0",)), Severity.NOTE, "br_netfilter is not loaded"),
        (sysctl(**{"net/ipv4/ip_forward": "0"}), Severity.NOTE, "off"),
        (
            sysctl(**{LOCAL_PORTS_SYSCTL: "1024 65535"}),
            Severity.NOTE,
            "30000-32767 are also this host's own",
        ),
        (but(unread=("iptables: EPERM",)), Severity.NOTE, "iptables: EPERM"),
    ],
)
def test_what_is_wrong(facts: NodeFacts, severity: Severity, told: str) -> None:
    """One finding more, with what to do, and as bad as it is."""
    wrong = [
        f for f in check_before(facts, ProxyConfig()) if f.severity is not Severity.OK
    ]
    (finding,) = wrong
    assert finding.severity is severity
    assert told in finding.found
    assert finding.advice or finding.subject == "not known"


@pytest.mark.parametrize(
    "facts",
    [
        but(bridges=("cni0",), sysctls={**GOOD.sysctls, BRIDGE_SYSCTL: "1"}),
        sysctl(
            **{LOCAL_PORTS_SYSCTL: "1024 65535", RESERVED_PORTS_SYSCTL: "30000-32767"}
        ),
        sysctl(**{LOCAL_PORTS_SYSCTL: "no numbers"}),
        beside(conntrack=ConntrackFill(1, 0)),
        NodeFacts(),
    ],
)
def test_what_is_not(facts: NodeFacts) -> None:
    """In order, or not known, and nothing is made up."""
    found = check_before(facts, ProxyConfig())
    assert {f.severity for f in found} <= {Severity.OK}


@pytest.mark.parametrize(
    ("modules", "severities"),
    [
        ({"ip_vs": True, "nft_masq": None}, [Severity.NOTE]),
        ({"ip_vs": False, "nft_masq": None}, [Severity.NOTE, Severity.PROBLEM]),
    ],
)
def test_what_a_container_cannot_see_is_not_missing(
    modules: dict[str, bool | None], severities: list[Severity]
) -> None:
    """A module whose file cannot be looked for may be there."""
    found = check_before(but(modules=modules), ProxyConfig())
    assert [f.severity for f in found if f.subject == "modules"] == severities


def test_a_daemon_has_its_ports() -> None:
    """They are its own then."""
    facts = but(sockets=frozenset({HEALTHZ}))
    found = check_before(facts, ProxyConfig(), has_daemon=True)
    assert {f.severity for f in found} == {Severity.OK}


def test_beside_kube_proxy() -> None:
    """With a name of its own ipvsctl serves what is given to it."""
    facts = but(processes=("kube-proxy",), chains=frozenset({"KUBE-SVC-A"}))
    found = check_before(facts, ProxyConfig(service_proxy_name="ipvsctl"))
    assert {f.severity for f in found} == {Severity.OK}


def test_estimators() -> None:
    """Many of them in one timer cost packets time; none of them, all counting."""
    (found,) = check_estimators(GOOD, MANY_ESTIMATORS)
    assert found.severity is Severity.NOTE
    assert "20,000, all in one timer" in found.found
    assert [*check_estimators(GOOD, MANY_ESTIMATORS - 1)] == []
    threads = sysctl(**{ESTIMATOR_SYSCTL: "0"})
    assert [*check_estimators(threads, 10 * MANY_ESTIMATORS)] == []
    off = sysctl(**{ESTIMATION_SYSCTL: "0"})
    assert [*check_estimators(off, MANY_ESTIMATORS)] == []
    (note,) = (f for f in check_before(off, ProxyConfig()) if f.severity != "ok")
    assert note.subject == "estimators"
    assert "traffic metrics stand still" in note.advice
