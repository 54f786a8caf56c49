"""The lab has what the other kernel tests build on."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from ipvsctl.model.net import IPFamily, Protocol, parse_address
from tests.lab.netns import Netns, inside
from tests.lab.topology import Cluster
from tests.lab.traffic import Servers, ask, connect

pytestmark = pytest.mark.kernel

_PORT = 8080


def test_ipvs_is_there_and_empty(netns: Netns) -> None:
    """A fresh namespace has IPVS with no virtual server in it."""
    del netns
    lines = Path("/proc/net/ip_vs").read_text().splitlines()
    assert lines[0].startswith("IP Virtual Server version")
    assert len(lines) == 3


def test_kernel_is_the_one_that_was_asked_for() -> None:
    """Its release begins with the version that the lab was told."""
    asked_for = os.environ.get("IPVSCTL_LAB_KERNEL", "")
    assert f"{os.uname().release}.".startswith(asked_for and f"{asked_for}.")


@pytest.mark.parametrize("attempt", [1, 2])
def test_namespaces_are_fresh(netns: Netns, attempt: int) -> None:
    """What one test leaves in its namespace the next one does not see."""
    del attempt
    # A module of tunnels puts links of its own into every namespace there is.
    links = {link.get("ifname") for link in netns.ip.get_links()}
    assert links - {"tunl0", "ip6tnl0"} == {"lo"}
    netns.add_dummy("kube-ipvs0")
    assert netns.index("kube-ipvs0") > 1


@pytest.mark.parametrize("family", list(IPFamily))
@pytest.mark.parametrize("protocol", list(Protocol))
def test_client_reaches_pod(
    cluster: Cluster, servers: Servers, family: IPFamily, protocol: Protocol
) -> None:
    """Plain routing leads from the outside client to a pod, with its own address."""
    pod = cluster.pods["pod-0-0"]
    servers.add(pod.netns, pod.address(family), _PORT, protocol=protocol)
    answer = ask(cluster.client.netns, pod.address(family), _PORT, protocol=protocol)
    assert answer.server == "pod-0-0"
    assert answer.source == cluster.client.address(family)


@pytest.mark.parametrize("family", list(IPFamily))
@pytest.mark.parametrize(
    ("source", "destination"),
    [
        ("pod-0-0", "pod-0-1"),
        ("pod-0-0", "pod-1-0"),
        ("pod-0-0", "external"),
        ("node-0", "pod-1-1"),
        ("node-1", "pod-0-1"),
        ("external", "pod-1-0"),
    ],
)
def test_everyone_reaches_everyone(
    cluster: Cluster, servers: Servers, family: IPFamily, source: str, destination: str
) -> None:
    """Pods, nodes and the hosts around them are routed to each other."""
    hosts = {
        host.name: host
        for host in (*cluster.nodes, cluster.external, *cluster.pods.values())
    }
    server = hosts[destination]
    servers.add(server.netns, server.address(family), _PORT)
    answer = ask(hosts[source].netns, server.address(family), _PORT)
    assert answer.server == destination
    if not source.startswith("node"):
        assert answer.source == hosts[source].address(family)


@pytest.mark.parametrize("text", ["192.168.3.175", "fd00:192:168:3::175"])
def test_external_service_address(
    cluster: Cluster, servers: Servers, text: str
) -> None:
    """Pods reach the address that Services without a selector point to."""
    address = parse_address(text)
    servers.add(cluster.external.netns, address, _PORT)
    answer = ask(cluster.pods["pod-0-0"].netns, address, _PORT)
    assert answer.server == "external"


def test_held_connection_asks_again(cluster: Cluster, servers: Servers) -> None:
    """A connection stays with its server and its port for as long as it is open."""
    pod = cluster.pods["pod-0-0"]
    servers.add(pod.netns, pod.ipv4, _PORT)
    with connect(cluster.client.netns, pod.ipv4, _PORT) as connection:
        answers = {connection.ask() for _ in range(3)}
        assert {answer.source_port for answer in answers} == {connection.source_port}


@pytest.mark.parametrize("family", list(IPFamily))
def test_no_refusal_is_left_out(cluster: Cluster, family: IPFamily) -> None:
    """Refusals in a row are all answered, whatever the kernel's usual limit."""
    pod = cluster.pods["pod-0-0"]
    for _ in range(100):
        with pytest.raises(ConnectionRefusedError):
            ask(
                cluster.client.netns,
                pod.address(family),
                _PORT,
                protocol=Protocol.UDP,
            )


@pytest.mark.parametrize("family", list(IPFamily))
def test_reject_is_noticed(cluster: Cluster, family: IPFamily) -> None:
    """A TCP client learns of an ICMP refusal, and does not try until its time is up.

    On a busy machine it may send again before the answer is there.
    """
    node, pod = cluster.nodes[0], cluster.pods["pod-0-0"]
    command = "iptables" if family is IPFamily.IPV4 else "ip6tables"
    with inside(node.netns):
        subprocess.run([command, "-A", "FORWARD", "-j", "REJECT"], check=True)
    with pytest.raises(ConnectionRefusedError):
        ask(cluster.client.netns, pod.address(family), _PORT)
    with inside(node.netns):
        saved = subprocess.run(
            [f"{command}-save", "-c", "-t", "filter"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    (refused,) = re.findall(r"\[(\d+):\d+\] -A FORWARD -j REJECT", saved)
    assert int(refused) >= 1


def test_refusal_and_loss_differ(cluster: Cluster) -> None:
    """A closed port refuses, an address nobody has loses the question."""
    pod = cluster.pods["pod-0-0"]
    with pytest.raises(ConnectionRefusedError):
        ask(cluster.client.netns, pod.ipv4, _PORT)
    nobody = parse_address("10.0.0.99")
    with pytest.raises(TimeoutError):
        ask(cluster.client.netns, nobody, _PORT, timeout_s=0.1)
