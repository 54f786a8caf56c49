"""Plugins that tell credentials: a command of a kubeconfig, and its standard output.

Source: Kubernetes docs "client-go credential plugins"; client-go
plugin/pkg/client/auth/exec/exec.go (read at v0.36).
"""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import msgspec

from ipvsctl.kube.connect.files import MAX_BYTES, Unusable
from ipvsctl.kube.connect.kubeconfig import Entry, Exec

TIMEOUT_S: Final = 60.0
"""How long a plugin may take."""

EARLY: Final = timedelta(minutes=1)
"""So long before its answer expires a plugin is asked again: a request takes its time,
and clocks differ."""

CLUSTER_EXTENSION: Final = "client.authentication.k8s.io/exec"
"""Name of the extension of a cluster that is for its users' plugins."""

_GROUP: Final = "client.authentication.k8s.io"
_API_VERSIONS: Final = (f"{_GROUP}/v1", f"{_GROUP}/v1beta1")
_KIND: Final = "ExecCredential"
_SAID_MAX: Final = 1000
_END_S: Final = 1.0
"""How long to wait for the end of a process that was killed."""


class PluginAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Credentials; "", b"" and None for nothing.

    Attributes:
        certificate: PEM.
        key: of that certificate, PEM.
        expires: when they end.
    """

    token: str = ""
    certificate: bytes = b""
    key: bytes = b""
    expires: datetime | None = None


class _Status(msgspec.Struct, rename="camel"):
    """`status` of an ExecCredential."""

    token: str | None = None
    client_certificate_data: str | None = None
    client_key_data: str | None = None
    expiration_timestamp: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


class _Credential(msgspec.Struct, rename="camel"):
    """An ExecCredential."""

    api_version: str = ""
    kind: str = ""
    status: _Status | None = None


class _Output(asyncio.SubprocessProtocol):
    """Collects the output of a process, up to a limit.

    Args:
        ended: is done when nothing comes any more, or too much came.
        exited: is done when the process has.
    """

    def __init__(
        self, ended: asyncio.Future[None], exited: asyncio.Future[None]
    ) -> None:
        self.ended = ended
        self.exited = exited
        self.said, self.errors = bytearray(), bytearray()

    @property
    def is_too_much(self) -> bool:
        """The process said more than anybody reads."""
        return max(len(self.said), len(self.errors)) > MAX_BYTES

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Take what came; see `asyncio.SubprocessProtocol`."""
        collected = self.said if fd == 1 else self.errors
        if not self.is_too_much:
            collected += data
        if self.is_too_much and not self.ended.done():
            self.ended.set_result(None)

    def process_exited(self) -> None:
        """The process has ended."""
        if not self.exited.done():
            self.exited.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's name
        """The process has ended, and its output with it."""
        if not self.ended.done():
            self.ended.set_result(None)


class ExecPlugin:
    """Asks one plugin, and keeps its answer until it expires.

    Args:
        asked: the plugin, as the kubeconfig has it.
        entry: its place in the kubeconfig.
        cluster: told to the plugin about the cluster, if it wants to know.
        environ: the plugin's environment begins with it.
        now: the time, in UTC.
        timeout_s: how long the plugin may take.
    """

    def __init__(
        self,
        asked: Exec,
        entry: Entry,
        *,
        cluster: Mapping[str, object] | None = None,
        environ: Mapping[str, str] = os.environ,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._asked = asked
        self._entry = entry
        self._cluster = cluster
        self._environ = environ
        self._now = now
        self._timeout_s = timeout_s
        self._answer: PluginAnswer | None = None

    async def answer(self) -> PluginAnswer:
        """Credentials that have not expired.

        Raises:
            Unusable: there is no such plugin, or no credentials come of it.
        """
        if self._answer is None or self._is_over(self._answer):
            self._check()
            try:
                async with asyncio.timeout(self._timeout_s):
                    said = await self._run()
            except TimeoutError as error:
                reason = f"no credentials within {self._timeout_s:g} s"
                raise self._unusable(reason) from error
            self._answer = self._parse(said)
        return self._answer

    def _is_over(self, answer: PluginAnswer) -> bool:
        return answer.expires is not None and answer.expires - EARLY <= self._now()

    def _check(self) -> None:
        if not self._asked.command:
            raise self._entry.unusable("exec.command", "is missing")
        version = self._asked.api_version
        if version not in _API_VERSIONS:
            known = " or ".join(_API_VERSIONS)
            raise self._entry.unusable("exec.apiVersion", f"{version!r}: not {known}")
        if self._asked.interactive_mode == "Always" and not self._is_interactive:
            reason = "Always, and there is no terminal"
            raise self._entry.unusable("exec.interactiveMode", reason)

    @property
    def _is_interactive(self) -> bool:
        may_be = self._asked.interactive_mode != "Never"
        return may_be and sys.stdin is not None and sys.stdin.isatty()

    def _info(self) -> str:
        """The plugin's input: another ExecCredential."""
        spec: dict[str, object] = {"interactive": self._is_interactive}
        if self._cluster is not None:
            spec["cluster"] = self._cluster
        info = {"apiVersion": self._asked.api_version, "kind": _KIND, "spec": spec}
        # A plain `y` of YAML, in what others put there, is text.
        return json.dumps(info, default=str)

    async def _run(self) -> bytes:
        """The plugin's standard output."""
        command = self._asked.command
        if "/" in command:
            command = str(self._entry.beside(command))
        given = {variable.name: variable.value for variable in self._asked.env}
        loop = asyncio.get_running_loop()
        output = _Output(loop.create_future(), loop.create_future())
        try:
            process, _ = await loop.subprocess_exec(
                lambda: output,
                command,
                *self._asked.args,
                env={**self._environ, **given, "KUBERNETES_EXEC_INFO": self._info()},
                stdin=None if self._is_interactive else subprocess.DEVNULL,
            )
        except OSError as error:
            hint = f"; {self._asked.install_hint}" if self._asked.install_hint else ""
            reason = error.strerror or type(error).__name__
            raise self._unusable(f"{command}: {reason}{hint}") from error
        except ValueError as error:
            raise self._unusable(f"no command ({error})") from error
        try:
            await output.ended
        finally:
            # Kills it, if it is still there.
            process.close()
            await asyncio.wait([output.exited], timeout=_END_S)
        if output.is_too_much:
            raise self._unusable(f"said more than {MAX_BYTES // 2**20} MiB")
        status = process.get_returncode()
        if status:
            words = output.errors.decode(errors="replace").strip()[-_SAID_MAX:]
            raise self._unusable(f"{command} ended with status {status}. {words}")
        return bytes(output.said)

    def _parse(self, said: bytes) -> PluginAnswer:
        try:
            credential = msgspec.json.decode(said, type=_Credential)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self._unusable(f"said no {_KIND} ({error})") from error
        status = credential.status
        if credential.kind != _KIND or status is None:
            raise self._unusable(f"said no {_KIND} with a status")
        if credential.api_version != self._asked.api_version:
            reason = f"answered in {credential.api_version!r}"
            raise self._unusable(f"{reason}, asked in {self._asked.api_version}")
        certificate, key = status.client_certificate_data, status.client_key_data
        if bool(certificate) != bool(key):
            raise self._unusable("told a certificate without a key, or the reverse")
        if not certificate and not status.token:
            raise self._unusable("told neither a token nor a certificate")
        return PluginAnswer(
            token=status.token or "",
            certificate=(certificate or "").encode(),
            key=(key or "").encode(),
            expires=status.expiration_timestamp,
        )

    def _unusable(self, reason: str) -> Unusable:
        return self._entry.unusable("exec", reason)
