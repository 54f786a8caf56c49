"""`kube.reflector`: how long to wait before asking again."""

import itertools

import pytest
from tenacity import Future, RetryCallState, Retrying

from ipvsctl.kube.reflector import FORBIDDEN_PAUSE_S, RETRY_AFTER_MAX_S, Pacing
from ipvsctl.model.errors import ApiError


def failed(attempt: int, status: int = 0, retry_after_s: float = 0.0) -> RetryCallState:
    """What is known after so many failures."""
    state = RetryCallState(Retrying(), None, (), {})
    state.attempt_number = attempt
    error = ApiError(
        status=status, url="/", reason="no", retry_after_s=retry_after_s, word=""
    )
    state.outcome = Future(attempt)
    state.outcome.set_exception(error)
    return state


def test_pauses_grow() -> None:
    """They are by chance, at least half a second, and at most 1, 2, 4 ... 10 s."""
    pace = Pacing(lambda: False)
    for attempt in itertools.chain(range(1, 40), [10_000]):
        limit = min(10, 2 ** min(attempt - 1, 10))
        pauses = [pace(failed(attempt)) for _ in range(50)]
        assert min(pauses) >= 0.5
        assert max(pauses) <= limit
        assert len(set(pauses)) > 1


def test_calm() -> None:
    """After a watch that lived, the row of failures begins anew."""
    state = failed(20)
    assert Pacing(lambda: True)(state) <= 1
    assert state.attempt_number == 1


@pytest.mark.parametrize(
    ("status", "asked_s", "least_s"),
    [
        (429, 17, 17),
        (503, 10_000, RETRY_AFTER_MAX_S),
        (403, 0, FORBIDDEN_PAUSE_S),
        (500, 0, 0.5),
    ],
)
def test_floor(status: int, asked_s: float, least_s: float) -> None:
    """The server's word is kept, within reason; a refusal is not asked about soon."""
    pause = Pacing(lambda: False)(failed(1, status, asked_s))
    assert least_s <= pause <= least_s + 1
