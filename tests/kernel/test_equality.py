"""All sixteen clusters in a kernel, read back with the tools that operators have.

What `ipvsctl apply` leaves with `compatibility: kube-proxy` is what kube-proxy left in
the captures; each other rule has the name of an improvement.
"""

from collections.abc import Iterator
from ipaddress import ip_interface
from pathlib import Path

import pytest

from ipvsctl.cluster.manifests.manifest import Manifests, changes
from ipvsctl.model.config import Compatibility, ProxyConfig
from ipvsctl.model.net import parse_address, parse_network
from ipvsctl.plan.diff.ops import Plan
from ipvsctl.sources.manifests import load_manifests
from tests.addresses import later
from tests.builders import endpoint_slice, service
from tests.kernel.kube_proxys_node import restore
from tests.kernel.node import has, proxied
from tests.kernel.tools import Seen, look
from tests.lab.netns import Netns, create
from tests.test_scenarios import (
    CLUSTER_CIDRS,
    SCENARIOS,
    captured,
    differing_rules,
    each_scenario,
    expected_entries,
)

pytestmark = pytest.mark.kernel

CONFIG = ProxyConfig(
    cluster_cidrs=tuple(map(parse_network, CLUSTER_CIDRS.split(","))),
    compatibility=Compatibility.KUBE_PROXY,
)


@pytest.fixture
def node() -> Iterator[Netns]:
    """The namespace of node-0 as it was captured: one link with both addresses."""
    with create("node-0") as netns:
        netns.add_dummy("eth0")
        netns.link_up("eth0")
        netns.add_address("eth0", ip_interface("10.0.0.10/24"))
        netns.add_address("eth0", ip_interface("fd00:10::10/64"))
        yield netns


@each_scenario
def test_the_kernel_holds_what_kube_proxy_left(scenario: Path, node: Netns) -> None:
    """IPVS, addresses and entries are the capture's, and the rules but for reasons."""
    assert apply(scenario, node)
    assert_equal(look(node), scenario)


@pytest.mark.parametrize("number", [3, 8, 9, 16])
def test_a_captured_node_is_taken_over(number: int, node: Netns) -> None:
    """On a node restored from the captures, only what has a reason is changed."""
    scenario = SCENARIOS[number - 1]
    restore(
        node,
        Seen(
            ipvsadm=captured(scenario, "ipvsadm-save.txt"),
            creates=captured(scenario, "ipset-create.txt"),
            entries=captured(scenario, "ipset-entries.txt"),
            rules={
                tool: captured(scenario, f"{tool}-save.txt")
                for tool in ("iptables", "ip6tables")
            },
            addresses=captured(scenario, "addresses.txt"),
        ),
    )
    plan = [str(op) for op in apply(scenario, node)]
    assert [line for line in plan if " server " in line or " address " in line] == []
    assert_equal(look(node), scenario)


def apply(scenario: Path, node: Netns) -> Plan:
    """Do what `ipvsctl apply` does; return what that was."""
    with proxied(node, config=CONFIG) as proxy:
        proxy.take(*changes(Manifests(), load_manifests([scenario / "cluster.yaml"])))
        return proxy.audit().plan


def assert_equal(seen: Seen, scenario: Path) -> None:
    """The tools see what they saw on kube-proxy's node."""
    assert seen.ipvsadm == captured(scenario, "ipvsadm-save.txt")
    assert seen.addresses == captured(scenario, "addresses.txt")
    assert seen.entries == expected_entries(scenario)
    for tool, rules in seen.rules.items():
        found = differing_rules(rules, scenario, tool)
        assert [difference for difference in found if not difference.reason] == []


def test_five_thousand_services_have_as_many_rules_as_one(node: Netns) -> None:
    """`iptables-save` prints the same, and no sync touches a rule."""
    with proxied(node, config=CONFIG) as proxy:
        proxy.take(has(service()), has(endpoint_slice()))
        proxy.audit()
        of_one = look(node)
        first = parse_address("10.96.1.0")
        for number in range(5000):
            name = f"s{number}"
            proxy.take(has(service(name, cluster_ips=(later(first, number),))))
        plan = proxy.sync().plan
        assert not [op for op in plan if "rules" in str(op)]
        of_many = look(node)
    assert len(of_many.addresses) == 5001
    assert of_many.rules == of_one.rules
    assert sum(line.startswith("-A") for line in of_one.rules["iptables"]) > 40
