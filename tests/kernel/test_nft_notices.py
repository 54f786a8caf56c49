"""What others change in our tables of nftables is heard, and nothing else."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from ipvsctl.kernel.nft_notices import NftNotices
from ipvsctl.kernel.nftables_firewall import NftablesFirewall
from ipvsctl.kernel.transaction import TransactionSocket
from ipvsctl.model.config import FirewallKind
from ipvsctl.model.glance import Notice, NoticeKind
from ipvsctl.model.net import IPFamily, parse_address
from ipvsctl.model.sets import SetEntry, SetRole, set_key
from ipvsctl.model.steps import finish
from ipvsctl.plan.diff.ops import AddEntry, CreateSet
from tests.kernel.firewalls import require
from tests.lab.netns import Netns

pytestmark = pytest.mark.kernel

IPS = set_key(SetRole.IPVS_IPS, IPFamily.IPV4)
FIRST = int(parse_address("10.96.0.1"))


def changed(family: str) -> Notice:
    """A table of ours was changed."""
    return Notice(kind=NoticeKind.TABLE_CHANGED, table=f"{family} ipvsctl")


@pytest.fixture(name="firewall")
def _firewall(netns: Netns) -> Iterator[NftablesFirewall]:
    """The firewall of a fresh namespace, with a set."""
    del netns
    require(FirewallKind.NFTABLES)
    with closing(NftablesFirewall.open(tuple(IPFamily))) as firewall:
        keys = [set_key(SetRole.IPVS_IPS, family) for family in IPFamily]
        assert not firewall.run([CreateSet(key, 1) for key in keys])
        yield firewall


@pytest.fixture(name="notices")
def _notices(firewall: NftablesFirewall) -> Iterator[NftNotices]:
    """What is heard."""
    with closing(firewall.open_notices()) as notices:
        yield notices


@pytest.mark.parametrize(
    ("command", "families"),
    [
        ("add element ip ipvsctl ipvs-ips { 10.0.0.1 }", ["ip"]),
        ("flush set ip6 ipvsctl ipvs-ips", []),
        ("add chain ip6 ipvsctl x", ["ip6"]),
        ("delete table ip ipvsctl", ["ip"]),
        ("add table ip ipvsctl { flags dormant; }", ["ip"]),
        ("flush ruleset", ["ip", "ip6"]),
        ("add table ip others", []),
        ("add table inet ipvsctl", []),
    ],
)
def test_what_others_do(notices: NftNotices, command: str, families: list[str]) -> None:
    """Each of our tables once, and no other's."""
    subprocess.run(["nft", command], check=True)
    assert notices.read() == [changed(family) for family in families]
    assert notices.read() == []


def test_to_open_changes_nothing(netns: Netns) -> None:
    """It is tried whether tables could be made: none is, and one that sleeps sleeps on.

    Else a command that only looks would be a change to the daemon.
    """
    del netns
    require(FirewallKind.NFTABLES)
    with closing(NftNotices(())) as notices:
        NftablesFirewall.open(tuple(IPFamily)).close()
        assert notices.read() == []
        subprocess.run(["nft", "add table ip ipvsctl { flags dormant; }"], check=True)
        assert notices.read() == [changed("ip")]
        NftablesFirewall.open(tuple(IPFamily)).close()
        assert notices.read() == []
    listed = subprocess.run(
        ["nft", "list", "ruleset"], capture_output=True, text=True, check=True
    ).stdout
    assert " ".join(listed.split()) == "table ip ipvsctl { flags dormant }"


def test_what_we_do(firewall: NftablesFirewall, notices: NftNotices) -> None:
    """It is kept back in the kernel, or this would be more than a socket holds."""
    entries = [
        SetEntry(address=parse_address(str(_address(number))))
        for number in range(20_000)
    ]
    assert not firewall.run([AddEntry(IPS, entry) for entry in entries])
    assert notices.read() == []
    subprocess.run(["nft", "flush set ip ipvsctl ipvs-ips"], check=True)
    assert changed("ip") in notices.read()


def _address(number: int) -> str:
    value = FIRST + number
    return ".".join(str(value >> shift & 255) for shift in (24, 16, 8, 0))


def test_what_we_do_on_another_socket(
    firewall: NftablesFirewall, notices: NftNotices
) -> None:
    """One that took the place of a socket that failed is ours, too."""
    with ExitStack() as stack:
        ports: set[int] = set()
        stack.enter_context(closing(TransactionSocket.connect(ports)))
        first = set(ports)
        firewall._socket._endpoint._lose(OSError(5, "EIO"))
        assert not firewall.run([CreateSet(set_key(SetRole.FOREIGN, IPFamily.IPV4), 1)])
        # What was done before it is known whose it is may be heard, once.
        notices.read()
        entry = SetEntry(address=parse_address("10.0.0.1"))
        assert not firewall.run([AddEntry(IPS, entry)])
        assert notices.read() == []
        assert first == ports


def test_reading_opens_no_door(firewall: NftablesFirewall) -> None:
    """However often: the kernel's filter has room for few of our sockets."""
    notices = firewall.open_notices()
    for _ in range(300):
        finish(firewall.read_sets_in_steps())
    subprocess.run(["nft", "flush ruleset"], check=True)
    assert notices.read() == [changed("ip"), changed("ip6")]
    notices.close()
