# ruff: noqa: PLC0415
# PLC0415: a command imports what it is made of when it runs, so that the others, and
# every --help, start at once.
"""Commands that show connections and traffic."""

import sys
from typing import Annotated

import typer

from ipvsctl.cli.commands.root import STATUSES, registered
from ipvsctl.cli.errors import ExitStatus
from ipvsctl.cli.name_options import HomeOption, NamespaceOption, complete_service
from ipvsctl.cli.node_command import NodeInputs, node_command
from ipvsctl.cli.options import (
    DEFAULT_SOCKET,
    PlanFormat,
    PlanFormatOption,
    SocketOption,
)
from ipvsctl.model.count_by import By
from ipvsctl.model.rate_kind import RateKind


@registered(
    epilog=f"""\b
Examples:
  ipvsctl conns --draining --by client
  ipvsctl conns shop/web --by endpoint
  ipvsctl conns 10.244.1.5

\b
WHAT is a Service, or the address (or ADDRESS:PORT) of a VIP, of a client or of an
endpoint. The client is as IPVS sees it, before it is masqueraded. The table is read
row by row; one that changes meanwhile may have a row twice, or not. JSON is one
object a line, unless counted.

{STATUSES}
"""
)
@node_command(
    "clientConnection.kubeconfig",
    "ipvsctl.firewall",
    "ipvsctl.serviceProxyName",
    "ipvsctl.vipLink",
)
def conns(
    what: Annotated[
        str,
        typer.Argument(
            metavar="WHAT",
            autocompletion=complete_service,
            help="Only these; see below.",
            show_default=False,
        ),
    ] = "",
    *,
    namespace: HomeOption = "",
    draining: Annotated[
        bool, typer.Option("--draining", help="Only to real servers that drain.")
    ] = False,
    by: Annotated[
        By | None,
        typer.Option("--by", help="Count them by this.", show_default=False),
    ] = None,
    node: NodeInputs,
    socket: SocketOption = DEFAULT_SOCKET,
    output: PlanFormatOption = PlanFormat.TABLE,
) -> ExitStatus:
    """Show the connections of IPVS by the names of Services."""
    from ipvsctl.cli import conns as command
    from ipvsctl.cli.node_status import status_of
    from ipvsctl.model.status import Selection
    from ipvsctl.model.target import parse_target

    target = parse_target(what, namespace) if what else None
    found, exit_status = status_of(node, socket, Selection())
    command.print_connections(
        node.environment.read_connections(),
        found,
        target,
        by,
        output,
        draining=draining,
    )
    return exit_status


@registered(
    epilog=f"""\b
Examples:
  ipvsctl top
  ipvsctl top shop/web
  ipvsctl top --by bytes --once -o json

\b
WHAT is as in status; one Service's port is shown with its endpoints. Rates are as
ipvsadm --rate has them: the kernel estimates them every 2 s, and what is over fades in
some ten seconds. SPREAD is what the busiest endpoint gets, in fair shares: 1.0x when
each gets what its weight says.

{STATUSES}
"""
)
@node_command(
    "clientConnection.kubeconfig",
    "ipvsctl.firewall",
    "ipvsctl.serviceProxyName",
    "ipvsctl.vipLink",
)
def top(
    what: Annotated[
        str,
        typer.Argument(
            metavar="WHAT",
            autocompletion=complete_service,
            help="Only these.",
            show_default=False,
        ),
    ] = "",
    *,
    namespace: NamespaceOption = "",
    by: Annotated[
        RateKind, typer.Option("--by", help="What has most of it is first.")
    ] = RateKind.CONNECTIONS,
    period: Annotated[
        float, typer.Option("--period", min=0.2, help="Seconds between two looks.")
    ] = 2.0,
    once: Annotated[
        bool, typer.Option("--once", help="Print what there is now, and end.")
    ] = False,
    node: NodeInputs,
    socket: SocketOption = DEFAULT_SOCKET,
    output: PlanFormatOption = PlanFormat.TABLE,
) -> ExitStatus:
    """Show the busiest Services, again and again; q quits."""
    from ipvsctl.cli import top as command
    from ipvsctl.cli.node_status import status_of
    from ipvsctl.cli.status import selection_by

    selection = selection_by(what, namespace, None)
    found = command.Top(
        node.environment.open_rates(),
        lambda: status_of(node, socket, selection)[0],
        by,
        only=bool(selection),
    )
    if once or output is not PlanFormat.TABLE or not sys.stdout.isatty():
        command.print_once(found, output)
    else:
        command.show(found, period)
    return ExitStatus.OK
