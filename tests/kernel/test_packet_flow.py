"""The packet tracer tells the truth: a real kernel does the same with a state."""

import socket
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import ip_interface

import pytest

from ipvsctl.kernel.iptables import Iptables
from ipvsctl.model.net import IPAddress, IPFamily
from ipvsctl.model.state import NodeState
from ipvsctl.plan.diff.rules import plan_rules
from ipvsctl.plan.trace.outcome import Fate, Outcome
from ipvsctl.wire.ipset.save_text import render_ipset
from ipvsctl.wire.ipvs.save_text import render_ipvsadm
from tests.lab.netns import Netns, inside
from tests.lab.topology import VIP_NETWORKS, Cluster, Host
from tests.lab.traffic import ANSWER_S, Servers, ask
from tests.plan.trace.one_node import BOTH, SERVED, address, node_state, send

pytestmark = pytest.mark.kernel

_ATTEMPTS = 2
"""As many as there are real servers at most; `rr` asks each once."""

_LOST_S = 2.5
"""When a question counts as lost. A refusal is noticed after the first retransmission,
at 1 s: where both ends share a CPU it comes while connect() still holds the socket
(tcp_ipv4.c:tcp_v4_err)."""

_ECHO = {
    # Type, code, checksum, identifier, sequence; the kernel fills in the second one's
    # checksum.
    IPFamily.IPV4: bytes.fromhex("0800 f7fd 0001 0001"),
    IPFamily.IPV6: bytes.fromhex("8000 0000 0001 0001"),
}
_ECHO_REPLY = {IPFamily.IPV4: 0, IPFamily.IPV6: 129}
_ICMP = {
    IPFamily.IPV4: socket.IPPROTO_ICMP,
    IPFamily.IPV6: socket.IPPROTO_ICMPV6,
}

_SOURCES = ("client", "outsider", "pod", "neighbour", "node", "vip")
_PODS = {"pod": "pod-0-0", "far pod": "pod-1-0"}


@dataclass(frozen=True, slots=True)
class Question:
    """Who asks what; `vip` is the host, from the address it asks."""

    source: str
    name: str
    port: int


_QUESTIONS = [
    Question(source, name, port)
    for source in _SOURCES
    for name, port in (
        *((name, port) for name, port, _ in SERVED),
        ("cluster ip", 22),
        ("node", 22),
    )
    # From the node's address to itself is what `node` asks.
    if (source, name) != ("vip", "node")
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
        # As CNI plugins do. The physdev match loads br_netfilter, which sends an
        # answer that a pod gave to itself straight back to the port it came from
        # (br_netfilter_hooks.c:br_nf_pre_routing_finish).
        port = ["link", "set", _PODS["pod"], "type", "bridge_slave", "hairpin", "on"]
        run("ip", *port, lines=[])


def run(*command: str, lines: list[str]) -> None:
    """Run a command with lines of input."""
    text = "".join(f"{line}\n" for line in lines)
    subprocess.run(command, input=text, text=True, check=True)


def told(outcome: Outcome) -> object:
    """What a client and the servers should see: a word, or a set of `answered`."""
    if outcome.fate is Fate.DROPPED:
        return "lost"
    # Nobody listens on the host, so its own refusal looks like the filter's.
    if outcome.fate is not Fate.BALANCED:
        return "refused"
    return {(way.endpoint.address, way.masqueraded) for way in outcome.deliveries}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Asks questions in a cluster of namespaces.

    Attributes:
        hosts: where each source is.
        servers: addresses by the name a server answers with.
    """

    family: IPFamily
    hosts: Mapping[str, Host]
    servers: Mapping[str, IPAddress]

    def seen(self, question: Question, wait_s: float = ANSWER_S) -> object:
        """What a client and the servers do see within a time."""
        target = address(self.family, question.name)
        own = target
        if question.source != "vip":
            own = address(self.family, question.source)
        found = set()
        for _ in range(_ATTEMPTS):
            try:
                answer = ask(
                    self.hosts[question.source].netns,
                    target,
                    question.port,
                    source=own,
                    timeout_s=wait_s,
                )
            except ConnectionRefusedError:
                return "refused"
            except TimeoutError:
                return "lost"
            found.add((self.servers[answer.server], answer.source != own))
        return found


def without_invisible(source: str, what: object) -> object:
    """The node's own address may be masqueraded to what it was already."""
    if source == "node" and isinstance(what, set):
        return {endpoint for endpoint, _ in what}
    return what


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
    for name in _PODS.values():
        pod = cluster.pods[name]
        servers.add(pod.netns, pod.address(family), 8080)
    asker = Asker(
        family=family,
        hosts={
            "client": cluster.client,
            "outsider": cluster.external,
            "pod": cluster.pods["pod-0-0"],
            "neighbour": cluster.pods["pod-0-1"],
            "node": node,
            "vip": node,
        },
        servers={name: address(family, part) for part, name in _PODS.items()},
    )
    traced = {
        question: told(
            send(state, family, question.source, question.name, question.port)
        )
        for question in _QUESTIONS
    }

    # Those without an answer wait side by side; the others in turn, for `rr`.
    waiting = [question for question in _QUESTIONS if traced[question] == "lost"]
    with ThreadPoolExecutor(len(waiting)) as pool:
        results = pool.map(lambda question: asker.seen(question, _LOST_S), waiting)
        seen = {
            question: asker.seen(question)
            for question in _QUESTIONS
            if question not in waiting
        }
        seen.update(zip(waiting, results, strict=True))

    differ = {
        question: f"traced {traced[question]}, seen {seen[question]}"
        for question in _QUESTIONS
        if without_invisible(question.source, seen[question])
        != without_invisible(question.source, traced[question])
    }
    assert not differ


@BOTH
def test_a_vip_answers_a_ping(cluster: Cluster, family: IPFamily) -> None:
    """Echo requests pass the filter that rejects everything else without a service."""
    install(cluster.nodes[0].netns, family, node_state(family))
    vip = address(family, "cluster ip")
    with inside(cluster.client.netns):
        pinging = socket.socket(family, socket.SOCK_RAW, _ICMP[family])
    with pinging:
        pinging.settimeout(ANSWER_S)
        pinging.connect((str(vip), 0))
        pinging.send(_ECHO[family])
        answer = pinging.recv(1024)

    # IPv4 raw sockets also get the IP header.
    header = (answer[0] & 0xF) * 4 if family is IPFamily.IPV4 else 0
    assert answer[header] == _ECHO_REPLY[family]
