# ruff: noqa: PLC0415, PLR0913
# PLC0415: a command imports what it is made of when it runs, so that the others, and
# every --help, start at once. PLR0913: one parameter for each option.
"""The command line: every command with its options and help text."""

from typing import Annotated, Final

import typer

from ipvsctl.cli.environment import environment
from ipvsctl.cli.errors import ExitStatus, reported
from ipvsctl.cli.options import (
    DEFAULT_SOCKET,
    ConfigOption,
    LogFormat,
    LogFormatOption,
    ManifestsOption,
    MasterOption,
    NodeNameOption,
    PlanFormat,
    PlanFormatOption,
    RenderFormat,
    RenderFormatOption,
    SocketOption,
    StateFormat,
    StateFormatOption,
    VerboseOption,
)
from ipvsctl.cli.setting_options import NOTHING_GIVEN, Given, takes_settings

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
        "default_map": {**_NO_FLAGS, "version": _NO_FLAGS},
    },
)


@app.command(
    epilog=f"""\b
Examples:
  ipvsctl run                                      in a pod with hostNetwork
  ipvsctl run --kubeconfig /etc/kubernetes/proxy.conf
  ipvsctl run --manifests /etc/ipvsctl/manifests --node-name node-0

{_STATUSES} It ends on SIGTERM and SIGINT and leaves the kernel state in place.
"""
)
@takes_settings()
def run(
    context: typer.Context,
    *,
    manifests: ManifestsOption = None,
    master: MasterOption = "",
    node_name: NodeNameOption = "",
    config: ConfigOption = None,
    given: Given = NOTHING_GIVEN,
    socket: SocketOption = DEFAULT_SOCKET,
    log_format: LogFormatOption = LogFormat.AUTO,
    verbose: VerboseOption = 0,
) -> None:
    """Run the daemon: keep the kernel as the objects say."""
    with reported(verbose):
        from ipvsctl.cli import inputs, objects
        from ipvsctl.cli.logs import configure_logs
        from ipvsctl.cli.run import run as run_daemon
        from ipvsctl.cluster.store import Store

        settings = inputs.read_config(config, given)
        origin = objects.Origin.of(manifests, master, settings)
        api = None if origin.manifests else objects.open_api(origin)
        kernel = environment(context).open_kernel(settings, to_change=True)
        configure_logs(log_format, verbose=verbose)
        name = inputs.node_name_or_host(node_name or settings.node_name)
        source = objects.open_source(origin, name, settings, api)
        status = run_daemon(
            kernel,
            Store(name),
            settings,
            source,
            socket,
            objects.open_recorder(api, name),
            None if api is None else api.trace,
        )
        raise typer.Exit(status)


@app.command(
    epilog=f"""\b
Examples:
  ipvsctl apply --manifests cluster.yaml
  ipvsctl apply --manifests cluster.yaml --dry-run -o json

{_STATUSES} An op that the kernel refuses is an error; the others are applied.
Input that cannot be read, in whole or in part, is one too, and nothing is changed.
"""
)
@takes_settings()
def apply(
    context: typer.Context,
    *,
    manifests: ManifestsOption = None,
    master: MasterOption = "",
    node_name: NodeNameOption = "",
    config: ConfigOption = None,
    given: Given = NOTHING_GIVEN,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan and change nothing.")
    ] = False,
    output: PlanFormatOption = PlanFormat.TABLE,
    verbose: VerboseOption = 0,
) -> None:
    """Make the kernel as the objects say, once."""
    with reported(verbose):
        from ipvsctl.cli import inputs, objects, sync

        settings = inputs.read_config(config, given)
        name = inputs.node_name_or_host(node_name or settings.node_name)
        origin = objects.Origin.of(manifests, master, settings)
        store = objects.read_store(origin, name, settings, verbose=verbose)
        inputs.require_whole(store)
        kernel = environment(context).open_kernel(settings, to_change=not dry_run)
        if dry_run:
            answer = sync.compare(kernel, store, settings, output, origin.description)
            sync.print_diff(answer, output)
            raise typer.Exit(ExitStatus.OK)
        raise typer.Exit(sync.apply(kernel, store, settings, output))


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
@takes_settings()
def diff(
    context: typer.Context,
    *,
    manifests: ManifestsOption = None,
    master: MasterOption = "",
    node_name: NodeNameOption = "",
    config: ConfigOption = None,
    given: Given = NOTHING_GIVEN,
    socket: SocketOption = DEFAULT_SOCKET,
    output: PlanFormatOption = PlanFormat.TABLE,
    verbose: VerboseOption = 0,
) -> None:
    """Compare what the kernel holds with what it should hold.

    Without --manifests the daemon is asked, and if there is none, the API server.
    """
    with reported(verbose):
        from ipvsctl.cli import inputs, objects, sync

        answer = None if manifests else sync.ask_to_compare(socket, output)
        if answer is None:
            settings = inputs.read_config(config, given)
            name = inputs.node_name_or_host(node_name or settings.node_name)
            origin = objects.Origin.of(manifests, master, settings)
            because = f", since no ipvsctl run answers on {socket}"
            store = objects.read_store(
                origin, name, settings, verbose=verbose, because=because
            )
            kernel = environment(context).open_kernel(settings, to_change=False)
            answer = sync.compare(kernel, store, settings, output, origin.description)
        raise typer.Exit(sync.print_diff(answer, output))


@app.command(
    epilog=f"""Removed are virtual servers with an entry in a set of ours, the sets,
the rules and chains, and the VIP link. What belongs to others stays, and sysctls do.

{_STATUSES}
"""
)
@takes_settings("ipvsctl.vipLink")
def cleanup(
    context: typer.Context,
    *,
    config: ConfigOption = None,
    given: Given = NOTHING_GIVEN,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan and change nothing.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Even if a daemon is running.")
    ] = False,
    socket: SocketOption = DEFAULT_SOCKET,
    output: PlanFormatOption = PlanFormat.TABLE,
    verbose: VerboseOption = 0,
) -> None:
    """Remove from the kernel exactly what is ours."""
    with reported(verbose):
        from ipvsctl.cli import inputs, sync

        settings = inputs.read_config(config, given)
        if not (dry_run or force):
            sync.refuse_beside_daemon(socket)
        kernel = environment(context).open_kernel(settings, to_change=False)
        raise typer.Exit(sync.cleanup(kernel, settings, output, dry_run=dry_run))


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
@takes_settings(
    "clientConnection.kubeconfig", "ipvsctl.serviceProxyName", "ipvsctl.vipLink"
)
def status(
    context: typer.Context,
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="Only this Service; also namespace/name.",
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
    manifests: ManifestsOption = None,
    master: MasterOption = "",
    node_name: NodeNameOption = "",
    config: ConfigOption = None,
    given: Given = NOTHING_GIVEN,
    socket: SocketOption = DEFAULT_SOCKET,
    output: StateFormatOption = StateFormat.TABLE,
    verbose: VerboseOption = 0,
) -> None:
    """Show Services with their virtual servers and real servers."""
    with reported(verbose):
        from ipvsctl.cli import status as command
        from ipvsctl.model.status import Selection

        selection = Selection(namespace=namespace, name=name)
        found = command.ask_for_status(socket, selection)
        exit_status = ExitStatus.OK
        if found is None:
            from ipvsctl.cli import inputs, objects
            from ipvsctl.cluster.store import Store

            settings = inputs.read_config(config, given)
            node = inputs.node_name_or_host(node_name or settings.node_name)
            origin = objects.Origin.of(manifests, master, settings)
            known, source = objects.read_if_any(origin, node, settings, verbose=verbose)
            exit_status = ExitStatus.OK if known is None else inputs.status_for(known)
            store = Store(node) if known is None else known
            kernel = environment(context).open_kernel(settings, to_change=False)
            found = command.read_status(kernel, store, settings, source, selection)
        command.print_status(found, output)
        raise typer.Exit(exit_status)


@app.command(
    epilog="""\b
Examples:
  ipvsctl check                            the node as it is
  ipvsctl check --manifests cluster.yaml   with the VIPs it is to have

Nothing is changed, and no daemon is asked.

\b
Exit status: 0 no problem, 1 problems found, 2 error.
"""
)
@takes_settings()
def check(
    context: typer.Context,
    *,
    manifests: ManifestsOption = None,
    master: MasterOption = "",
    node_name: NodeNameOption = "",
    config: ConfigOption = None,
    given: Given = NOTHING_GIVEN,
    output: PlanFormatOption = PlanFormat.TABLE,
    verbose: VerboseOption = 0,
) -> None:
    """Look at this node and the settings, and say what to do about them."""
    with reported(verbose):
        from ipvsctl.cli import check as command
        from ipvsctl.cli import inputs, objects

        settings = inputs.read_config(config, given)
        name = inputs.node_name_or_host(node_name or settings.node_name)
        origin = objects.Origin.of(manifests, master, settings)
        store, _ = objects.read_if_any(origin, name, settings, verbose=verbose)
        kernel = environment(context).open_kernel(settings, to_change=False)
        findings = command.check(kernel, store, settings)
        exit_status = command.print_findings(findings, output)
        if store is not None:
            exit_status = max(exit_status, inputs.status_for(store))
        raise typer.Exit(exit_status)


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
@takes_settings()
def render(
    *,
    manifests: ManifestsOption = None,
    master: MasterOption = "",
    node_name: NodeNameOption = "",
    config: ConfigOption = None,
    given: Given = NOTHING_GIVEN,
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
    verbose: VerboseOption = 0,
) -> None:
    """Print what a node should hold, as the node's own tools would."""
    with reported(verbose):
        from ipvsctl.cli import inputs, objects
        from ipvsctl.cli import render as command

        settings = inputs.read_config(config, given)
        addresses = command.parse_addresses(node_addresses)
        name = inputs.node_name_or_host(node_name or settings.node_name)
        origin = objects.Origin.of(manifests, master, settings)
        store = objects.read_store(origin, name, settings, verbose=verbose)
        command.render(store, settings, addresses, output)
        raise typer.Exit(inputs.status_for(store))


@app.command(epilog=_STATUSES)
def version() -> None:
    """Print the version."""
    from ipvsctl import __version__

    typer.echo(f"ipvsctl {__version__}")
