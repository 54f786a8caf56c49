"""What a Service's annotations ask of its virtual servers, beside a scheduler.

Each is a setting of the configuration, too, for all Services that say nothing; a wish
that makes no sense is a problem, and the configuration holds.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from ipvsctl.cluster.config import settings
from ipvsctl.model.config import ExternalForwarding, ProxyConfig
from ipvsctl.model.errors import ConfigError
from ipvsctl.model.ipvs import PersistenceNetmask, RealServer, ServiceFlags
from ipvsctl.model.net import Protocol
from ipvsctl.model.objects import Service, ServicePort, TrafficPolicy
from ipvsctl.model.problem import Problem
from ipvsctl.model.sets import SetRole
from ipvsctl.plan.service.families import service_problem

PREFIX: Final = "ipvsctl.io/"
MAX_CONNECTIONS: Final = f"{PREFIX}max-connections"
DRAIN_TIMEOUT: Final = f"{PREFIX}drain-timeout"
SLOW_START: Final = f"{PREFIX}slow-start"
ONE_PACKET: Final = f"{PREFIX}one-packet"
PERSISTENCE_NETMASK: Final = f"{PREFIX}persistence-netmask"
EXTERNAL_FORWARDING: Final = f"{PREFIX}external-forwarding"

_UNMASQUERADED: Final[Mapping[SetRole, tuple[SetRole, ...]]] = {
    SetRole.CLUSTER_IP: (SetRole.EXTERNAL_IP_LOCAL,),
    SetRole.EXTERNAL_IP: (SetRole.EXTERNAL_IP_LOCAL,),
    SetRole.EXTERNAL_IP_LOCAL: (SetRole.EXTERNAL_IP_LOCAL,),
    SetRole.LOAD_BALANCER: (SetRole.LOAD_BALANCER, SetRole.LOAD_BALANCER_LOCAL),
    SetRole.LOAD_BALANCER_LOCAL: (SetRole.LOAD_BALANCER_LOCAL,),
    SetRole.NODE_PORT: (SetRole.NODE_PORT, SetRole.NODE_PORT_LOCAL),
    SetRole.NODE_PORT_LOCAL: (SetRole.NODE_PORT_LOCAL,),
}
"""The roles of a frontend -> those that have its packets pass as they are."""

MOST_WEIGHT: Final = 65535
"""What ipvsadm(8) takes."""
STEPS: Final = 10
"""In which a weight grows: from a tenth to all of it."""

_MOST: Final = 100
"""Characters of a value that a problem repeats."""


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """How the virtual servers of a Service are to be.

    Attributes:
        max_connections: to one endpoint through one virtual server; 0 is any number.
        drain_timeout_s: see `ProxyConfig`.
        has_one_packet: each datagram of its UDP ports is scheduled by itself.
        netmask: what is one client to session affinity.
        slow_start_s: how long an endpoint that comes takes to get its whole weight.
        forwarding: how outside clients reach endpoints on other nodes.
        problems: annotations that cannot be honoured.
    """

    max_connections: int = 0
    drain_timeout_s: float
    has_one_packet: bool = False
    netmask: PersistenceNetmask = PersistenceNetmask()
    slow_start_s: float = 0.0
    forwarding: ExternalForwarding = ExternalForwarding.MASQUERADE
    problems: tuple[Problem, ...] = ()

    def is_one_packet(self, port: ServicePort) -> bool:
        """Whether each datagram to a port is scheduled by itself."""
        return self.has_one_packet and port.protocol is Protocol.UDP

    def flags(self, port: ServicePort) -> ServiceFlags:
        """Those of a port's virtual servers."""
        one = self.is_one_packet(port)
        return ServiceFlags.ONEPACKET if one else ServiceFlags.NONE

    def roles(self, port: ServicePort, usual: tuple[SetRole, ...]) -> Iterable[SetRole]:
        """The sets that an address and port of the Service are in.

        Of one-packet ports, those whose packets are not masqueraded. No answer comes
        back through this node anyway (IPVS has forgotten the datagram), and conntrack
        drops what is masqueraded and leaves by another link than the flow's first
        (nf_nat_core.c:nf_nat_oif_changed), as another endpoint's datagrams do.
        """
        if not self.is_one_packet(port):
            return usual
        return unmasqueraded(usual)

    @property
    def changes_real_servers(self) -> bool:
        """Whether real servers are not those of the slices."""
        return bool(self.max_connections or self.slow_start_s)

    def scale(self, weights: Iterable[int]) -> int:
        """By what the weights of a Service are multiplied, so that they may grow."""
        if self.slow_start_s and max(weights, default=0) * STEPS <= MOST_WEIGHT:
            return STEPS
        return 1

    def wanted(self, server: RealServer, scale: int) -> RealServer:
        """A real server with its limit, and with its weight on a scale.

        From the limit on it gets no new connections, until it has less than three
        quarters of it (ip_vs_conn.c:ip_vs_bind_dest, ip_vs_unbind_dest).
        """
        return msgspec.structs.replace(
            server,
            weight=server.weight * scale,
            upper_threshold=self.max_connections,
            lower_threshold=-(-self.max_connections * 3 // 4),
        )


def unmasqueraded(roles: Iterable[SetRole]) -> Iterable[SetRole]:
    """The sets that an address is in whose packets pass as they are."""
    return dict.fromkeys(r for role in roles for r in _UNMASQUERADED[role])


def read_wishes(service: Service, config: ProxyConfig) -> Wishes:
    """What a Service asks for, else what is configured."""
    if config.is_kube_proxy:
        return Wishes(drain_timeout_s=config.drain_timeout_s)
    usual = Wishes(
        max_connections=config.max_connections,
        drain_timeout_s=config.drain_timeout_s,
        netmask=config.persistence_netmask,
        slow_start_s=config.slow_start_s,
        forwarding=config.external_forwarding,
    )
    if not service.annotations:
        return usual
    found: dict[str, Any] = {}
    problems: list[Problem] = []
    for name, text in service.annotations:
        if name not in _READERS:
            continue
        attribute, read = _READERS[name]
        field = f"metadata.annotations.{name}"
        try:
            found[attribute] = read(field, text.strip())
        except ConfigError as error:
            shown = text if len(text) <= _MOST else f"{text[:_MOST]}..."
            problems.append(service_problem(service, field, shown, error.reason))
    if not found and not problems:
        return usual
    problems += _idle(service, found, config)
    return msgspec.structs.replace(usual, **found, problems=tuple(problems))


def _idle(
    service: Service, found: Mapping[str, object], config: ProxyConfig
) -> Iterator[Problem]:
    """Annotations that there is nothing for."""
    if found.get("forwarding") is ExternalForwarding.TUNNEL:
        reason = ""
        if service.external_traffic_policy is TrafficPolicy.LOCAL:
            reason = "externalTrafficPolicy is Local"
        elif not config.has_short_circuit:
            reason = "shortCircuit is false on this node"
        elif not config.has_tunnel:
            reason = "tunnelPort is 0 on this node"
        if reason:
            field = f"metadata.annotations.{EXTERNAL_FORWARDING}"
            said = f"has no effect: {reason}"
            yield service_problem(service, field, "tunnel", said)
    if found.get("has_one_packet") and not any(
        port.protocol is Protocol.UDP for port in service.ports
    ):
        field = f"metadata.annotations.{ONE_PACKET}"
        yield service_problem(service, field, "true", "the Service has no UDP port")
    if "netmask" in found and service.affinity_timeout_s is None:
        field = f"metadata.annotations.{PERSISTENCE_NETMASK}"
        reason = "has no effect: spec.sessionAffinity is not ClientIP"
        yield service_problem(service, field, found["netmask"], reason)


_READERS: Final[Mapping[str, tuple[str, Callable[[str, str], object]]]] = {
    MAX_CONNECTIONS: (
        "max_connections",
        lambda field, text: settings.count(field, settings.count_word(text)),
    ),
    DRAIN_TIMEOUT: ("drain_timeout_s", settings.duration),
    SLOW_START: ("slow_start_s", settings.duration),
    ONE_PACKET: (
        "has_one_packet",
        lambda field, text: settings.boolean(field, settings.boolean_word(text)),
    ),
    EXTERNAL_FORWARDING: ("forwarding", settings.one_of(ExternalForwarding)),
    PERSISTENCE_NETMASK: ("netmask", settings.persistence_netmask),
}
"""Annotation -> the attribute of `Wishes` that it sets, and what reads it."""
