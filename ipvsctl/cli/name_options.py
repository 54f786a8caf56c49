"""Options that name Services, with what a shell completes: those the daemon knows."""

from pathlib import Path
from typing import Annotated

import typer

from ipvsctl.cli.options import DEFAULT_SOCKET


def complete_service(context: typer.Context, incomplete: str) -> list[str]:
    """Services whose name begins so; without the namespace where `-n` says it."""
    # --help and the command itself need none of this.
    from ipvsctl.cli.daemon import DaemonError, ask_names  # noqa: PLC0415  # see above

    given = context.params
    namespace = given.get("namespace") or ""
    try:
        names = ask_names(Path(given.get("socket") or DEFAULT_SOCKET))
    except DaemonError:
        return []
    if namespace:
        prefix = f"{namespace}/"
        names = [n.removeprefix(prefix) for n in names if n.startswith(prefix)]
    return [name for name in names if name.startswith(incomplete)]


def complete_namespace(context: typer.Context, incomplete: str) -> list[str]:
    """Namespaces of Services that begin so."""
    names = complete_service(context, "")
    namespaces = sorted({name.partition("/")[0] for name in names})
    return [name for name in namespaces if name.startswith(incomplete)]


NamespaceOption = Annotated[
    str,
    typer.Option(
        "-n",
        "--namespace",
        autocompletion=complete_namespace,
        help="Only this namespace.",
        show_default=False,
    ),
]

HomeOption = Annotated[
    str,
    typer.Option(
        "-n",
        "--namespace",
        autocompletion=complete_namespace,
        help="Of a NAME without one.",
        show_default=False,
    ),
]

OnlyArgument = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        autocompletion=complete_service,
        help="Only of this Service; also namespace/name.",
        show_default=False,
    ),
]
