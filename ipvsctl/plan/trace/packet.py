"""The packet that is traced."""

import msgspec

from ipvsctl.model.net import IPAddress, IPFamily, Protocol, family_of


class Packet(msgspec.Struct, frozen=True, kw_only=True):
    """A packet as it enters the node or is made there.

    Attributes:
        protocol: None for ICMP and ICMPv6.
        port: destination port.
        icmp: type and code when `protocol` is None.
        in_interface: link it came in on; "" for one made by this host.
        from_bridge_port: it came in through a port of a bridge.
        ctstate: its state in conntrack, as iptables writes it: NEW for the first of its
            flow, ESTABLISHED for an answer, UNTRACKED for neighbour discovery.
        mark: the packet mark.
    """

    source: IPAddress
    destination: IPAddress
    protocol: Protocol | None = Protocol.TCP
    port: int = 0
    icmp: tuple[int, int] = (0, 0)
    in_interface: str = ""
    from_bridge_port: bool = False
    ctstate: str = "NEW"
    mark: int = 0

    @property
    def family(self) -> IPFamily:
        """The family of its destination."""
        return family_of(self.destination)
