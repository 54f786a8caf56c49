"""The page with what became of clients."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tests.reliability.drift import Drift, Outcome

PAGE: Final = Path(__file__).parents[2] / "docs" / "reliability.md"

_HEAD: Final = """\
# Reliability

What becomes of clients when somebody else changes the kernel of a node. Each row was
done in the lab, on a node with {services:,} Services, while a client asked one of them
some 25 times a second, each time on a new connection. The page is written by `python -m
tests.lab -- python -m tests.reliability`. The lab has one CPU, no hardware, and the
client on it.

## Changes by others

Nobody waits for the next audit (`ipvs.syncPeriod`, 30 s) when something can be seen
before:

- **Links and addresses**: the kernel tells of them, also of the node's own addresses,
  which node ports are served on. An audit follows at once.
- **IPVS and ipsets**: the kernel tells nothing of them. Every second their numbers are
  looked at: a count that IPVS keeps, and the headers of the sets. They are compared
  with what is desired at the same moment, so that the daemon's own changes are no
  drift. That takes {cost_ms:.1f} ms with {many:,} Services, {share:.2f} % of a CPU.
- What changes no number (a weight, a scheduler, a rule), and virtual servers of IPv6
  where the kernel counts those of IPv4 alone, is for the next audit.

The audit finds out what it was, and repairs it; the log, `ipvsctl events` and `status`
name it. After a repair the next audit comes sooner (5 s), and then later again. Who
changes the same thing again and again is a problem of the Node, and waited for longer
and longer, so that two programs do not spend the node's time on each other.

| change | seen | requests lost | all served again after |
|---|---|---|---|
"""

_TAIL: Final = """
## An iptables that fails

Rules are read by `iptables-save`, a program that may be missing, fail, hang (it is
ended after 60 s) or be cut short. An audit then does all the rest: virtual and real
servers, sets, addresses, routes and sysctls are compared and repaired, rules of the
other family, too. Rules that were not read are not written either, since jumps to our
chains would then be there twice. It is tried again within half a minute; until then
`status` and `diff` say in red what is not known, `diff` exits with 2, and the Node has
a problem, which is an Event, a metric and an alert. A node is not ready before its
rules have been there once.
"""


def page(
    rows: Iterable[tuple[Drift, list[Outcome]]],
    services: int,
    many: int,
    cost_s: float,
) -> str:
    """The whole page.

    Args:
        rows: what was done, and what became of it, each time.
        services: of the node.
        many: Services of the node whose glances were measured.
        cost_s: seconds of CPU of one glance.
    """
    lines = []
    for drift, outcomes in rows:
        seen = "at once" if drift.is_heard else "by the next audit"
        lost = ", ".join(str(outcome.lost) for outcome in outcomes)
        healed = ", ".join(f"{outcome.healed_s:.1f} s" for outcome in outcomes)
        lines.append(f"| {drift.name} | {seen} | {lost} | {healed} |")
    head = _HEAD.format(
        services=services, many=many, cost_ms=1000 * cost_s, share=100 * cost_s
    )
    return head + "\n".join(lines) + "\n" + _TAIL
