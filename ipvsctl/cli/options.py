"""The options that commands share, each defined once."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

DEFAULT_SOCKET: Final = Path("/run/ipvsctl/ipvsctl.sock")


class StateFormat(StrEnum):
    """How `status` prints."""

    TABLE = "table"
    WIDE = "wide"
    NAME = "name"
    JSON = "json"
    YAML = "yaml"
    YML = "yml"


class SortBy(StrEnum):
    """In which order `status` prints Services."""

    HEALTH = "health"
    NAME = "name"
    ACTIVE = "active"
    CONNS = "conns"


class PlanFormat(StrEnum):
    """How a plan, its outcome, or findings are printed."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"
    YML = "yml"


class RenderFormat(StrEnum):
    """The part of a node's state that `render` prints, and how."""

    IPVSADM = "ipvsadm"
    IPSET = "ipset"
    IPTABLES = "iptables"
    IP6TABLES = "ip6tables"
    NFT = "nft"
    ADDRESSES = "addresses"
    ROUTES = "routes"
    JSON = "json"


class LogFormat(StrEnum):
    """How `run` logs."""

    AUTO = "auto"
    CONSOLE = "console"
    JSON = "json"


ManifestsOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--manifests",
        metavar="PATH",
        envvar="IPVSCTL_MANIFESTS",
        help="File or directory of Services, EndpointSlices, Endpoints and Nodes"
        " (YAML or JSON), instead of an API server. Repeatable.",
        show_default=False,
    ),
]

MasterOption = Annotated[
    str,
    typer.Option(
        "--master",
        metavar="URL",
        envvar="IPVSCTL_MASTER",
        help="URL of the API server, instead of the kubeconfig's.",
        show_default=False,
    ),
]

NodeNameOption = Annotated[
    str,
    typer.Option(
        "--node-name",
        metavar="NAME",
        envvar=["IPVSCTL_NODE_NAME", "NODE_NAME"],
        help="Name of this node's Node object."
        "  [default: the configuration's hostnameOverride, else the host name, in"
        " lower case]",
        show_default=False,
    ),
]

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        envvar="IPVSCTL_CONFIG",
        help="KubeProxyConfiguration, as kubeadm writes it.",
        show_default=False,
    ),
]

SocketOption = Annotated[
    Path,
    typer.Option(
        "--socket",
        metavar="PATH",
        envvar="IPVSCTL_SOCKET",
        help="Control socket of `ipvsctl run`.",
    ),
]

VerboseOption = Annotated[
    int,
    typer.Option(
        "-v",
        "--verbose",
        count=True,
        help="Say more: the cause of an error, debug logs.",
        show_default=False,
        metavar="",
    ),
]

DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Print the plan and change nothing.")
]

StateFormatOption = Annotated[
    StateFormat, typer.Option("-o", "--output", help="Format of the output.")
]
PlanFormatOption = Annotated[
    PlanFormat, typer.Option("-o", "--output", help="Format of the output.")
]
RenderFormatOption = Annotated[
    RenderFormat, typer.Option("-o", "--output", help="What to print.")
]
LogFormatOption = Annotated[
    LogFormat,
    typer.Option(
        "--log-format",
        envvar="IPVSCTL_LOG_FORMAT",
        help="auto: key=value on a terminal, else JSON.",
    ),
]
