"""What every kernel does with ops about virtual and real servers."""

import errno
from typing import Final

import msgspec

from ipvsctl.model.ipvs import (
    ForwardingMethod,
    RealServer,
    RealServerKey,
    ServiceFlags,
    Tunnel,
    TunnelKind,
    VirtualServer,
    VirtualServerKey,
)
from ipvsctl.model.net import (
    IPAddress,
    IPFamily,
    IPv4Address,
    IPv6Address,
    Protocol,
    family_of,
)
from ipvsctl.model.state import NodeState
from ipvsctl.plan.diff.ops import (
    AddRealServer,
    AddVirtualServer,
    DeleteRealServer,
    DeleteStaleFlows,
    DeleteVirtualServer,
    UpdateRealServer,
    UpdateVirtualServer,
)
from tests.kernel.contract import Row

VIP: Final = IPv4Address("10.96.0.10")
VIP6: Final = IPv6Address("fd00:96::10")
POD: Final = IPv4Address("172.16.0.5")
POD6: Final = IPv6Address("fd00:172::5")


def key_of(
    address: IPAddress, protocol: Protocol = Protocol.TCP, port: int = 80
) -> VirtualServerKey:
    """A virtual server's key."""
    return VirtualServerKey(
        family=family_of(address), protocol=protocol, address=address, port=port
    )


KEY: Final = key_of(VIP)
KEY6: Final = key_of(VIP6, Protocol.SCTP, 65535)
FWMARK_KEY: Final = VirtualServerKey(family=IPFamily.IPV4, fwmark=0x10001)
FWMARK_KEY6: Final = VirtualServerKey(family=IPFamily.IPV6, fwmark=0x10001)
SERVER: Final = VirtualServer(key=KEY, scheduler="rr", netmask_bits=32)
SERVER6: Final = VirtualServer(
    key=KEY6,
    scheduler="sh",
    flags=ServiceFlags.PERSISTENT | ServiceFlags.SCHED1 | ServiceFlags.SCHED2,
    timeout_s=10800,
    netmask_bits=128,
)
REAL: Final = RealServer(key=RealServerKey(POD, 8080))
REAL6: Final = RealServer(
    key=RealServerKey(POD6, 1),
    weight=65535,
    forwarding=ForwardingMethod.DIRECT_ROUTE,
    upper_threshold=20,
    lower_threshold=10,
)
WRAPPED: Final = RealServer(
    key=RealServerKey(POD, 80),
    weight=2,
    forwarding=ForwardingMethod.TUNNEL,
    tunnel=Tunnel(port=6080),
)
GRE: Final = Tunnel(kind=TunnelKind.GRE, port=0, flags=1)


def changed(server: VirtualServer, **fields: object) -> VirtualServer:
    """The virtual server with some fields changed."""
    return msgspec.structs.replace(server, **fields)


def changed_real(server: RealServer, **fields: object) -> RealServer:
    """The real server with some fields changed."""
    return msgspec.structs.replace(server, **fields)


def virtual_servers(state: NodeState) -> object:
    """Look at all virtual servers."""
    return set(state.virtual_servers.values())


def real_servers(state: NodeState) -> object:
    """Look at all real servers."""
    return {
        key: set(servers.values())
        for key, servers in state.real_servers.items()
        if servers
    }


FWMARK: Final = changed(SERVER, key=FWMARK_KEY)
FWMARK6: Final = changed(SERVER6, key=FWMARK_KEY6)
PERSISTENT: Final = changed(
    SERVER, flags=ServiceFlags.PERSISTENT, timeout_s=600, netmask_bits=24
)

VIRTUAL_SERVER_ROWS: Final = (
    Row(
        fact="an IPv4 virtual server is added without real servers",
        op=AddVirtualServer(SERVER),
        look=lambda state: (dict(state.virtual_servers), dict(state.real_servers)),
        then=({KEY: SERVER}, {KEY: {}}),
    ),
    Row(
        fact="an IPv6 virtual server keeps scheduler flags, timeout and netmask",
        op=AddVirtualServer(SERVER6),
        look=virtual_servers,
        then={SERVER6},
    ),
    Row(
        fact="an IPv4 virtual server keeps the netmask of its persistence",
        op=AddVirtualServer(PERSISTENT),
        look=virtual_servers,
        then={PERSISTENT},
    ),
    Row(
        fact="a timeout means nothing without persistence",
        op=AddVirtualServer(changed(SERVER, timeout_s=77)),
        look=virtual_servers,
        then={SERVER},
    ),
    Row(
        fact="a fwmark virtual server is added",
        op=AddVirtualServer(FWMARK),
        look=virtual_servers,
        then={FWMARK},
    ),
    Row(
        fact="an IPv6 fwmark virtual server is another than the IPv4 one",
        given=(AddVirtualServer(FWMARK),),
        op=AddVirtualServer(FWMARK6),
        look=virtual_servers,
        then={FWMARK, FWMARK6},
    ),
    Row(
        fact="protocols do not share a virtual server",
        given=(AddVirtualServer(SERVER),),
        op=AddVirtualServer(changed(SERVER, key=key_of(VIP, Protocol.UDP))),
        look=virtual_servers,
        then={SERVER, changed(SERVER, key=key_of(VIP, Protocol.UDP))},
    ),
    Row(
        fact="a virtual server that is there is not added",
        given=(AddVirtualServer(SERVER),),
        op=AddVirtualServer(changed(SERVER, scheduler="wrr")),
        code=errno.EEXIST,
    ),
    Row(
        fact="a scheduler that the kernel does not have is refused",
        op=AddVirtualServer(changed(SERVER, scheduler="nonesuch")),
        code=errno.ENOENT,
    ),
    Row(
        fact="an IPv6 netmask is a length from 1 on",
        op=AddVirtualServer(changed(SERVER6, netmask_bits=0)),
        code=errno.EINVAL,
    ),
    Row(
        fact="an update changes everything but the key and the real servers",
        given=(AddVirtualServer(SERVER), AddRealServer(KEY, REAL)),
        op=UpdateVirtualServer(changed(PERSISTENT, scheduler="wlc")),
        look=lambda state: (virtual_servers(state), real_servers(state)),
        then=({changed(PERSISTENT, scheduler="wlc")}, {KEY: {REAL}}),
    ),
    Row(
        fact="an update clears flags",
        given=(AddVirtualServer(SERVER6),),
        op=UpdateVirtualServer(changed(SERVER6, flags=ServiceFlags.NONE, timeout_s=0)),
        look=virtual_servers,
        then={changed(SERVER6, flags=ServiceFlags.NONE, timeout_s=0)},
    ),
    Row(
        fact="a virtual server that is not there is not updated",
        op=UpdateVirtualServer(SERVER),
        code=errno.ESRCH,
    ),
    Row(
        fact="a scheduler that the kernel does not have is not changed to",
        given=(AddVirtualServer(SERVER),),
        op=UpdateVirtualServer(changed(SERVER, scheduler="nonesuch")),
        code=errno.ENOENT,
    ),
    Row(
        fact="a virtual server goes with its real servers",
        given=(
            AddVirtualServer(SERVER),
            AddVirtualServer(SERVER6),
            AddRealServer(KEY, REAL),
        ),
        op=DeleteVirtualServer(KEY),
        look=lambda state: (virtual_servers(state), set(state.real_servers)),
        then=({SERVER6}, {KEY6}),
    ),
    Row(
        fact="a fwmark virtual server is deleted",
        given=(AddVirtualServer(FWMARK), AddVirtualServer(FWMARK6)),
        op=DeleteVirtualServer(FWMARK_KEY),
        look=virtual_servers,
        then={FWMARK6},
    ),
    Row(
        fact="a virtual server that is not there is not deleted",
        op=DeleteVirtualServer(KEY),
        code=errno.ESRCH,
    ),
)

UDP_KEY: Final = key_of(VIP, Protocol.UDP, 53)

REAL_SERVER_ROWS: Final = (
    Row(
        fact="a real server stays when its flows are deleted",
        given=(
            AddVirtualServer(changed(SERVER, key=UDP_KEY)),
            AddRealServer(UDP_KEY, REAL),
        ),
        op=DeleteStaleFlows(UDP_KEY, frozenset()),
        look=real_servers,
        then={UDP_KEY: {REAL}},
    ),
    Row(
        fact="a real server is added",
        given=(AddVirtualServer(SERVER),),
        op=AddRealServer(KEY, REAL),
        look=real_servers,
        then={KEY: {REAL}},
    ),
    Row(
        fact="an IPv6 real server keeps weight, forwarding and thresholds",
        given=(AddVirtualServer(SERVER6),),
        op=AddRealServer(KEY6, REAL6),
        look=real_servers,
        then={KEY6: {REAL6}},
    ),
    Row(
        fact="a fwmark virtual server has real servers",
        given=(AddVirtualServer(FWMARK), AddVirtualServer(FWMARK6)),
        op=AddRealServer(FWMARK_KEY6, REAL6),
        look=real_servers,
        then={FWMARK_KEY6: {REAL6}},
    ),
    Row(
        fact="a tunnel may lead to the other family",
        given=(AddVirtualServer(SERVER),),
        op=AddRealServer(KEY, changed_real(REAL6, forwarding=ForwardingMethod.TUNNEL)),
        look=real_servers,
        then={KEY: {changed_real(REAL6, forwarding=ForwardingMethod.TUNNEL)}},
    ),
    Row(
        fact="a tunnel keeps what it is wrapped in",
        given=(AddVirtualServer(SERVER),),
        op=AddRealServer(KEY, WRAPPED),
        look=real_servers,
        then={KEY: {WRAPPED}},
    ),
    Row(
        fact="what a tunnel is wrapped in is changed in place",
        given=(AddVirtualServer(SERVER), AddRealServer(KEY, WRAPPED)),
        op=UpdateRealServer(KEY, changed_real(WRAPPED, tunnel=GRE)),
        look=real_servers,
        then={KEY: {changed_real(WRAPPED, tunnel=GRE)}},
    ),
    Row(
        fact="a real server that is masqueraded from now on is wrapped in nothing",
        given=(AddVirtualServer(SERVER), AddRealServer(KEY, WRAPPED)),
        op=UpdateRealServer(KEY, changed_real(REAL, key=WRAPPED.key)),
        look=real_servers,
        then={KEY: {changed_real(REAL, key=WRAPPED.key)}},
    ),
    Row(
        fact="nothing but a tunnel is wrapped",
        given=(AddVirtualServer(SERVER),),
        op=AddRealServer(KEY, changed_real(REAL, tunnel=Tunnel(port=6080))),
        look=real_servers,
        then={KEY: {REAL}},
    ),
    Row(
        fact="a tunnel in UDP has a port",
        given=(AddVirtualServer(SERVER),),
        op=AddRealServer(KEY, changed_real(WRAPPED, tunnel=Tunnel(port=0))),
        code=errno.EINVAL,
    ),
    Row(
        fact="nothing else may lead to the other family",
        given=(AddVirtualServer(SERVER),),
        op=AddRealServer(KEY, REAL6),
        code=errno.EINVAL,
    ),
    Row(
        fact="a real server that is there is not added",
        given=(AddVirtualServer(SERVER), AddRealServer(KEY, REAL)),
        op=AddRealServer(KEY, changed_real(REAL, weight=3)),
        code=errno.EEXIST,
    ),
    Row(
        fact="a virtual server that is not there gets no real server",
        op=AddRealServer(KEY, REAL),
        code=errno.ESRCH,
    ),
    Row(
        fact="a weight is not negative",
        given=(AddVirtualServer(SERVER),),
        op=AddRealServer(KEY, changed_real(REAL, weight=-1)),
        code=errno.ERANGE,
    ),
    Row(
        fact="the lower threshold is not above the upper one",
        given=(AddVirtualServer(SERVER),),
        op=AddRealServer(KEY, changed_real(REAL, upper_threshold=1, lower_threshold=2)),
        code=errno.ERANGE,
    ),
    Row(
        fact="weight 0 is a drain in place",
        given=(AddVirtualServer(SERVER), AddRealServer(KEY, REAL)),
        op=UpdateRealServer(KEY, changed_real(REAL, weight=0)),
        look=real_servers,
        then={KEY: {changed_real(REAL, weight=0)}},
    ),
    Row(
        fact="a real server that is not there is not updated",
        given=(AddVirtualServer(SERVER),),
        op=UpdateRealServer(KEY, REAL),
        code=errno.ENOENT,
    ),
    Row(
        fact="a real server of no virtual server is not updated",
        op=UpdateRealServer(KEY, REAL),
        code=errno.ESRCH,
    ),
    Row(
        fact="a real server is deleted",
        given=(
            AddVirtualServer(SERVER),
            AddRealServer(KEY, REAL),
            AddRealServer(KEY, changed_real(REAL, key=RealServerKey(POD, 81))),
        ),
        op=DeleteRealServer(KEY, RealServerKey(POD, 81)),
        look=real_servers,
        then={KEY: {REAL}},
    ),
    Row(
        fact="a real server that is not there is not deleted",
        given=(AddVirtualServer(SERVER),),
        op=DeleteRealServer(KEY, REAL.key),
        code=errno.ENOENT,
    ),
    Row(
        fact="a real server of no virtual server is not deleted",
        op=DeleteRealServer(KEY, REAL.key),
        code=errno.ESRCH,
    ),
)
