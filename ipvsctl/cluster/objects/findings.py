"""Field values that may be wrong: the value if it can be used, else a problem.

A value that cannot be used is left out alone; its object works without it.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final, TypeVar

from ipvsctl.model.net import (
    IPAddress,
    IPFamily,
    IPNetwork,
    Protocol,
    parse_address,
    parse_network,
)
from ipvsctl.model.problem import Kind, ObjectRef, Problem, Tally

E = TypeVar("E", bound=StrEnum)

_SHOWN = 120
_NO_VIPS: Final = frozenset(
    map(parse_address, ("0.0.0.0", "255.255.255.255", "::", "::1"))  # noqa: S104
)
_PROTOCOLS = {protocol.name: protocol for protocol in Protocol}


class Findings:
    """Reads field values of one object and collects the problems they have."""

    def __init__(self, kind: Kind, ref: ObjectRef) -> None:
        self._kind = kind
        self._ref = ref
        self._tally = Tally()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Problems in the order they were found; of many that are alike, some."""
        return self._tally.problems

    def add(self, field: str, value: object, reason: str) -> None:
        """Note that `field` cannot be honoured."""
        self._tally.add(
            Problem(
                kind=self._kind,
                ref=self._ref,
                field=field,
                value=str(value)[:_SHOWN],
                reason=reason,
            )
        )

    def port(self, field: str, value: int | None) -> int | None:
        """A port number, 1-65535."""
        if value is not None and 0 < value < 65536:
            return value
        if value is None:
            self.add(field, "", "is missing")
        else:
            self.add(field, value, "not a port number (1-65535)")
        return None

    def protocol(self, field: str, text: str | None) -> Protocol | None:
        """A transport protocol; TCP when unset."""
        protocol = _PROTOCOLS.get(text or "TCP")
        if protocol is None:
            self.add(field, text, "not one of TCP, UDP, SCTP")
        return protocol

    def choice(self, field: str, text: str | None, default: E) -> E:
        """A Kubernetes word; `default` when unset or unknown."""
        if not text:
            return default
        try:
            return type(default)(text)
        except ValueError:
            known = ", ".join(type(default))
            self.add(field, text, f"not one of {known}; {default} is used")
            return default

    def address(self, field: str, text: str) -> IPAddress | None:
        """An address of a field in which no link-local one is allowed."""
        return self._address(field, text, link_local=False)

    def any_address(self, field: str, text: str) -> IPAddress | None:
        """An address of a field in which IPv4 link-local ones are allowed."""
        return self._address(field, text, link_local=True)

    def addresses(self, field: str, texts: Iterable[str]) -> tuple[IPAddress, ...]:
        """The `address` of each in a list, each once, in order."""
        found = (
            self.address(f"{field}[{index}]", text) for index, text in enumerate(texts)
        )
        return tuple(dict.fromkeys(a for a in found if a is not None))

    def _address(self, field: str, text: str, *, link_local: bool) -> IPAddress | None:
        try:
            return usable_address(text, link_local=link_local)
        except ValueError as exc:
            self.add(field, text, str(exc))
            return None

    def network(self, field: str, text: str) -> IPNetwork | None:
        """A CIDR."""
        try:
            return parse_network(text)
        except ValueError:
            self.add(field, text, "not a network (address/length)")
            return None

    def networks(self, field: str, texts: Iterable[str]) -> tuple[IPNetwork, ...]:
        """The networks in a list, each once, in order."""
        found = (
            self.network(f"{field}[{index}]", text) for index, text in enumerate(texts)
        )
        return tuple(dict.fromkeys(n for n in found if n is not None))


def usable_address(
    text: str, family: IPFamily | None = None, *, link_local: bool = False
) -> IPAddress:
    """Parse an address that a VIP, an endpoint or a Node can have.

    Of endpoints and external IPs the API server refuses those that are special;
    manifests on disk pass no API server. It does not look at cluster IPs, load
    balancers' and Nodes' addresses, so those of 169.254.0.0/16 are in use there. The
    others can be no VIP whoever accepts them: 127.0.0.1 on the VIP link would cost the
    node its loopback, IPVS takes no multicast or broadcast address, and an IPv6
    link-local one is reached through its own link alone.

    Args:
        text: as Kubernetes writes it.
        family: the only family to accept; None is either.
        link_local: accept those of IPv4.

    Raises:
        ValueError: with the reason, for a `Problem`.
    Source: kubernetes pkg/apis/core/validation `ValidateNonSpecialIP`,
        `ValidateLoadBalancerStatus`; ip_vs_ctl.c:ip_vs_new_dest.
    """
    if not text:
        raise ValueError("is missing")
    try:
        address = parse_address(text)
    except ValueError:
        raise ValueError("not an IP address") from None
    # Of every endpoint, and said with as few calls as can be.
    top = address[0]
    if len(address) == 4:
        special = top == 127 or 224 <= top < 240 or address in _NO_VIPS
        is_link_local = top == 169 and address[1] == 254 and not link_local
    else:
        special = top == 0xFF or address in _NO_VIPS
        is_link_local = top == 0xFE and address[1] >> 6 == 2
    if special:
        raise ValueError("unspecified, loopback, multicast or broadcast address")
    if is_link_local:
        raise ValueError("link-local address")
    if family is not None and address.family is not family:
        raise ValueError(f"not an {family.label} address")
    return address
