"""Figures as lines of one table, each beside its floor and its goal."""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from tests.bench.sizes import Figures

Results = Mapping[str, Mapping[int, Figures]]
"""Figures by what was measured, then by the number of Services."""

TITLES = ("figure", "Services", "measured", "floor", "ratio", "goal", "holds")

MIB = 1 << 20


class Line(NamedTuple):
    """One line of the table, as text; an empty field has nothing to say.

    Attributes:
        holds: the goal does; None without one.
    """

    figure: str
    services: str
    measured: str
    floor: str = ""
    ratio: str = ""
    goal: str = ""
    holds: bool | None = None

    @property
    def fields(self) -> tuple[str, ...]:
        """What is printed below `TITLES`."""
        verdict = {None: "", True: "yes", False: "NO"}[self.holds]
        return (*self[:-1], verdict)


_TAKES_S = {"floods, one slice of these changes": 0.05}
"""Goals for how long a phase takes."""


def lines(results: Results) -> list[Line]:
    """Every line that there are figures for."""
    return [
        *_speed(results.get("speed", {})),
        *_memory(results.get("memory", {})),
        *_churn(results.get("churn", {})),
        *_fast_churn(results.get("fast churn", {})),
        *_others("hostile", "hostile pair", 100, results.get("hostile", {})),
        *_others("floods", "floods", 250, results.get("floods", {})),
        *_looplag(results.get("looplag", {})),
        *_api(results.get("api", {}), results.get("speed", {})),
        *_long_list(results.get("long list", {})),
        *_list(results.get("list", {})),
        *_start(results.get("start", {})),
    ]


def _speed(by_size: Mapping[int, Figures]) -> Iterator[Line]:
    for services, found in by_size.items():
        ratio = found["cold"] / found["cold floor"]
        is_goal = services in {10_000, 50_000}
        yield Line(
            "cold sync",
            f"{services:,}",
            in_s(found["cold"]),
            in_s(found["cold floor"]),
            f"{ratio:.2f}",
            "<= 1.25 x floor" if is_goal else "",
            ratio <= 1.25 if is_goal else None,
        )
    for services, found in by_size.items():
        parts = ("compile", "read empty", "diff", "apply", "rules")
        told = ", ".join(f"{part} {found[part]:.2f}" for part in parts)
        yield Line("- its parts, s", f"{services:,}", told)
    smallest = min(by_size, default=0)
    for services, found in by_size.items():
        each = found["cold"] / services
        ratio = each / (by_size[smallest]["cold"] / smallest)
        is_goal = services == 50_000 and smallest == 1_000
        yield Line(
            "cold sync, each Service",
            f"{services:,}",
            in_ms(each),
            "",
            f"{ratio:.2f}",
            "<= 1.3 x at 1,000" if is_goal else "",
            ratio <= 1.3 if is_goal else None,
        )
    for services, found in by_size.items():
        ratio = found["restart"] / found["dumps"]
        yield Line(
            "restart, nothing to do; beside the dumps of IPVS",
            f"{services:,}",
            in_s(found["restart"]),
            in_s(found["dumps"]),
            f"{ratio:.2f}",
            "<= 1.4 x the dumps",
            ratio <= 1.4,
        )
        yield Line(
            "- reading alone, to values",
            f"{services:,}",
            in_s(found["read all"]),
            in_s(found["read floor"]),
            f"{found['read all'] / found['read floor']:.2f}",
        )
    for services, found in by_size.items():
        yield Line(
            "- parsing before it", f"{services:,}", in_s(found["restart, parse"])
        )
    for part, limit in (("median", 2.2), ("p99", 3.0)):
        for services, found in by_size.items():
            taken = found[f"change, {part}"]
            yield Line(
                f"one change, {part}",
                f"{services:,}",
                in_ms(taken),
                in_ms(found["change, floor"]),
                f"{taken / found['change, floor']:.1f}",
                f"<= {limit:g} x floor",
                taken <= limit * found["change, floor"],
            )
    fewest = min((found["change, calls"] for found in by_size.values()), default=0)
    for services, found in by_size.items():
        calls = found["change, calls"]
        yield Line(
            "one change, function calls",
            f"{services:,}",
            f"{calls:,.0f}",
            "",
            "",
            "<= 700, the same at each size",
            calls <= min(700, fewest * 1.01),
        )


def _memory(by_size: Mapping[int, Figures]) -> Iterator[Line]:
    goals = {10_000: 95, 50_000: 260}
    for services, found in by_size.items():
        held = found["rss, cold sync"] / MIB
        limit = goals.get(services)
        yield Line(
            "RSS after cold sync",
            f"{services:,}",
            _mib(found["rss, cold sync"]),
            _mib(found["rss, empty"]),
            "",
            "" if limit is None else f"<= {limit} MiB",
            None if limit is None else held <= limit,
        )
    for services, found in by_size.items():
        yield Line("- after an audit", f"{services:,}", _mib(found["rss, audit"]))
        yield Line(
            "- after 2,000 changes", f"{services:,}", _mib(found["rss, 2000 changes"])
        )


def _churn(by_size: Mapping[int, Figures]) -> Iterator[Line]:
    for services, found in by_size.items():
        size = f"{services:,}"
        rate = found["churn, rate"]
        keeps_up = not found["churn, lost"] and rate > 190
        yield Line(
            "churn, changes a second", size, f"{rate:.0f}", goal="200", holds=keeps_up
        )
        yield Line("churn, median", size, in_ms(found["churn, median"]))
        p99 = found["churn, p99"]
        yield Line("churn, p99", size, in_ms(p99), goal="<= 8 ms", holds=p99 <= 0.008)
        share = found["churn, CPU"]
        yield Line(
            "churn, share of a CPU",
            size,
            f"{share:.0%}",
            goal="<= 20 %",
            holds=share <= 0.2,
        )
        for part in ("median", "p99", "worst"):
            waited = found[f"audit, {part}"]
            is_goal = part == "worst" and not math.isnan(waited)
            yield Line(
                f"event during an audit, {part}",
                size,
                in_ms(waited),
                goal="<= 20 ms" if is_goal else "",
                holds=waited <= 0.02 if is_goal else None,
            )
        idle_s = found["audit, idle seconds"]
        yield Line(
            "audit, when idle", size, in_s(idle_s), goal="<= 0.6 s", holds=idle_s <= 0.6
        )
        share = found["audit, CPU"]
        yield Line(
            "audit every 30 s, share of a CPU",
            size,
            f"{share:.1%}",
            goal="<= 1 %",
            holds=share <= 0.01,
        )


def _fast_churn(by_size: Mapping[int, Figures]) -> Iterator[Line]:
    for services, found in by_size.items():
        size, name = f"{services:,}", "churn, 1,000 a second for 30 s"
        rate = found["churn, rate"]
        keeps_up = not found["churn, lost"] and rate > 950
        yield Line(
            f"{name}: imposed a second",
            size,
            f"{rate:.0f}",
            goal="keeps up",
            holds=keeps_up,
        )
        yield Line(f"{name}: median", size, in_ms(found["churn, median"]))
        yield Line(f"{name}: p99", size, in_ms(found["churn, p99"]))
        yield Line(f"{name}: share of a CPU", size, f"{found['churn, CPU']:.0%}")


def _others(
    kind: str, title: str, most_ms: float, by_size: Mapping[int, Figures]
) -> Iterator[Line]:
    """What others wait in each phase of `tests.bench.others`.

    Args:
        kind: what their figures begin with.
        title: the same for people.
        most_ms: the goal for the 99th percentile.
        by_size: the figures.
    """
    for services, found in by_size.items():
        size, ends = f"{services:,}", ", p99"
        names = [name.removesuffix(ends) for name in found if name.endswith(ends)]
        for name in names:
            phase = name.replace(kind, title, 1)
            took = found.get(f"{name}, seconds")
            if took is not None:
                goal_s = _TAKES_S.get(name)
                yield Line(
                    f"{phase}: takes",
                    size,
                    in_s(took) if goal_s is None else in_ms(took),
                    goal="" if goal_s is None else f"<= {goal_s * 1000:.0f} ms",
                    holds=None if goal_s is None else took <= goal_s,
                )
            yield Line(
                f"{phase}: others, median", size, in_ms(found[f"{name}, median"])
            )
            p99 = found[f"{name}{ends}"]
            yield Line(
                f"{phase}: others, p99",
                size,
                in_ms(p99),
                goal=f"<= {most_ms:.0f} ms",
                holds=p99 * 1000 <= most_ms,
            )
        worst = found[f"{kind}, livez, worst"]
        yield Line(
            f"{title}: `/livez`, worst of them all",
            size,
            in_ms(worst),
            goal="< 1 s",
            holds=worst < 1,
        )
        refused = found[f"{kind}, livez, refused"]
        yield Line(
            f"{title}: `/livez` not 200",
            size,
            f"{refused:.0f} of {found[f'{kind}, livez, asked']:.0f}",
            goal="0",
            holds=not refused,
        )
        yield Line(f"{title}: warnings", size, f"{found[f'{kind}, warnings']:.0f}")


def _looplag(by_size: Mapping[int, Figures]) -> Iterator[Line]:
    phases = {
        "start": "start",
        "audit": "an audit",
        "addresses": "another address of the node",
        "alone": "20 changes a second",
        "asked": "the same, 20 clients ask `status` and `diff`",
    }
    for services, found in by_size.items():
        size = f"{services:,}"
        for phase, words in phases.items():
            name = f"event loop not back, {words}"
            p99 = found[f"looplag, {phase}, lag, p99"]
            yield Line(f"{name}: p99", size, in_ms(p99))
            worst = found[f"looplag, {phase}, lag, worst"]
            floor = found[f"looplag, {phase}, floor, worst"]
            yield Line(
                f"{name}: worst",
                size,
                in_ms(worst),
                in_ms(floor),
                goal="<= 20 ms more",
                holds=worst - floor <= 0.02,
            )
        for phase in ("alone", "asked"):
            name = f"event to kernel, {phases[phase]}"
            yield Line(
                f"{name}: median",
                size,
                in_ms(found[f"looplag, {phase}, event, median"]),
            )
            p99 = found[f"looplag, {phase}, event, p99"]
            yield Line(
                f"{name}: p99",
                size,
                in_ms(p99),
                goal="<= 50 ms",
                holds=p99 <= 0.05,
            )
        worst = found["looplag, answers, worst"]
        asked = f"{found['looplag, answers, asked']:.0f} answers"
        yield Line("- slowest answer of 20 at once", size, f"{in_s(worst)}, {asked}")


def _api(
    by_size: Mapping[int, Figures], speed: Mapping[int, Figures]
) -> Iterator[Line]:
    for services, found in by_size.items():
        size = f"{services:,}"
        name = "`ipvsctl run` on an API server, peak RSS"
        for when in ("after the first audit", "at the end"):
            peak = found[f"peak RSS {when}, MiB"]
            holds = peak <= 115
            told = when.replace("at the end", "after 30 s of 100 changes a second")
            yield Line(
                f"{name} {told}", size, f"{peak:.0f} MiB", "", "", "<= 115 MiB", holds
            )
        began = found["to start, s"]
        yield Line(
            "- from exec to the line `start` of its log",
            size,
            in_s(began),
            goal="<= 3 s",
            holds=began <= 3,
        )
        whole, alone = found["to synced, s"], speed.get(services)
        if alone is None:
            yield Line("- until the first audit ends", size, in_s(whole))
            continue
        floor = alone["cold floor"] + alone["parse"]
        yield Line(
            "- until the first audit ends; cold sync's floor and decoding",
            size,
            in_s(whole),
            in_s(floor),
            f"{whole / floor:.2f}",
            "<= 1.3 x",
            whole <= 1.3 * floor,
        )


def _long_list(by_size: Mapping[int, Figures]) -> Iterator[Line]:
    for services, found in by_size.items():
        size, name = f"{services:,}", f"a list of {found['list, MB']:.0f} MB"
        yield Line(f"{name}: heard after", size, in_s(found["to complete, s"]))
        peak = found["peak RSS when complete, MiB"]
        yield Line(f"{name}: peak RSS then", size, f"{peak:.0f} MiB")
        worst = found["livez, worst"]
        yield Line(
            f"{name}: `/livez`, worst",
            size,
            in_ms(worst),
            goal="< 1 s",
            holds=worst < 1 and not found["livez, refused"],
        )


def _list(by_size: Mapping[int, Figures]) -> Iterator[Line]:
    for services, found in by_size.items():
        taken = found["list, seconds"]
        is_goal = services == 10_000
        yield Line(
            "list decode, slices",
            f"{services:,}",
            in_s(taken),
            goal="<= 0.5 s" if is_goal else "",
            holds=taken <= 0.5 if is_goal else None,
        )
        peak, text = _mib(found["list, peak"]), _mib(found["list, bytes"])
        told = f"{peak} beside {text} of JSON"
        yield Line("- its peak memory", f"{services:,}", told)


def _start(by_size: Mapping[int, Figures]) -> Iterator[Line]:
    for found in by_size.values():
        where = "in the guest" if found["start, in guest"] else "on the machine"
        for name, words in (("--help", "status --help"), ("version", "version")):
            used = found[f"start, {name}"]
            yield Line(
                f"CPU of `ipvsctl {words}`, {where}",
                "",
                in_ms(used),
                in_ms(found["start, floor"]),
                f"{used / found['start, floor']:.1f}",
                "<= 45 ms",
                used <= 0.045,
            )


def markdown(found: Iterable[Line]) -> str:
    """The lines as a table of a page."""
    rows = [TITLES, ("---",) * len(TITLES), *(line.fields for line in found)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def in_s(seconds: float) -> str:
    """As the table has them."""
    return f"{seconds:.2f} s"


def in_ms(seconds: float) -> str:
    """As the table has them."""
    return f"{seconds * 1000:.2f} ms"


def _mib(size: float) -> str:
    return f"{size / MIB:.0f} MiB"
