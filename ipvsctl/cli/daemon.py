"""Asks a running daemon through its control socket."""

import http.client
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import urlencode

import msgspec

from ipvsctl.cli.errors import complain
from ipvsctl.model.errors import ConfigError, IpvsctlError

_TIMEOUT_S: Final = 60.0
"""A node of 50,000 Services is read and described within it."""

PROTOCOL: Final = 2
"""What a daemon and its clients understand; it grows when they learn a question. Fields
that one side does not know are passed over, so clients of other versions are served.

1: `status` by namespace and name, `diff`, `version`.
2: `status` by address, port and kind; `diff` by name; `explain`, `events`, `names`.
"""

_PING: Final = "/v1/version"
_PING_TIMEOUT_S: Final = 3.0

T = TypeVar("T")


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


class DaemonMute(DaemonError):
    """The daemon is there and cannot be asked; the kernel can be read without it."""


class DaemonHung(DaemonMute):
    """It does not even say its version, or waits for the kernel itself."""


class DaemonOld(DaemonMute):
    """It does not know the question."""


class _Version(msgspec.Struct):
    """What a daemon says of itself; one of 0.1.0 knows no other words."""

    version: str = "unknown"
    protocol: int = 1


def unless_mute(question: Callable[[], T | None]) -> T | None:
    """What a daemon says; None, after a word of warning, of one that cannot."""
    try:
        return question()
    except DaemonMute as error:
        complain(f"warning: {error}; the kernel is read without it")
        return None


def ask(
    path: Path, route: str, query: Mapping[str, str] | None = None, *, needs: int = 1
) -> bytes | None:
    """The daemon's answer, JSON; None when no daemon is there.

    Args:
        path: its control socket.
        route: the question.
        query: its words; those that are empty are left out.
        needs: the least `PROTOCOL` that knows all of it.

    Raises:
        ConfigError: a value of the query is no text.
        DaemonError: the daemon cannot be asked, or refused.
        DaemonHung: it has not said its version within some seconds, or its own call to
            the kernel does not end.
        DaemonOld: it is of a version that does not know the question.
    """
    # A long answer takes its time; this one is there at once, as long as the event
    # loop turns.
    ping = _get(path, _PING, _PING_TIMEOUT_S)
    if ping is None:
        return None
    known = _version(ping)
    if known.protocol < needs:
        reason = f"version {known.version} does not know this question"
        raise DaemonOld(path, reason)
    words = _encoded({name: value for name, value in (query or {}).items() if value})
    answer = _get(path, f"{route}?{words}" if words else route, _TIMEOUT_S)
    if answer is not None and answer.status != http.client.OK:
        kind = DaemonError
        if answer.status == http.client.GATEWAY_TIMEOUT:
            kind = DaemonHung
        raise kind(path, answer.body.decode(errors="replace").strip())
    return None if answer is None else answer.body


def ask_names(path: Path) -> list[str]:
    """Every Service that the daemon knows, `namespace/name`; none without a daemon.

    Raises:
        DaemonError: the daemon cannot say.
    """
    answer = ask(path, "/v1/names", needs=2)
    return [] if answer is None else msgspec.json.decode(answer, type=list[str])


def is_there(path: Path) -> bool:
    """Whether a daemon has its socket there, even one that hangs."""
    try:
        return _get(path, _PING, _PING_TIMEOUT_S) is not None
    except DaemonError:
        return True


def _version(ping: "_Answer") -> _Version:
    """What a daemon is; whatever else it says of itself is passed over."""
    try:
        return msgspec.json.decode(ping.body, type=_Version)
    except msgspec.DecodeError:
        return _Version()


class _Answer(NamedTuple):
    status: int
    body: bytes


def _get(path: Path, route: str, timeout_s: float) -> _Answer | None:
    connection = _UnixConnection(path, timeout_s)
    try:
        connection.request("GET", route)
        response = connection.getresponse()
        return _Answer(response.status, response.read())
    except (FileNotFoundError, ConnectionRefusedError):
        return None
    except (TimeoutError, BlockingIOError) as error:
        # The latter, when those who wait to be let in are too many already.
        kind = DaemonHung if route == _PING else DaemonError
        raise kind(path, f"hangs: no answer within {timeout_s:.0f} s") from error
    except PermissionError as error:
        raise DaemonError(path, "only root may ask it") from error
    except (OSError, http.client.HTTPException) as error:
        raise DaemonError(path, f"no answer: {error}") from error
    finally:
        connection.close()


def _encoded(query: Mapping[str, str]) -> str:
    for name, value in query.items():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            reason = "not text in UTF-8"
            raise ConfigError(field=name, value=value, reason=reason) from error
    return urlencode(query)


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket, with a deadline for everything together."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost")
        self._path = path
        self._end_s = time.monotonic() + timeout_s

    def connect(self) -> None:
        self.sock = _PatientSocket(self._end_s)
        self.sock.connect(str(self._path))


class _PatientSocket(socket.socket):
    """A socket whose every wait ends at one moment: a peer may drip for ever."""

    def __init__(self, end_s: float) -> None:
        super().__init__(socket.AF_UNIX, socket.SOCK_STREAM)
        self._end_s = end_s
        self._wait()

    def recv_into(self, *arguments: Any, **named: Any) -> int:  # noqa: ANN401  # as the socket has them
        """See `socket`."""
        self._wait()
        return super().recv_into(*arguments, **named)

    def _wait(self) -> None:
        left_s = self._end_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self.settimeout(left_s)
