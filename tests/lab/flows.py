"""Conntrack entries, made and read by another library than ours.

For code that runs inside the lab; everything is about the caller's namespace.
"""

from typing import Any, NamedTuple

from pyroute2.netlink.nfnetlink.nfctsocket import NFCTAttrTuple, NFCTSocket

from ipvsctl.model.net import IPAddress, IPFamily, Protocol, family_of, parse_address


class Flow(NamedTuple):
    """An entry: who asked, whom it asked, and who answers."""

    client: IPAddress
    client_port: int
    address: IPAddress
    port: int
    target: IPAddress
    target_port: int


def track(flow: Flow, protocol: Protocol = Protocol.UDP) -> None:
    """Make an entry, for ten minutes."""
    family = family_of(flow.address)
    asked = NFCTAttrTuple(
        family=family,
        saddr=str(flow.client),
        daddr=str(flow.address),
        proto=protocol,
        sport=flow.client_port,
        dport=flow.port,
    )
    answered = NFCTAttrTuple(
        family=family,
        saddr=str(flow.target),
        daddr=str(flow.client),
        proto=protocol,
        sport=flow.target_port,
        dport=flow.client_port,
    )
    with NFCTSocket(nfgen_family=family) as opened:
        opened.entry("add", timeout=600, tuple_orig=asked, tuple_reply=answered)


def udp_flows() -> set[Flow]:
    """Every UDP entry."""
    return set(_udp_flows(IPFamily.IPV4, "V4") + _udp_flows(IPFamily.IPV6, "V6"))


def _udp_flows(family: IPFamily, version: str) -> list[Flow]:
    found = []
    with NFCTSocket(nfgen_family=family) as opened:
        for message in opened.dump():
            asked, answered = (
                message.get_attr(f"CTA_TUPLE_{name}") for name in ("ORIG", "REPLY")
            )
            if _port(asked, "NUM") != Protocol.UDP:
                continue
            found.append(
                Flow(
                    _address(asked, f"{version}_SRC"),
                    _port(asked, "SRC_PORT"),
                    _address(asked, f"{version}_DST"),
                    _port(asked, "DST_PORT"),
                    _address(answered, f"{version}_SRC"),
                    _port(answered, "SRC_PORT"),
                )
            )
    return found


def _address(ends: Any, name: str) -> IPAddress:
    return parse_address(ends.get_attr("CTA_TUPLE_IP").get_attr(f"CTA_IP_{name}"))


def _port(ends: Any, name: str) -> int:
    return int(ends.get_attr("CTA_TUPLE_PROTO").get_attr(f"CTA_PROTO_{name}"))
