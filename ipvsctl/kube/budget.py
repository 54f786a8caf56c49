"""How many Events may be told: a bucket of tokens for each object, and one for all."""

from collections.abc import Hashable
from typing import Final

import msgspec

BURST_OF_ONE: Final = 5
REFILL_OF_ONE_S: Final = 300.0
BURST_OF_ALL: Final = 25
REFILL_OF_ALL_S: Final = 10.0

_OBJECTS_MAX: Final = 1024
"""Buckets that are kept; then the full ones are forgotten, which changes nothing."""


class _Bucket(msgspec.Struct):
    tokens: float
    filled_at_s: float

    def fill(self, burst: int, refill_s: float, now_s: float) -> None:
        self.tokens = min(burst, self.tokens + (now_s - self.filled_at_s) / refill_s)
        self.filled_at_s = now_s


class Budget:
    """Says whether one more may be told. Times are seconds on any steady clock."""

    def __init__(self) -> None:
        self._of_all = _Bucket(BURST_OF_ALL, 0.0)
        self._of_one: dict[Hashable, _Bucket] = {}

    def take(self, key: Hashable, now_s: float) -> bool:
        """Take a token for this object; False, and nothing is taken, without one."""
        mine = self._of_one.get(key)
        if mine is None:
            if len(self._of_one) >= _OBJECTS_MAX:
                self._forget_full(now_s)
            mine = self._of_one[key] = _Bucket(BURST_OF_ONE, now_s)
        mine.fill(BURST_OF_ONE, REFILL_OF_ONE_S, now_s)
        self._of_all.fill(BURST_OF_ALL, REFILL_OF_ALL_S, now_s)
        if mine.tokens < 1 or self._of_all.tokens < 1:
            return False
        mine.tokens -= 1
        self._of_all.tokens -= 1
        return True

    def _forget_full(self, now_s: float) -> None:
        kept = {}
        for key, bucket in self._of_one.items():
            bucket.fill(BURST_OF_ONE, REFILL_OF_ONE_S, now_s)
            if bucket.tokens < BURST_OF_ONE:
                kept[key] = bucket
        self._of_one = kept
