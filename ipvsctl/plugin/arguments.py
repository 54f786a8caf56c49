"""What was asked for: where, and which command of ipvsctl."""

import argparse
from dataclasses import dataclass
from typing import Final

COMMANDS: Final = (
    *("status", "explain", "diff", "check", "events", "conns", "top"),
    *("render", "version"),
)
"""Those that only look; what changes a node is the daemon's."""

_LIVE: Final = {"top": (), "status": ("-w", "--watch"), "events": ("-f", "--follow")}
"""Commands that go on for ever: always, or with one of these."""

_OF_KUBECTL: Final = ("context", "kubeconfig", "cluster", "user", "as")

_EPILOG: Final = """\
examples:
  kubectl ipvs status --all-nodes
  kubectl ipvs explain shop/web --pod shop/cart-5d9
  kubectl ipvs diff --all-nodes
  kubectl ipvs top --node node-3

All else goes to ipvsctl: kubectl ipvs COMMAND --help shows what there is.
"""


class UsageError(Exception):
    """It cannot be done as it was asked for."""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What was asked for.

    Attributes:
        command: of ipvsctl, with its own arguments; empty for help.
        node: where; "" for any.
        pod: of whose node, `(namespace, name)`.
        all_nodes: on every one.
        namespace: of the daemons; "" for any.
        selector: labels of the daemons' pods.
        kubectl: flags for every call.
    """

    command: tuple[str, ...]
    node: str = ""
    pod: tuple[str, str] | None = None
    all_nodes: bool = False
    namespace: str = ""
    selector: str
    kubectl: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The command alone."""
        return self.command[0]

    @property
    def form(self) -> str:
        """What `-o` says; "" if nothing."""
        found = ""
        for word, following in zip(self.command, (*self.command[1:], ""), strict=True):
            if word in {"-o", "--output"}:
                found = following
            elif word.startswith("--output="):
                found = word.partition("=")[2]
            elif word.startswith("-o"):
                found = word.removeprefix("-o").removeprefix("=")
        return found

    @property
    def is_live(self) -> bool:
        """It goes on until somebody ends it."""
        if self.name not in _LIVE:
            return False
        flags = _LIVE[self.name]
        if flags:
            return any(word in flags for word in self.command)
        return "--once" not in self.command and not self.form


def parser() -> argparse.ArgumentParser:
    """The plugin's own options."""
    made = argparse.ArgumentParser(
        prog="kubectl ipvs",
        usage="kubectl ipvs COMMAND [ARGUMENTS] [OPTIONS]",
        description=f"Runs ipvsctl on nodes. COMMAND is one of {', '.join(COMMANDS)}.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        add_help=False,
    )
    where = made.add_argument_group("where").add_mutually_exclusive_group()
    where.add_argument("--node", default="", metavar="NAME", help="on this node")
    where.add_argument(
        "--pod",
        default="",
        metavar="[NAMESPACE/]NAME",
        help="on the node of this pod; explain asks from its address",
    )
    where.add_argument("--all-nodes", action="store_true", help="on every node")
    daemons = made.add_argument_group("which daemons")
    daemons.add_argument(
        "--daemon-namespace",
        default="",
        metavar="NAME",
        help="where ipvsctl's pods are; looked for everywhere unless it is given",
    )
    daemons.add_argument(
        "--selector",
        default="app.kubernetes.io/name=ipvsctl",
        metavar="LABELS",
        help="which pods they are (%(default)s)",
    )
    kubectl = made.add_argument_group("as of kubectl")
    for name in _OF_KUBECTL:
        kubectl.add_argument(f"--{name}", default="", metavar="WORD")
    return made


def parse(words: list[str]) -> Arguments:
    """Read the command line.

    Raises:
        UsageError: it cannot be done.
        SystemExit: argparse has said what is wrong.
    """
    own, command = parser().parse_known_args(words)
    if not command or command[0] in {"-h", "--help", "help"}:
        return Arguments(command=(), selector=own.selector)
    if command[0] not in COMMANDS:
        listed = ", ".join(COMMANDS)
        raise UsageError(f"{command[0]}: the first word is one of {listed}")
    found = Arguments(
        command=tuple(command),
        node=own.node,
        pod=_pod(own.pod) if own.pod else None,
        all_nodes=own.all_nodes,
        namespace=own.daemon_namespace,
        selector=own.selector,
        kubectl=tuple(
            f"--{name}={value}" for name in _OF_KUBECTL if (value := getattr(own, name))
        ),
    )
    if found.all_nodes and found.is_live:
        raise UsageError(f"{' '.join(command)} goes on for ever: choose one --node")
    return found


def _pod(text: str) -> tuple[str, str]:
    namespace, slash, name = text.rpartition("/")
    if not name or (slash and not namespace):
        raise UsageError(f"--pod {text}: neither NAME nor NAMESPACE/NAME")
    return namespace, name
