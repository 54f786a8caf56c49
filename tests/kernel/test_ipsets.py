"""ipsets of a real kernel: what they are read as, and how one takes another's place."""

import subprocess
from contextlib import closing
from itertools import islice

import msgspec
import pytest

from ipvsctl.kernel.ipsets import Ipsets
from ipvsctl.kernel.netlink import NetlinkSocket
from ipvsctl.model.config import FirewallKind
from ipvsctl.model.net import IPFamily, Protocol, parse_address
from ipvsctl.model.sets import (
    FormerNodePort,
    Leftover,
    SetCondition,
    SetEntry,
    SetRole,
    SetShape,
    set_key,
)
from ipvsctl.model.steps import finish
from ipvsctl.plan.diff.ops import (
    AddEntry,
    CreateSet,
    DeleteEntry,
    DestroySet,
    RebuildSet,
)
from ipvsctl.wire.ipset.requests import add_entries, create_set, swap_sets
from ipvsctl.wire.ipset.sets import SetSpec, set_name, set_spec
from ipvsctl.wire.netlink.messages import NetlinkProtocol
from tests.kernel.node import CONFIG, proxied
from tests.lab.netns import Netns

pytestmark = pytest.mark.kernel

ENTRIES = 6000
KEY = set_key(SetRole.CLUSTER_IP, IPFamily.IPV4)


def entry(number: int) -> SetEntry:
    """One of many."""
    address = parse_address(f"10.96.{number // 250}.{number % 250}")
    return SetEntry(address=address, protocol=Protocol.TCP, port=80)


@pytest.mark.usefixtures("netns")
def test_entries_come_and_go_between_two_steps() -> None:
    """No other entry is lost to that, although the set grows to many times its size.

    One that came or went meanwhile is in the listing or is not.
    """
    with closing(Ipsets()) as sets:
        there = [entry(number) for number in range(ENTRIES)]
        assert not sets.run([CreateSet(KEY, 65536), *(AddEntry(KEY, e) for e in there)])
        reading = sets.read_in_steps()
        gone = iter(there[::3])
        new = iter(range(ENTRIES, 10 * ENTRIES))
        steps = 0
        while True:
            try:
                next(reading)
            except StopIteration as done:
                listing = done.value
                break
            steps += 1
            came = [AddEntry(KEY, entry(n)) for n in islice(new, 2000)]
            went = [DeleteEntry(KEY, e) for e in islice(gone, 200)]
            assert not sets.run([*came, *went])
        assert steps > 5
        assert set(there) - set(there[::3]) <= listing.entries[KEY]
        assert listing.sets == {KEY: SetShape(65536)}


V4 = IPFamily.IPV4
IPSET_ERR_EXIST_SETNAME2 = 4101
IPSET_ERR_TYPE_MISMATCH = 4102
ENOENT = 2

ONE = set_spec(KEY, 8)
OTHER = set_spec(set_key(SetRole.FOREIGN, V4), 4)
ADDRESSES = set_spec(set_key(SetRole.IPVS_IPS, V4), 4)
SIX = set_spec(set_key(SetRole.CLUSTER_IP, IPFamily.IPV6), 4)


@pytest.mark.usefixtures("netns")
@pytest.mark.parametrize(
    ("fact", "given", "second", "code"),
    [
        ("a swap needs its first set", (OTHER,), OTHER, ENOENT),
        ("a swap needs its second set", (ONE,), OTHER, IPSET_ERR_EXIST_SETNAME2),
        ("types do not swap", (ONE, ADDRESSES), ADDRESSES, IPSET_ERR_TYPE_MISMATCH),
        ("families do not swap", (ONE, SIX), SIX, IPSET_ERR_TYPE_MISMATCH),
        ("sizes do", (ONE, OTHER), OTHER, 0),
    ],
)
def test_what_swaps(
    fact: str, given: tuple[SetSpec, ...], second: SetSpec, code: int
) -> None:
    """A rebuilt set takes the place of the old one by what the row says."""
    with closing(NetlinkSocket.open(NetlinkProtocol.NETFILTER)) as socket:
        assert not socket.apply(map(create_set, given))
        refused = socket.apply([swap_sets(ONE.name, second.name)])
        assert {ack.errno for ack in refused.values()} == ({code} if code else set())
        if not code:
            # Each now takes as many as the other was made for.
            five = [entry(number) for number in range(5)]
            assert not socket.apply([add_entries(OTHER.name, five)]), fact
            assert socket.apply([add_entries(ONE.name, five)]), fact


@pytest.mark.usefixtures("netns")
def test_a_set_of_an_older_build_is_rebuilt_in_place() -> None:
    """One without marks takes none, and gives its place to one that does."""
    key = set_key(SetRole.SHORT_CIRCUIT, V4)
    marked = msgspec.structs.replace(entry(1), mark=0x20001)
    plain = msgspec.structs.replace(set_spec(key, 8), skbinfo=False)
    with closing(NetlinkSocket.open(NetlinkProtocol.NETFILTER)) as socket:
        socket.apply([create_set(plain), add_entries(plain.name, [entry(1)])])
    with closing(Ipsets()) as sets:
        read = finish(sets.read_in_steps())
        assert read.sets == {key: SetShape(8, SetCondition.OUTDATED)}
        assert not sets.run([RebuildSet(key, 8, frozenset({marked}))])
        read = finish(sets.read_in_steps())
        assert read.sets == {key: SetShape(8)}
        assert read.entries == {key: {marked}}
        assert not read.leftovers


@pytest.mark.usefixtures("netns")
def test_sets_of_no_use_are_told_apart_and_go() -> None:
    """kube-proxy's say which node ports it had; one half-built says nothing."""
    commands = (
        "create KUBE-NODE-PORT-TCP bitmap:port range 0-65535",
        "add KUBE-NODE-PORT-TCP 30080",
        "create KUBE-6-NODE-PORT-SCTP-HASH hash:ip,port family inet6",
        "add KUBE-6-NODE-PORT-SCTP-HASH fd00::1,sctp:30099",
        "create KUBE-NODE-PORT-LOCAL-UDP bitmap:port range 0-65535",
        "create KTMP-CLUSTER-IP hash:net",
        "create cni-pods hash:net",
        "create KUBE-FOREIGN hash:ip",
        "create KUBE-CLUSTER-IP hash:net",
    )
    text = "".join(f"{command}\n" for command in commands)
    subprocess.run(["ipset", "restore"], input=text, text=True, check=True)
    tcp = FormerNodePort(V4, Protocol.TCP, 30080)
    sctp = FormerNodePort(IPFamily.IPV6, Protocol.SCTP, 30099, parse_address("fd00::1"))
    foreign = set_key(SetRole.FOREIGN, V4)
    with closing(Ipsets()) as sets:
        read = finish(sets.read_in_steps())
        # Of a type that is none of ours, KUBE-CLUSTER-IP is not read.
        assert read.sets == {foreign: SetShape(65536, SetCondition.ALIEN)}
        assert read.leftovers == {
            Leftover(name="KUBE-NODE-PORT-TCP", node_ports=frozenset({tcp})),
            Leftover(name="KUBE-6-NODE-PORT-SCTP-HASH", node_ports=frozenset({sctp})),
            Leftover(name="KUBE-NODE-PORT-LOCAL-UDP"),
            Leftover(name="KTMP-CLUSTER-IP", is_half_built=True),
        }
        plan = [DestroySet(found) for found in read.leftovers]
        assert not sets.run(plan)
        assert not finish(sets.read_in_steps()).leftovers


def test_entries_that_nobody_could_want_go(netns: Netns) -> None:
    """No op could name them; one that shuts a client out does harm all the same."""
    ranges = set_key(SetRole.LOAD_BALANCER_SOURCE_CIDR, V4)
    cluster_ips = set_key(SetRole.CLUSTER_IP, V4)
    config = msgspec.structs.replace(CONFIG, firewall=FirewallKind.IPTABLES)
    with proxied(netns, config=config) as node:
        node.audit()
        text = (
            f"add {set_name(ranges)} 10.96.0.1,tcp:80,10.0.0.0/8 nomatch\n"
            f"add {set_name(cluster_ips)} 10.96.0.1,icmp:8/0\n"
        )
        subprocess.run(["ipset", "restore"], input=text, text=True, check=True)
        held = node.observe().state
        assert {held.sets[key].condition for key in (ranges, cluster_ips)} == {
            SetCondition.OUTDATED
        }
        plan = node.audit().plan
        assert {op.key for op in plan if isinstance(op, RebuildSet)} == {
            ranges,
            cluster_ips,
        }
        assert node.audit().plan == ()
    saved = subprocess.run(
        ["ipset", "save"], capture_output=True, text=True, check=True
    ).stdout
    assert "add" not in saved
