"""The figures of docs/reliability.md: each stands between two comments in the page."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from tests.reliability.drift import Drift, Outcome

PAGE: Final = Path(__file__).parents[2] / "docs" / "reliability.md"


def put(name: str, lines: Sequence[str], page: Path = PAGE) -> None:
    """Put figures in the place of those before.

    Args:
        name: of their place.
        lines: what is to be there.
        page: where.

    Raises:
        ValueError: the page has no such place.
    """
    text = page.read_text("utf-8")
    before, _, rest = text.partition(f"<!-- {name} -->\n")
    _old, end, after = rest.partition(f"<!-- /{name} -->\n")
    if not end:
        raise ValueError(f"{page} has no place {name}")
    made = "\n".join(lines)
    page.write_text(
        f"{before}<!-- {name} -->\n\n{made}\n\n<!-- /{name} -->\n{after}", "utf-8"
    )


def drift_lines(
    rows: Iterable[tuple[Drift, list[Outcome]]], services: int
) -> list[str]:
    """What became of clients when others changed the kernel.

    Args:
        rows: what was done, and what became of it, each time.
        services: of the node.
    """
    lines = [
        f"A node with {services:,} Services:",
        "",
        "| change | seen | requests lost | all served again after |",
        "|---|---|---|---|",
    ]
    for drift, outcomes in rows:
        seen = "at once" if drift.is_heard else "by the next audit"
        lost = ", ".join(str(outcome.lost) for outcome in outcomes)
        healed = ", ".join(f"{outcome.healed_s:.1f} s" for outcome in outcomes)
        lines.append(f"| {drift.name} | {seen} | {lost} | {healed} |")
    return lines


def cost_lines(many: int, cost_s: float) -> list[str]:
    """What looking costs.

    Args:
        many: Services of the node whose glances were measured.
        cost_s: seconds of CPU of one glance, one of which is made each second.
    """
    return [
        (
            f"A look takes {1000 * cost_s:.1f} ms with {many:,} Services,"
            f" {100 * cost_s:.2f} % of a CPU."
        )
    ]
