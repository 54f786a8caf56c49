"""Which Service has a virtual server that several want."""

import msgspec

from ipvsctl.model.ipvs import VirtualServerKey
from ipvsctl.model.problem import Kind, ObjectRef, Problem
from ipvsctl.model.problem_book import ListedProblems
from ipvsctl.plan.service.program import ServerProgram, ServiceProgram, precedence


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

    Making and withdrawing a claim costs the same however many claims there are to its
    virtual server, unless the best one is withdrawn.
    """

    def __init__(self) -> None:
        self._claims: dict[VirtualServerKey, dict[ObjectRef, _Claim]] = {}
        # The best claim where there are several.
        self._contested: dict[VirtualServerKey, _Claim] = {}
        self._lost: ListedProblems[VirtualServerKey] = ListedProblems(
            self._lost_problem, "already taken by other Services"
        )

    @property
    def lost(self) -> ListedProblems[VirtualServerKey]:
        """The claims that are not honoured."""
        return self._lost

    def holder(self, key: VirtualServerKey) -> ServerProgram | None:
        """The program whose claim is honoured; None if there is no claim."""
        claim = self._best(key)
        return None if claim is None else claim.server

    def put(self, program: ServiceProgram, server: ServerProgram) -> bool:
        """Make a Service's claim, or renew it; whether it says something new."""
        key = server.server.key
        claim = _Claim(precedence(server.way), program.created, program.ref, server)
        claims = self._claims.setdefault(key, {})
        if claims.get(program.ref) == claim:
            return False
        before = self._best(key)
        claims[program.ref] = claim
        if before is not None and len(claims) > 1:
            if before.ref != claim.ref:
                after = min(before, claim)
            elif (claim.precedence, claim.created) <= (
                before.precedence,
                before.created,
            ):
                after = claim
            else:
                after = min(claims.values())
            self._contested[key] = after
            for ref in {claim.ref, before.ref} - {after.ref}:
                self._lost.add(ref, key)
            self._lost.discard(after.ref, key)
        return True

    def withdraw(self, ref: ObjectRef, key: VirtualServerKey) -> None:
        """Give up a Service's claim."""
        claims = self._claims[key]
        before = self._contested.pop(key, None)
        del claims[ref]
        self._lost.discard(ref, key)
        if not claims:
            del self._claims[key]
        elif before is not None:
            after = min(claims.values()) if before.ref == ref else before
            self._lost.discard(after.ref, key)
            if len(claims) > 1:
                self._contested[key] = after

    def problem(self, key: VirtualServerKey, reason: str) -> Problem:
        """Why the Service whose claim is honoured has not got what it wants."""
        return _problem(min(self._claims[key].values()), reason)

    def _best(self, key: VirtualServerKey) -> _Claim | None:
        best = self._contested.get(key)
        if best is None:
            for claim in self._claims.get(key, {}).values():
                return claim
        return best

    def _lost_problem(self, ref: ObjectRef, key: VirtualServerKey) -> Problem:
        winner = self._contested[key].ref
        reason = f"already taken by Service {winner}"
        return _problem(self._claims[key][ref], reason)


def _problem(claim: _Claim, reason: str) -> Problem:
    return Problem(
        kind=Kind.SERVICE,
        ref=claim.ref,
        field=claim.server.field,
        value=str(claim.server.server.key),
        reason=reason,
    )
