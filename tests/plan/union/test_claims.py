"""Who has a key that several Services claim."""

from itertools import permutations

import pytest

from ipvsctl.model.problem import Kind, ObjectRef, Problem
from ipvsctl.plan.union.claims import Claim, Claims

KEY = "key"


def claim(name: str, precedence: int = 0, created: str = "") -> Claim[str]:
    """A Service's claim; its value is the Service's name."""
    return Claim(precedence, created, ObjectRef("default", name), name)


def claims(*wishes: Claim[str]) -> Claims[str, str]:
    """Claims to one key, made in this order."""
    made: Claims[str, str] = Claims(_problem)
    for wish in wishes:
        assert made.put(KEY, wish)
    return made


def _problem(key: str, lost: Claim[str], reason: str) -> Problem:
    return Problem(
        kind=Kind.SERVICE, ref=lost.service, field=lost.value, value=key, reason=reason
    )


def problems(made: Claims[str, str]) -> list[str]:
    """What the claims' Services are told."""
    return sorted(str(problem) for problem in made.lost.each())


ROWS = [
    ("a better precedence", (claim("b", 0, "2026"), claim("a", 1, "2025"))),
    ("then the older one", (claim("b", 1, "2025"), claim("a", 1, "2026"))),
    ("then the first by name", (claim("a"), claim("b"))),
]


@pytest.mark.parametrize(("fact", "ranked"), ROWS)
def test_the_least_claim_has_a_key(fact: str, ranked: tuple[Claim[str], ...]) -> None:
    """Whatever the order in which claims are made and withdrawn."""
    for order in permutations(ranked):
        made = claims(*order)
        winner, loser = ranked
        assert made.holder(KEY) == winner, fact
        assert made.held() == {KEY: winner.value}
        assert problems(made) == [
            (
                f"Service {loser.service}: {loser.value}: {KEY}: already taken by"
                f" Service {winner.service}"
            )
        ]
        made.withdraw(KEY, winner.service)
        assert made.holder(KEY) == loser
        assert problems(made) == []
        made.withdraw(KEY, loser.service)
        assert made.holder(KEY) is None
        assert made.held() == {}


def test_a_claim_that_gets_worse_loses_the_key() -> None:
    """And has it again when it is as good as before."""
    old, young, other = (claim(name, 0, name) for name in ("a", "b", "c"))
    made = claims(old, young, other)
    assert made.put(KEY, claim("a", 0, "d"))
    assert made.holder(KEY) == young
    assert len(problems(made)) == 2
    assert made.put(KEY, old)
    assert made.holder(KEY) == old
    assert len(problems(made)) == 2


def test_the_same_claim_again_says_nothing_new() -> None:
    """Another value does."""
    made = claims(claim("a"))
    assert not made.put(KEY, claim("a"))
    assert made.put(KEY, Claim(0, "", ObjectRef("default", "a"), "other"))
    assert made.held() == {KEY: "other"}


def test_the_loser_that_withdraws_takes_its_problem_along() -> None:
    """The key stays where it is."""
    made = claims(claim("a"), claim("b"), claim("c"))
    made.withdraw(KEY, ObjectRef("default", "b"))
    assert made.held() == {KEY: "a"}
    assert [line[:17] for line in problems(made)] == ["Service default/c"]
    made.withdraw(KEY, ObjectRef("default", "c"))
    assert problems(made) == []


def test_a_problem_of_the_holder_is_about_its_claim() -> None:
    """It has the key, but not what it wants there."""
    made = claims(claim("b"), claim("a"))
    assert str(made.problem(KEY, "no")) == "Service default/a: a: key: no"
