# ruff: noqa: PLC0415
# PLC0415: a command imports what it is made of when it runs, so that the others, and
# every --help, start at once.
"""Commands that make the kernel as the objects say, or no longer."""

from typing import Annotated

import typer

from ipvsctl.cli.commands.root import STATUSES, registered
from ipvsctl.cli.errors import ExitStatus
from ipvsctl.cli.name_options import OnlyArgument
from ipvsctl.cli.node_command import NodeInputs, node_command
from ipvsctl.cli.options import (
    DEFAULT_SOCKET,
    DryRunOption,
    LogFormat,
    LogFormatOption,
    PlanFormat,
    PlanFormatOption,
    SocketOption,
)


@registered(
    epilog=f"""\b
Examples:
  ipvsctl run                                      in a pod with hostNetwork
  ipvsctl run --kubeconfig /etc/kubernetes/proxy.conf
  ipvsctl run --manifests /etc/ipvsctl/manifests --node-name node-0

{STATUSES} It ends on SIGTERM and SIGINT and leaves the kernel state in place.
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
    from ipvsctl.cli.run import Tellers, warn_of
    from ipvsctl.cli.run import run as run_daemon
    from ipvsctl.cluster.store import Store
    from ipvsctl.plan.report.preflight import check_bridges

    api = None if node.origin.manifests else objects.open_api(node.origin)
    kernel = node.open_kernel(to_change=True)
    configure_logs(log_format, verbose=node.verbose)
    warn_of(check_bridges(node.environment.read_bridges(node.settings)))
    return run_daemon(
        kernel,
        Store(node.name),
        node.settings,
        objects.open_source(node.origin, node.name, node.settings, api),
        socket,
        Tellers(
            objects.open_recorder(api, node.name),
            objects.open_announcer(api, node.name, node.settings),
        ),
        None if api is None else api.trace,
    )


@registered(
    epilog=f"""\b
Examples:
  ipvsctl apply --manifests cluster.yaml
  ipvsctl apply --manifests cluster.yaml --dry-run -o json

{STATUSES} An op that the kernel refuses is an error; the others are applied.
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
    scope = sync.Scope(as_data=output is not PlanFormat.TABLE)
    sync.print_diff(sync.compare(kernel, store, node.settings, scope, source), output)
    return ExitStatus.OK


@registered(
    epilog="""\b
Examples:
  ipvsctl diff                            what the daemon is about to change
  ipvsctl diff shop/web                   for one Service
  ipvsctl diff --manifests cluster.yaml   without a daemon

\b
Exit status: 0 equal, 1 different, 2 error; 2 also when it is not known for sure, since
the source has not been heard for 30 s or could not be read whole: stderr says so.
"""
)
@node_command()
def diff(
    name: OnlyArgument = "",
    *,
    node: NodeInputs,
    socket: SocketOption = DEFAULT_SOCKET,
    output: PlanFormatOption = PlanFormat.TABLE,
) -> ExitStatus:
    """Compare what the kernel holds with what it should hold.

    Without --manifests the daemon is asked, and if there is none, the API server.
    """
    from ipvsctl.cli import sync
    from ipvsctl.cli.daemon import unless_mute

    scope = sync.Scope(name=name, as_data=output is not PlanFormat.TABLE)
    _ = scope.target
    answer = None
    if not node.manifests:
        answer = unless_mute(lambda: sync.ask_to_compare(socket, scope))
    if answer is None:
        store = node.read_store(because=f", since no ipvsctl run answers on {socket}")
        kernel = node.open_kernel(to_change=False)
        source = node.origin.description
        answer = sync.compare(kernel, store, node.settings, scope, source)
    return sync.print_diff(answer, output)


@registered(
    epilog=f"""Removed are virtual servers with an entry in a set of ours, the sets,
the rules and chains, of both firewalls, and the VIP link. What belongs to others stays,
and sysctls do.

{STATUSES}
"""
)
@node_command("ipvsctl.firewall", "ipvsctl.vipLink", has_objects=False)
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
