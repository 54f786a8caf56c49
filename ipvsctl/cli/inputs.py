"""From options to values: settings, the node's name, objects."""

import socket
from collections.abc import Iterable, Sequence
from pathlib import Path

from ipvsctl.cli.errors import complain, tell
from ipvsctl.cli.given import NOTHING_GIVEN, Given
from ipvsctl.cluster.config import GivenText, parse_config, with_given
from ipvsctl.cluster.manifest import Manifests, changes
from ipvsctl.cluster.store import Store
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.errors import ConfigError
from ipvsctl.model.problem import Problem
from ipvsctl.sources.manifests import ManifestsSource, load_manifests


def read_config(path: Path | None, given: Given = NOTHING_GIVEN) -> ProxyConfig:
    """The settings of the file, or the defaults, with those given beside it.

    What the file sets in vain is said on stderr.

    Raises:
        ConfigError: the file cannot be read, or a setting cannot be used.
    """
    config = ProxyConfig()
    if path is not None:
        try:
            raw = path.read_bytes()
        except OSError as error:
            raise ConfigError(
                field="--config",
                value=str(path),
                reason=f"cannot be read: {error.strerror}",
            ) from error
        config, warnings = parse_config(raw, str(path))
        for warning in warnings:
            complain(f"warning: {path}: {warning}")
    return with_given(
        config,
        (GivenText(path=flag.path, name=name, text=text) for flag, name, text in given),
    )


def node_name_or_host(given: str) -> str:
    """The name given, else the host's, lower-cased as the kubelet does."""
    return given or socket.gethostname().strip().lower()


def require_manifests(
    paths: Sequence[Path] | None, because: str = ""
) -> Sequence[Path]:
    """The paths.

    Raises:
        ConfigError: none was given.
    """
    if not paths:
        what = "a file or directory of Services and EndpointSlices is needed"
        raise ConfigError(field="--manifests", value=None, reason=what + because)
    return paths


def read_store(paths: Sequence[Path], node_name: str, *, verbose: int) -> Store:
    """Read manifests once.

    Raises:
        ConfigError: a path is not there. What is wrong inside is a problem in the
            store.
    """
    found = load_manifests(paths)
    store = Store(node_name)
    for event in changes(Manifests(), found):
        store.apply(event)
    if verbose:
        for kind, count in sorted(found.skipped.items()):
            complain(f"note: {count} of {kind} skipped")
    if node_name not in store.nodes:
        complain(
            f"warning: no Node {node_name} in the manifests:"
            " its zone, addresses and pod networks are unknown"
        )
    return store


def read_named(
    paths: Sequence[Path] | None, node_name: str, *, verbose: int
) -> tuple[Store, str]:
    """Read manifests if there are any.

    Returns:
        The store, and where its objects come from; an empty one and "" without.
    """
    if not paths:
        return Store(node_name), ""
    store = read_store(paths, node_name, verbose=verbose)
    return store, ManifestsSource(paths).description


def tell_problems(problems: Iterable[Problem]) -> None:
    """Say on stderr, one line each, what cannot be honoured."""
    for problem in problems:
        tell(str(problem))
