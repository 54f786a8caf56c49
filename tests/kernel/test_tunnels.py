"""Ends of tunnels in a real kernel, and what others do to them."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from ipaddress import ip_interface
from typing import Final

import pytest

from ipvsctl.kernel.iptables_firewall import IptablesFirewall
from ipvsctl.kernel.linux import LinuxKernel
from ipvsctl.model.net import IPFamily, parse_address
from ipvsctl.model.state import NodeState
from ipvsctl.model.tunnel import TunnelEnd
from ipvsctl.plan.diff.ops import MakeTunnelEnd, Plan, RemoveTunnelEnd
from ipvsctl.plan.diff.plan import DiffOptions, diff
from tests.lab.netns import Netns

pytestmark = pytest.mark.kernel

END: Final = TunnelEnd(address=parse_address("10.0.0.10"), port=6080)
END6: Final = TunnelEnd(address=parse_address("fd00:10::10"), port=6080)
ENDS: Final = {IPFamily.IPV4: END, IPFamily.IPV6: END6}


@pytest.fixture(name="kernel")
def _kernel(netns: Netns) -> Iterator[LinuxKernel]:
    """A kernel with both ends."""
    run("ip link add eth0 type dummy", "ip link set eth0 up")
    for end in ENDS.values():
        bits = end.address.family.bits
        netns.add_address("eth0", ip_interface(f"{end.address}/{bits}"))
    opened = LinuxKernel(
        vip_link="kube-ipvs0", sysctl_names=(), firewall=IptablesFirewall({})
    )
    with closing(opened):
        report = opened.apply((MakeTunnelEnd(END), MakeTunnelEnd(END6)))
        assert report.failed == ()
        yield opened


def run(*commands: str) -> None:
    """Do what somebody else does."""
    for command in commands:
        subprocess.run(command.split(), check=True, capture_output=True)


def repairs(kernel: LinuxKernel) -> Plan:
    """What an audit would do."""
    return diff(
        kernel.observe(),
        NodeState(tunnel_ends=ENDS),
        DiffOptions(vip_link="kube-ipvs0"),
    )


def test_nothing_of_them_is_the_hosts(kernel: LinuxKernel) -> None:
    """Node ports and guards know nothing of their addresses."""
    host = kernel.read_host()
    assert host.addresses == {END.address, END6.address}
    assert repairs(kernel) == ()


@pytest.mark.parametrize(
    ("harm", "family"),
    [
        ("ip link del ipvsctl-tunl4", IPFamily.IPV4),
        ("ip link set ipvsctl-tunl4 down", IPFamily.IPV4),
        ("ip addr flush dev ipvsctl-tunl4", IPFamily.IPV4),
        ("sysctl -qw net.ipv4.conf.ipvsctl-tunl4.rp_filter=1", IPFamily.IPV4),
        ("ip fou del port 6080 gue local 10.0.0.10", IPFamily.IPV4),
        ("ip -6 fou del port 6080 gue local fd00:10::10", IPFamily.IPV6),
        ("ip link set ipvsctl-tunl6 down", IPFamily.IPV6),
        ("ip link del ipvsctl-tunl6", IPFamily.IPV6),
    ],
)
def test_what_others_break_is_made_anew(
    kernel: LinuxKernel, harm: str, family: IPFamily
) -> None:
    """An audit sees it, and repairs that end alone."""
    run(harm)
    plan = repairs(kernel)
    assert plan == (MakeTunnelEnd(ENDS[family]),)
    assert kernel.apply(plan).failed == ()
    assert repairs(kernel) == ()


def test_a_link_that_takes_all_packets_in_packets(kernel: LinuxKernel) -> None:
    """Ours would take a network plugin's packets from it: the plugin has them."""
    run("ip link add theirs type ipip external", "ip link set theirs up")
    plan = repairs(kernel)
    assert plan == (MakeTunnelEnd(END),)
    (refused,) = kernel.apply(plan).failed
    assert "link theirs takes IP packets in IP packets already" in refused.reason
    assert kernel.observe().state.tunnel_ends == {IPFamily.IPV6: END6}
    run("ip link set theirs down")
    assert kernel.apply(plan).failed == ()
    assert repairs(kernel) == ()


def test_somebody_elses_link_of_that_name(kernel: LinuxKernel) -> None:
    """It is not taken away."""
    run("ip link del ipvsctl-tunl4", "ip link add ipvsctl-tunl4 type dummy")
    plan = repairs(kernel)
    assert plan == (MakeTunnelEnd(END),)
    (refused,) = kernel.apply(plan).failed
    assert "somebody else's" in refused.reason
    assert kernel.apply((RemoveTunnelEnd(END),)).failed
    run("ip link show ipvsctl-tunl4")


def test_a_port_that_somebody_has(kernel: LinuxKernel) -> None:
    """The op is refused and leaves nothing behind."""
    assert kernel.apply((RemoveTunnelEnd(END),)).failed == ()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as theirs:
        theirs.bind((str(END.address), END.port))
        (refused,) = kernel.apply((MakeTunnelEnd(END),)).failed
        assert "have UDP port 6080 of 10.0.0.10" in refused.reason
        assert kernel.observe().state.tunnel_ends == {IPFamily.IPV6: END6}
    assert kernel.apply((MakeTunnelEnd(END),)).failed == ()


def test_nothing_is_left(kernel: LinuxKernel) -> None:
    """Links and ports go; a port of somebody else's stays."""
    run("ip fou add port 7000 gue")
    assert kernel.apply((RemoveTunnelEnd(END), RemoveTunnelEnd(END6))).failed == ()
    assert kernel.observe().state.tunnel_ends == {}
    ports = subprocess.run(
        ["ip", "fou", "show"], check=True, capture_output=True, text=True
    )
    assert [line.split()[1] for line in ports.stdout.splitlines()] == ["7000"]
