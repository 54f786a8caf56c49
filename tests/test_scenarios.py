"""Whole clusters against what a real kube-proxy left in the kernel for each.

`golden/scenarios/*/cluster.yaml` is a cluster; `kube-proxy/` beside it is what
kube-proxy v1.36.2 in IPVS mode, with the cluster CIDRs below, made of it on node-0 of
Linux 6.1. With `compatibility: kube-proxy` we plan the same.
"""

import re
from pathlib import Path

import pytest

from ipvsctl.cluster.manifest import Manifests, changes
from ipvsctl.cluster.store import Store
from ipvsctl.controller.compiler import Compiler
from ipvsctl.model.config import Compatibility, ProxyConfig
from ipvsctl.model.facts import KernelFacts
from ipvsctl.model.net import parse_address, parse_network
from ipvsctl.model.state import NodeState
from ipvsctl.sources.manifests import load_manifests
from ipvsctl.wire.save_text import render_addresses, render_ipset, render_ipvsadm

SCENARIOS = sorted((Path(__file__).parent / "golden" / "scenarios").iterdir())
CONFIG = ProxyConfig(
    cluster_cidrs=(parse_network("172.16.0.0/12"), parse_network("fd00:172::/32")),
    compatibility=Compatibility.KUBE_PROXY,
)
NODE_ADDRESSES = (parse_address("10.0.0.10"), parse_address("fd00:10::10"))


def planned(scenario: Path) -> NodeState:
    """The desired state of node-0."""
    store = Store("node-0")
    found = load_manifests([scenario / "cluster.yaml"])
    for event in changes(Manifests(), found):
        store.apply(event)
    compiler = Compiler(config=CONFIG, store=store, facts=KernelFacts())
    compiler.compile_dirty()
    compiler.set_host_addresses(NODE_ADDRESSES)
    assert compiler.problems() == ()
    return compiler.desired.state()


def captured(scenario: Path, name: str) -> list[str]:
    """Lines of a capture."""
    return (scenario / "kube-proxy" / name).read_text().splitlines()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda path: path.name)
def test_virtual_servers(scenario: Path) -> None:
    """Every virtual server and real server, with all its settings, is kube-proxy's."""
    assert render_ipvsadm(planned(scenario)) == captured(scenario, "ipvsadm-save.txt")


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda path: path.name)
def test_addresses(scenario: Path) -> None:
    """The same addresses are bound."""
    assert render_addresses(planned(scenario)) == captured(scenario, "addresses.txt")


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda path: path.name)
def test_entries(scenario: Path) -> None:
    """Every set holds what kube-proxy's does, node ports in sets of our own."""
    ours = [line for line in render_ipset(planned(scenario)) if line[:3] == "add"]
    theirs = captured(scenario, "ipset-entries.txt")
    assert ours == sorted(as_one_node_port_set(line) for line in theirs)


KUBE_PROXY_NODE_PORT = re.compile(
    r"add (KUBE(?:-6)?)-NODE-PORT(-LOCAL)?-(TCP|UDP|SCTP)\S* (?:\S+,sctp:)?(\d+)"
)


def as_one_node_port_set(line: str) -> str:
    """The line with one of kube-proxy's node ports as an address, protocol and port.

    kube-proxy has a bitmap of ports for TCP and UDP each, so that a cluster IP with
    port 31000 is taken for node port 31000 (k/k#132068), and addresses for SCTP.
    """
    found = KUBE_PROXY_NODE_PORT.fullmatch(line)
    if found is None:
        return line
    prefix, local, protocol, port = found.groups()
    address = NODE_ADDRESSES[0] if prefix == "KUBE" else NODE_ADDRESSES[1]
    name = f"{prefix}-NODE-PORT{local or ''}"
    return f"add {name} {address},{protocol.lower()}:{port}"


def test_the_captures_have_node_ports_of_every_kind() -> None:
    """The translation above is put to use."""
    lines = [
        line
        for scenario in SCENARIOS
        for line in captured(scenario, "ipset-entries.txt")
    ]
    found = [m for m in map(KUBE_PROXY_NODE_PORT.fullmatch, lines) if m]
    assert {m[3] for m in found} == {"TCP", "UDP", "SCTP"}
    assert {m[2] for m in found} == {None, "-LOCAL"}
    assert {m[1] for m in found} == {"KUBE", "KUBE-6"}
