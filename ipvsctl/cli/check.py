"""`check`: look at a node and give advice."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from types import MappingProxyType

from ipvsctl.cli.errors import ExitStatus
from ipvsctl.cli.layout import Column, Line, Row, Span, lay_out
from ipvsctl.cli.options import PlanFormat
from ipvsctl.cli.output import print_data, print_styled, terminal_width
from ipvsctl.cluster.store import Store
from ipvsctl.controller.reconciler import Reconciler
from ipvsctl.kernel.interface import Kernel
from ipvsctl.model.config import ProxyConfig
from ipvsctl.plan.report.check import Finding, Severity, check_node

_STYLES: Mapping[Severity, str] = MappingProxyType(
    {Severity.OK: "green", Severity.NOTE: "yellow", Severity.PROBLEM: "red"}
)
_COLUMNS = tuple(map(Column, ("VERDICT", "SUBJECT", "FOUND", "ADVICE")))


def check(
    kernel: Kernel, store: Store | None, config: ProxyConfig
) -> tuple[Finding, ...]:
    """Look at a node; `store` is None if there are no objects."""
    with closing(kernel):
        if store is None:
            return check_node(kernel.observe(), kernel.capabilities(), config)
        reconciler = Reconciler(kernel=kernel, config=config, store=store)
        observed = reconciler.survey()
        desired = reconciler.desired.state()
        return check_node(observed, kernel.capabilities(), config, desired)


def print_findings(findings: Sequence[Finding], form: PlanFormat) -> ExitStatus:
    """Print findings; whether there is a problem among them."""
    if form is PlanFormat.TABLE:
        print_styled([*_lines(findings, terminal_width())])
    else:
        print_data(findings, form)
    has_problem = any(finding.severity is Severity.PROBLEM for finding in findings)
    return ExitStatus.DIFFERENT if has_problem else ExitStatus.OK


def _lines(findings: Sequence[Finding], width: int | None) -> Iterator[Line]:
    rows = [
        Row(
            (
                Span(finding.severity, _STYLES[finding.severity]),
                Span(finding.subject),
                Span(finding.found),
            ),
            (Span(finding.advice),) if finding.advice else (),
        )
        for finding in findings
    ]
    return lay_out(_COLUMNS, rows, width)
