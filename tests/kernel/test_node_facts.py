"""What a node is like, read from a real kernel, and `check` on it."""

import errno
import subprocess
import sys
from ipaddress import ip_interface
from pathlib import Path

import pytest

from ipvsctl.kernel.modules import REQUIRED_MODULES
from ipvsctl.kernel.netlink import NetlinkSocket
from ipvsctl.kernel.node_facts import read_node_facts
from ipvsctl.model.errors import KernelError
from ipvsctl.model.net import IPFamily, parse_address
from ipvsctl.plan.report.preflight import PREFLIGHT_SYSCTLS
from tests.lab.netns import Netns

pytestmark = pytest.mark.kernel


def run(line: str) -> None:
    """Run a command of the system."""
    subprocess.run(line.split(), check=True)


def check() -> tuple[int, str]:
    """`ipvsctl check` as a process; its status and what it says."""
    done = subprocess.run(
        [sys.executable, "-m", "ipvsctl", "check", "--socket", "/nowhere"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_bare_node(netns: Netns) -> None:
    """Everything is read, and nothing of others is there."""
    netns.link_up("lo")
    facts = read_node_facts(("ip_vs", "nosuch"), PREFLIGHT_SYSCTLS, Path("/proc/sys"))
    assert facts.unread == tuple(
        line for line in facts.unread if line.startswith("nftables")
    )
    assert facts.release
    assert facts.modules == {"ip_vs": True, "nosuch": False}
    assert facts.sysctls["net/ipv4/ip_forward"] == "0"
    assert facts.chains is not None
    assert not any(chain.startswith("KUBE-") for chain in facts.chains)
    assert facts.neighbours.conntrack is not None


@pytest.mark.usefixtures("netns")
def test_what_is_in_the_way_is_found() -> None:
    """Chains of kube-proxy's iptables mode, a policy, a port that is taken."""
    run("iptables -P FORWARD DROP")
    run("iptables -t nat -N KUBE-SVC-ERIFXISQEP7F7OF4")
    facts = read_node_facts(REQUIRED_MODULES, PREFLIGHT_SYSCTLS, Path("/proc/sys"))
    assert facts.chains is not None
    assert "KUBE-SVC-ERIFXISQEP7F7OF4" in facts.chains
    filters = facts.neighbours.filters
    assert filters is not None
    assert filters[IPFamily.IPV4][0].policies["FORWARD"] == "DROP"
    status, said = check()
    assert status == 1, said
    assert "of kube-proxy's iptables mode: KUBE-SVC-ERIFXISQEP7F7OF4" in said


@pytest.mark.usefixtures("netns")
@pytest.mark.parametrize(
    ("code", "is_known"), [(errno.EINVAL, True), (errno.EPERM, False)]
)
def test_a_kernel_without_nftables(
    monkeypatch: pytest.MonkeyPatch, code: int, *, is_known: bool
) -> None:
    """Has no tables; one that may not be asked may have some."""

    def dump(*_arguments: object) -> list[str]:
        raise KernelError.of(code, "list tables")

    monkeypatch.setattr(NetlinkSocket, "dump", dump)
    facts = read_node_facts((), (), Path("/proc/sys"))
    assert (facts.neighbours.nft_tables == ()) is is_known
    assert any("nftables" in line for line in facts.unread) is not is_known


def test_mtus_are_those_of_the_links_that_have_addresses(netns: Netns) -> None:
    """Of both families."""
    run("ip link add wide type dummy")
    run("ip link set wide up mtu 9000")
    netns.add_address("wide", ip_interface("10.0.0.10/24"))
    netns.add_address("wide", ip_interface("fd00:10::10/64"))
    facts = read_node_facts((), (), Path("/proc/sys"))
    assert facts.mtus is not None
    assert facts.mtus[parse_address("10.0.0.10")] == 9000
    assert facts.mtus[parse_address("fd00:10::10")] == 9000
