"""Calls that hang, in threads."""

import errno
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

import pytest

from ipvsctl.kernel.patience import Patience
from ipvsctl.kernel.rules import FIRST_PATIENCE_S, LEAST_PATIENCE_S, LOCK_WAIT_S, Rules
from ipvsctl.model.errors import KernelError
from ipvsctl.model.neighbours import FilterTable
from ipvsctl.model.net import IPFamily
from ipvsctl.model.rules import Chains, RulesChange
from ipvsctl.plan.diff.ops import ChangeRules
from tests.fakes.clock import FakeClock


def fail() -> None:
    """What a call may do."""
    raise KernelError.of(errno.EBUSY, "lock")


def test_a_call_that_ends_in_time() -> None:
    """What it returns, or raises, is the caller's; many may follow."""
    patience = Patience()
    assert patience.call(lambda: 1, "count", 60) == 1
    assert patience.call(lambda: 2, "count", 60) == 2
    with pytest.raises(KernelError, match="lock"):
        patience.call(fail, "lock", 60)
    assert patience.call(lambda: 3, "count", 60) == 3


def test_a_call_that_raises_a_timeout_of_its_own() -> None:
    """It is the call's, and not a wait that was too long."""

    def late() -> None:
        raise TimeoutError("of its own")

    with pytest.raises(TimeoutError, match="of its own"):
        Patience().call(late, "late", 60)


def test_a_call_that_ends_when_nobody_waits_any_more() -> None:
    """It is late, or it is not: never anything else."""
    outcomes = Counter[str]()
    for _ in range(500):
        try:
            outcomes[Patience().call(lambda: "in time", "count", 0)] += 1
        except KernelError:
            outcomes["late"] += 1
    assert outcomes.keys() <= {"in time", "late"}
    assert outcomes.total() == 500


def test_two_who_call_at_once() -> None:
    """The one waits for the other, as long as he would for his own call."""
    patience, begun, ended = Patience(), threading.Event(), threading.Event()

    def slow() -> str:
        begun.set()
        assert ended.wait(60)
        return "first"

    with ThreadPoolExecutor(2) as callers:
        first = callers.submit(patience.call, slow, "first", 60)
        assert begun.wait(60)
        second = callers.submit(patience.call, lambda: "second", "second", 60)
        with pytest.raises(KernelError, match="first: has not ended in 0 s"):
            patience.call(lambda: "third", "third", 0.01)
        ended.set()
        assert (first.result(60), second.result(60)) == ("first", "second")


def test_a_call_that_hangs_costs_its_time_once() -> None:
    """Those after it fail at once, until it has ended; they are not done later."""
    begun, ended, done = threading.Event(), threading.Event(), []
    clock = FakeClock()
    patience = Patience(clock)

    def hang() -> None:
        begun.set()
        assert ended.wait(60)
        done.append("reading")

    with pytest.raises(KernelError, match="reading: has not ended in 0 s") as error:
        patience.call(hang, "reading", 0.01)
    assert error.value.errno == errno.ETIMEDOUT
    assert begun.wait(60)
    clock.advance(9)
    with pytest.raises(KernelError, match="reading: has not ended in 9 s"):
        patience.call(lambda: done.append("writing"), "writing", 60)
    ended.set()
    while "next" not in done:
        with suppress(KernelError):
            patience.call(lambda: done.append("next"), "writing", 60)
    assert done == ["reading", "next"]


T = TypeVar("T")


class SlowTool:
    """The rules of a family, of a tool that takes its time."""

    random_fully = True

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.go_on.set()
        self.done: list[object] = []

    def read(self) -> Chains:
        """See `RulesTool`."""
        assert self.go_on.wait(60)
        return {}

    def read_filter(self) -> FilterTable:
        """See `RulesTool`."""
        raise NotImplementedError

    def read_chain_names(self) -> frozenset[str]:
        """See `RulesTool`."""
        raise NotImplementedError

    def restore(self, change: RulesChange) -> None:
        """See `RulesTool`."""
        assert self.go_on.wait(60)
        self.done.append(change)


class NotedPatience(Patience):
    """Notes how long it would wait, and does not wait so long."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock)
        self.waits_s: list[float] = []

    def call(self, call: Callable[[], T], what: str, patience_s: float) -> T:
        """See `Patience`."""
        self.waits_s.append(patience_s)
        return super().call(call, what, min(patience_s, 0.01))


def test_rules_are_waited_for_as_long_as_they_are_known_to_take() -> None:
    """The first time for long; to write them, for the lock as well."""
    tool, patience = SlowTool(), NotedPatience()
    rules = Rules({IPFamily.IPV4: tool}, {IPFamily.IPV4: patience})
    rules.read(IPFamily.IPV4)
    patience.taken_s = 3.0
    rules.read(IPFamily.IPV4)
    patience.taken_s = 0.1
    change = RulesChange(family=IPFamily.IPV4)
    assert rules.run([ChangeRules(change)]) == []
    assert tool.done == [change]
    assert patience.waits_s == [
        FIRST_PATIENCE_S,
        12.0,
        LOCK_WAIT_S + LEAST_PATIENCE_S,
    ]


def test_a_call_that_was_late_is_waited_for_longer_the_next_time() -> None:
    """A node with very many rules is slow each time, and must not be given up."""
    tool, clock = SlowTool(), FakeClock()
    patience = NotedPatience(clock)
    rules = Rules({IPFamily.IPV4: tool}, {IPFamily.IPV4: patience})
    tool.go_on.clear()
    with pytest.raises(KernelError, match="has not ended"):
        rules.read(IPFamily.IPV4)
    clock.advance(25)
    tool.go_on.set()
    end = time.monotonic() + 60
    while patience.taken_s is None and time.monotonic() < end:
        time.sleep(0.001)
    with suppress(KernelError):
        # Its thread may be about to end.
        rules.read(IPFamily.IPV4)
    assert patience.waits_s[:2] == [FIRST_PATIENCE_S, 100.0]


def test_one_that_fails_teaches_nothing() -> None:
    """It is no sign of how long the next one will take."""
    patience = Patience()
    with pytest.raises(KernelError, match="lock"):
        patience.call(fail, "lock", 60)
    assert patience.taken_s is None
    patience.call(lambda: 1, "count", 60)
    assert patience.taken_s is not None


def test_rules_that_hang() -> None:
    """What is to be written meanwhile is refused, and can be tried again."""
    tool, patience = SlowTool(), NotedPatience()
    rules = Rules({IPFamily.IPV6: tool}, {IPFamily.IPV6: patience})
    tool.go_on.clear()
    with pytest.raises(KernelError, match="reading rules: has not ended in 0 s"):
        rules.read(IPFamily.IPV6)
    op = ChangeRules(RulesChange(family=IPFamily.IPV6))
    (failure,) = rules.run([op])
    assert failure.op is op
    assert failure.errno == errno.ETIMEDOUT
    assert failure.reason == "has not ended in 0 s"
    tool.go_on.set()
