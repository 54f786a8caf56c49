"""IPVS objects as values. Kernel names in brackets are those of `uapi/linux/ip_vs.h`.

Identity and equality are different types: a key finds, the value compares, and
counters live in `...Stats`, outside equality.
"""

from collections.abc import Mapping
from enum import IntEnum, IntFlag
from typing import Final

import msgspec

from ipvsctl.model.net import IPAddress, IPFamily, Protocol, format_host_port

SCHEDULERS: Final = frozenset(
    {"rr", "wrr", "lc", "wlc", "fo", "ovf", "lblc", "lblcr", "dh", "sh", "mh"}
    | {"sed", "nq", "twos"}
)
"""Every scheduler there is, as ipvsadm(8) lists them; a kernel may lack some."""


class ServiceFlags(IntFlag):
    """Virtual server flags [IP_VS_SVC_F_*].

    HASHED is the kernel's own mark on every live virtual server; reading drops it.
    SCHED1..3 mean what the scheduler makes of them: for `sh` SCHED1 is sh-fallback
    and SCHED2 sh-port; for `mh` SCHED1 is mh-fallback and SCHED2 mh-port.
    """

    NONE = 0
    PERSISTENT = 0x0001
    HASHED = 0x0002
    ONEPACKET = 0x0004
    SCHED1 = 0x0008
    SCHED2 = 0x0010
    SCHED3 = 0x0020


class ForwardingMethod(IntEnum):
    """How packets reach a real server [IP_VS_CONN_F_*, masked by FWD_MASK]."""

    MASQUERADE = 0
    LOCAL_NODE = 1
    TUNNEL = 2
    DIRECT_ROUTE = 3
    BYPASS = 4


class TunnelKind(IntEnum):
    """What packets to a real server of method TUNNEL are wrapped in.

    [IP_VS_CONN_F_TUNNEL_TYPE_*]; a kernel before Linux 5.2 has IPIP alone.
    """

    IPIP = 0
    GUE = 1
    GRE = 2


class Tunnel(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """How packets are wrapped that are not simply put into another IP packet.

    Attributes:
        port: UDP port that the other end hears on; 0 but for GUE.
        flags: [IP_VS_TUNNEL_ENCAP_FLAG_*] 0 has no checksum, 1 has one, 2 moves the
            packet's own to the outer one.
    """

    kind: TunnelKind = TunnelKind.GUE
    port: int
    flags: int = 0

    def __str__(self) -> str:
        return f"{self.kind.name.lower()} {self.port}"


class VirtualServerKey(
    msgspec.Struct, gc=False, frozen=True, kw_only=True, order=True, cache_hash=True
):
    """The key that finds a virtual server: address, protocol and port, or a fwmark.

    It keeps its hash: that of an address runs Python code.

    Attributes:
        family: always set; a fwmark's endpoints are of one family too.
        fwmark: 0 for an address virtual server; else `address` and `protocol` are
            None and `port` is 0.
    """

    family: IPFamily
    protocol: Protocol | None = None
    address: IPAddress | None = None
    port: int = 0
    fwmark: int = 0

    def __str__(self) -> str:
        if self.address is None or self.protocol is None:
            return f"fwmark {self.fwmark:#x}"
        return f"{self.protocol.label} {format_host_port(self.address, self.port)}"


class RealServerKey(msgspec.Struct, gc=False, frozen=True, order=True, cache_hash=True):
    """The key that finds a real server in its virtual server; it keeps its hash."""

    address: IPAddress
    port: int

    def __str__(self) -> str:
        return format_host_port(self.address, self.port)


class RealServer(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """A destination of a virtual server.

    Attributes:
        weight: 0 takes no new connections (it drains).
        upper_threshold: connections above which it takes no more; 0 is no limit.
        lower_threshold: connections below which it takes some again.
        tunnel: of method TUNNEL; None is IP in IP, and for every other method.
    """

    key: RealServerKey
    weight: int = 1
    forwarding: ForwardingMethod = ForwardingMethod.MASQUERADE
    upper_threshold: int = 0
    lower_threshold: int = 0
    tunnel: Tunnel | None = None

    def __str__(self) -> str:
        method = self.forwarding.name.lower()
        if self.tunnel is not None:
            method += f" {self.tunnel}"
        text = f"{self.key} {method} weight {self.weight}"
        if self.upper_threshold:
            text += f" at most {self.upper_threshold} connections"
        return text


RealServers = Mapping[RealServerKey, RealServer]
"""Those of one virtual server."""


class VirtualServer(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """An entry of the IPVS table, without its real servers.

    Attributes:
        scheduler: kernel spelling (`rr`, `wrr`, `lc`, `sh`, `mh`, ...).
        flags: without HASHED.
        timeout_s: persistence timeout; 0 unless PERSISTENT.
        netmask_bits: prefix length clients are grouped by for persistence; the full
            length of the family for one client an address.
        pe_name: persistence engine, "" for none (only foreign ones have one).
    """

    key: VirtualServerKey
    scheduler: str
    flags: ServiceFlags = ServiceFlags.NONE
    timeout_s: int = 0
    netmask_bits: int
    pe_name: str = ""

    def __str__(self) -> str:
        text = f"{self.key} {self.scheduler}"
        if ServiceFlags.PERSISTENT in self.flags:
            text += f" persistent {self.timeout_s}s"
        return text


class PersistenceNetmask(msgspec.Struct, frozen=True):
    """What is one client to session affinity: an address, or a network.

    Attributes:
        ipv4: length of the prefix that clients have in common.
        ipv6: the same.
    """

    ipv4: int = 32
    ipv6: int = 128

    def __str__(self) -> str:
        return f"{self.ipv4},{self.ipv6}"

    def bits(self, family: IPFamily) -> int:
        """That of a family."""
        return self.ipv4 if family is IPFamily.IPV4 else self.ipv6


class Timeouts(msgspec.Struct, gc=False, frozen=True):
    """Idle timeouts of IPVS connections, seconds.

    Attributes:
        tcp_s: of established connections.
        tcp_fin_s: of TCP connections that one end has closed.
        udp_s: since the last packet.
    """

    tcp_s: int = 0
    tcp_fin_s: int = 0
    udp_s: int = 0

    def __str__(self) -> str:
        return f"tcp={self.tcp_s}s tcpfin={self.tcp_fin_s}s udp={self.udp_s}s"


class RealServerStats(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """Counters of a real server, not part of what it is.

    Attributes:
        active: established TCP (or SCTP) connections.
        inactive: connections in any other state, and all UDP ones.
        persistent: persistence templates that point at it.
    """

    active: int = 0
    inactive: int = 0
    persistent: int = 0


class TrafficStats(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """Traffic of a virtual server since it was made."""

    connections: int = 0
    packets_in: int = 0
    packets_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
