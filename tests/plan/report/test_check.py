"""What a node is told about itself."""

import pytest

from ipvsctl.model.capabilities import Capabilities
from ipvsctl.model.config import (
    Compatibility,
    NodePortAddresses,
    ProxyConfig,
    VipBinding,
)
from ipvsctl.model.ipvs import Timeouts
from ipvsctl.model.net import (
    IPFamily,
    IPv4Address,
    Protocol,
    parse_address,
    parse_network,
)
from ipvsctl.model.sets import SetEntry, SetKey, SetRole, set_key
from ipvsctl.model.state import NodeState, Observed
from ipvsctl.plan.report.check import (
    KEEPALIVE_SYSCTL,
    MANY_VIPS,
    check_node,
)
from ipvsctl.plan.report.findings import Finding, Severity
from ipvsctl.plan.union.node import REUSE_MODE_SYSCTL, wanted_sysctls
from tests.addresses import later

ROUTE = ProxyConfig(vip_binding=VipBinding.ROUTE)
AUTO = ProxyConfig(vip_binding=VipBinding.AUTO)
KUBE_PROXY = Compatibility.KUBE_PROXY


def vips(count: int) -> frozenset[IPv4Address]:
    """So many VIPs."""
    return frozenset(later(IPv4Address("10.96.0.0"), i) for i in range(count))


def find(
    subject: str,
    config: ProxyConfig | None = None,
    *,
    capabilities: Capabilities | None = None,
    observed: NodeState | None = None,
    desired: NodeState | None = None,
    has_daemon: bool = False,
) -> Finding | None:
    """The only finding about a subject, if there is one."""
    findings = check_node(
        Observed(state=observed or NodeState()),
        capabilities or Capabilities(),
        config or ProxyConfig(),
        desired or observed or NodeState(),
        has_daemon=has_daemon,
    )
    found = [finding for finding in findings if finding.subject == subject]
    assert len(found) <= 1
    return found[0] if found else None


MANY = NodeState(addresses=vips(MANY_VIPS + 1))
MANY_ROUTES = NodeState(routes=dict.fromkeys(vips(MANY_VIPS + 1)))
FEW = NodeState(addresses=vips(MANY_VIPS), routes=dict.fromkeys(vips(MANY_VIPS)))


@pytest.mark.parametrize(
    ("config", "observed", "desired", "found", "advice"),
    [
        (ProxyConfig(), NodeState(), None, "0, vipBinding address", ""),
        (ProxyConfig(), FEW, None, "5000, vipBinding address", ""),
        (ProxyConfig(), MANY, None, "5001, vipBinding address", "set vipBinding: "),
        (ProxyConfig(), FEW, MANY, "5001, vipBinding address", "set vipBinding: "),
        (ProxyConfig(), MANY, FEW, "5000, vipBinding address", ""),
        (ProxyConfig(), MANY, NodeState(), "0, vipBinding address", ""),
        (ROUTE, MANY, None, "5001, vipBinding route", ""),
        (ROUTE, FEW, MANY_ROUTES, "5001, vipBinding route", ""),
        (
            ProxyConfig(compatibility=KUBE_PROXY, vip_binding=VipBinding.ROUTE),
            MANY,
            None,
            "5001, vipBinding address",
            "set compatibility: none and vipBinding: ",
        ),
    ],
)
def test_vip_binding(
    config: ProxyConfig,
    observed: NodeState,
    desired: NodeState | None,
    found: str,
    advice: str,
) -> None:
    """More than 5,000 VIPs, of those that are to be if known, had better be routes."""
    finding = find("VIPs", config, observed=observed, desired=desired)
    assert finding is not None
    assert finding.found == found
    assert finding.severity is (Severity.NOTE if advice else Severity.OK)
    assert bool(finding.advice) is bool(advice)
    assert finding.advice.startswith(advice)


@pytest.mark.parametrize(
    ("observed", "desired", "has_daemon", "found", "advice"),
    [
        (NodeState(), 1_999, False, "1999, vipBinding auto: address", ""),
        (NodeState(), 2_000, False, "2000, vipBinding auto: route", ""),
        (NodeState(), 2_000, True, "2000, vipBinding auto: route", ""),
        (MANY, 2_500, False, "2500, vipBinding auto: address", ""),
        (MANY, 2_500, True, "2500, vipBinding auto: address", ""),
        (MANY, 2_501, False, "2501, vipBinding auto: route", ""),
        (
            MANY,
            2_501,
            True,
            "2501, vipBinding auto: address",
            "restart ipvsctl run to have route: it chooses at its start",
        ),
        (MANY_ROUTES, 1_500, True, "1500, vipBinding auto: route", ""),
        (
            MANY_ROUTES,
            1_499,
            True,
            "1499, vipBinding auto: route",
            "restart ipvsctl run to have address: it chooses at its start",
        ),
    ],
)
def test_what_auto_is_here(
    observed: NodeState, desired: int, *, has_daemon: bool, found: str, advice: str
) -> None:
    """A daemon has what the kernel holds; without one it is what a start would have."""
    finding = find(
        "VIPs",
        AUTO,
        observed=observed,
        desired=NodeState(addresses=vips(desired)),
        has_daemon=has_daemon,
    )
    assert finding is not None
    assert (finding.found, finding.advice) == (found, advice)
    assert finding.severity is (Severity.NOTE if advice else Severity.OK)


@pytest.mark.parametrize(
    ("configured_s", "kernel_s", "keepalive", "severity"),
    [
        (0, 900, "7200", Severity.NOTE),
        (0, 7200, "7200", Severity.NOTE),
        (0, 7201, "7200", Severity.OK),
        (7201, 900, "7200", Severity.OK),
        (900, 7201, "7200", Severity.NOTE),
        (0, 900, "600", Severity.OK),
        (0, 900, None, None),
        (0, 0, "7200", None),
    ],
)
def test_tcp_timeout(
    configured_s: int, kernel_s: int, keepalive: str | None, severity: Severity | None
) -> None:
    """It should outlast the keepalive; the setting counts before the kernel's."""
    sysctls = {} if keepalive is None else {KEEPALIVE_SYSCTL: keepalive}
    finding = find(
        "IPVS TCP timeout",
        ProxyConfig(tcp_timeout_s=configured_s),
        observed=NodeState(timeouts=Timeouts(tcp_s=kernel_s), sysctls=sysctls),
    )
    assert (finding and finding.severity) == severity
    if finding is not None:
        assert bool(finding.advice) is (severity is Severity.NOTE)


@pytest.mark.parametrize(
    ("scheduler", "usable", "severity", "found"),
    [
        ("rr", {"rr", "mh"}, Severity.OK, "rr wanted; usable: mh rr"),
        ("wlc", {"rr"}, Severity.PROBLEM, "wlc wanted; usable: rr"),
        ("rr", set[str](), Severity.PROBLEM, "rr wanted; usable: none"),
    ],
)
def test_schedulers(
    scheduler: str, usable: set[str], severity: Severity, found: str
) -> None:
    """A configured scheduler that the kernel lacks is a problem; its module is told."""
    finding = find(
        "schedulers",
        ProxyConfig(scheduler=scheduler),
        capabilities=Capabilities(schedulers=frozenset(usable)),
    )
    assert finding is not None
    assert (finding.severity, finding.found) == (severity, found)
    assert (f"ip_vs_{scheduler}," in finding.advice) is (severity is Severity.PROBLEM)


@pytest.mark.parametrize(
    ("release", "sysctls", "found"),
    [
        ((5, 8), {REUSE_MODE_SYSCTL: "1"}, "mode 0, for kernels before 5.9"),
        ((5, 9), {REUSE_MODE_SYSCTL: "1"}, "mode 1, left as it is from 5.9 on"),
        ((6, 1), {}, "mode unknown, left as it is from 5.9 on"),
    ],
)
def test_connection_reuse(
    release: tuple[int, int], sysctls: dict[str, str], found: str
) -> None:
    """The mode is the one that is set, or what is there where none is."""
    assert find(
        "connection reuse",
        capabilities=Capabilities(release=release),
        observed=NodeState(sysctls=sysctls),
    ) == Finding(severity=Severity.OK, subject="connection reuse", found=found)


@pytest.mark.parametrize(
    ("families", "found"),
    [
        ((IPFamily.IPV4, IPFamily.IPV6), "5.10 IPv4 IPv6"),
        ((IPFamily.IPV4,), "5.10 IPv4"),
    ],
)
def test_kernel(families: tuple[IPFamily, ...], found: str) -> None:
    """Its release and families are told."""
    capabilities = Capabilities(release=(5, 10), families=families)
    assert find("kernel", capabilities=capabilities) == Finding(
        severity=Severity.OK, subject="kernel", found=found
    )


CONNTRACK = "net/ipv4/vs/conntrack"


def test_sysctls_that_are_not_kept() -> None:
    """While a daemon runs they are what it sets; before that it will set them."""
    state = NodeState(sysctls={CONNTRACK: "0"})
    observed, capabilities = Observed(state=state), Capabilities()

    def look(*, has_daemon: bool) -> Finding:
        findings = check_node(
            observed, capabilities, ProxyConfig(), state, has_daemon=has_daemon
        )
        (found,) = (f for f in findings if f.subject == "sysctls")
        return found

    assert look(has_daemon=False).severity is Severity.OK
    assert f"will set {CONNTRACK}=1" in look(has_daemon=False).found
    note = look(has_daemon=True)
    assert note.severity is Severity.NOTE
    assert f"{CONNTRACK} is 0 and not 1" in note.found
    assert "expire_nodest_conn is not there" in note.found
    wanted = dict(wanted_sysctls(ProxyConfig(), capabilities))
    found = find("sysctls", observed=NodeState(sysctls=wanted))
    assert found is not None
    assert found.found == "those of IPVS are as wanted"


@pytest.mark.parametrize(
    ("strict_arp", "ignore", "role", "is_noted"),
    [
        (False, "0", SetRole.LOAD_BALANCER, True),
        (False, "0", SetRole.LOAD_BALANCER_LOCAL, True),
        (False, "0", SetRole.CLUSTER_IP, False),
        (False, "1", SetRole.LOAD_BALANCER, False),
        # The daemon sets it by itself.
        (None, "0", SetRole.LOAD_BALANCER, False),
        (True, "0", SetRole.LOAD_BALANCER, False),
    ],
)
def test_arp_for_load_balancer_vips(
    strict_arp: bool | None,  # noqa: FBT001  # a row's value
    ignore: str,
    role: SetRole,
    is_noted: bool,  # noqa: FBT001  # likewise
) -> None:
    """Who asked that every node answers is told what that does."""
    key = SetKey(role, IPFamily.IPV4)
    entry = SetEntry(address=parse_address("203.0.113.1"))
    state = NodeState(
        sysctls={"net/ipv4/conf/all/arp_ignore": ignore},
        entries={key: frozenset({entry})},
    )
    found = find("ARP", ProxyConfig(strict_arp=strict_arp), observed=state)
    assert (found is not None) == is_noted


_NONE_THERE = (
    "node ports are on no loopback address with compatibility: kube-proxy, as in its"
    " IPVS mode: set compatibility: none"
)
LOCALHOST = NodePortAddresses(localhost=True)
NODE_PORTS = NodeState(
    entries={
        set_key(SetRole.NODE_PORT, IPFamily.IPV4): frozenset(
            SetEntry(address=parse_address(address), protocol=protocol, port=port)
            for address in ("10.0.0.10", "192.168.7.1")
            for protocol, port in (
                (Protocol.TCP, 30080),
                (Protocol.UDP, 30053),
                (Protocol.SCTP, 30054),
            )
        )
    }
)


@pytest.mark.parametrize(
    ("config", "desired", "found", "advice"),
    [
        (ProxyConfig(), NODE_PORTS, None, ""),
        (
            ProxyConfig(node_port_addresses=LOCALHOST),
            NodeState(),
            "ipvsctl run relays connections to node ports on 127.0.0.1 and ::1",
            "",
        ),
        (
            ProxyConfig(
                node_port_addresses=NodePortAddresses(
                    networks=(parse_network("127.0.0.0/8"),)
                )
            ),
            NODE_PORTS,
            "ipvsctl run relays connections to node ports on 127.0.0.1",
            "2 node ports for UDP or SCTP are not there: it relays TCP alone",
        ),
        (
            ProxyConfig(node_port_addresses=LOCALHOST, compatibility=KUBE_PROXY),
            NODE_PORTS,
            "nodePortAddresses localhost",
            _NONE_THERE,
        ),
    ],
)
def test_localhost(
    config: ProxyConfig, desired: NodeState, found: str | None, advice: str
) -> None:
    """It is said once for the node that UDP and SCTP are not there."""
    finding = find("localhost", config, desired=desired)
    assert (finding.found if finding else None) == found
    if finding is not None:
        assert finding.advice == advice
        assert finding.severity is (Severity.NOTE if advice else Severity.OK)
