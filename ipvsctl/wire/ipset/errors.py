"""ipset's own error codes, which are above the errno range, in words.

Source: uapi/linux/netfilter/ipset/ip_set.h, ip_set_hash.h, ip_set_bitmap.h.
"""

from typing import Final

_ERRORS: Final = {
    4097: "ipset protocol error",
    4098: "set type not supported by this kernel",
    4099: "no room for more sets",
    4100: "set is in use",
    4101: "second set does not exist",
    4102: "sets are of different types",
    4103: "entry is there already, or is not there",
    4104: "invalid CIDR",
    4105: "invalid netmask",
    4106: "invalid address family",
    4107: "set has no timeout support",
    4108: "set is in use",
    4109: "invalid IPv4 address",
    4110: "invalid IPv6 address",
    4114: "set has no skbinfo support",
    4352: "set is full (maxelem), or port out of range",
}


def describe_ipset_error(code: int) -> str:
    """The code in words; "" if it is none of ipset's."""
    if code not in _ERRORS:
        return ""
    return f"ipset error {code} ({_ERRORS[code]})"
