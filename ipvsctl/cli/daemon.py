"""Asks a running daemon through its control socket."""

import http.client
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from ipvsctl.model.errors import ConfigError, IpvsctlError

_TIMEOUT_S: Final = 60.0
"""A node of 50,000 Services is read and described within it."""


class DaemonError(IpvsctlError):
    """The daemon is there and does not give the answer.

    Attributes:
        path: its control socket.
        reason: what the daemon said, or how the conversation ended.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"ipvsctl run on {path}: {reason}")
        self.path = path
        self.reason = reason


def ask(path: Path, route: str, query: Mapping[str, str] | None = None) -> bytes | None:
    """The daemon's answer, JSON; None when no daemon is there.

    Raises:
        ConfigError: a value of the query is no text.
        DaemonError: the daemon cannot be asked, or refused.
    """
    words = _encoded({name: value for name, value in (query or {}).items() if value})
    connection = _UnixConnection(path)
    try:
        connection.request("GET", f"{route}?{words}" if words else route)
        response = connection.getresponse()
        body = response.read()
    except (FileNotFoundError, ConnectionRefusedError):
        return None
    except PermissionError as error:
        raise DaemonError(path, "only root may ask it") from error
    except (OSError, http.client.HTTPException) as error:
        raise DaemonError(path, f"no answer: {error}") from error
    finally:
        connection.close()
    if response.status != http.client.OK:
        raise DaemonError(path, body.decode(errors="replace").strip())
    return body


def _encoded(query: Mapping[str, str]) -> str:
    for name, value in query.items():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            reason = "not text in UTF-8"
            raise ConfigError(field=name, value=value, reason=reason) from error
    return urlencode(query)


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_TIMEOUT_S)
        self.sock.connect(str(self._path))
