"""`kube.budget`: how many Events may be told."""

from ipvsctl.kube.budget import (
    BURST_OF_ALL,
    BURST_OF_ONE,
    REFILL_OF_ALL_S,
    REFILL_OF_ONE_S,
    Budget,
)


def test_one_object() -> None:
    """An object has a burst, and then one now and then."""
    budget = Budget()
    assert sum(budget.take("a", 0.0) for _ in range(100)) == BURST_OF_ONE
    assert not budget.take("a", REFILL_OF_ONE_S - 1)
    assert budget.take("a", REFILL_OF_ONE_S)
    assert not budget.take("a", REFILL_OF_ONE_S)
    assert budget.take("b", REFILL_OF_ONE_S)


def test_all_objects() -> None:
    """So do all of them together, however many there are."""
    budget = Budget()
    taken = sum(budget.take(name, 0.0) for name in range(5000))
    assert taken == BURST_OF_ALL
    taken += sum(budget.take(name, REFILL_OF_ALL_S * 3) for name in range(5000))
    assert taken == BURST_OF_ALL + 3


def test_a_refused_object_keeps_its_own() -> None:
    """What the others used up is not taken from an object's own burst."""
    budget = Budget()
    for name in range(BURST_OF_ALL):
        assert budget.take(name, 0.0)
    assert not budget.take("late", 0.0)
    later = REFILL_OF_ALL_S * BURST_OF_ALL
    assert sum(budget.take("late", later) for _ in range(100)) == BURST_OF_ONE


def test_memory() -> None:
    """Objects that may tell as much as new ones are forgotten."""
    budget = Budget()
    for name in range(10_000):
        budget.take(name, name * REFILL_OF_ONE_S * 10)
    assert len(budget._of_one) < 2000
