"""Whole clusters: what `ipvsctl render` prints against what a real kube-proxy left.

`golden/scenarios/*/cluster.yaml` is a cluster; `kube-proxy/` beside it is what
kube-proxy v1.36.2 in IPVS mode, with the cluster CIDRs below, made of it on node-0 of
Linux 6.1. With `compatibility: kube-proxy` we print the same, but for the improvements
named here; a difference without a name is a failure.
"""

from functools import cache
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ipvsctl.cli.app import app
from tests.peer.differences import Difference, as_one_node_port_set, rule_differences

SCENARIOS = sorted((Path(__file__).parent / "golden" / "scenarios").iterdir())
WHOLE_NODE = SCENARIOS[-1]
CLUSTER_CIDRS = "172.16.0.0/12,fd00:172::/32"
NODE_ADDRESSES = {"KUBE": ["10.0.0.10"], "KUBE-6": ["fd00:10::10"]}

each_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda p: p.name)
both_families = pytest.mark.parametrize("tool", ["iptables", "ip6tables"])


@cache
def rendered(scenario: Path, form: str) -> list[str]:
    """What `ipvsctl render -o FORM` prints for node-0; nothing may be wrong with it."""
    result = CliRunner().invoke(
        app,
        [
            *("render", "--manifests", str(scenario / "cluster.yaml"), "-o", form),
            *("--node-name", "node-0", "--cluster-cidr", CLUSTER_CIDRS),
            *("--node-addresses", "10.0.0.10,fd00:10::10"),
            *("--compatibility", "kube-proxy"),
        ],
    )
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout.splitlines()


def captured(scenario: Path, name: str) -> list[str]:
    """Lines of a capture."""
    return (scenario / "kube-proxy" / name).read_text().splitlines()


def expected_entries(scenario: Path) -> list[str]:
    """The capture's entries, node ports in sets of our own: I1."""
    return sorted(
        line
        for entry in captured(scenario, "ipset-entries.txt")
        for line in as_one_node_port_set(entry, NODE_ADDRESSES)
    )


def differing_rules(lines: list[str], scenario: Path, tool: str) -> list[Difference]:
    """The rules that only the capture has, or only we; each with its reason."""
    used = {line.split()[1] for line in captured(scenario, "ipset-entries.txt")}
    return rule_differences(lines, captured(scenario, f"{tool}-save.txt"), used)


@each_scenario
def test_virtual_servers(scenario: Path) -> None:
    """Every virtual server and real server, with all its settings, is kube-proxy's."""
    assert rendered(scenario, "ipvsadm") == captured(scenario, "ipvsadm-save.txt")


@each_scenario
def test_addresses(scenario: Path) -> None:
    """The same addresses are bound."""
    assert rendered(scenario, "addresses") == captured(scenario, "addresses.txt")


@each_scenario
def test_entries(scenario: Path) -> None:
    """Every set holds what kube-proxy's does, node ports in sets of our own (I1)."""
    ours = [line for line in rendered(scenario, "ipset") if line.startswith("add")]
    assert ours == expected_entries(scenario)


@each_scenario
def test_sets(scenario: Path) -> None:
    """Every set of kube-proxy's is there with its type and family, larger (I1)."""
    ours = {tuple(line.split()[:5]) for line in rendered(scenario, "ipset")}
    missing = [
        line.split()[1]
        for line in captured(scenario, "ipset-create.txt")
        if tuple(line.split()[:5]) not in ours
    ]
    assert [name for name in missing if "-NODE-PORT-" not in name] == []
    assert "KUBE-HEALTH-CHECK-NODE-PORT" not in missing


@both_families
@each_scenario
def test_rules(scenario: Path, tool: str) -> None:
    """Every rule that only one of both has, has a reason."""
    found = differing_rules(rendered(scenario, tool), scenario, tool)
    assert [difference for difference in found if not difference.reason] == []


@pytest.mark.parametrize(
    ("tool", "reasons"),
    [
        ("iptables", {"kube-proxy": {"I1"}, "ipvsctl": {"I1", "I2", "I11"}}),
        ("ip6tables", {"kube-proxy": {"I1"}, "ipvsctl": {"I1", "I2", "I11"}}),
    ],
)
def test_the_rules_of_the_whole_node_are_all_there(
    tool: str, reasons: dict[str, set[str]]
) -> None:
    """Of capture 16 only the rules on node-port sets are not ours as well."""
    found = differing_rules(rendered(WHOLE_NODE, tool), WHOLE_NODE, tool)
    assert {
        who: {d.reason for d in found if d.who == who}
        for who in ("kube-proxy", "ipvsctl")
    } == reasons
    theirs = [d.rule for d in found if d.who == "kube-proxy"]
    assert all(rule.startswith("-A KUBE-NODE-PORT ") for rule in theirs)


@both_families
def test_the_number_of_rules_does_not_depend_on_the_cluster(tool: str) -> None:
    """All sixteen clusters, from one Service to the whole node, have the same rules."""
    assert len({tuple(rendered(scenario, tool)) for scenario in SCENARIOS}) == 1
    theirs = {len(captured(scenario, f"{tool}-save.txt")) for scenario in SCENARIOS}
    assert len(theirs) > 1, "kube-proxy's do"


def test_the_captures_have_node_ports_of_every_kind() -> None:
    """The translation of I1 is put to use."""
    names = {
        line.split()[1]
        for scenario in SCENARIOS
        for line in captured(scenario, "ipset-entries.txt")
        if as_one_node_port_set(line, NODE_ADDRESSES) != [line]
    }
    assert names == {
        "KUBE-NODE-PORT-TCP",
        "KUBE-NODE-PORT-LOCAL-TCP",
        "KUBE-NODE-PORT-UDP",
        "KUBE-NODE-PORT-SCTP-HASH",
        "KUBE-6-NODE-PORT-TCP",
    }
