"""`top`: the busiest Services, live."""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from ipvsctl.cli.layout import Column, Line, Row, Span, lay_out
from ipvsctl.cli.options import PlanFormat
from ipvsctl.cli.output import print_data, print_styled, terminal_width
from ipvsctl.cli.screen import watch
from ipvsctl.kernel.ipvs_rates import RateSource
from ipvsctl.model.errors import NotKnown
from ipvsctl.model.ipvs import VirtualServerKey
from ipvsctl.model.rate_kind import RateKind
from ipvsctl.model.rates import (
    EndpointRates,
    NodeRates,
    Rates,
    ServiceRates,
    VirtualServerRates,
)
from ipvsctl.model.status import NodeStatus
from ipvsctl.model.text import one_line
from ipvsctl.plan.report.rates import (
    Owners,
    busiest,
    owners_of,
    service_rates,
    spread,
)

_MOST_SHOWN: Final = 50
"""Services where nothing says how many there is room for; the real servers of each are
read one virtual server at a time."""

_NAMES_S: Final = 10.0
"""Between two readings of names, which take a moment on a large node."""

_HEAD_LINES: Final = 5

_NARROW: Final = 100
"""Columns; with less there is no room for the endpoint beside its share."""

_UNEVEN: Final = 1.5
"""Fair shares; an endpoint that gets more is named."""

_KEYS: Final = {"c": RateKind.CONNECTIONS, "p": RateKind.PACKETS, "b": RateKind.BYTES}

_COLUMNS: Final = (
    Column("SERVICE"),
    Column("CONNS/s", is_number=True),
    Column("PKTS/s IN", is_number=True),
    Column("OUT", is_number=True),
    Column("B/s IN", is_number=True),
    Column("OUT", is_number=True),
    Column("ACTIVE", is_number=True),
    Column("SPREAD"),
)

ReadStatus = Callable[[], NodeStatus]


class Top:
    """Reads again and again.

    Args:
        source: of rates.
        read_status: of the Services that are meant.
        by: what they are compared by.
        only: whether nothing but these Services is shown.
    """

    def __init__(
        self, source: RateSource, read_status: ReadStatus, by: RateKind, *, only: bool
    ) -> None:
        self.by = by
        self._source = source
        self._read_status = read_status
        self.only = only
        self._owners: Owners = {}
        self._known: frozenset[VirtualServerKey] | None = None
        self._named_at = float("-inf")

    def measure(self, limit: int) -> NodeRates:
        """What there is now.

        Args:
            limit: how many Services.

        Raises:
            DaemonError: nobody knows the names.
            KernelError: the kernel does not tell.
            NotKnown: there is no such Service.
        """
        found = self._source.virtual_servers()
        self._name(found)
        every = busiest(found, self._owners, self.by)
        meant = frozenset(self._owners.values())
        chosen = [one for one in every if not self.only or one.name in meant][:limit]
        keys = (key for one in chosen for key in one.keys)
        real_servers = self._source.real_servers(keys)
        return NodeRates(
            is_estimating=self._source.is_estimating(),
            total=sum((one.rates for one in every), Rates()),
            services=tuple(service_rates(one, real_servers, self.by) for one in chosen),
        )

    def _name(self, found: VirtualServerRates) -> None:
        """Learn names, when there is something new that may have one."""
        now = time.monotonic()
        is_due = now - self._named_at >= _NAMES_S
        # Another program's have none, however often one asks.
        if is_due and (self._known is None or found.keys() - self._known):
            status = self._read_status()
            if status.not_there:
                raise NotKnown(status.not_there)
            self._owners = owners_of(status)
            self._named_at, self._known = now, frozenset(found)


def show(top: Top, period_s: float) -> None:
    """Draw until `q`; `c`, `p` and `b` choose what Services are compared by."""

    def draw() -> Sequence[Line]:
        room = shutil.get_terminal_size().lines - _HEAD_LINES
        return [*_lines(top, top.measure(max(room, 1)), terminal_width(), _HELP)]

    def press(key: str) -> bool:
        top.by = _KEYS.get(key, top.by)
        return key in _KEYS

    watch(draw, period_s, press)


def print_once(top: Top, form: PlanFormat) -> None:
    """Print what there is now."""
    found = top.measure(_MOST_SHOWN)
    if form is PlanFormat.TABLE:
        print_styled([*_lines(top, found, terminal_width(), ())])
    else:
        print_data(found, form)


_HELP: Final[Line] = (Span("c connections  p packets  b bytes  q quit", "dim"),)


def _lines(
    top: Top, found: NodeRates, width: int | None, help_: Line
) -> Iterator[Line]:
    total = found.total
    yield (
        Span(number(total.connections), "bold"),
        Span(" connections/s, "),
        Span(number(total.packets), "bold"),
        Span(" packets/s, "),
        Span(number(total.bytes), "bold"),
        Span(" bytes/s"),
    )
    if help_:
        yield help_
    if not found.is_estimating:
        yield (Span("net.ipv4.vs.run_estimation is 0: IPVS counts nothing", "red"),)
    yield ()
    if not found.services:
        yield (Span("no virtual server", "dim"),)
        return
    is_narrow = width is not None and width < _NARROW
    rows = [
        row
        for one in found.services
        for row in _rows(
            one,
            top.by,
            has_endpoints=top.only,
            is_narrow=is_narrow,
        )
    ]
    yield from lay_out(_COLUMNS, rows, width)


def _rows(
    one: ServiceRates, by: RateKind, *, has_endpoints: bool, is_narrow: bool
) -> Iterator[Row]:
    active = sum(endpoint.active for endpoint in one.endpoints)
    style = "" if one.rates != Rates() else "dim"
    name = Span(one_line(one.name), style)
    yield Row(
        (name, *_cells(one.rates, active, style)), _spread(one, by, is_narrow=is_narrow)
    )
    for endpoint in one.endpoints if has_endpoints else ():
        notes = (Span(f"weight {endpoint.weight}"),) if endpoint.weight != 1 else ()
        cells = _cells(endpoint.rates, endpoint.active, "")
        yield Row((Span(f"  {_place(endpoint)}"), *cells), notes)


def _cells(rates: Rates, active: int, style: str) -> Iterator[Span]:
    amounts = (
        rates.connections,
        rates.packets_in,
        rates.packets_out,
        rates.bytes_in,
        rates.bytes_out,
    )
    yield from (Span(number(amount), style) for amount in amounts)
    yield Span(f"{active:,}", style)


def _spread(one: ServiceRates, by: RateKind, *, is_narrow: bool) -> tuple[Span, ...]:
    share = spread(one.endpoints, by)
    if share is None:
        return ()
    if share < _UNEVEN:
        return (Span(f"{share:.1f}x"),)
    busiest = "" if is_narrow else f" {_place(one.endpoints[0])}"
    return (Span(f"{share:.1f}x{busiest}", "yellow"),)


def _place(one: EndpointRates) -> str:
    address = f"[{one.address}]" if ":" in one.address else one.address
    return f"{address}:{one.port}"


def number(amount: float) -> str:
    """In at most five characters."""
    for unit in ("", "k", "M", "G"):
        if amount < 99.5 and unit:  # which would be 100
            return f"{amount:.1f}{unit}"
        if amount < 999.5:  # which would be 1000
            return f"{amount:.0f}{unit}"
        amount /= 1000
    return f"{amount:.0f}T"
