"""When the node counts as behind: steps in order, with the time of each."""

import pytest

from ipvsctl.controller.progress import Progress

LIMIT_S = 60.0


def after(steps: str) -> Progress:
    """Progress after steps, ten seconds apart, the first at 0.

    `q` an event comes in, `t` all are taken, `i` what was taken is imposed, `a`
    everything is, `.` nothing happens.
    """
    progress = Progress(LIMIT_S)
    for number, step in enumerate(steps):
        match step:
            case "q":
                progress.queued(number * 10.0)
            case "t":
                progress.taken()
            case "i":
                progress.imposed_taken()
            case "a":
                progress.imposed_all()
            case _:
                assert step == "."
    return progress


@pytest.mark.parametrize(
    ("fact", "steps", "late_at_s"),
    [
        ("nothing is late at the start", "qt", None),
        ("nothing is late that never came", "ta", None),
        ("nothing is late once it is imposed", "taqti", None),
        ("an event waits from when it came", "taq", 80.0),
        ("later events do not make it younger", "taqq", 80.0),
        ("being taken is not yet being imposed", "taqt", 80.0),
        ("an event that comes meanwhile waits on its own", "taqtqi", 100.0),
        ("what failed is older than what came then", "taqtqt", 80.0),
        ("a sync does not impose what failed before it", "taqtqti", 80.0),
        ("an audit does", "taqtqta", None),
        ("an event during the first audit waits after it", "tqa", 70.0),
    ],
)
def test_when_an_event_is_late(fact: str, steps: str, late_at_s: float | None) -> None:
    """It is late as soon as it has waited for the limit."""
    progress = after(steps)
    if late_at_s is None:
        assert not progress.is_late(1e9), fact
    else:
        assert not progress.is_late(late_at_s - 0.1), fact
        assert progress.is_late(late_at_s), fact


def test_how_long_the_oldest_has_been_waiting() -> None:
    """Whether it waits for its turn, is being imposed, or has failed."""
    progress = Progress(LIMIT_S)
    assert progress.pending_s(5) is None
    progress.queued(10)
    progress.queued(12)
    assert progress.pending_s(15) == 5
    progress.taken()
    progress.queued(20)
    progress.taken()
    assert progress.pending_s(21) == 11
    progress.imposed_taken()
    assert progress.pending_s(21) == 11
    progress.imposed_all()
    assert progress.pending_s(21) is None
