"""Options that the commands about a node share, and the inputs made of them."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from ipvsctl.cli.environment import Environment, environment
from ipvsctl.cli.errors import ExitStatus, reported
from ipvsctl.cli.options import (
    ConfigOption,
    ManifestsOption,
    MasterOption,
    NodeNameOption,
    VerboseOption,
)
from ipvsctl.cli.setting_options import Given, given_settings, option, settings_of

if TYPE_CHECKING:
    from ipvsctl.cli.objects import Origin
    from ipvsctl.cluster.store import Store
    from ipvsctl.kernel.interface import Kernel
    from ipvsctl.model.api_facts import ApiFacts
    from ipvsctl.model.config import ProxyConfig
    from ipvsctl.model.node_facts import NodeFacts


@dataclass(frozen=True, kw_only=True)
class NodeInputs:
    """Settings, name, objects and kernel of this node, each read when it is asked for.

    Attributes:
        manifests: files and directories of objects; None or empty for an API server.
        master: URL of the API server, "" for none.
        given_name: of the node, "" for none.
        config: the configuration file.
        given: settings beside that file.
        verbose: how much more to say.
        environment: where the kernel is from.
    """

    manifests: list[Path] | None
    master: str
    given_name: str
    config: Path | None
    given: Given
    verbose: int
    environment: Environment

    @cached_property
    def settings(self) -> "ProxyConfig":
        """The settings of the file, with those given beside it.

        Raises:
            ConfigError: the file cannot be read, or a setting cannot be used.
        """
        # Commands, and every --help, start before anything is read.
        from ipvsctl.cli.inputs import read_config  # noqa: PLC0415  # see above

        return read_config(self.config, self.given)

    @cached_property
    def name(self) -> str:
        """The name of this node's Node.

        Raises:
            ConfigError: the name is no text, or as `settings`.
        """
        from ipvsctl.cli.inputs import node_name_or_host  # noqa: PLC0415  # see above

        return node_name_or_host(self.given_name or self.settings.node_name)

    @cached_property
    def origin(self) -> "Origin":
        """Where objects come from.

        Raises:
            ConfigError: as `settings`.
        """
        from ipvsctl.cli.objects import Origin  # noqa: PLC0415  # see above

        return Origin.of(self.manifests, self.master, self.settings)

    def read_store(self, *, because: str = "") -> "Store":
        """All objects, read once.

        Args:
            because: why they are needed, for the error that nothing says where they
                are.

        Raises:
            ConfigError: nothing says where they are, or what does cannot be used.
            ApiError: the API server does not tell.
        """
        from ipvsctl.cli.objects import read_store  # noqa: PLC0415  # see above

        settings, name = self.settings, self.name
        return read_store(
            self.origin, name, settings, verbose=self.verbose, because=because
        )

    def read_if_any(self) -> "tuple[Store | None, str]":
        """All objects, if something says where they are; see `objects.read_if_any`."""
        from ipvsctl.cli.objects import read_if_any  # noqa: PLC0415  # see above

        settings, name = self.settings, self.name
        return read_if_any(self.origin, name, settings, verbose=self.verbose)

    def open_kernel(self, *, to_change: bool) -> "Kernel":
        """The kernel; see `environment.OpenKernel`."""
        return self.environment.open_kernel(self.settings, to_change=to_change)

    def probe_api(self) -> "ApiFacts | None":
        """What the API server says of this node; see `objects.probe`."""
        from ipvsctl.cli.objects import probe  # noqa: PLC0415  # see above

        return probe(self.origin, self.name, self.settings)

    def read_facts(self) -> "NodeFacts":
        """What this node is like; see `environment.ReadNode`."""
        return self.environment.read_node(self.settings)


_ABOUT_OBJECTS: Final = {
    "manifests": (ManifestsOption, None),
    "master": (MasterOption, ""),
    "node_name": (NodeNameOption, ""),
}
_CONFIG: Final = {"config": (ConfigOption, None)}
_VERBOSE: Final = {"verbose": (VerboseOption, 0)}
_CONTEXT: Final = inspect.Parameter(
    "context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context
)

Command = Callable[..., ExitStatus]


def node_command(
    *paths: str, has_objects: bool = True
) -> Callable[[Command], Callable[..., None]]:
    """Make a command of a function that takes `NodeInputs` and returns an exit status.

    In place of that parameter it has the options that the inputs are made of, and at
    the end `--verbose` and an option for each setting. Its errors are reported.

    Args:
        paths: of the settings; none is all of them.
        has_objects: whether it has options about objects and the node's name.
    """
    flags = settings_of(paths)
    shared = {**(_ABOUT_OBJECTS if has_objects else {}), **_CONFIG}

    def decorate(command: Command) -> Callable[..., None]:
        own = inspect.signature(command)
        (inputs,) = (p.name for p in own.parameters.values() if _is_inputs(p))

        @wraps(command)
        def run(context: typer.Context, **values: Any) -> None:  # noqa: ANN401  # whatever its options are
            node = NodeInputs(
                manifests=values.pop("manifests", None),
                master=values.pop("master", ""),
                given_name=values.pop("node_name", ""),
                config=values.pop("config"),
                given=given_settings(context, flags, values),
                verbose=values.pop("verbose"),
                environment=environment(context),
            )
            with reported(node.verbose):
                raise typer.Exit(command(**{inputs: node}, **values))

        def parameters() -> Iterator[inspect.Parameter]:
            yield _CONTEXT
            for parameter in own.parameters.values():
                if _is_inputs(parameter):
                    yield from _keywords(shared)
                else:
                    yield parameter
            yield from _keywords(_VERBOSE)
            yield from map(option, flags)

        all_of_them = [*parameters()]
        run.__signature__ = own.replace(  # type: ignore[attr-defined]  # typer asks inspect, which looks there
            parameters=all_of_them, return_annotation=None
        )
        run.__annotations__ = {p.name: p.annotation for p in all_of_them}
        return run

    return decorate


def _is_inputs(parameter: inspect.Parameter) -> bool:
    return parameter.annotation is NodeInputs


def _keywords(options: dict[str, tuple[Any, Any]]) -> Iterator[inspect.Parameter]:
    for name, (annotation, default) in options.items():
        yield inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=default,
            annotation=annotation,
        )
