"""A process that is killed while it changes a real kernel, at any moment.

It is a fork of this one, so that hundreds die in the time that one takes to start.
"""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Final

import msgspec
import pytest

from ipvsctl.kernel.linux import LinuxKernel
from ipvsctl.model.config import FirewallKind, ProxyConfig, VipBinding
from ipvsctl.model.net import Protocol, parse_address
from ipvsctl.model.objects import Service, ServicePort, ServiceType
from ipvsctl.model.problem import ObjectRef
from ipvsctl.model.state import NodeState
from ipvsctl.plan.diff.plan import DiffOptions, diff
from tests.kernel.firewalls import require
from tests.kernel.node import CONFIG, ProxiedNode, has, has_nodes, proxied, slices
from tests.lab.netns import inside
from tests.lab.topology import Cluster, cluster
from tests.lab.traffic import Servers, ask

pytestmark = pytest.mark.kernel

KILLS: Final = int(os.environ.get("IPVSCTL_KILLS", "2"))
"""Of each kind; `IPVSCTL_KILLS=300 nox -s kernel -- -k kills` for more."""

PORTS: Final = {"http": 8080}
FOREIGN: Final = "ipvsadm -A -t 203.0.113.70:80 -s rr"


def made(name: str, last: int) -> Service:
    """A Service with a cluster IP, a node port and an external IP."""
    return Service(
        ref=ObjectRef("default", name),
        type=ServiceType.NODE_PORT,
        cluster_ips=(
            parse_address(f"10.96.0.{last}"),
            parse_address(f"fd00:10:96::{last}"),
        ),
        external_ips=(parse_address(f"203.0.113.{last}"),),
        ports=(
            ServicePort(
                name="http", protocol=Protocol.TCP, port=80, node_port=30000 + last
            ),
        ),
    )


STAYS: Final = made("stays", 10)
OTHERS: Final = tuple(made(f"other-{number}", 20 + number) for number in range(20))
VIP: Final = STAYS.cluster_ips[0]


@pytest.fixture(scope="module")
def world() -> Iterator[Cluster]:
    """Two nodes with pods."""
    with cluster() as built, Servers() as servers:
        for pod in built.pods.values():
            servers.add(pod.netns, pod.ipv4, 8080)
        yield built


def heard(node: ProxiedNode, world: Cluster, services: tuple[Service, ...]) -> None:
    """Have a node know these Services."""
    node.take(*has_nodes(world.nodes))
    for service in services:
        node.take(has(service), *slices(service, [*world.pods.values()], PORTS))


def killed(work: Callable[[], object], after_s: float) -> bool:
    """Have a fork do something, and kill it then; whether it was not done before."""
    child = os.fork()
    if not child:
        # Whatever becomes of it, this process may not go on with the tests.
        try:
            work()
        finally:
            os._exit(0)
    time.sleep(after_s)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def taken_s(work: Callable[[], object]) -> float:
    """How long a fork takes for something, if nobody kills it."""
    begun = time.monotonic()
    child = os.fork()
    if not child:
        try:
            work()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    return time.monotonic() - begun


ADDRESSES: Final = CONFIG
ROUTES: Final = msgspec.structs.replace(CONFIG, vip_binding=VipBinding.ROUTE)
IPTABLES: Final = msgspec.structs.replace(CONFIG, firewall=FirewallKind.IPTABLES)
NFTABLES: Final = msgspec.structs.replace(CONFIG, firewall=FirewallKind.NFTABLES)
CASES: Final = {
    "address": (ADDRESSES, (STAYS,), ADDRESSES, (STAYS, *OTHERS)),
    "fewer": (ADDRESSES, (STAYS, *OTHERS), ADDRESSES, (STAYS,)),
    "to routes": (ADDRESSES, (STAYS, *OTHERS), ROUTES, (STAYS,)),
    "to addresses": (ROUTES, (STAYS,), ADDRESSES, (STAYS, *OTHERS)),
    "to nftables": (IPTABLES, (STAYS, *OTHERS), NFTABLES, (STAYS, *OTHERS)),
    "to iptables": (NFTABLES, (STAYS, *OTHERS), IPTABLES, (STAYS, *OTHERS)),
}


@pytest.mark.parametrize("case", CASES)
def test_killed_in_an_audit(world: Cluster, case: str) -> None:
    """What is served before and after is served then too; the next one finishes."""
    before, known, after, wanted = CASES[case]
    netns, choose = world.nodes[0].netns, random.Random(case)
    for config in (before, after):
        require(config.firewall)

    def serve(config: ProxyConfig, services: tuple[Service, ...]) -> None:
        with proxied(netns, config=config) as node:
            heard(node, world, services)
            node.audit()
            assert node.audit().plan == ()

    with inside(netns):
        subprocess.run(FOREIGN.split(), check=False)
    serve(before, known)
    whole_s = taken_s(lambda: serve(after, wanted))
    deaths = 0
    for _ in range(KILLS):
        serve(before, known)
        after_s = choose.uniform(0, whole_s)
        deaths += killed(lambda: serve(after, wanted), after_s)
        assert ask(world.client.netns, VIP, 80).server.startswith("pod")
    serve(after, wanted)
    assert ask(world.client.netns, VIP, 80).server.startswith("pod")
    assert deaths >= KILLS // 3
    with inside(netns):
        assert FOREIGN.removeprefix("ipvsadm ") in said("ipvsadm-save -n")


def test_killed_in_a_cleanup(world: Cluster) -> None:
    """The next one takes the rest, and no other's."""
    netns, choose = world.nodes[0].netns, random.Random("cleanup")

    def clean() -> None:
        with inside(netns), closing(open_kernel()) as kernel:
            plan = diff(
                kernel.observe(), NodeState(), DiffOptions(vip_link="kube-ipvs0")
            )
            assert not kernel.apply(plan).failed

    with inside(netns):
        subprocess.run(FOREIGN.split(), check=False)
    for _ in range(KILLS):
        with proxied(netns) as node:
            heard(node, world, (STAYS, *OTHERS))
            node.audit()
        killed(clean, choose.uniform(0, 0.3))
        clean()
        with inside(netns):
            left = "".join(map(said, ("ipset list -n", "iptables-save", "ip -o link")))
            servers = said("ipvsadm-save -n").splitlines()
        assert [line for line in left.splitlines() if "kube" in line.lower()] == []
        assert servers == [FOREIGN.removeprefix("ipvsadm ")]


def said(command: str) -> str:
    """What a tool of the system says here."""
    done = subprocess.run(command.split(), capture_output=True, text=True, check=True)
    return done.stdout


def open_kernel() -> LinuxKernel:
    """The kernel of the node."""
    return LinuxKernel.open(vip_link="kube-ipvs0", sysctl_names=())
