"""`python -m tests.bench.one`: one figure in a process of its own, as JSON."""

import json
import sys
from collections.abc import Callable

from ipvsctl.cli.logs import configure_logs
from ipvsctl.cli.options import LogFormat
from tests.bench import (
    api_memory,
    churn,
    firewalls,
    floods,
    hostile,
    limits,
    looplag,
    memory,
    packets,
    relay,
    single,
    speed,
)
from tests.bench.sizes import Figures, Size

FIGURES: dict[str, Callable[[Size, float], Figures]] = {
    "speed": lambda size, _: speed.measure(size),
    "memory": lambda size, _: memory.measure(size),
    "churn": churn.measure,
    "fast churn": lambda size, _: churn.measure(size, 30, per_second=churn.FAST),
    "hostile": hostile.measure,
    "floods": floods.measure,
    "looplag": looplag.measure,
    "api": lambda size, _: api_memory.measure(
        size.services, size.endpoints, changes_per_s=100, after_s=30
    ),
    "long list": lambda size, _: api_memory.measure(
        size.services, 10 * size.endpoints, streaming="off"
    ),
    "firewalls": lambda size, _: firewalls.measure(size),
    "packets": lambda _size, _: packets.measure(),
    "list": lambda size, _: single.measure_list(size),
    "start": lambda _size, _: single.measure_start(),
    limits.PREFIX + "speed": lambda *_: speed.measure(limits.size()),
    limits.PREFIX + "memory": lambda *_: memory.measure(limits.size()),
    limits.PREFIX + "api": lambda *_: api_memory.measure(
        limits.SERVICES, limits.EACH, changes_per_s=100, after_s=30
    ),
    limits.PREFIX + "list": lambda *_: single.measure_list(
        Size(limits.SERVICES, limits.EACH)
    ),
    limits.PREFIX + "churn": lambda _, seconds: churn.measure(limits.size(), seconds),
    "relay": lambda _size, _: relay.measure(),
}


_WARM = {"speed", "churn", "fast churn", "floods", "hostile", "looplag"}
"""Figures that are not of the time when something is done for the first time."""


def main() -> int:
    """Measure what the arguments say: figure, Services, endpoints, seconds."""
    figure, services, endpoints, seconds = sys.argv[1:]
    # As on a node, where standard error is no terminal.
    configure_logs(LogFormat.JSON, verbose=0)
    size = Size(int(services), int(endpoints))
    if figure.removeprefix(limits.PREFIX) in _WARM:
        # The first time, the kernel loads the modules of sets and rules.
        speed.measure(Size(10, 1))
    json.dump(FIGURES[figure](size, float(seconds)), sys.stdout)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
