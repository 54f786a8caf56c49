"""Where the parts of a packet are, and the numbers that stand there."""

from typing import Final

from ipvsctl.model.net import IPFamily
from ipvsctl.model.rules import Side

ADDRESS_OFFSETS: Final = {
    (IPFamily.IPV4, Side.SRC): 12,
    (IPFamily.IPV4, Side.DST): 16,
    (IPFamily.IPV6, Side.SRC): 8,
    (IPFamily.IPV6, Side.DST): 24,
}
"""Where the addresses are in the header of a family."""

IPV4_PROTOCOL_OFFSET: Final = 9
PORT_OFFSETS: Final = {Side.SRC: 0, Side.DST: 2}
ICMP_PROTOCOLS: Final = {IPFamily.IPV4: 1, IPFamily.IPV6: 58}
PORT_UNREACHABLE: Final = {IPFamily.IPV4: 3, IPFamily.IPV6: 4}
IFNAMSIZ: Final = 16

CT_STATES: Final = {"ESTABLISHED": 2, "RELATED": 4, "NEW": 8}
"""Bits of the state of a connection [NF_CT_STATE_BIT]."""

FIRST_PORT_PROTOCOL: Final = 6
LAST_PORT_PROTOCOL: Final = 17
"""From TCP to UDP: a set of ports alone is asked only for these, as `bitmap:port` is
(ip_set_getport.c:ip_set_get_ip_port); none of those between has ports."""
