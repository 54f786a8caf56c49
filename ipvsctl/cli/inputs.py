"""From options to values: settings, the node's name."""

import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from ipvsctl.cli.errors import ExitStatus, complain, tell
from ipvsctl.cli.setting_options import NOTHING_GIVEN, Given
from ipvsctl.cluster.config.config_file import GivenText, parse_config, with_given
from ipvsctl.cluster.config.settings import text
from ipvsctl.cluster.store import Store
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.errors import ConfigError, UnreadInput
from ipvsctl.model.problem import Problem
from ipvsctl.sources.bounded import CannotRead, read_file, shown

_MAX_CONFIG_BYTES: Final = 2**20
"""Every field of it, written out, takes some kilobytes."""


def read_config(path: Path | None, given: Given = NOTHING_GIVEN) -> ProxyConfig:
    """The settings of the file, or the defaults, with those given beside it.

    Settings that have no effect are named on stderr.

    Raises:
        ConfigError: the file cannot be read, or a setting cannot be used.
    """
    config = ProxyConfig()
    if path is not None:
        try:
            content = read_file(path, _MAX_CONFIG_BYTES)
        except CannotRead as error:
            raise ConfigError(
                field="--config", value=shown(path), reason=str(error)
            ) from error
        config, warnings = parse_config(content.raw, shown(path))
        for warning in warnings:
            complain(f"warning: {shown(path)}: {warning}")
    return with_given(
        config,
        (GivenText(path=flag.path, name=name, text=word) for flag, name, word in given),
    )


def node_name_or_host(given: str) -> str:
    """The name given, else the host's, lower-cased as the kubelet does.

    Raises:
        ConfigError: the name is no text.
    """
    name = text("--node-name", given)
    return name or socket.gethostname().strip().lower()


def require_whole(store: Store) -> None:
    """Do nothing if everything could be read.

    Raises:
        UnreadInput: something could not: an object that is missing may be wanted.
    """
    doubts = store.vouched().doubts
    if doubts:
        raise UnreadInput(doubts)


def status_for(store: Store) -> ExitStatus:
    """The exit status by these objects: an error, also told, if some are unread."""
    doubts = store.vouched().doubts
    for doubt in doubts:
        complain(f"not known: {doubt}")
    return ExitStatus.ERROR if doubts else ExitStatus.OK


def tell_problems(problems: Iterable[Problem]) -> None:
    """Say problems on stderr, one line each."""
    for problem in problems:
        tell(str(problem))
