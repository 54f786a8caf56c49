"""Problems: few in words, all counted, and followed by what changed."""

from hypothesis import given
from hypothesis import strategies as st

from ipvsctl.model.problem import WORDED, Kind, ObjectRef, Problem, in_words
from ipvsctl.model.problem_book import ListedProblems, NotedProblems, ProblemBook

WEB = ObjectRef("default", "web")


def problem(value: int = 0, reason: str = "why", ref: ObjectRef = WEB) -> Problem:
    """One of a Service."""
    return Problem(
        kind=Kind.SERVICE, ref=ref, field="f", value=f"{value:06}", reason=reason
    )


def count(problems: tuple[Problem, ...]) -> int:
    """How many they stand for."""
    return sum(p.count for p in problems)


def test_a_few_are_as_they_are() -> None:
    """In the order they were found."""
    found = tuple(problem(n) for n in (3, 1, 2))
    assert in_words(found) == found


def test_of_many_some_are_in_words() -> None:
    """The rest is one line."""
    found = in_words(problem(n) for n in range(20_006))
    assert found[:WORDED] == tuple(problem(n) for n in range(WORDED))
    assert [str(p) for p in found[WORDED:]] == [
        "Service default/web: f: and 19,990 more: why"
    ]
    assert count(found) == 20_006


def test_one_reason_does_not_hide_another() -> None:
    """Whatever is said a thousand times, what is said once is in words."""
    found = in_words([*(problem(n) for n in range(1000)), problem(0, "another")])
    assert problem(0, "another") in found
    assert count(found) == 1001


def test_reasons_are_bounded_too() -> None:
    """A reason may quote what somebody wrote."""
    found = in_words(problem(n, f"because of {n}") for n in range(5000))
    assert len(found) <= WORDED + 1
    assert count(found) == 5000


@given(st.lists(st.tuples(st.integers(0, 99), st.sampled_from("abc")), max_size=200))
def test_counts_add_up(given_: list[tuple[int, str]]) -> None:
    """Nothing is lost, and what is in words was found."""
    found = [problem(n, reason) for n, reason in given_]
    told = in_words(found)
    assert count(told) == len(found)
    assert {p for p in told if p.count == 1 and "more" not in p.value} <= set(found)
    assert in_words(told) == told or len(found) > WORDED


CHANGES = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 40), st.booleans()), max_size=120
)


@given(CHANGES)
def test_listed_ones_are_those_of_who_starts_anew(
    changes: list[tuple[str, int, bool]],
) -> None:
    """What came and went leaves nothing behind, and what changed is said."""
    listed: ListedProblems[int] = ListedProblems(
        lambda ref, item: problem(item, ref=ref), "others"
    )
    book = ProblemBook((listed,))
    now: dict[ObjectRef, set[int]] = {}
    told: dict[ObjectRef, tuple[Problem, ...]] = {}
    for place, (name, item, is_there) in enumerate(changes):
        ref = ObjectRef("default", name)
        (listed.add if is_there else listed.discard)(ref, item)
        held = now.setdefault(ref, set())
        (held.add if is_there else held.discard)(item)
        if place % 7 == 0:
            for kind, changed in book.take_changed():
                told[changed] = book.of((kind, changed))
    for kind, changed in book.take_changed():
        told[changed] = book.of((kind, changed))
    for ref, held in now.items():
        assert count(told.get(ref, ())) == len(held)
        assert len(told.get(ref, ())) <= WORDED + 1
    assert sum(p.count for p in book.each()) == sum(map(len, now.values()))


def test_what_does_not_change_is_not_looked_at() -> None:
    """Noting the same again is no change."""
    noted = NotedProblems()
    noted.put(Kind.SERVICE, WEB, (problem(),))
    assert noted.take_changed() == {(Kind.SERVICE, WEB)}
    noted.put(Kind.SERVICE, WEB, (problem(),))
    assert noted.take_changed() == frozenset()
    noted.put(Kind.SERVICE, WEB, ())
    assert noted.take_changed() == {(Kind.SERVICE, WEB)}
    assert noted.of((Kind.SERVICE, WEB)) == ()


def test_a_book_says_each_thing_once() -> None:
    """Two who find the same say it together."""
    first, second = NotedProblems(), NotedProblems()
    for part in (first, second):
        part.put(Kind.SERVICE, WEB, (problem(),))
    book = ProblemBook((first, second))
    assert book.of((Kind.SERVICE, WEB)) == (problem(),)
    assert book.all() == (problem(),)
