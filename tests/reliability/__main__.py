"""`python -m tests.reliability`, in the lab: change the kernel under traffic.

Writes its figures into `docs/reliability.md`; with `--print` nothing.
"""

import argparse
import tempfile
import time
from pathlib import Path

from ipvsctl.controller.drift_watch import QUIET_S
from tests.reliability.cost import glance_s
from tests.reliability.drift import DRIFTS, Drift, Outcome, served_node, suffer
from tests.reliability.page import cost_lines, drift_lines, put


def main() -> None:
    """Do each some times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--many", type=int, default=10_000)
    parser.add_argument("--print", action="store_true", dest="is_dry")
    given = parser.parse_args()
    rows: list[tuple[Drift, list[Outcome]]] = [(drift, []) for drift in DRIFTS]
    with (
        tempfile.TemporaryDirectory() as scratch,
        served_node(Path(scratch), given.services, "30s") as (node, world),
    ):
        for number in range(given.times):
            if number:
                time.sleep(QUIET_S)
            for drift, outcomes in rows:
                outcomes.append(suffer(node, world, drift))
                print(drift.name, outcomes[-1], flush=True)
    if not given.is_dry:
        put("drift", drift_lines(rows, given.services))
        put("cost", cost_lines(given.many, glance_s(given.many)))


if __name__ == "__main__":
    main()
