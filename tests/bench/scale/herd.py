"""Every watch of every node breaks at once: when does each ask again?"""

import random
from collections import Counter
from collections.abc import Callable
from typing import Final, NamedTuple

from tenacity import RetryCallState, Retrying

from ipvsctl.kube.reflector import RETRY_WAIT

Pause = Callable[[int], float]
"""From the number of failures in a row to the seconds until the next request."""

_SEED: Final = 20_260_101


class Herd(NamedTuple):
    """How a number of watches came back.

    Attributes:
        refused: requests that the server was not there to answer.
        peak: most requests of one second after its return.
        seconds: from its return until the last watch has asked.
    """

    refused: int
    peak: int
    seconds: float


def ours(failures: int) -> float:
    """The product's own pause."""
    state = RetryCallState(retry_object=Retrying(), fn=None, args=(), kwargs={})
    state.attempt_number = failures
    return RETRY_WAIT(state)


def client_go(failures: int) -> float:
    """A client-go reflector's (tools/cache/reflector.go), without its reset."""
    base: float = min(0.8 * 2.0 ** min(failures - 1, 10), 30.0)
    return base * random.uniform(1.0, 2.0)


def doubling(failures: int) -> float:
    """The same limits as ours, without chance."""
    return min(2.0 ** min(failures - 1, 10), 30.0)


def every_second(failures: int) -> float:
    """No backoff at all."""
    del failures
    return 1.0


def simulate(pause: Pause, *, watches: int, outage_s: float) -> Herd:
    """Let every watch break at 0 and ask until the server answers again.

    The same arguments give the same answer.
    """
    before = random.getstate()
    random.seed(_SEED)
    try:
        refused = 0
        arrivals = []
        for _ in range(watches):
            failures, at_s = 1, pause(1)
            while at_s < outage_s:
                refused += 1
                failures += 1
                at_s += pause(failures)
            arrivals.append(at_s - outage_s)
    finally:
        random.setstate(before)
    peak = max(Counter(int(at_s) for at_s in arrivals).values())
    return Herd(refused, peak, max(arrivals))
