# ruff: noqa: PLC0415
# PLC0415: a command imports what it is made of when it runs, so that the others, and
# every --help, start at once.
"""Commands that say why, and what was done."""

from typing import Annotated

import typer

from ipvsctl.cli.commands.root import STATUSES, registered
from ipvsctl.cli.errors import ExitStatus
from ipvsctl.cli.name_options import HomeOption, OnlyArgument, complete_service
from ipvsctl.cli.node_command import NodeInputs, node_command
from ipvsctl.cli.options import (
    DEFAULT_SOCKET,
    PlanFormat,
    PlanFormatOption,
    SocketOption,
    VerboseOption,
)


@registered(
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
        str,
        typer.Argument(
            metavar="TARGET",
            autocompletion=complete_service,
            help="What to explain; see below.",
        ),
    ],
    *,
    namespace: HomeOption = "",
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
    from ipvsctl.cli.daemon import DaemonMute
    from ipvsctl.cli.errors import complain
    from ipvsctl.model.errors import NotFound
    from ipvsctl.model.source_state import SourceState
    from ipvsctl.model.target import parse_target

    question = command.Question(
        target=parse_target(target, namespace), client=client, protocol=protocol
    )
    found, mute = None, ""
    if not node.manifests:
        try:
            found = command.ask_to_explain(socket, question)
        except DaemonMute as error:
            mute = str(error)
            complain(f"warning: {mute}")
    if found is None:
        because = mute or f"no ipvsctl run answers on {socket}"
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
                kernel, store, node.settings, state, question, mute
            )
    return command.print_explanation(found, output)


@registered(
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

{STATUSES}
"""
)
def events(
    name: OnlyArgument = "",
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
    from ipvsctl.model.target import parse_name

    with reported(verbose):
        target = parse_name(name) if name else None
        raise typer.Exit(command.print_events(socket, target, output, follow=follow))
