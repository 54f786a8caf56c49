"""The packet tracer tells the truth: a real kernel does the same with a state."""

import subprocess
from collections.abc import Mapping
from ipaddress import ip_interface

import pytest

from ipvsctl.kernel.iptables import Iptables
from ipvsctl.model.ipvs import RealServerKey
from ipvsctl.model.net import IPAddress, IPFamily
from ipvsctl.model.state import NodeState
from ipvsctl.plan.rules import plan_rules
from ipvsctl.wire.save_text import render_ipset, render_ipvsadm
from tests.lab.netns import Netns, inside
from tests.lab.topology import VIP_NETWORKS, Cluster, Host
from tests.lab.traffic import Servers, ask
from tests.plan.one_node import BOTH, SERVED, address, node_state, send
from tests.plan.packets import Fate, Outcome

pytestmark = pytest.mark.kernel

_ATTEMPTS = 2
"""As many as there are real servers at most; `rr` asks each once."""

_SENT = [
    (source, name, port)
    for source in ("client", "outsider", "pod", "neighbour", "node", "vip")
    for name, port in (
        *((name, port) for name, port, _ in SERVED),
        ("cluster ip", 22),
        ("node", 22),
    )
    # The host uses its own address to reach itself, and that is `node`.
    if not (source == "vip" and name == "node")
]


def install(netns: Netns, family: IPFamily, state: NodeState) -> None:
    """Put a state into a node with the tools an operator would use."""
    netns.sysctl("net/ipv4/vs/conntrack", "1")
    netns.add_dummy("kube-ipvs0")
    netns.link_up("kube-ipvs0")
    for vip in state.addresses:
        netns.add_address("kube-ipvs0", ip_interface(vip))
    with inside(netns):
        run("ipset", "restore", lines=render_ipset(state))
        run("ipvsadm", "-R", lines=render_ipvsadm(state))
        tables = Iptables(family)
        change = plan_rules(family, tables.read(), state.chains[family])
        assert change is not None
        tables.restore(change)


def run(*command: str, lines: list[str]) -> None:
    """Run a command with lines of input."""
    text = "".join(f"{line}\n" for line in lines)
    subprocess.run(command, input=text, text=True, check=True)


def expected(outcome: Outcome) -> object:
    """What a client and the servers should see."""
    if outcome.fate is Fate.BALANCED:
        return {
            (delivery.endpoint.address, delivery.masqueraded)
            for delivery in outcome.deliveries
        }
    # Nobody listens on the host, so its own refusal looks like the filter's.
    return "lost" if outcome.fate is Fate.DROPPED else "refused"


def seen(
    host: Host,
    source: IPAddress,
    target: RealServerKey,
    servers: Mapping[str, IPAddress],
) -> object:
    """What a client and the servers did see."""
    found = set()
    for _ in range(_ATTEMPTS):
        try:
            answer = ask(
                host.netns, target.address, target.port, source=source, timeout_s=0.8
            )
        except ConnectionRefusedError:
            return "refused"
        except TimeoutError:
            return "lost"
        found.add((servers[answer.server], answer.source != source))
    return found


@BOTH
def test_kernel_does_what_the_trace_says(
    cluster: Cluster, servers: Servers, family: IPFamily
) -> None:
    """Every source to every way in: same endpoints, masquerading and refusals."""
    state = node_state(family)
    node = cluster.nodes[0]
    install(node.netns, family, state)
    for network in VIP_NETWORKS:
        if network.version == node.address(family).version:
            cluster.external.netns.add_route(network, via=node.address(family))
    pods = {"pod": "pod-0-0", "far pod": "pod-1-0"}
    for name in pods.values():
        pod = cluster.pods[name]
        servers.add(pod.netns, pod.address(family), 8080)
    addresses = {pods[name]: address(family, name) for name in pods}
    hosts = {
        "client": cluster.client,
        "outsider": cluster.external,
        "pod": cluster.pods["pod-0-0"],
        "neighbour": cluster.pods["pod-0-1"],
        "node": node,
        "vip": node,
    }

    traced, happened = {}, {}
    for source, name, port in _SENT:
        target = RealServerKey(address(family, name), port)
        own = target.address if source == "vip" else address(family, source)
        traced[source, name, port] = expected(send(state, family, source, name, port))
        happened[source, name, port] = seen(hosts[source], own, target, addresses)

    differ = {
        sent: (traced[sent], happened[sent])
        for sent in _SENT
        if happened[sent] != traced[sent]
    }
    assert not differ
