"""Virtual and real servers as `ipvsadm-save -n` prints them."""

from ipvsctl.model.ipvs import (
    ForwardingMethod,
    RealServer,
    ServiceFlags,
    TunnelKind,
    VirtualServer,
    VirtualServerKey,
)
from ipvsctl.model.net import IPFamily, Protocol, format_host_port
from ipvsctl.model.state import NodeState

_PROTOCOL_OPTION = {
    Protocol.TCP: "-t",
    Protocol.UDP: "-u",
    Protocol.SCTP: "--sctp-service",
}

_FORWARDING_OPTION = {
    ForwardingMethod.MASQUERADE: "-m",
    ForwardingMethod.TUNNEL: "-i",
    ForwardingMethod.DIRECT_ROUTE: "-g",
    # A real server on the load balancer itself is saved as what it was added as.
    ForwardingMethod.LOCAL_NODE: "-g",
    ForwardingMethod.BYPASS: "-g",
}

# What SCHED1..3 are called depends on the scheduler; others keep the bare names.
_FLAG_NAMES = {
    "sh": ("sh-fallback", "sh-port", "flag-3"),
    "mh": ("mh-fallback", "mh-port", "flag-3"),
}
_PLAIN_FLAG_NAMES = ("flag-1", "flag-2", "flag-3")
_CHECKSUM_OPTIONS = {0: "--tun-nocsum", 1: "--tun-csum", 2: "--tun-remcsum"}
_SCHED_FLAGS = (ServiceFlags.SCHED1, ServiceFlags.SCHED2, ServiceFlags.SCHED3)


def render_ipvsadm(state: NodeState) -> list[str]:
    """Virtual and real servers in the format of `ipvsadm-save -n`, sorted.

    Source: ipvsadm 1.31 ipvsadm.c (`print_service_entry`, FMT_RULE).
    """
    lines = [_virtual_server(server) for server in state.virtual_servers.values()]
    for key, real_servers in state.real_servers.items():
        lines += [_real_server(key, server) for server in real_servers.values()]
    return sorted(lines)


def _service(key: VirtualServerKey) -> str:
    if key.address is None or key.protocol is None:
        return f"-f {key.fwmark}" + (" -6" if key.family is IPFamily.IPV6 else "")
    option = _PROTOCOL_OPTION[key.protocol]
    return f"{option} {format_host_port(key.address, key.port)}"


def _virtual_server(server: VirtualServer) -> str:
    text = f"-A {_service(server.key)} -s {server.scheduler}"
    if ServiceFlags.PERSISTENT in server.flags:
        text += f" -p {server.timeout_s}"
        if server.netmask_bits != server.key.family.bits:
            text += f" -M {_netmask(server)}"
    if server.pe_name:
        text += f" --pe {server.pe_name}"
    if ServiceFlags.ONEPACKET in server.flags:
        text += " -o"
    names = _FLAG_NAMES.get(server.scheduler, _PLAIN_FLAG_NAMES)
    flags = [
        name
        for flag, name in zip(_SCHED_FLAGS, names, strict=True)
        if flag in server.flags
    ]
    return f"{text} -b {','.join(flags)}" if flags else text


def _netmask(server: VirtualServer) -> str:
    if server.key.family is IPFamily.IPV6:
        return str(server.netmask_bits)
    mask = (0xFFFFFFFF << (32 - server.netmask_bits)) & 0xFFFFFFFF
    return ".".join(str(mask >> shift & 0xFF) for shift in (24, 16, 8, 0))


def _real_server(key: VirtualServerKey, server: RealServer) -> str:
    text = (
        f"-a {_service(key)} -r {server.key} "
        f"{_FORWARDING_OPTION[server.forwarding]} -w {server.weight}"
    )
    if server.forwarding is ForwardingMethod.TUNNEL:
        text += _tunnel(server)
    if server.upper_threshold:
        text += f" -x {server.upper_threshold}"
    if server.lower_threshold:
        text += f" -y {server.lower_threshold}"
    return text


def _tunnel(server: RealServer) -> str:
    tunnel = server.tunnel
    if tunnel is None:
        return " --tun-type ipip"
    text = f" --tun-type {tunnel.kind.name.lower()}"
    if tunnel.kind is TunnelKind.GUE:
        text += f" --tun-port {tunnel.port}"
    return f"{text} {_CHECKSUM_OPTIONS.get(tunnel.flags, _CHECKSUM_OPTIONS[0])}"
