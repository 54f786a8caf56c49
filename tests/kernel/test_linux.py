"""Linux beyond the contract: other owners on the node, foreign objects, privileges."""

import errno
import os
import resource
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from ipaddress import IPv4Interface, IPv6Interface, ip_interface, ip_network
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ipvsctl.kernel.family import generic_family_id
from ipvsctl.kernel.host import RESOLV_CONF
from ipvsctl.kernel.iptables_firewall import IptablesFirewall
from ipvsctl.kernel.linux import LinuxKernel
from ipvsctl.kernel.modules import loaded_modules
from ipvsctl.model.errors import KernelError, UnreadKernel
from ipvsctl.model.host import HostNetwork, HostSocket
from ipvsctl.model.net import (
    IPFamily,
    IPv4Address,
    IPv6Address,
    Protocol,
    parse_address,
)
from ipvsctl.model.parts import EVIDENCE, Part
from ipvsctl.model.sets import SetEntry
from ipvsctl.plan.diff.ops import (
    AddEntry,
    AddRealServer,
    AddVirtualServer,
    BindAddress,
    EnsureVipLink,
    Plan,
    RaiseVipLink,
)
from ipvsctl.plan.diff.plan import DiffOptions, diff
from ipvsctl.plan.report.unread import require
from ipvsctl.wire.ipset.sets import set_name
from ipvsctl.wire.ipvs.attributes import IPVS_GENL_NAME
from tests.addresses import later
from tests.kernel.contract import CONNTRACK, VIP_LINK
from tests.kernel.contract_ipvs import KEY, REAL, SERVER, VIP, VIP6, changed_real
from tests.kernel.contract_sets import IPS, SPEC, entry
from tests.kernel.test_modules import built_in_modules
from tests.lab.netns import Netns
from tests.reliability.drift import wait

pytestmark = pytest.mark.kernel


@pytest.fixture
def kernel(netns: Netns) -> Iterator[LinuxKernel]:  # noqa: ARG001 -- be inside it
    """An empty kernel without iptables."""
    with closing(opened()) as linux:
        yield linux


def opened(resolv_conf: Path = RESOLV_CONF) -> LinuxKernel:
    """The kernel in the namespace of the test."""
    return LinuxKernel(
        vip_link=VIP_LINK,
        sysctl_names=(CONNTRACK,),
        firewall=IptablesFirewall({}),
        resolv_conf=resolv_conf,
    )


def ipset(*commands: str) -> None:
    """What somebody else does to the sets."""
    text = "".join(f"{command}\n" for command in commands)
    subprocess.run(["ipset", "restore"], input=text, text=True, check=True)


@contextmanager
def without_privileges() -> Iterator[None]:
    """Be nobody for a while."""
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_other_agents_sets_are_not_read(kernel: LinuxKernel) -> None:
    """Only sets in the catalogue are; what is strange about one is passed over."""
    ipset(
        "create cni-pods hash:net",
        "add cni-pods 172.16.0.0/12",
        "create KUBE-NODE-PORT hash:net",
        "create KUBE-CLUSTER-IP hash:ip,port timeout 600 counters comment",
        "add KUBE-CLUSTER-IP 10.96.0.10,tcp:443 comment theirs",
        "add KUBE-CLUSTER-IP 10.96.0.10,icmp:8/0",
    )
    state = kernel.observe().state
    assert {set_name(key): set(entries) for key, entries in state.entries.items()} == {
        "KUBE-CLUSTER-IP": {entry()}
    }
    assert set(map(set_name, state.sets)) == {"KUBE-CLUSTER-IP"}


def test_a_set_larger_than_one_datagram(kernel: LinuxKernel) -> None:
    """A listing that takes many datagrams is read whole."""
    entries = {
        SetEntry(
            address=later(IPv4Address("10.0.0.0"), number), protocol=protocol, port=80
        )
        for number in range(3000)
        for protocol in Protocol
    }
    plan: Plan = (SPEC, *(AddEntry(SPEC.key, item) for item in entries))
    assert kernel.apply(plan).failed == ()
    assert kernel.observe().state.entries == {SPEC.key: entries}


def test_a_virtual_server_larger_than_one_datagram(kernel: LinuxKernel) -> None:
    """So are a thousand real servers, and a thousand addresses."""
    servers = [
        changed_real(REAL, key=type(REAL.key)(later(REAL.key.address, number), 80))
        for number in range(1000)
    ]
    plan: Plan = (
        AddVirtualServer(SERVER),
        *(AddRealServer(KEY, server) for server in servers),
        EnsureVipLink(VIP_LINK),
        *(BindAddress(later(VIP, number)) for number in range(1000)),
    )
    assert kernel.apply(plan).failed == ()
    state = kernel.observe().state
    assert state.real_servers == {KEY: {server.key: server for server in servers}}
    assert len(state.addresses) == 1000


def test_host_addresses(kernel: LinuxKernel, netns: Netns) -> None:
    """They are on other links than the VIP link, usable, and not only for this host."""
    netns.add_dummy("eth0")
    netns.add_address("eth0", IPv4Interface("10.0.0.10/24"))
    netns.add_address("eth0", IPv6Interface("fd00:10::10/64"))
    netns.link_up("eth0")
    netns.link_up("lo")
    kernel.apply((EnsureVipLink(VIP_LINK), BindAddress(VIP), BindAddress(VIP6)))
    observed = kernel.observe()
    assert observed.host_addresses == {
        IPv4Address("10.0.0.10"),
        IPv6Address("fd00:10::10"),
    }
    assert observed.state.addresses == {VIP, VIP6}


def test_a_link_that_somebody_set_down(kernel: LinuxKernel, netns: Netns) -> None:
    """The VIP link counts only while it is up, and is set up again."""
    kernel.apply((EnsureVipLink(VIP_LINK), BindAddress(VIP)))
    netns.ip.link("set", index=netns.index(VIP_LINK), state="down")
    observed = kernel.observe()
    assert (observed.state.vip_link_up, observed.vip_link_down) == (False, True)
    desired = msgspec.structs.replace(observed.state, vip_link_up=True)
    plan = diff(observed, desired, DiffOptions(vip_link=VIP_LINK))
    assert plan == (RaiseVipLink(VIP_LINK),)
    assert kernel.apply(plan).failed == ()
    state = kernel.observe().state
    assert state.vip_link_up
    assert state.addresses == {VIP}


def test_without_privileges_nothing_changes(kernel: LinuxKernel) -> None:
    """Every op is refused, and says that it is for want of a privilege."""
    plan = (
        EnsureVipLink(VIP_LINK),
        SPEC,
        IPS,
        AddVirtualServer(SERVER),
        AddRealServer(KEY, REAL),
    )
    with without_privileges(), closing(opened()) as nobody:
        report = nobody.apply(plan)
    assert [failed.op for failed in report.failed] == list(plan)
    assert {failed.errno for failed in report.failed} == {errno.EPERM}
    assert "CAP_NET_ADMIN" in report.failed[0].reason
    state = kernel.observe().state
    assert not state.sets
    assert not state.vip_link_up


def test_without_privileges_nothing_is_read() -> None:
    """But for links, addresses, routes and sockets; the rest says why."""
    with without_privileges(), closing(opened()) as nobody:
        observed = nobody.observe()
        with pytest.raises(UnreadKernel, match=r"sets cannot be read.*CAP_NET_ADMIN"):
            require(observed, nobody.words)
    assert observed.unread.keys() == {Part.SETS, Part.IPVS}


def test_opening_finds_the_iptables_of_the_node(netns: Netns) -> None:
    """Both families have rules, none of them ours yet."""
    assert netns.file > 0
    linux = LinuxKernel.open(vip_link=VIP_LINK, sysctl_names=(CONNTRACK,))
    with closing(linux):
        assert linux.observe().state.chains == {family: {} for family in IPFamily}
        assert linux.capabilities().families == tuple(IPFamily)


def test_the_network_of_the_host(netns: Netns, tmp_path: Path) -> None:
    """Gateways of every kind of route, networks, name servers, primary addresses."""
    for number in range(2):
        netns.add_dummy(f"eth{number}")
        netns.link_up(f"eth{number}")
    for link, address in (
        ("eth0", "10.0.0.5/32"),
        ("eth0", "10.0.0.10/24"),
        ("eth0", "fd00:10::10/64"),
        ("eth1", "10.1.0.10/16"),
    ):
        netns.add_address(link, ip_interface(address))
    routes: tuple[dict[str, Any], ...] = (
        {"dst": "0.0.0.0/0", "gateway": "10.0.0.1", "priority": 100},
        {"dst": "0.0.0.0/0", "gateway": "10.1.0.1", "priority": 200},
        {"dst": "::/0", "gateway": "fd00:10::1"},
        {"dst": "192.0.2.0/24", "gateway": "10.1.0.2"},
        {
            "dst": "198.18.0.0/24",
            "multipath": [{"gateway": "10.0.0.3"}, {"gateway": "10.1.0.3"}],
        },
        {"dst": "198.19.0.0/24", "gateway": "10.1.0.9", "table": 100},
        {"dst": "203.0.113.0/24", "oif": netns.index("eth1"), "scope": 253},
    )
    for route in routes:
        netns.ip.route("add", **route)
    resolv_conf = tmp_path / "resolv.conf"
    resolv_conf.write_bytes(
        b"# nameserver 10.9.9.9\nsearch example.com\nnameserver 10.0.0.53\n"
        b"nameserver 127.0.0.53\nnameserver fd00:10::53 # its other address\n"
        b"nameserver fe80::1%eth0\nnameserver dns\n\xff\nnameserver"
    )
    with closing(opened(resolv_conf=resolv_conf)) as kernel:
        host = kernel.read_host()
        assert kernel.observe().host == host
    assert host == HostNetwork(
        addresses=frozenset(
            map(parse_address, ("10.0.0.5", "10.0.0.10", "10.1.0.10", "fd00:10::10"))
        ),
        primary=(parse_address("10.0.0.10"), parse_address("fd00:10::10")),
        networks=frozenset(
            map(
                ip_network,
                ("10.0.0.5/32", "10.0.0.0/24", "10.1.0.0/16", "fd00:10::/64"),
            )
        ),
        gateways=frozenset(
            map(
                parse_address,
                (
                    "10.0.0.1",
                    "10.1.0.1",
                    "10.1.0.2",
                    "10.0.0.3",
                    "10.1.0.3",
                    "fd00:10::1",
                ),
            )
        ),
        resolvers=frozenset(map(parse_address, ("10.0.0.53", "fd00:10::53"))),
    )


def test_sockets_of_the_host(kernel: LinuxKernel) -> None:
    """Those that wait for clients, of each protocol; connections are none."""
    with ExitStack() as stack:

        def opened_socket(kind: int, family: int, where: tuple[str, int]) -> Any:
            made = stack.enter_context(socket.socket(family, kind))
            made.bind(where)
            return made

        listening = opened_socket(
            socket.SOCK_STREAM, socket.AF_INET, ("127.0.0.1", 8080)
        )
        listening.listen()
        opened_socket(socket.SOCK_DGRAM, socket.AF_INET6, ("::", 8472))
        stack.enter_context(socket.create_connection(("127.0.0.1", 8080), 5))
        stack.enter_context(listening.accept()[0])
        assert kernel.observe().sockets == {
            HostSocket(Protocol.TCP, parse_address("127.0.0.1"), 8080),
            HostSocket(Protocol.UDP, parse_address("::"), 8472),
        }


PLAN: Plan = (
    EnsureVipLink(VIP_LINK),
    IPS,
    AddEntry(IPS.key, SetEntry(address=VIP)),
    BindAddress(VIP),
    AddVirtualServer(SERVER),
)


def netlink_sockets() -> frozenset[int]:
    """The numbers of this process's descriptors that are netlink sockets."""
    found = set()
    for path in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            number = os.dup(int(path.name))
            with socket.socket(fileno=number) as opened_again:
                if opened_again.family == socket.AF_NETLINK:
                    found.add(int(path.name))
    return frozenset(found)


def test_sockets_that_are_none_any_more(netns: Netns) -> None:  # noqa: ARG001
    """All of them: reading and changing go on with new ones."""
    # What has lost its descriptors goes with the process.
    child = get_context("fork").Process(target=lose_all_sockets)
    child.start()
    child.join()
    assert child.exitcode == 0


def lose_all_sockets() -> None:
    """Have a kernel whose sockets are others' files, and use it."""
    others = netlink_sockets()
    with closing(opened()) as kernel:
        assert not kernel.apply(PLAN[:1]).failed
        kernel.glance()
        ours = netlink_sockets() - others
        assert len(ours) > 4
        with Path(os.devnull).open("rb") as nothing:
            for number in ours:
                os.dup2(nothing.fileno(), number, inheritable=False)
        with suppress(KernelError):
            # What nothing is sent to is replaced once it has failed.
            kernel.glance()
        assert not kernel.apply(PLAN[1:]).failed
        holds_the_plan(kernel)


def holds_the_plan(kernel: LinuxKernel) -> None:
    """All of it can be read, and is there."""
    observed = kernel.observe()
    assert not observed.unread
    assert observed.state.virtual_servers == {KEY: SERVER}
    assert observed.state.addresses == {VIP}
    assert observed.state.entries[IPS.key] == {SetEntry(address=VIP)}


def test_no_descriptors_are_left(kernel: LinuxKernel) -> None:
    """Each part says so, and when there are some again, all is read."""
    assert not kernel.apply(PLAN).failed
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        observed = kernel.observe()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert observed.unread.keys() >= EVIDENCE
    assert all("EMFILE" in reason for reason in observed.unread.values())
    holds_the_plan(kernel)


def without_ipvs() -> bool:
    """Take the modules out, as far as nobody needs them; whether all are gone."""
    modules = sorted(m for m in loaded_modules() if m.startswith("ip_vs_"))
    subprocess.run(["rmmod", *modules, "ip_vs"], check=False)
    return "ip_vs" not in loaded_modules()


def test_a_module_that_was_taken_out_and_put_in_again(kernel: LinuxKernel) -> None:
    """IPVS has another number then, and nothing of ours; both are noticed."""
    if "ip_vs" in built_in_modules():
        pytest.skip(f"IPVS is a part of {os.uname().release}, and stays")
    assert not kernel.apply(PLAN).failed
    holds_the_plan(kernel)
    before = generic_family_id(IPVS_GENL_NAME)
    # Whoever has virtual servers needs the scheduler; namespaces of tests before this
    # one may take a while to go.
    subprocess.run(["ipvsadm", "-C"], check=True)
    wait(without_ipvs)
    subprocess.run(["modprobe", "ip_vs"], check=True)
    assert generic_family_id(IPVS_GENL_NAME) != before
    observed = kernel.observe()
    assert not observed.unread
    assert not observed.state.virtual_servers
    assert not kernel.apply(PLAN[-1:]).failed
    holds_the_plan(kernel)
