"""Which Service has a virtual server that several want."""

from collections.abc import Iterator

import msgspec

from ipvsctl.model.ipvs import VirtualServerKey
from ipvsctl.model.problem import Kind, ObjectRef, Problem
from ipvsctl.plan.program import ServerProgram, ServiceProgram, precedence


class _Claim(msgspec.Struct, frozen=True, order=True):
    """A Service's wish for a virtual server; the least claim is honoured.

    The order ends with the Service: it has one claim to a virtual server.
    """

    precedence: int
    created: str
    ref: ObjectRef
    server: ServerProgram


class Claims:
    """All claims to virtual servers.

    A better way in has it, whatever the age: were age to decide, whoever lists an
    address that is no cluster IP yet would get the traffic of the Service that is given
    it. Between equal ways in the older Service has it.

    Making and withdrawing a claim costs what the claims to its virtual server are.
    """

    def __init__(self) -> None:
        self._claims: dict[VirtualServerKey, dict[ObjectRef, _Claim]] = {}
        self._contested: set[VirtualServerKey] = set()

    def holder(self, key: VirtualServerKey) -> ServerProgram | None:
        """The program whose claim is honoured; None if there is no claim."""
        claims = self._claims.get(key)
        return min(claims.values()).server if claims else None

    def put(self, program: ServiceProgram, server: ServerProgram) -> bool:
        """Make a Service's claim, or renew it; whether it says something new."""
        key = server.server.key
        claim = _Claim(precedence(server.way), program.created, program.ref, server)
        claims = self._claims.setdefault(key, {})
        if claims.get(program.ref) == claim:
            return False
        claims[program.ref] = claim
        if len(claims) > 1:
            self._contested.add(key)
        return True

    def withdraw(self, ref: ObjectRef, key: VirtualServerKey) -> None:
        """Give up a Service's claim."""
        claims = self._claims[key]
        del claims[ref]
        if not claims:
            del self._claims[key]
        elif len(claims) == 1:
            self._contested.discard(key)

    def problem(self, key: VirtualServerKey, reason: str) -> Problem:
        """Why the Service whose claim is honoured has not got what it wants."""
        return _problem(min(self._claims[key].values()), reason)

    def lost(self) -> Iterator[Problem]:
        """The claims that are not honoured."""
        for key in self._contested:
            claims = self._claims[key].values()
            winner = min(claims)
            for claim in claims:
                if claim is not winner:
                    yield _problem(claim, f"already taken by Service {winner.ref}")


def _problem(claim: _Claim, reason: str) -> Problem:
    return Problem(
        kind=Kind.SERVICE,
        ref=claim.ref,
        field=claim.server.field,
        value=str(claim.server.server.key),
        reason=reason,
    )
