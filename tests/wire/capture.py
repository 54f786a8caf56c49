"""Write golden files: what this kernel says about the samples, datagram by datagram.

Run in the lab, once for each kernel that is to be named:
`python -m tests.lab -- python -m tests.wire.capture`. A file has one datagram a line,
in hexadecimal.
"""

import os
import socket
import subprocess
from collections.abc import Iterable
from pathlib import Path

from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from ipvsctl.kernel.family import generic_family_id
from ipvsctl.kernel.iptables_firewall import IptablesFirewall
from ipvsctl.kernel.linux import LinuxKernel
from ipvsctl.model.net import IPFamily, Protocol
from ipvsctl.plan.diff.ops import (
    AddEntry,
    AddRealServer,
    AddRoute,
    AddVirtualServer,
    BindAddress,
    CreateSet,
    EnsureVipLink,
    Op,
)
from ipvsctl.wire.conntrack.requests import list_udp_flows
from ipvsctl.wire.fou.messages import FOU_GENL_NAME, FouRequests
from ipvsctl.wire.ipset.requests import create_set, list_headers, list_set
from ipvsctl.wire.ipvs.attributes import IPVS_GENL_NAME
from ipvsctl.wire.ipvs.requests import IpvsRequests
from ipvsctl.wire.netlink.messages import (
    MessageType,
    NetlinkProtocol,
    iter_messages,
    numbered,
)
from ipvsctl.wire.route.requests import bind_address, list_addresses, list_routes
from tests.builders import set_called
from tests.lab.flows import track
from tests.wire.samples import (
    FLOWS,
    REAL_SERVERS,
    ROUTES,
    SETS,
    STRANGE_COMMANDS,
    STRANGE_SET,
    UNPACKING_PORTS,
    VIP,
    VIP6,
    VIRTUAL_SERVERS,
)

GOLDEN = Path(__file__).parent.parent / "golden" / "wire"
VIP_LINK = "kube-ipvs0"
SEQUENCE = 0x01020304


def make_samples() -> None:
    """Put the samples into the kernel."""
    first = VIRTUAL_SERVERS[0].key
    ops: list[Op] = [EnsureVipLink(VIP_LINK), BindAddress(VIP), BindAddress(VIP6)]
    ops += (AddRoute(*route) for route in ROUTES)
    ops += (AddVirtualServer(server) for server in VIRTUAL_SERVERS)
    ops += (AddRealServer(first, server) for server in REAL_SERVERS)
    for spec, entries in SETS.items():
        key = set_called(spec.name)
        ops.append(CreateSet(key, spec.maxelem))
        ops += (AddEntry(key, entry) for entry in entries)
    kernel = LinuxKernel(
        vip_link=VIP_LINK, sysctl_names=(), firewall=IptablesFirewall({})
    )
    report = kernel.apply(tuple(ops))
    kernel.close()
    if report.failed:
        raise SystemExit(str(report.failed[0]))
    commands = "".join(f"{command}\n" for command in STRANGE_COMMANDS)
    subprocess.run(["ipset", "restore"], input=commands, text=True, check=True)


def ask(protocol: NetlinkProtocol, request: bytes) -> list[bytes]:
    """Every datagram of the answer to one request."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol) as opened:
        opened.setsockopt(270, 10, 1)
        opened.setsockopt(270, 11, 1)
        opened.setsockopt(270, 12, 1)
        opened.send(numbered(request, SEQUENCE))
        answer = [opened.recv(1 << 16)]
        while is_part_of_dump(answer[-1]):
            answer.append(opened.recv(1 << 16))
    return answer


def is_part_of_dump(datagram: bytes) -> bool:
    """More datagrams follow: NLM_F_MULTI, and not yet the end."""
    *_, (kind, flags, _, _, _) = iter_messages(datagram)
    return bool(flags & 2) and kind != MessageType.DONE


def write(name: str, datagrams: Iterable[bytes]) -> None:
    """Write one golden file."""
    path = GOLDEN / f"linux-{os.uname().release}-{name}.hex"
    path.write_text("".join(f"{data.hex()}\n" for data in datagrams), encoding="ascii")


def too_long_a_name() -> bytes:
    """A request that the kernel refuses in words."""
    message = ifinfmsg()
    message["header"].update(type=18, flags=5)
    message["attrs"] = [("IFLA_IFNAME", "x" * 40)]
    message.encode()
    return bytes(message.data)


def make_flows() -> None:
    """Put UDP flows into the kernel, and the same ones of TCP."""
    for flow in FLOWS:
        track(flow)
        track(flow, Protocol.TCP)


def make_ports() -> list[bytes]:
    """Have UDP ports that unpack packets, ours and others; what the kernel lists."""
    for command in (
        "ip link set lo up",
        "modprobe fou",
        "ip fou add port 7000 gue",
        "ip fou add port 7001 ipproto 4",
    ):
        subprocess.run(command.split(), check=True)
    requests = FouRequests(generic_family_id(FOU_GENL_NAME))
    for port in UNPACKING_PORTS:
        ask(NetlinkProtocol.GENERIC, requests.add(port))
    return ask(NetlinkProtocol.GENERIC, requests.list())


def main() -> None:
    """Write every golden file of this kernel."""
    make_samples()
    generic, netfilter, route = (
        NetlinkProtocol.GENERIC,
        NetlinkProtocol.NETFILTER,
        NetlinkProtocol.ROUTE,
    )
    requests = IpvsRequests(generic_family_id(IPVS_GENL_NAME))
    first = VIRTUAL_SERVERS[0]
    write("virtual-servers", ask(generic, requests.get_services()))
    write("real-servers", ask(generic, requests.get_dests(first.key)))
    write("timeouts", ask(generic, requests.get_config()))
    write("exists", ask(generic, requests.new_service(first)))
    write("set-headers", ask(netfilter, list_headers()))
    for spec in SETS:
        write(f"set-{spec.name}", ask(netfilter, list_set(spec.name)))
    write(f"set-{STRANGE_SET}", ask(netfilter, list_set(STRANGE_SET)))
    write(
        "set-KUBE-EXTERNAL-IP-LOCAL", ask(netfilter, list_set("KUBE-EXTERNAL-IP-LOCAL"))
    )
    write("set-exists", ask(netfilter, create_set(next(iter(SETS)))))
    write("addresses", ask(route, list_addresses()))
    ifindex = socket.if_nametoindex(VIP_LINK)
    for family in IPFamily:
        write(f"routes-{family.label}", ask(route, list_routes(family, ifindex)))
    write("fou", make_ports())
    write("too-long", ask(route, too_long_a_name()))
    make_flows()
    for family in IPFamily:
        write(f"flows-{family.label}", ask(netfilter, list_udp_flows(family)))
    write("no-link", ask(route, bind_address(0x7FFFFFFF, VIP)))


if __name__ == "__main__":
    main()
