"""Who has a thing that several Services want: a virtual server, a node port."""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

import msgspec

from ipvsctl.model.problem import ObjectRef, Problem
from ipvsctl.model.problem_book import ListedProblems

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

LOST = "already taken by other Services"
"""Stands for the lost claims of a Service that are not put into words."""


class Claim(msgspec.Struct, Generic[V], gc=False, frozen=True, order=True):
    """A Service's wish for a key; the least claim to a key holds it.

    No two claims to a key are of one Service, so that the order ends there.

    Attributes:
        precedence: of the way in which the Service wants the key; lower is better.
        created: the Service's `created`.
        service: whose claim it is.
        value: what the key is to be for the Service.
    """

    precedence: int
    created: str
    service: ObjectRef
    value: V


class Claims(Generic[K, V]):
    """All claims to keys of one kind, and who holds each key.

    A better precedence has a key, whatever the age: were age to decide, whoever lists
    an address that is no cluster IP yet would get the traffic of the Service that is
    given that address. Between equals the older Service has it, and then the first
    by name.

    Making and withdrawing a claim costs the same however many claims there are to its
    key, unless the claim that holds the key gets worse or is withdrawn.

    Args:
        word: the problem that it is to the Service of a claim, for a reason, not to
            have the key.
    """

    def __init__(self, word: Callable[[K, Claim[V], str], Problem]) -> None:
        self._word = word
        self._claims: dict[K, dict[ObjectRef, Claim[V]]] = {}
        # The claim that holds a key, for the keys with several claims.
        self._contested: dict[K, Claim[V]] = {}
        self._lost: ListedProblems[K] = ListedProblems(self._lost_problem, LOST)

    @property
    def lost(self) -> ListedProblems[K]:
        """The claims of Services to keys that another Service holds."""
        return self._lost

    def holder(self, key: K) -> Claim[V] | None:
        """The claim that holds a key; None if there is no claim."""
        held = self._contested.get(key)
        if held is None:
            for claim in self._claims.get(key, {}).values():
                return claim
        return held

    def held(self) -> dict[K, V]:
        """Key -> the value of the claim that holds it."""
        return {
            key: claim.value
            for key in self._claims
            if (claim := self.holder(key)) is not None
        }

    def put(self, key: K, claim: Claim[V]) -> bool:
        """Make a Service's claim, or renew it.

        Returns:
            Whether the claim says anything new.
        """
        claims = self._claims.setdefault(key, {})
        if claims.get(claim.service) == claim:
            return False
        before = self.holder(key)
        claims[claim.service] = claim
        if before is not None and len(claims) > 1:
            if before.service != claim.service:
                after = min(before, claim)
            elif (claim.precedence, claim.created) <= (
                before.precedence,
                before.created,
            ):
                after = claim
            else:
                after = min(claims.values())
            self._contested[key] = after
            for service in {claim.service, before.service} - {after.service}:
                self._lost.add(service, key)
            self._lost.discard(after.service, key)
        return True

    def withdraw(self, key: K, service: ObjectRef) -> None:
        """Give up the claim that a Service has to a key."""
        claims = self._claims[key]
        before = self._contested.pop(key, None)
        del claims[service]
        self._lost.discard(service, key)
        if not claims:
            del self._claims[key]
        elif before is not None:
            after = min(claims.values()) if before.service == service else before
            self._lost.discard(after.service, key)
            if len(claims) > 1:
                self._contested[key] = after

    def problem(self, key: K, reason: str) -> Problem:
        """Why the Service that holds a key does not get what it wants there.

        Args:
            key: to which there is a claim.
            reason: in words.
        """
        return self._word(key, min(self._claims[key].values()), reason)

    def _lost_problem(self, service: ObjectRef, key: K) -> Problem:
        winner = self._contested[key].service
        reason = f"already taken by Service {winner}"
        return self._word(key, self._claims[key][service], reason)
