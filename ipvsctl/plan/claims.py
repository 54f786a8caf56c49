"""Which Service has a virtual server that several want."""

from collections.abc import Iterator

import msgspec

from ipvsctl.model.ipvs import VirtualServerKey
from ipvsctl.model.problem import Kind, ObjectRef, Problem
from ipvsctl.plan.program import ServerProgram


class Claim(msgspec.Struct, frozen=True, order=True):
    """A Service's wish for a virtual server; the least claim is honoured."""

    created: str
    ref: ObjectRef


class Claims:
    """All claims to virtual servers.

    Making and withdrawing one costs what the claims to its virtual server are.
    """

    def __init__(self) -> None:
        self._claims: dict[VirtualServerKey, dict[Claim, ServerProgram]] = {}
        self._contested: set[VirtualServerKey] = set()

    def holder(self, key: VirtualServerKey) -> ServerProgram | None:
        """The program whose claim is honoured; None if there is no claim."""
        claims = self._claims.get(key)
        return claims[min(claims)] if claims else None

    def put(self, claim: Claim, server: ServerProgram) -> bool:
        """Make a claim, or renew it; whether it says something new."""
        key = server.server.key
        claims = self._claims.setdefault(key, {})
        if claims.get(claim) == server:
            return False
        claims[claim] = server
        if len(claims) > 1:
            self._contested.add(key)
        return True

    def withdraw(self, claim: Claim, key: VirtualServerKey) -> None:
        """Give up a claim."""
        claims = self._claims[key]
        del claims[claim]
        if not claims:
            del self._claims[key]
        elif len(claims) == 1:
            self._contested.discard(key)

    def problem(self, key: VirtualServerKey, reason: str) -> Problem:
        """Why the Service whose claim is honoured has not got what it wants."""
        claims = self._claims[key]
        winner = min(claims)
        return _problem(winner, claims[winner], reason)

    def lost(self) -> Iterator[Problem]:
        """The claims that are not honoured."""
        for key in self._contested:
            claims = self._claims[key]
            winner = min(claims)
            for claim, program in claims.items():
                if claim != winner:
                    reason = f"already taken by Service {winner.ref}"
                    yield _problem(claim, program, reason)


def _problem(claim: Claim, program: ServerProgram, reason: str) -> Problem:
    return Problem(
        kind=Kind.SERVICE,
        ref=claim.ref,
        field=program.field,
        value=str(program.server.key),
        reason=reason,
    )
