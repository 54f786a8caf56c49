"""Node ports on localhost: which Service's connections each listener relays."""

from collections.abc import Mapping

from ipvsctl.model.config import Listener
from ipvsctl.model.problem import Kind, ObjectRef, Problem
from ipvsctl.model.problem_book import ListedProblems
from ipvsctl.plan.service.program import LocalhostPort, ServiceProgram
from ipvsctl.plan.union.claims import Claim, Claims


class LocalhostPorts:
    """The listeners on localhost of all Services; the older Service has one.

    Putting or removing a Service costs what it has listeners.
    """

    def __init__(self) -> None:
        self._listeners: dict[ObjectRef, tuple[Listener, ...]] = {}
        self._claims: Claims[Listener, LocalhostPort] = Claims(_lost_problem)
        self._touched: set[Listener] = set()

    def put(self, program: ServiceProgram) -> None:
        """Take note of what a Service's program says now."""
        ref, ports = program.ref, program.localhost_ports
        if not ports and ref not in self._listeners:
            return
        now = tuple(port.listener for port in ports)
        before = self._listeners.pop(ref, ())
        if now:
            self._listeners[ref] = now
        for port in ports:
            claim = Claim(0, program.created, ref, port)
            if self._claims.put(port.listener, claim):
                self._touched.add(port.listener)
        for listener in before:
            if listener not in now:
                self._claims.withdraw(listener, ref)
                self._touched.add(listener)

    def remove(self, ref: ObjectRef) -> None:
        """Forget a Service; fine if it is not known."""
        self.put(ServiceProgram(ref=ref))

    def find(self, listener: Listener) -> LocalhostPort | None:
        """Whose connections a listener relays, and to where; None if nobody's."""
        claim = self._claims.holder(listener)
        return None if claim is None else claim.value

    def all(self) -> Mapping[Listener, LocalhostPort]:
        """Every listener, with whose it is."""
        return self._claims.held()

    def take_change(self) -> Mapping[Listener, LocalhostPort | None]:
        """The listeners put or removed since the last call, with whose they are now."""
        touched, self._touched = self._touched, set()
        return {listener: self.find(listener) for listener in touched}

    @property
    def lost(self) -> ListedProblems[Listener]:
        """The Services whose listener an older one has."""
        return self._claims.lost


def _lost_problem(
    _listener: Listener, claim: Claim[LocalhostPort], reason: str
) -> Problem:
    return listener_problem(claim.value, reason)


def listener_problem(port: LocalhostPort, reason: str) -> Problem:
    """Why a listener on localhost does not serve a Service."""
    return Problem(
        kind=Kind.SERVICE,
        ref=port.port_name.service,
        field=port.field,
        value=str(port.listener),
        reason=reason,
    )
