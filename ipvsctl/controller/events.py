"""Problems become Events in the cluster: an observer that hands them on."""

from typing import Protocol

from ipvsctl.controller.observers import Nobody
from ipvsctl.model.problem import Problem


class Recorder(Protocol):
    """Tells problems to the cluster, in its own time."""

    def tell(self, problems: tuple[Problem, ...]) -> None:
        """Take problems; never waits."""
        ...

    async def run(self) -> None:
        """Tell them until cancelled."""
        ...


class EventsObserver(Nobody):
    """See `observers.Observer`."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def appeared(self, problems: tuple[Problem, ...]) -> None:
        """See `observers.Observer`."""
        self._recorder.tell(problems)
