"""A node's status as text."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from types import MappingProxyType
from typing import Any, Final

from ipvsctl.cli.layout import Column, Line, Row, Span, count, fold, lay_out
from ipvsctl.cli.options import SortBy
from ipvsctl.model.status import (
    Counts,
    NodeStatus,
    RealServerStatus,
    ServiceStatus,
    Standing,
    Summary,
    VirtualServerStatus,
)
from ipvsctl.model.text import one_line

_STYLES: Mapping[Standing, str] = MappingProxyType(
    {
        Standing.OK: "",
        Standing.TERMINATING: "yellow",
        Standing.DRAINING: "yellow",
        Standing.WARMING: "yellow",
        Standing.DIFFERENT: "red",
        Standing.UNWANTED: "red",
        Standing.MISSING: "bold red",
        Standing.UNKNOWN: "",
    }
)
_ALARM: Final = "bold red"
_EMPTY: Final = Span("")

_COLUMNS: Final = (
    Column("SERVICE"),
    Column("NODE"),
    Column("WEIGHT", is_number=True),
    Column("ACTIVE", is_number=True),
    Column("INACT", is_number=True),
    Column("STATE"),
)
_WIDE_COLUMNS: Final = (
    *_COLUMNS[:2],
    Column("ZONE"),
    *_COLUMNS[2:5],
    Column("CONNS", is_number=True),
    Column("IN", is_number=True),
    Column("OUT", is_number=True),
    _COLUMNS[5],
)


def status_lines(
    status: NodeStatus,
    *,
    wide: bool,
    width: int | None,
    sort: SortBy = SortBy.HEALTH,
) -> Iterator[Line]:
    """The lines to print, from top to bottom.

    Args:
        status: the state.
        wide: with zones, traffic, sets, and why it is this firewall.
        width: of the terminal; None is as wide as it needs to be.
        sort: the order of the Services.
    """
    yield from _head(status.summary, status.counts, width, wide=wide)
    yield ()
    rows = list(_rows(status, sort, wide=wide))
    if rows:
        yield from lay_out(_WIDE_COLUMNS if wide else _COLUMNS, rows, width)
    else:
        yield (Span(one_line(status.not_there or _nothing(status))),)
    if status.problems:
        yield ()
        yield (Span("PROBLEMS", "dim"),)
        for problem in status.problems:
            yield from fold((Span(one_line(str(problem)), "red"),), width)


def _nothing(status: NodeStatus) -> str:
    """What it means that there is nothing to show."""
    counts = status.counts
    has_any = counts is not None and counts.virtual_servers
    return "none of the virtual servers" if has_any else "no virtual servers"


def duration(seconds: float) -> str:
    """An age, rounded down: `35s`, `12m`, `3h`, `4d`."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{int(seconds // size)}{unit}"
    return f"{int(seconds)}s"


def amount(count: int) -> str:
    """Bytes with three digits at most before the unit: `1.5kB`, `2.0MB`."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000:
            return f"{count}B" if unit == "B" else f"{size:.1f}{unit}"
        size /= 1000
    return f"{size:.1f}PB"


def _counted(counts: Counts) -> Iterator[Span]:
    """How much there is, and in colours how much of it wants a look."""
    yield Span(count(counts.services, "Service"))
    yield Span(count(counts.virtual_servers, "virtual server"))
    for text, number, style in (
        (f"{counts.without_real_servers:,} empty", counts.without_real_servers, _ALARM),
        (f"{counts.draining:,} draining", counts.draining, "yellow"),
        (f"{counts.foreign:,} foreign", counts.foreign, ""),
        (count(counts.problems, "problem"), counts.problems, "red"),
    ):
        if number:
            yield Span(text, style)


def _head(
    summary: Summary, counts: Counts | None, width: int | None, *, wide: bool
) -> Iterator[Line]:
    facts = map(Span, _facts(summary, wide=wide))
    name = Span(summary.node, "bold")
    yield from fold((name, *facts), width, between="  ")
    yield from fold(tuple(_condition(summary)), width)
    if counts is not None:
        yield from fold(tuple(_counted(counts)), width)
    if summary.loop is not None and summary.loop.last_repair is not None:
        repair = summary.loop.last_repair
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(repair.at_s))
        more = f", and {repair.count - 1:,} more" if repair.count > 1 else ""
        text = f"last repair {when}: {one_line(repair.text)}{more}"
        yield from fold((Span(text, "yellow"),), width)
    source = summary.source_state
    if source is not None:
        for doubt in source.doubts:
            yield from fold((Span(f"not known: {one_line(doubt)}", _ALARM),), width)


def _facts(summary: Summary, *, wide: bool) -> Iterator[str]:
    """What a node is served with."""
    if summary.zone:
        yield f"zone {summary.zone}"
    yield f"ipvsctl {summary.version}"
    yield f"scheduler {summary.scheduler}"
    if summary.firewall:
        why = one_line(summary.firewall_reason) if wide else ""
        yield f"firewall {summary.firewall}{f' ({why})' if why else ''}"
    if summary.vips_at_choice is not None:
        way = "routes" if summary.vip_binding == "route" else "addresses"
        yield f"VIPs as {way} (auto: {summary.vips_at_choice:,} at start)"
    if summary.compatibility != "none":
        yield f"compatibility {summary.compatibility}"
    if summary.short_circuits:
        yield count(summary.short_circuits, "short circuit")
    if summary.source:
        yield one_line(summary.source)


def _condition(summary: Summary) -> Iterator[Span]:
    loop = summary.loop
    if loop is None:
        yield Span("no daemon answers", "yellow")
    elif loop.audited_s_ago is None:
        yield Span("no audit yet", "yellow")
    else:
        ago = f"last audit {duration(loop.audited_s_ago)} ago"
        if loop.is_overdue:
            yield Span(f"{ago}, overdue", _ALARM)
        else:
            yield Span(ago)
        if loop.failed_ops:
            yield Span(f"{count(loop.failed_ops, 'op')} failed", _ALARM)
    source = summary.source_state
    if source is not None and (loop is not None or not source.is_fresh):
        style = "" if source.is_fresh else _ALARM
        yield Span(one_line(source.heard()), style)
    yield from _difference(summary)
    if not summary.source:
        yield Span("no objects read: --manifests gives names", "yellow")


def _difference(summary: Summary) -> Iterator[Span]:
    source = summary.source_state
    if summary.pending_ops:
        due = count(summary.pending_ops, "change")
        yield Span(f"{due} due (ipvsctl diff)", "yellow")
    elif summary.pending_ops == 0:
        if source is None or source.is_sure:
            yield Span("kernel equal", "green")
        else:
            yield Span("kernel equal to what is known, which may not be all", "yellow")
    if source is not None and source.held:
        yield Span(f"{count(source.held, 'deletion')} held", "yellow")


def _rows(status: NodeStatus, sort: SortBy, *, wide: bool) -> Iterator[Row]:
    for service in sorted(status.services, key=_ORDERS[sort]):
        name = f"{service.namespace}/{service.name}"
        for port, servers in groupby(
            service.ways_in, key=lambda server: server.service_port
        ):
            yield _title(f"{name}:{port}" if port else name)
            yield from _servers(servers, wide=wide)
    for title, rest in (
        ("ours, of no known Service", status.unclaimed),
        ("foreign, left alone", status.foreign),
    ):
        if rest:
            if status.services or (status.unclaimed and rest is not status.unclaimed):
                yield _title("")
            yield _title(title)
            yield from _servers(rest, wide=wide)


def _is_well(service: ServiceStatus) -> bool:
    return all(
        server.is_well or server.standing is Standing.UNKNOWN
        for server in service.ways_in
    )


def _active(service: ServiceStatus) -> int:
    servers = service.ways_in
    return -sum(real.active for server in servers for real in server.real_servers)


def _connections(service: ServiceStatus) -> int:
    return -sum(server.traffic.connections for server in service.virtual_servers)


_ORDERS: Final[Mapping[SortBy, Callable[[ServiceStatus], Any]]] = MappingProxyType(
    {
        # What wants a look comes first.
        SortBy.HEALTH: _is_well,
        # As they are.
        SortBy.NAME: lambda _service: 0,
        SortBy.ACTIVE: _active,
        SortBy.CONNS: _connections,
    }
)


def _title(text: str) -> Row:
    return Row((Span(text, "bold"),))


def _servers(servers: Iterable[VirtualServerStatus], *, wide: bool) -> Iterator[Row]:
    for server in servers:
        yield _server(server, wide=wide)
        for real in server.real_servers:
            yield _real_server(real, wide=wide)


def _server(server: VirtualServerStatus, *, wide: bool) -> Row:
    reals = server.real_servers
    cells = [
        Span(f"  {_address(server)}", "cyan" if reals else _ALARM),
        Span(server.way, "dim"),
        Span(server.scheduler, "dim"),
        Span(str(sum(real.active for real in reals)), "dim"),
        Span(str(sum(real.inactive for real in reals)), "dim"),
    ]
    notes = list(_server_notes(server))
    if wide:
        traffic = server.traffic
        cells.insert(2, _EMPTY)
        cells += [
            Span(str(traffic.connections)),
            Span(amount(traffic.bytes_in)),
            Span(amount(traffic.bytes_out)),
        ]
        notes += [Span(name, "dim") for name in server.sets]
    return Row(tuple(cells), tuple(notes))


def _real_server(real: RealServerStatus, *, wide: bool) -> Row:
    style = _STYLES[real.standing]
    cells = [
        Span(f"    {_host_port(real.address, real.port)}", style),
        Span(real.node),
        Span(str(real.weight), style if real.weight == 0 else ""),
        Span(str(real.active)),
        Span(str(real.inactive)),
    ]
    if wide:
        cells.insert(2, Span(real.zone))
        cells += [_EMPTY] * 3
    return Row(tuple(cells), tuple(_real_server_notes(real, style)))


def _server_notes(server: VirtualServerStatus) -> Iterator[Span]:
    if server.standing not in {Standing.OK, Standing.UNKNOWN}:
        yield Span(server.standing.value, _STYLES[server.standing])
    if server.bound is not None:
        yield Span("bound", "dim") if server.bound else Span("not bound", _ALARM)
    if server.why:
        yield Span(one_line(server.why), _ALARM)
    elif not server.real_servers:
        yield Span("no real servers", _ALARM)
    for clause in server.lacks:
        yield Span(clause, _ALARM)
    if server.persistence_timeout_s is not None:
        bits = server.persistence_bits
        network = "" if bits is None else f" for each /{bits}"
        yield Span(f"persistent {server.persistence_timeout_s}s{network}", "dim")
    for flag in server.flags:
        yield Span(flag, "dim")


def _real_server_notes(real: RealServerStatus, style: str) -> Iterator[Span]:
    if real.standing is Standing.UNKNOWN:
        return
    text = real.standing.value
    if real.whole_weight:
        text += f" {real.weight * 100 // real.whole_weight}%"
    if real.draining_s is not None:
        text += f" {duration(real.draining_s)}"
    yield Span(text, style or "dim")
    if real.is_tunnelled:
        yield Span("in a tunnel, for its endpoints", "dim")
    if real.is_full:
        yield Span(f"full: {real.max_connections} connections", _ALARM)
    elif real.max_connections:
        yield Span(f"at most {real.max_connections} connections", "dim")


def _address(server: VirtualServerStatus) -> str:
    if server.fwmark:
        return f"fwmark {server.fwmark:#x}"
    return f"{server.protocol} {_host_port(server.address, server.port)}"


def _host_port(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
