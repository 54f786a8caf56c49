# ruff: noqa: PLC0415
# PLC0415: a command imports what it is made of when it runs, so that the others, and
# every --help, start at once.
"""Commands that look at no node."""

from typing import Annotated

import typer

from ipvsctl.cli.commands.root import STATUSES, registered
from ipvsctl.cli.errors import ExitStatus
from ipvsctl.cli.node_command import NodeInputs, node_command
from ipvsctl.cli.options import (
    RenderFormat,
    RenderFormatOption,
)


@registered(
    epilog=f"""\b
Examples:
  ipvsctl render --manifests cluster.yaml --node-name node-0 -o ipvsadm
  ipvsctl render --manifests cluster.yaml --node-name node-0 -o ipset
  ipvsctl render --manifests cluster.yaml --node-name node-0 -o nft >ipvsctl.nft

Needs no kernel and no root. ipvsadm prints the lines of `ipvsadm-save -n`, ipset those
of `ipset save`, addresses `inet ADDR/LEN`, routes those of `ip route show table local`,
each sorted; problems go to stderr. iptables, ip6tables and ipset are what a node with
that firewall holds, nft what one with nftables does, as a file for `nft -f`.

{STATUSES}
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


@registered(epilog=STATUSES)
def version() -> None:
    """Print the version."""
    from ipvsctl import __version__

    typer.echo(f"ipvsctl {__version__}")
