# ruff: noqa: PLC0415
# PLC0415: a command imports what it is made of when it runs, so that the others, and
# every --help, start at once.
"""The command line: every command with its options and help text."""

from typing import Annotated, Final

import typer

from ipvsctl.cli.errors import ExitStatus
from ipvsctl.cli.node_command import NodeInputs, node_command
from ipvsctl.cli.options import (
    DEFAULT_SOCKET,
    DryRunOption,
    LogFormat,
    LogFormatOption,
    PlanFormat,
    PlanFormatOption,
    RenderFormat,
    RenderFormatOption,
    SocketOption,
    SortBy,
    StateFormat,
    StateFormatOption,
    VerboseOption,
)
from ipvsctl.model.count_by import By

_STATUSES: Final = "Exit status: 0 ok, 2 error."

_NO_FLAGS: Final = dict.fromkeys(
    ("help", "install_completion", "show_completion"), False
)

# No rich markup: importing it costs more than most commands.
app = typer.Typer(
    name="ipvsctl",
    help="The Kubernetes service proxy for clusters that run on IPVS.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={
        "help_option_names": ["-h", "--help"],
        # A flag that is not given is None to typer, which then imports pydantic to
        # make it a boolean: half of the time that --help or `version` take.
        "default_map": {**_NO_FLAGS, "is_version": False, "version": _NO_FLAGS},
    },
)


def _print_version(is_asked: bool) -> None:  # noqa: FBT001  # typer's
    if is_asked:
        from ipvsctl import __version__

        typer.echo(f"ipvsctl {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    *,
    is_version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Print the version and exit.",
        ),
    ] = False,
) -> None:
    del is_version


@app.command(
    epilog=f"""\b
Examples:
  ipvsctl run                                      in a pod with hostNetwork
  ipvsctl run --kubeconfig /etc/kubernetes/proxy.conf
  ipvsctl run --manifests /etc/ipvsctl/manifests --node-name node-0

{_STATUSES} It ends on SIGTERM and SIGINT and leaves the kernel state in place.
"""
)
@node_command()
def run(
    node: NodeInputs,
    *,
    socket: SocketOption = DEFAULT_SOCKET,
    log_format: LogFormatOption = LogFormat.AUTO,
) -> ExitStatus:
    """Run the daemon: keep the kernel as the objects say."""
    from ipvsctl.cli import objects
    from ipvsctl.cli.logs import configure_logs
    from ipvsctl.cli.run import run as run_daemon
    from ipvsctl.cluster.store import Store

    api = None if node.origin.manifests else objects.open_api(node.origin)
    kernel = node.open_kernel(to_change=True)
    configure_logs(log_format, verbose=node.verbose)
    return run_daemon(
        kernel,
        Store(node.name),
        node.settings,
        objects.open_source(node.origin, node.name, node.settings, api),
        socket,
        objects.open_recorder(api, node.name),
        None if api is None else api.trace,
    )


@app.command(
    epilog=f"""\b
Examples:
  ipvsctl apply --manifests cluster.yaml
  ipvsctl apply --manifests cluster.yaml --dry-run -o json

{_STATUSES} An op that the kernel refuses is an error; the others are applied.
Input that cannot be read, in whole or in part, is one too, and nothing is changed.
"""
)
@node_command()
def apply(
    node: NodeInputs,
    *,
    dry_run: DryRunOption = False,
    output: PlanFormatOption = PlanFormat.TABLE,
) -> ExitStatus:
    """Make the kernel as the objects say, once."""
    from ipvsctl.cli import inputs, sync

    store = node.read_store()
    inputs.require_whole(store)
    kernel = node.open_kernel(to_change=not dry_run)
    if not dry_run:
        return sync.apply(kernel, store, node.settings, output)
    source = node.origin.description
    sync.print_diff(sync.compare(kernel, store, node.settings, output, source), output)
    return ExitStatus.OK


@app.command(
    epilog="""\b
Examples:
  ipvsctl diff                            what the daemon is about to change
  ipvsctl diff --manifests cluster.yaml   without a daemon

\b
Exit status: 0 equal, 1 different, 2 error; 2 also when it is not known for sure, since
the source has not been heard for 30 s or could not be read whole: stderr says so.
"""
)
@node_command()
def diff(
    node: NodeInputs,
    *,
    socket: SocketOption = DEFAULT_SOCKET,
    output: PlanFormatOption = PlanFormat.TABLE,
) -> ExitStatus:
    """Compare what the kernel holds with what it should hold.

    Without --manifests the daemon is asked, and if there is none, the API server.
    """
    from ipvsctl.cli import sync
    from ipvsctl.cli.daemon import unless_hung

    answer = None
    if not node.manifests:
        answer = unless_hung(lambda: sync.ask_to_compare(socket, output))
    if answer is None:
        store = node.read_store(because=f", since no ipvsctl run answers on {socket}")
        kernel = node.open_kernel(to_change=False)
        source = node.origin.description
        answer = sync.compare(kernel, store, node.settings, output, source)
    return sync.print_diff(answer, output)


@app.command(
    epilog=f"""Removed are virtual servers with an entry in a set of ours, the sets,
the rules and chains, and the VIP link. What belongs to others stays, and sysctls do.

{_STATUSES}
"""
)
@node_command("ipvsctl.vipLink", has_objects=False)
def cleanup(
    node: NodeInputs,
    *,
    dry_run: DryRunOption = False,
    force: Annotated[
        bool, typer.Option("--force", help="Even if a daemon is running.")
    ] = False,
    socket: SocketOption = DEFAULT_SOCKET,
    output: PlanFormatOption = PlanFormat.TABLE,
) -> ExitStatus:
    """Remove from the kernel exactly what is ours."""
    from ipvsctl.cli import sync

    settings = node.settings
    if not (dry_run or force):
        sync.refuse_beside_daemon(socket)
    kernel = node.open_kernel(to_change=False)
    return sync.cleanup(kernel, settings, output, dry_run=dry_run)


@app.command(
    epilog=f"""\b
Examples:
  ipvsctl status
  ipvsctl status -n kube-system
  ipvsctl status default/web -o wide

The daemon is asked; when none answers, the kernel is read, and --manifests or an API
server gives the names.

{_STATUSES}
"""
)
@node_command(
    "clientConnection.kubeconfig", "ipvsctl.serviceProxyName", "ipvsctl.vipLink"
)
def status(  # noqa: PLR0913  # one for each option
    name: Annotated[
        str,
        typer.Argument(
            metavar="WHAT",
            help="Only this Service (also namespace/name), VIP, VIP:port, node port"
            " (NODE:port) or pod (its address).",
            show_default=False,
        ),
    ] = "",
    *,
    namespace: Annotated[
        str,
        typer.Option(
            "-n", "--namespace", help="Only this namespace.", show_default=False
        ),
    ] = "",
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
    from ipvsctl.cli.daemon import unless_hung
    from ipvsctl.model.status import NodeStatus, Only

    flags = {Only.PROBLEMS: problems, Only.DRAINING: draining, Only.EMPTY: empty}
    kind = command.only_one([only for only, is_given in flags.items() if is_given])
    selection = command.selection_by(name, namespace, kind)
    exit_status = ExitStatus.OK

    def look() -> NodeStatus:
        nonlocal exit_status
        found = unless_hung(lambda: command.ask_for_status(socket, selection))
        if found is not None:
            return found
        from ipvsctl.cli import inputs
        from ipvsctl.cluster.store import Store

        known, source = node.read_if_any()
        exit_status = ExitStatus.OK if known is None else inputs.status_for(known)
        store = Store(node.name) if known is None else known
        kernel = node.open_kernel(to_change=False)
        return command.read_status(kernel, store, node.settings, source, selection)

    if watch:
        from ipvsctl.cli import screen

        screen.watch(
            lambda: command.screen_of(look(), output, sort), command.WATCH_PERIOD_S
        )
    found = look()
    command.print_status(found, output, sort)
    return max(exit_status, ExitStatus.DIFFERENT) if found.not_there else exit_status


@app.command(
    epilog="""\b
Examples:
  ipvsctl explain default/web
  ipvsctl explain default/web:http --from outside
  ipvsctl explain 203.0.113.10:443 --from 192.0.2.7
  ipvsctl explain 10.244.1.5

\b
TARGET is [NAMESPACE/]NAME[:PORT] of a Service, or the address of a VIP, of this node
or of a pod, with or without a port. The daemon is asked; when none answers, the kernel
is read, and --manifests or an API server gives the objects.

\b
Exit status: 0 it works, 1 broken, 2 it cannot be told, or error.
"""
)
@node_command()
def explain(
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="What to explain; see below.")
    ],
    *,
    namespace: Annotated[
        str,
        typer.Option(
            "-n", "--namespace", help="Of a NAME without one.", show_default=False
        ),
    ] = "",
    client: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="CLIENT",
            help="Who asks: pod, host, outside or an address.",
            show_default=False,
        ),
    ] = "",
    protocol: Annotated[
        str,
        typer.Option(
            "--protocol",
            metavar="NAME",
            help="Only ports of tcp, udp or sctp.",
            show_default=False,
        ),
    ] = "",
    node: NodeInputs,
    socket: SocketOption = DEFAULT_SOCKET,
    output: PlanFormatOption = PlanFormat.TABLE,
) -> ExitStatus:
    """Say why a Service answers on this node, or does not: from object to wire."""
    from ipvsctl.cli import explain as command
    from ipvsctl.cli.daemon import DaemonHung
    from ipvsctl.cli.errors import complain
    from ipvsctl.model.errors import NotFound
    from ipvsctl.model.source_state import SourceState
    from ipvsctl.model.target import parse_target

    question = command.Question(
        target=parse_target(target, namespace), client=client, protocol=protocol
    )
    found, hung = None, ""
    if not node.manifests:
        try:
            found = command.ask_to_explain(socket, question)
        except DaemonHung as error:
            hung = str(error)
            complain(f"warning: {hung}")
    if found is None:
        because = hung or f"no ipvsctl run answers on {socket}"
        store = node.read_store(because=f", since {because}")
        state = SourceState(
            description=node.origin.description, doubts=store.vouched().doubts
        )
        try:
            kernel = node.open_kernel(to_change=False)
        except NotFound as error:
            found = command.without_kernel(question, error)
        else:
            found = command.read_explanation(
                kernel, store, node.settings, state, question, hung
            )
    return command.print_explanation(found, output)


@app.command(
    epilog=f"""\b
Examples:
  ipvsctl events
  ipvsctl events shop/web --follow
  ipvsctl events --follow -o json

\b
The daemon remembers the last 1,000: changes that it imposed (sync), what others had
changed (repair), what the kernel refused (failed), drains begun and ended (drain,
drained), and what of objects cannot be honoured (problem). A sync is one event,
however many ops it has.

{_STATUSES}
"""
)
def events(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="Only of this Service; also namespace/name.",
            show_default=False,
        ),
    ] = "",
    *,
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Go on with what happens.")
    ] = False,
    socket: SocketOption = DEFAULT_SOCKET,
    output: PlanFormatOption = PlanFormat.TABLE,
    verbose: VerboseOption = 0,
) -> None:
    """Show what the daemon did to whom."""
    from ipvsctl.cli import events as command
    from ipvsctl.cli.errors import reported
    from ipvsctl.model.errors import ConfigError
    from ipvsctl.model.target import NamedTarget, parse_target

    with reported(verbose):
        target = parse_target(name) if name else None
        if target is not None and (not isinstance(target, NamedTarget) or target.port):
            raise ConfigError(
                field="NAME", value=name, reason="events are known by Services alone"
            )
        raise typer.Exit(command.print_events(socket, target, output, follow=follow))


@app.command(
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

{_STATUSES}
"""
)
@node_command(
    "clientConnection.kubeconfig", "ipvsctl.serviceProxyName", "ipvsctl.vipLink"
)
def conns(
    what: Annotated[
        str,
        typer.Argument(
            metavar="WHAT", help="Only these; see below.", show_default=False
        ),
    ] = "",
    *,
    namespace: Annotated[
        str,
        typer.Option(
            "-n", "--namespace", help="Of a NAME without one.", show_default=False
        ),
    ] = "",
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
    from ipvsctl.cli import status as names
    from ipvsctl.cli.daemon import unless_hung
    from ipvsctl.cluster.store import Store
    from ipvsctl.model.status import Selection
    from ipvsctl.model.target import parse_target

    target = parse_target(what, namespace) if what else None
    found = unless_hung(lambda: names.ask_for_status(socket, Selection()))
    if found is None:
        known, source = node.read_if_any()
        store = Store(node.name) if known is None else known
        kernel = node.open_kernel(to_change=False)
        found = names.read_status(kernel, store, node.settings, source, Selection())
    command.print_connections(
        node.environment.read_connections(),
        found,
        target,
        by,
        output,
        draining=draining,
    )
    return ExitStatus.OK


@app.command(
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


@app.command(
    epilog=f"""\b
Examples:
  ipvsctl render --manifests cluster.yaml --node-name node-0 -o ipvsadm
  ipvsctl render --manifests cluster.yaml --node-name node-0 -o ipset

Needs no kernel and no root. ipvsadm prints the lines of `ipvsadm-save -n`, ipset those
of `ipset save`, addresses `inet ADDR/LEN`, routes those of `ip route show table local`,
each sorted; problems go to stderr.

{_STATUSES}
"""
)
@node_command()
def render(
    node: NodeInputs,
    *,
    node_addresses: Annotated[
        str | None,
        typer.Option(
            "--node-addresses",
            metavar="A,B",
            help="All addresses of the node's own links, its main ones first."
            "  [default: those of its Node object]",
            show_default=False,
        ),
    ] = None,
    output: RenderFormatOption = RenderFormat.IPVSADM,
) -> ExitStatus:
    """Print what a node should hold, as the node's own tools would."""
    from ipvsctl.cli import inputs
    from ipvsctl.cli import render as command

    settings = node.settings
    addresses = command.parse_addresses(node_addresses)
    store = node.read_store()
    command.render(store, settings, addresses, output)
    return inputs.status_for(store)


@app.command(epilog=_STATUSES)
def version() -> None:
    """Print the version."""
    from ipvsctl import __version__

    typer.echo(f"ipvsctl {__version__}")
