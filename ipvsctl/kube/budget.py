"""How many Events may be told: a bucket of tokens for each object, and one for all."""

from collections.abc import Hashable
from typing import Final, NamedTuple

import msgspec


class Rate(NamedTuple):
    """How many Events at once, and after how many seconds one more."""

    burst: int
    refill_s: float


EVENTS_OF_ONE: Final = Rate(5, 300.0)
EVENTS_OF_ALL: Final = Rate(25, 10.0)

_OBJECTS_MAX: Final = 1024
"""Buckets that are kept; then the full ones are forgotten, which changes nothing."""


class _Bucket(msgspec.Struct):
    tokens: float
    filled_at_s: float

    def fill(self, rate: Rate, now_s: float) -> None:
        came = (now_s - self.filled_at_s) / rate.refill_s
        self.tokens = min(rate.burst, self.tokens + came)
        self.filled_at_s = now_s


class Budget:
    """Says whether one more Event may be told. Times: seconds on any steady clock."""

    def __init__(
        self, of_one: Rate = EVENTS_OF_ONE, of_all: Rate = EVENTS_OF_ALL
    ) -> None:
        self._one, self._all = of_one, of_all
        self._of_all = _Bucket(of_all.burst, 0.0)
        self._of_one: dict[Hashable, _Bucket] = {}

    def take(self, key: Hashable, now_s: float) -> bool:
        """Take a token for this object; False, and nothing is taken, without one."""
        mine = self._of_one.get(key)
        if mine is None:
            if len(self._of_one) >= _OBJECTS_MAX:
                self._forget_full(now_s)
            mine = self._of_one[key] = _Bucket(self._one.burst, now_s)
        mine.fill(self._one, now_s)
        self._of_all.fill(self._all, now_s)
        if mine.tokens < 1 or self._of_all.tokens < 1:
            return False
        mine.tokens -= 1
        self._of_all.tokens -= 1
        return True

    def _forget_full(self, now_s: float) -> None:
        kept = {}
        for key, bucket in self._of_one.items():
            bucket.fill(self._one, now_s)
            if bucket.tokens < self._one.burst:
                kept[key] = bucket
        self._of_one = kept
