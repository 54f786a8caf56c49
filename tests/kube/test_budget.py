"""`kube.budget`: how many Events may be told."""

from ipvsctl.kube.budget import (
    EVENTS_OF_ALL,
    EVENTS_OF_ONE,
    Budget,
)


def test_one_object() -> None:
    """An object has a burst, and then one now and then."""
    budget = Budget()
    assert sum(budget.take("a", 0.0) for _ in range(100)) == EVENTS_OF_ONE.burst
    assert not budget.take("a", EVENTS_OF_ONE.refill_s - 1)
    assert budget.take("a", EVENTS_OF_ONE.refill_s)
    assert not budget.take("a", EVENTS_OF_ONE.refill_s)
    assert budget.take("b", EVENTS_OF_ONE.refill_s)


def test_all_objects() -> None:
    """So do all of them together, however many there are."""
    budget = Budget()
    taken = sum(budget.take(name, 0.0) for name in range(5000))
    assert taken == EVENTS_OF_ALL.burst
    taken += sum(budget.take(name, EVENTS_OF_ALL.refill_s * 3) for name in range(5000))
    assert taken == EVENTS_OF_ALL.burst + 3


def test_a_refused_object_keeps_its_own() -> None:
    """What the others used up is not taken from an object's own burst."""
    budget = Budget()
    for name in range(EVENTS_OF_ALL.burst):
        assert budget.take(name, 0.0)
    assert not budget.take("late", 0.0)
    later = EVENTS_OF_ALL.refill_s * EVENTS_OF_ALL.burst
    assert sum(budget.take("late", later) for _ in range(100)) == EVENTS_OF_ONE.burst


def test_memory() -> None:
    """Objects that may tell as much as new ones are forgotten."""
    budget = Budget()
    for name in range(10_000):
        budget.take(name, name * EVENTS_OF_ONE.refill_s * 10)
    assert len(budget._of_one) < 2000
