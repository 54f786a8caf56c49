"""The figures of docs/reliability.md: each stands between two comments in the page."""

from collections.abc import Iterable, Mapping, Sequence
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


def flood_lines(
    floods: Mapping[str, float], long_list: Mapping[str, float]
) -> list[str]:
    """What others waited meanwhile.

    Args:
        floods: figures of `tests.bench.floods`.
        long_list: figures of `tests.bench.api_memory`.
    """
    lines = [
        "| flood | done after | others waited: median | p99 | worst |",
        "|---|---|---|---|---|",
    ]
    ends = ", p99"
    for name in (n.removesuffix(ends) for n in floods if n.endswith(ends)):
        took = floods.get(f"{name}, seconds")
        waits = [floods[f"{name}, {which}"] for which in ("median", "p99", "worst")]
        words = " | ".join(f"{1000 * wait:.0f} ms" for wait in waits)
        flood = name.removeprefix("floods, ")
        lines.append(f"| {flood} | {'' if took is None else _time(took)} | {words} |")
    worst = max(floods["floods, livez, worst"], long_list["livez, worst"])
    asked = floods["floods, livez, asked"] + long_list["livez, asked"]
    refused = floods["floods, livez, refused"] + long_list["livez, refused"]
    return [
        *lines,
        "",
        (
            f"A list of {long_list['list, MB']:.0f} MB was heard after"
            f" {_time(long_list['to complete, s'])}, with"
            f" {long_list['peak RSS when complete, MiB']:.0f} MiB at most."
            f" `/livez` was asked {asked:,.0f} times, answered after"
            f" {1000 * worst:.0f} ms at the latest and was not 200"
            f" {refused:.0f} times."
        ),
    ]


def _time(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"


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
