"""Durations as Go writes them: `30s`, `1m30s`, `1.5h`, `0`."""

import re

_UNITS_S = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "μs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
_LONGEST_S = (2**63 - 1) / 1e9
# Unicode has two micro signs, and Go takes both.
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_WHOLE = re.compile(rf"(?:{_PART.pattern})+", re.ASCII)


def parse_duration(text: str) -> float:
    """Seconds in a duration.

    Raises:
        ValueError: not a duration, or a negative one.
    Source: Go time.ParseDuration.
    """
    if text == "0":
        return 0.0
    if not _WHOLE.fullmatch(text):
        raise ValueError("not a duration such as 30s or 1m30s")
    parts = _PART.findall(text)
    seconds = sum(float(number) * _UNITS_S[unit] for number, unit in parts)
    if seconds > _LONGEST_S:
        raise ValueError("not a duration: longer than Go can count, 292 years")
    return seconds
