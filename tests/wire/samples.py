"""Kernel objects of every kind; golden files hold what kernels say about them."""

from ipaddress import IPv4Network, IPv6Network
from typing import Final

import msgspec

from ipvsctl.model.ipvs import (
    ForwardingMethod,
    RealServer,
    RealServerKey,
    ServiceFlags,
    Tunnel,
    VirtualServer,
    VirtualServerKey,
)
from ipvsctl.model.net import IPAddress, IPFamily, IPv4Address, IPv6Address, Protocol
from ipvsctl.model.sets import SetEntry
from ipvsctl.wire.fou.messages import UnpackingPort
from ipvsctl.wire.ipset.sets import SetSpec, SetType
from tests.addresses import later
from tests.lab.flows import Flow

VIP: Final = IPv4Address("10.96.0.10")
VIP6: Final = IPv6Address("fd00:96::10")
POD: Final = IPv4Address("172.16.0.5")
POD6: Final = IPv6Address("fd00:172::5")

VIRTUAL_SERVERS: Final = (
    VirtualServer(
        key=VirtualServerKey(
            family=IPFamily.IPV4, protocol=Protocol.TCP, address=VIP, port=443
        ),
        scheduler="rr",
        netmask_bits=32,
    ),
    VirtualServer(
        key=VirtualServerKey(
            family=IPFamily.IPV4, protocol=Protocol.UDP, address=VIP, port=53
        ),
        scheduler="wlc",
        flags=ServiceFlags.PERSISTENT,
        timeout_s=10800,
        netmask_bits=24,
    ),
    VirtualServer(
        key=VirtualServerKey(
            family=IPFamily.IPV6, protocol=Protocol.SCTP, address=VIP6, port=65535
        ),
        scheduler="mh",
        flags=ServiceFlags.SCHED1 | ServiceFlags.SCHED2,
        netmask_bits=128,
    ),
    VirtualServer(
        key=VirtualServerKey(family=IPFamily.IPV4, fwmark=0x10001),
        scheduler="sh",
        netmask_bits=32,
    ),
    VirtualServer(
        key=VirtualServerKey(family=IPFamily.IPV6, fwmark=0xFFFFFFFF),
        scheduler="sed",
        flags=ServiceFlags.PERSISTENT,
        timeout_s=1,
        netmask_bits=64,
    ),
)

REAL_SERVERS: Final = (
    RealServer(key=RealServerKey(POD, 8080)),
    RealServer(
        key=RealServerKey(POD, 1),
        weight=0,
        forwarding=ForwardingMethod.DIRECT_ROUTE,
        upper_threshold=200,
        lower_threshold=100,
    ),
    RealServer(
        key=RealServerKey(POD6, 65535),
        weight=65535,
        forwarding=ForwardingMethod.TUNNEL,
    ),
    RealServer(
        key=RealServerKey(POD, 443),
        weight=3,
        forwarding=ForwardingMethod.TUNNEL,
        tunnel=Tunnel(port=6080, flags=1),
    ),
)
"""Of the first virtual server."""


UNPACKING_PORTS: Final = (
    UnpackingPort(IPv4Address("127.0.0.1"), 6080),
    UnpackingPort(IPv6Address("::1"), 6081),
)
"""UDP ports that unpack what other nodes have put into a tunnel."""


def _spec(name: str, kind: SetType, family: IPFamily, maxelem: int = 262144) -> SetSpec:
    return SetSpec(name=name, type=kind, family=family, maxelem=maxelem)


def _marking(name: str, family: IPFamily) -> SetSpec:
    """A set whose entries may have a mark."""
    return msgspec.structs.replace(
        _spec(name, SetType.HASH_IP_PORT, family), skbinfo=True
    )


def _marked(entry: SetEntry, mark: int) -> SetEntry:
    return msgspec.structs.replace(entry, mark=mark)


def _entry(
    address: IPAddress,
    protocol: Protocol | None = None,
    port: int | None = None,
    *,
    second: IPAddress | None = None,
    network: IPv4Network | IPv6Network | None = None,
) -> SetEntry:
    return SetEntry(
        address=address,
        protocol=protocol,
        port=port,
        second_address=second,
        network=network,
    )


SETS: Final[dict[SetSpec, tuple[SetEntry, ...]]] = {
    _spec("KUBE-IPVS-IPS", SetType.HASH_IP, IPFamily.IPV4): (_entry(VIP),),
    _spec("KUBE-6-IPVS-IPS", SetType.HASH_IP, IPFamily.IPV6): (_entry(VIP6),),
    _spec("KUBE-CLUSTER-IP", SetType.HASH_IP_PORT, IPFamily.IPV4, 65536): (
        _entry(VIP, Protocol.TCP, 443),
        _entry(VIP, Protocol.UDP, 53),
    ),
    _spec("KUBE-6-CLUSTER-IP", SetType.HASH_IP_PORT, IPFamily.IPV6): (
        _entry(VIP6, Protocol.SCTP, 65535),
    ),
    _spec("KUBE-LOOP-BACK", SetType.HASH_IP_PORT_IP, IPFamily.IPV4): (
        _entry(POD, Protocol.TCP, 8080, second=POD),
    ),
    _spec("KUBE-6-LOOP-BACK", SetType.HASH_IP_PORT_IP, IPFamily.IPV6): (
        _entry(POD6, Protocol.UDP, 53, second=POD6),
    ),
    _spec("KUBE-LOAD-BALANCER-SOURCE-CIDR", SetType.HASH_IP_PORT_NET, IPFamily.IPV4): (
        _entry(VIP, Protocol.TCP, 443, network=IPv4Network("192.0.2.0/25")),
        _entry(VIP, Protocol.TCP, 443, network=IPv4Network("192.0.2.255/32")),
    ),
    _spec("KUBE-6-LOAD-BALANCER-SOURCE-CID", SetType.HASH_IP_PORT_NET, IPFamily.IPV6): (
        _entry(VIP6, Protocol.TCP, 443, network=IPv6Network("2001:db8::/33")),
    ),
    _marking("KUBE-SHORT-CIRCUIT", IPFamily.IPV4): (
        _marked(_entry(VIP, Protocol.TCP, 443), 0x20001),
        _entry(VIP, Protocol.UDP, 53),
    ),
    _marking("KUBE-6-SHORT-CIRCUIT", IPFamily.IPV6): (
        _marked(_entry(VIP6, Protocol.SCTP, 9), 0xFFFFFFFF),
    ),
    SetSpec(name="KUBE-HEALTH-CHECK-NODE-PORT", type=SetType.BITMAP_PORT): (
        SetEntry(port=0),
        SetEntry(port=32080),
        SetEntry(port=65535),
    ),
}

CLIENT: Final = IPv4Address("10.0.0.100")
CLIENT6: Final = IPv6Address("fd00:10::100")
FLOWS: Final = (
    Flow(CLIENT, 40000, VIP, 53, POD, 5353),
    Flow(CLIENT, 40001, VIP, 53, VIP, 53),
    Flow(CLIENT6, 65535, VIP6, 1, POD6, 256),
)
"""Of UDP; nobody translated the second one."""

STRANGE_SET: Final = "KUBE-EXTERNAL-IP"
STRANGE_COMMANDS: Final = (
    f"create {STRANGE_SET} hash:ip,port timeout 600 counters comment skbinfo",
    f"add {STRANGE_SET} 10.96.0.10,tcp:443 comment theirs skbmark 0x10001/0xffff",
    f"add {STRANGE_SET} 10.96.0.10,icmp:8/0",
    "create KUBE-EXTERNAL-IP-LOCAL hash:ip,port,net maxelem 77",
    "add KUBE-EXTERNAL-IP-LOCAL 10.96.0.10,tcp:80,192.0.2.0/24 nomatch",
    "create KUBE-NODE-PORT-TCP bitmap:port range 30000-32767",
    "create KUBE-NODE-PORT hash:net",
)
"""What a stranger may have made under names of ours, as `ipset restore` reads it."""

ROUTES: Final[tuple[tuple[IPAddress, IPAddress | None], ...]] = (
    (later(VIP, 100), None),
    (VIP, later(VIP, 100)),
    (VIP6, None),
    (later(VIP6, 100), VIP6),
)
"""Our routes, address and source, in an order in which each source is there."""
