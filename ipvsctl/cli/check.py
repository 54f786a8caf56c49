"""`check`: look at a node and give advice."""

from collections.abc import Callable, Iterator, Mapping, Sequence
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
from ipvsctl.model.errors import KernelError, NotFound, NotPermitted
from ipvsctl.model.node_facts import NodeFacts
from ipvsctl.model.text import one_line
from ipvsctl.plan.report.check import check_node
from ipvsctl.plan.report.check_tunnels import check_tunnel_mtus
from ipvsctl.plan.report.findings import Finding, Severity
from ipvsctl.plan.report.preflight import check_before, check_estimators
from ipvsctl.plan.report.unread import require

_STYLES: Mapping[Severity, str] = MappingProxyType(
    {Severity.OK: "green", Severity.NOTE: "yellow", Severity.PROBLEM: "red"}
)
_COLUMNS = tuple(map(Column, ("VERDICT", "SUBJECT", "FOUND")))


def check(
    open_kernel: Callable[[], Kernel],
    facts: NodeFacts,
    api: tuple[Finding, ...],
    store: Store | None,
    config: ProxyConfig,
    *,
    has_daemon: bool,
) -> tuple[Finding, ...]:
    """Look at a node, with what it is like before it has IPVS.

    Args:
        open_kernel: a kernel that has none is a problem, and no error.
        facts: what the node is like.
        api: what was found of the API server.
        store: None if there are no objects.
        config: settings.
        has_daemon: one answers here.

    Raises:
        KernelError: the kernel cannot be read, or may not be.
    """
    before = (*api, *check_before(facts, config, has_daemon=has_daemon))
    try:
        kernel = open_kernel()
    except KernelError as error:
        if not isinstance(error, NotPermitted) and _has_no_firewall(facts):
            return before
        if not isinstance(error, NotFound):
            raise
        missing = Finding(
            severity=Severity.PROBLEM,
            subject="IPVS",
            found=str(error),
            advice="ipvsctl cannot serve this node without it",
        )
        return (missing, *before)
    found = _check(kernel, facts, store, config, has_daemon=has_daemon)
    return (*found, *before)


def _has_no_firewall(facts: NodeFacts) -> bool:
    """Without one no kernel can be opened, and that is among what was found before."""
    return facts.firewall is None and bool(facts.firewall_reason)


def _check(
    kernel: Kernel,
    facts: NodeFacts,
    store: Store | None,
    config: ProxyConfig,
    *,
    has_daemon: bool,
) -> Iterator[Finding]:
    with closing(kernel):
        if store is None:
            observed = kernel.observe()
            require(observed, kernel.words)
            desired, context = observed.state, None
        else:
            reconciler = Reconciler(kernel=kernel, config=config, store=store)
            observed = reconciler.survey()
            desired, context = reconciler.desired.state(), reconciler.context
        yield from check_node(
            observed,
            kernel.capabilities(),
            config,
            desired,
            context,
            has_daemon=has_daemon,
        )
        yield from check_tunnel_mtus(facts, desired)
        real_servers = sum(map(len, desired.real_servers.values()))
        count = len(desired.virtual_servers) + real_servers
        yield from check_estimators(facts, count)


def print_findings(findings: Sequence[Finding], form: PlanFormat) -> ExitStatus:
    """Print findings; whether there is a problem among them."""
    if form is PlanFormat.TABLE:
        print_styled([*_lines(findings, terminal_width())])
    else:
        print_data(findings, form)
    has_problem = any(finding.severity is Severity.PROBLEM for finding in findings)
    return ExitStatus.DIFFERENT if has_problem else ExitStatus.OK


def _lines(findings: Sequence[Finding], width: int | None) -> Iterator[Line]:
    return lay_out(_COLUMNS, [*_rows(findings)], width)


def _rows(findings: Sequence[Finding]) -> Iterator[Row]:
    for finding in findings:
        verdict = Span(finding.severity, _STYLES[finding.severity])
        found = one_line(finding.found)
        yield Row((verdict, Span(finding.subject)), (Span(found),))
        if finding.advice:
            advice = Span(f"-> {one_line(finding.advice)}", _STYLES[finding.severity])
            yield Row((Span(""), Span("")), (advice,))
