# ruff: noqa: PLC0415
# PLC0415: a command imports what it is made of when it runs, so that the others, and
# every --help, start at once.
"""Commands that show what there is."""

from typing import Annotated

import typer

from ipvsctl.cli.commands.root import registered
from ipvsctl.cli.errors import ExitStatus
from ipvsctl.cli.name_options import NamespaceOption, complete_service
from ipvsctl.cli.node_command import NodeInputs, node_command
from ipvsctl.cli.options import (
    DEFAULT_SOCKET,
    PlanFormat,
    PlanFormatOption,
    SocketOption,
    SortBy,
    StateFormat,
    StateFormatOption,
)


@registered(
    epilog="""\b
Examples:
  ipvsctl status
  ipvsctl status -n kube-system
  ipvsctl status default/web -o wide

The daemon is asked; when none answers, the kernel is read, and --manifests or an API
server gives the names.

\b
Exit status: 0 ok, 1 what was asked for is not there, 2 error.
"""
)
@node_command(
    "clientConnection.kubeconfig",
    "ipvsctl.firewall",
    "ipvsctl.serviceProxyName",
    "ipvsctl.vipLink",
)
def status(  # noqa: PLR0913  # one for each option
    name: Annotated[
        str,
        typer.Argument(
            metavar="WHAT",
            autocompletion=complete_service,
            help="Only this Service (also namespace/name), VIP, VIP:port, node port"
            " (NODE:port) or pod (its address).",
            show_default=False,
        ),
    ] = "",
    *,
    namespace: NamespaceOption = "",
    problems: Annotated[
        bool, typer.Option("--problems", help="Only what is not as it should be.")
    ] = False,
    draining: Annotated[
        bool, typer.Option("--draining", help="Only with real servers that drain.")
    ] = False,
    empty: Annotated[
        bool, typer.Option("--empty", help="Only without real servers.")
    ] = False,
    sort: Annotated[
        SortBy, typer.Option("--sort", help="Order of the Services in the table.")
    ] = SortBy.HEALTH,
    watch: Annotated[
        bool, typer.Option("-w", "--watch", help="Show it again and again.")
    ] = False,
    node: NodeInputs,
    socket: SocketOption = DEFAULT_SOCKET,
    output: StateFormatOption = StateFormat.TABLE,
) -> ExitStatus:
    """Show Services with their virtual servers and real servers."""
    from ipvsctl.cli import status as command
    from ipvsctl.cli.node_status import status_of
    from ipvsctl.model.status import NodeStatus, Only

    flags = {Only.PROBLEMS: problems, Only.DRAINING: draining, Only.EMPTY: empty}
    kind = command.only_one([only for only, is_given in flags.items() if is_given])
    selection = command.selection_by(name, namespace, kind)

    def look() -> NodeStatus:
        return status_of(node, socket, selection)[0]

    if watch:
        from ipvsctl.cli import screen

        screen.watch(
            lambda: command.screen_of(look(), output, sort), command.WATCH_PERIOD_S
        )
        return ExitStatus.OK
    found, exit_status = status_of(node, socket, selection)
    command.print_status(found, output, sort)
    return max(exit_status, ExitStatus.DIFFERENT) if found.not_there else exit_status


@registered(
    epilog="""\b
Examples:
  ipvsctl check                            the node as it is
  ipvsctl check --manifests cluster.yaml   with the VIPs it is to have

Nothing is changed. It needs neither IPVS nor a daemon: run it before ipvsctl is.

\b
Exit status: 0 no problem, 1 problems found, 2 error.
"""
)
@node_command()
def check(
    node: NodeInputs,
    *,
    socket: SocketOption = DEFAULT_SOCKET,
    output: PlanFormatOption = PlanFormat.TABLE,
) -> ExitStatus:
    """Look at this node and the settings, and say what to do about them."""
    from ipvsctl.cli import check as command
    from ipvsctl.cli import inputs
    from ipvsctl.cli.daemon import is_there
    from ipvsctl.plan.report.preflight import check_api

    # Reading ten thousand Services takes longer than anybody wants to wait here.
    store = node.read_store() if node.manifests else None
    api = node.probe_api()
    findings = command.check(
        lambda: node.open_kernel(to_change=False),
        node.read_facts(),
        () if api is None else tuple(check_api(api, node.name)),
        store,
        node.settings,
        has_daemon=is_there(socket),
    )
    exit_status = command.print_findings(findings, output)
    if store is None:
        return exit_status
    return max(exit_status, inputs.status_for(store))
