"""`kubectl exec` into a pod: a WebSocket of the fifth version of the protocol.

Each binary message begins with the number of its stream. The last one says, as a
Status, how the command ended.
Source: k8s.io/apimachinery, `pkg/util/remotecommand/constants.go`.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec
from aiohttp import web

_PROTOCOL: Final = "v5.channel.k8s.io"
_STDOUT: Final = b"\1"
_STDERR: Final = b"\2"
_ERROR: Final = b"\3"


class Executed(msgspec.Struct, frozen=True, kw_only=True):
    """How a command ended."""

    stdout: bytes = b""
    stderr: bytes = b""
    status: int = 0


class Execution(msgspec.Struct, frozen=True, kw_only=True):
    """A command in a pod.

    Attributes:
        container: "" if none was named.
        is_tty: it has a terminal.
    """

    namespace: str
    pod: str
    container: str
    command: tuple[str, ...]
    is_tty: bool


Execute = Callable[[Execution], Executed]
"""Runs a command; called in a thread."""


async def execute(
    request: web.BaseRequest, namespace: str, pod: str, run: Execute
) -> web.WebSocketResponse:
    """Run the command of a request, and send what it says."""
    query = request.query
    asked = Execution(
        namespace=namespace,
        pod=pod,
        container=query.get("container", ""),
        command=tuple(query.getall("command", [])),
        is_tty=query.get("tty") == "true",
    )
    socket = web.WebSocketResponse(protocols=(_PROTOCOL,))
    await socket.prepare(request)
    done = await asyncio.to_thread(run, asked)
    for stream, content in ((_STDOUT, done.stdout), (_STDERR, done.stderr)):
        if content:
            await socket.send_bytes(stream + content)
    await socket.send_bytes(_ERROR + msgspec.json.encode(_end(done.status)))
    await socket.close()
    return socket


def _end(status: int) -> dict[str, object]:
    if not status:
        return {"metadata": {}, "status": "Success"}
    cause = {"reason": "ExitCode", "message": str(status)}
    return {
        "metadata": {},
        "status": "Failure",
        "reason": "NonZeroExitCode",
        "message": "command terminated with non-zero exit code",
        "details": {"causes": [cause]},
    }
