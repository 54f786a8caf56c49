"""Shares of a namespace: a change costs what it changes, and adds up to the whole."""

from hypothesis import given
from hypothesis import strategies as st

from ipvsctl.model.problem import ObjectRef
from ipvsctl.plan.service.amounts import ANY_AMOUNTS, Amounts
from ipvsctl.plan.union.shares import Shares

LIMIT = ANY_AMOUNTS._replace(virtual_servers=10, marks_ipv4=3)


def ref(name: str, namespace: str = "default") -> ObjectRef:
    """A Service."""
    return ObjectRef(namespace, name)


def servers(count: int) -> Amounts:
    """Virtual servers alone."""
    return Amounts(virtual_servers=count)


def test_everybody_fits() -> None:
    """Then nobody is limited, and nobody is concerned by another."""
    shares = Shares(LIMIT)
    assert shares.put(ref("a"), "1", servers(4)) == frozenset()
    assert shares.put(ref("b"), "2", servers(6)) == frozenset()
    assert shares.granted(ref("a")) == ANY_AMOUNTS


def test_the_older_service_keeps_what_it_has() -> None:
    """Whatever a younger one asks for, and whoever is heard of first."""
    shares = Shares(LIMIT)
    shares.put(ref("young"), "2026", servers(100))
    assert shares.granted(ref("young")).virtual_servers == 10
    assert shares.put(ref("old"), "2025", servers(8)) == {ref("young")}
    assert shares.granted(ref("old")).virtual_servers == 8
    assert shares.granted(ref("young")).virtual_servers == 2
    assert shares.put(ref("youngest"), "2027", servers(1)) == frozenset()
    assert shares.granted(ref("youngest")).virtual_servers == 0
    assert shares.remove(ref("young")) == {ref("youngest")}
    assert shares.granted(ref("youngest")) == ANY_AMOUNTS


def test_namespaces_are_apart() -> None:
    """One user's Services take nothing from another's."""
    shares = Shares(LIMIT)
    shares.put(ref("a", "mallory"), "1", servers(1000))
    shares.put(ref("b"), "2", servers(10))
    assert shares.granted(ref("b")) == ANY_AMOUNTS


def test_one_thing_that_is_scarce_leaves_the_others() -> None:
    """Without marks a Service still has its virtual servers."""
    shares = Shares(LIMIT)
    shares.put(ref("a"), "1", Amounts(virtual_servers=5, marks_ipv4=3))
    shares.put(ref("b"), "2", Amounts(virtual_servers=5, marks_ipv4=3))
    granted = shares.granted(ref("b"))
    assert (granted.virtual_servers, granted.marks_ipv4) == (5, 0)


STEPS = st.lists(
    st.tuples(
        st.sampled_from("abcdef"),
        st.sampled_from(["", "2025", "2026"]),
        st.none() | st.builds(Amounts, st.integers(0, 7), marks_ipv4=st.integers(0, 2)),
    ),
    max_size=30,
)


@given(STEPS)
def test_parts_add_up(steps: list[tuple[str, str, Amounts | None]]) -> None:
    """After any changes grants are those of who starts with the result.

    Whose grant is another one was said to be so.
    """
    shares = Shares(LIMIT)
    now: dict[ObjectRef, tuple[str, Amounts]] = {}
    before: dict[ObjectRef, Amounts] = {}
    for name, created, asked in steps:
        one = ref(name)
        if asked is None:
            now.pop(one, None)
            said = shares.remove(one)
        else:
            now[one] = created, asked
            said = shares.put(one, created, asked)
        grants = {r: shares.granted(r).up_to(now[r][1]) for r in now}
        other = {r for r in grants if r in before and grants[r] != before[r]}
        assert other <= said | {one}
        assert one not in said
        before = grants
    fresh = Shares(LIMIT)
    for one, (created, asked) in sorted(now.items(), reverse=True):
        fresh.put(one, created, asked)
    assert before == {r: fresh.granted(r).up_to(now[r][1]) for r in now}
    for place, limit in enumerate(LIMIT):
        assert sum(grant[place] for grant in before.values()) <= limit
    # The oldest Service has all it asks for, or all there is.
    if now:
        oldest = min(now, key=lambda r: (now[r][0], r))
        assert before[oldest] == now[oldest][1].up_to(LIMIT)
