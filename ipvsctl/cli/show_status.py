"""A node's status as text."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from types import MappingProxyType

from rich import filesize
from rich.cells import cell_len
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ipvsctl.model.status import (
    NodeStatus,
    RealServerStatus,
    Standing,
    Summary,
    VirtualServerStatus,
)

_STYLES: Mapping[Standing, str] = MappingProxyType(
    {
        Standing.OK: "",
        Standing.TERMINATING: "yellow",
        Standing.DRAINING: "yellow",
        Standing.DIFFERENT: "red",
        Standing.UNWANTED: "red",
        Standing.MISSING: "bold red",
        Standing.UNKNOWN: "",
    }
)
_ALARM = "bold red"


def status_parts(status: NodeStatus, *, wide: bool) -> Iterator[RenderableType]:
    """What to print, from top to bottom.

    Args:
        status: the state.
        wide: with zones, traffic and sets.
    """
    yield _head(status.summary)
    yield ""
    if status.services or status.unclaimed or status.foreign:
        yield _table(status, wide=wide)
    else:
        yield "no virtual servers"
    if status.problems:
        yield ""
        yield Text("PROBLEMS", style="dim")
        yield from (Text(str(problem), style="red") for problem in status.problems)


def _head(summary: Summary) -> Text:
    text = Text(summary.node, style="bold")
    if summary.zone:
        text.append(f" ({summary.zone})", style="not bold")
    facts = [f"ipvsctl {summary.version}", f"scheduler {summary.scheduler}"]
    if summary.compatibility != "none":
        facts.append(f"compatibility {summary.compatibility}")
    if summary.source:
        facts.append(summary.source)
    text.append("".join(f"  {fact}" for fact in facts), style="not bold")
    text.append("\n")
    for line, style in _condition(summary):
        text.append(line, style=f"not bold {style}")
    return text


def _condition(summary: Summary) -> Iterator[tuple[str, str]]:
    loop = summary.loop
    if loop is None:
        yield "no daemon answers", "yellow"
    elif loop.audited_s_ago is None:
        yield "no audit yet", "yellow"
    else:
        yield f"last audit {duration(loop.audited_s_ago)} ago", ""
        if loop.failed_ops:
            yield f", {loop.failed_ops} ops failed", _ALARM
    if summary.pending_ops:
        yield f", {summary.pending_ops} changes due (ipvsctl diff)", "yellow"
    elif summary.pending_ops == 0:
        yield ", kernel equal", "green"
    if not summary.source:
        yield ", no objects read: --manifests gives names", "yellow"


def _table(status: NodeStatus, *, wide: bool) -> Table:
    table = _empty_table(wide=wide)
    for service in status.services:
        name = f"{service.namespace}/{service.name}"
        for port, servers in groupby(
            service.virtual_servers, key=lambda server: server.service_port
        ):
            _add_servers(table, f"{name}:{port}" if port else name, servers, wide=wide)
    for title, rest in (
        ("ours, of no known Service", status.unclaimed),
        ("foreign, left alone", status.foreign),
    ):
        if rest:
            if table.row_count:
                table.add_row("")
            _add_servers(table, title, rest, wide=wide)
    # Addresses stay in one piece; what has room to give is the state.
    names = table.columns[0]
    names.min_width = max(cell_len(str(cell)) for cell in names.cells)
    return table


def _empty_table(*, wide: bool) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("SERVICE", no_wrap=True)
    table.add_column("NODE", no_wrap=True)
    if wide:
        table.add_column("ZONE", no_wrap=True)
    for name in ("WEIGHT", "ACTIVE", "INACT"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("STATE")
    if wide:
        for name in ("CONNS", "IN", "OUT"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("SETS")
    return table


def _add_servers(
    table: Table, title: str, servers: Iterable[VirtualServerStatus], *, wide: bool
) -> None:
    table.add_row(Text(title, style="bold"))
    for server in servers:
        _add_server(table, server, wide=wide)


def _add_server(table: Table, server: VirtualServerStatus, *, wide: bool) -> None:
    is_empty = not server.real_servers
    cells: list[RenderableType] = [
        Text(f"  {_address(server)}", style=_ALARM if is_empty else "cyan"),
        Text(server.way, style="dim"),
        Text(server.scheduler, style="dim"),
        Text(str(sum(real.active for real in server.real_servers)), style="dim"),
        Text(str(sum(real.inactive for real in server.real_servers)), style="dim"),
        _server_state(server),
    ]
    if wide:
        traffic = server.traffic
        cells.insert(2, "")
        cells += [
            str(traffic.connections),
            filesize.decimal(traffic.bytes_in),
            filesize.decimal(traffic.bytes_out),
            Text(" ".join(server.sets), style="dim"),
        ]
    table.add_row(*cells)
    for real in server.real_servers:
        _add_real_server(table, real, wide=wide)


def _add_real_server(table: Table, real: RealServerStatus, *, wide: bool) -> None:
    style = _STYLES[real.standing]
    cells = [
        Text(f"    {_host_port(real.address, real.port)}", style=style),
        Text(real.node),
        Text(str(real.weight), style=style if real.weight == 0 else ""),
        Text(str(real.active)),
        Text(str(real.inactive)),
        Text(_real_state(real), style=style or "dim"),
    ]
    if wide:
        cells.insert(2, Text(real.zone))
    table.add_row(*cells)


def _server_state(server: VirtualServerStatus) -> Text:
    words: list[tuple[str, str]] = []
    if server.standing not in {Standing.OK, Standing.UNKNOWN}:
        words.append((server.standing.value, _STYLES[server.standing]))
    if server.bound is not None:
        words.append(("bound", "dim") if server.bound else ("not bound", _ALARM))
    if not server.real_servers:
        words.append(("no real servers", _ALARM))
    if server.persistence_timeout_s is not None:
        words.append((f"persistent {server.persistence_timeout_s}s", "dim"))
    words += [(flag, "dim") for flag in server.flags]
    return Text(", ").join(Text(word, style=style) for word, style in words)


def _real_state(real: RealServerStatus) -> str:
    if real.standing is Standing.UNKNOWN:
        return ""
    if real.draining_s is None:
        return real.standing.value
    return f"{real.standing} {duration(real.draining_s)}"


def _address(server: VirtualServerStatus) -> str:
    if server.fwmark:
        return f"fwmark {server.fwmark:#x}"
    return f"{server.protocol} {_host_port(server.address, server.port)}"


def _host_port(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def duration(seconds: float) -> str:
    """An age, rounded down: `35s`, `12m`, `3h`, `4d`."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{int(seconds // size)}{unit}"
    return f"{int(seconds)}s"
