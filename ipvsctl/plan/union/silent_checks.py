"""Health-check node ports that cannot be heard: a virtual server takes their packets.

A health check is answered by a socket of the host. IPVS takes a packet before any
socket sees it, so whoever has a virtual server for a node's address and that port gets
the packet. The API server gives a number to one of the two; manifests may give it to
both.
"""

from collections.abc import Mapping

from ipvsctl.model.ipvs import VirtualServerKey
from ipvsctl.model.net import Protocol
from ipvsctl.model.problem import ObjectRef, Problem
from ipvsctl.model.problem_book import ListedProblems
from ipvsctl.plan.service.program import ServerProgram, WayIn
from ipvsctl.plan.union.claims import LOST
from ipvsctl.plan.union.health_checks import ServiceHealth, port_problem


class SilentChecks:
    """The health-check node ports that virtual servers on the host have, too.

    A change costs what there are virtual servers with its port.
    """

    def __init__(self) -> None:
        self._services: dict[int, ObjectRef] = {}
        """Health-check node port -> the Service that has it."""
        self._servers: dict[int, dict[VirtualServerKey, ServerProgram]] = {}
        """Port -> the virtual servers with that port on the host's own addresses."""
        self.silent: ListedProblems[int] = ListedProblems(self._problem, LOST)
        """Why each of these ports is not heard."""

    def replace(self, old: ServerProgram | None, new: ServerProgram | None) -> None:
        """Note that one virtual server is served in place of another."""
        if old is not None and _is_on_the_host(old):
            key = old.server.key
            del self._servers[key.port][key]
            self._settle(key.port)
        if new is not None and _is_on_the_host(new):
            key = new.server.key
            self._servers.setdefault(key.port, {})[key] = new
            self._settle(key.port)

    def note(self, checks: Mapping[int, ServiceHealth | None]) -> None:
        """Note health-check node ports that have come, gone, or may be another's.

        Args:
            checks: port -> what it answers; None if it is gone.
        """
        for port, health in checks.items():
            known = self._services.pop(port, None)
            if known is not None:
                self.silent.discard(known, port)
            if health is not None:
                self._services[port] = health.service
            self._settle(port)

    def _settle(self, port: int) -> None:
        servers = self._servers.get(port)
        if servers == {}:
            del self._servers[port]
        service = self._services.get(port)
        if service is None:
            return
        if servers:
            self.silent.add(service, port)
        else:
            self.silent.discard(service, port)

    def _problem(self, service: ObjectRef, port: int) -> Problem:
        servers = self._servers[port]
        return port_problem(service, port, _reason(service, servers[min(servers)]))


def _is_on_the_host(program: ServerProgram) -> bool:
    return not program.is_bound and program.server.key.protocol is Protocol.TCP


def _reason(service: ObjectRef, program: ServerProgram) -> str:
    other = program.port_name.service
    if other == service:
        return f"already taken by {program.field} of this Service"
    place = (
        "" if program.way is WayIn.NODE_PORT else f" at {program.server.key.address}"
    )
    return f"already taken by Service {other}{place}"
