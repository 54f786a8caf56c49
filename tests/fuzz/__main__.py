"""Give every target new inputs for some minutes; the first finding is printed.

A finding becomes a test: its input is printed as it is to be written there.
"""

import argparse
import importlib
import logging
import random
import sys
import time
from collections.abc import Sequence
from typing import Any

import structlog
from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings

from tests.fuzz.servers import served
from tests.fuzz.targets import TARGETS, Target

_AT_ONCE = 500
"""Inputs of a target until it is the next one's turn."""


class _Counted:
    """How many inputs targets had."""

    def __init__(self) -> None:
        self.inputs: dict[str, int] = {}

    def run(self, target: Target, number: int, until_s: float) -> None:
        """Give a target some inputs.

        Args:
            target: which.
            number: seeds them.
            until_s: no more after that.
        """
        self.inputs.setdefault(target.name, 0)

        @seed(number)
        @settings(
            max_examples=_AT_ONCE,
            deadline=None,
            database=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
            verbosity=Verbosity.normal,
        )
        @given(target.inputs)
        def feed(given: object) -> None:
            if time.monotonic() < until_s:
                self.inputs[target.name] += 1
                target.run(given)

        feed()


def _fuzz(targets: Sequence[Target], until_s: float, number: int) -> _Counted:
    counted, choose = _Counted(), random.Random(number)
    while time.monotonic() < until_s:
        for target in targets:
            counted.run(target, choose.getrandbits(64), until_s)
    return counted


def _follow_coverage(target: Target, seconds: float) -> None:
    """Have atheris choose the inputs; it ends the process."""
    # Where there is a wheel; without types.
    atheris: Any = importlib.import_module("atheris")
    atheris.instrument_all()
    test: Any = given(target.inputs)(target.run)
    arguments = [sys.argv[0], f"-max_total_time={seconds:.0f}", "-max_len=4096"]
    atheris.Setup(arguments, test.hypothesis.fuzz_one_input)
    atheris.Fuzz()


def main() -> int:
    """Run; 1 when something was found."""
    parser = argparse.ArgumentParser(prog="nox -s fuzz --", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument(
        "--seed", type=int, default=random.SystemRandom().getrandbits(32)
    )
    parser.add_argument(
        "--engine", choices=("hypothesis", "atheris"), default="hypothesis"
    )
    parser.add_argument("target", nargs="*", help="names of targets; none is all")
    chosen = parser.parse_args()
    # What is wrong with an input is said in its exception, if anything is.
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL)
    )
    with served() as servers:
        targets = [*TARGETS, *servers]
        if chosen.target:
            targets = [t for t in targets if t.name in chosen.target]
        if not targets:
            parser.error("targets: " + ", ".join(t.name for t in (*TARGETS, *servers)))
        if chosen.engine == "atheris":
            _follow_coverage(targets[0], chosen.minutes * 60)
        until_s = time.monotonic() + chosen.minutes * 60
        print(f"seed {chosen.seed}, {chosen.minutes:g} min, {len(targets)} targets")
        counted = _fuzz(targets, until_s, chosen.seed)
    for name, inputs in counted.inputs.items():
        print(f"{inputs:>10,}  {name}")
    print(f"{sum(counted.inputs.values()):>10,}  inputs, and nothing was found")
    return 0


if __name__ == "__main__":
    sys.exit(main())
