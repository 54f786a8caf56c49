"""From options to values: settings, the node's name."""

import socket
from collections.abc import Iterable
from pathlib import Path

from ipvsctl.cli.errors import complain, tell
from ipvsctl.cli.given import NOTHING_GIVEN, Given
from ipvsctl.cluster.config import GivenText, parse_config, with_given
from ipvsctl.cluster.settings import text
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.errors import ConfigError
from ipvsctl.model.problem import Problem


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
        (GivenText(path=flag.path, name=name, text=word) for flag, name, word in given),
    )


def node_name_or_host(given: str) -> str:
    """The name given, else the host's, lower-cased as the kubelet does.

    Raises:
        ConfigError: it is no text.
    """
    name = text("--node-name", given)
    return name or socket.gethostname().strip().lower()


def tell_problems(problems: Iterable[Problem]) -> None:
    """Say on stderr, one line each, what cannot be honoured."""
    for problem in problems:
        tell(str(problem))
