"""Why a virtual server is not what its clients expect, in a status."""

from collections.abc import Iterator
from typing import Final

from ipvsctl.cluster.taken import Objects
from ipvsctl.model.net import IPAddress, IPFamily
from ipvsctl.model.objects import NodeContext, ServicePortName, TrafficPolicy
from ipvsctl.model.parts import RULES
from ipvsctl.model.sets import SetRole
from ipvsctl.model.state import NodeState, Observed
from ipvsctl.plan.diff.words import FirewallWords
from ipvsctl.plan.report.why import Lack, PortEndpoints, endpoints_of, port_of
from ipvsctl.plan.service.program import ServerProgram

_NONE: Final = "no real servers"


def why(program: ServerProgram, objects: Objects, node: NodeContext) -> str:
    """Why some or all clients of a virtual server are refused; "" if none are.

    Args:
        program: of the virtual server.
        objects: what it was compiled from.
        node: this node.
    """
    key, name = program.server.key, program.port_name
    is_shut = any(
        member.key.role is SetRole.NO_LOCAL_ENDPOINTS for member in program.entries
    )
    if program.real_servers and not is_shut:
        return ""
    if not is_shut:
        return why_no_endpoint(name, key.family, program.policy, objects, node)
    found = _endpoints(name, key.family, objects, node)
    if found is None:
        return _NONE
    return f"outside clients are dropped here: {found.words(TrafficPolicy.LOCAL)}"


def why_no_endpoint(
    name: ServicePortName,
    family: IPFamily,
    policy: TrafficPolicy,
    objects: Objects,
    node: NodeContext,
) -> str:
    """Why a port of a Service has no endpoint to send anybody to."""
    found = _endpoints(name, family, objects, node)
    if found is None or found.lack(policy) is Lack.NONE:
        # A change is on its way.
        return _NONE
    return f"{_NONE}: {found.words(policy)}"


def _endpoints(
    name: ServicePortName, family: IPFamily, objects: Objects, node: NodeContext
) -> PortEndpoints | None:
    service = objects.service(name.service)
    port = port_of(service, name)
    if service is None or port is None:
        return None
    return endpoints_of(service, port, family, objects.slices_of(name.service), node)


class Lacks:
    """What else the kernel lacks for virtual servers, so that packets miss them.

    Args:
        wanted: the desired state.
        observed: what the kernel holds. What could not be read of it lacks nothing.
        words: what operators call the things of the firewall.
    """

    def __init__(
        self, wanted: NodeState, observed: Observed, words: FirewallWords
    ) -> None:
        self._wanted = wanted
        self._held = held = observed.state
        self._words = words
        self._differing = {
            family
            for family in wanted.chains
            if RULES[family] not in observed.blind
            and wanted.chains[family] != held.chains.get(family)
        }

    def of(self, program: ServerProgram) -> Iterator[str]:
        """What is missing for one virtual server, a clause each."""
        for member in program.entries:
            if member.entry not in self._held.entries.get(member.key, ()):
                yield f"not in {self._words.set_name(member.key)}"
        family, address = program.server.key.family, program.server.key.address
        if address is not None and program.is_bound:
            if not self._held.vip_link_up:
                yield "its link is down"
            elif address in self._wanted.routes and address not in self._held.routes:
                yield "no route"
            elif self._has_lost(address):
                yield "no address"
        if family in self._differing:
            yield f"{self._words.rules(family)} differ"

    def _has_lost(self, address: IPAddress) -> bool:
        """It is still the host's own, but by a route alone; else it is not bound."""
        return (
            address in self._wanted.addresses
            and address not in self._held.addresses
            and address in self._held.routes
        )
