"""The user that kubeconfigs make of this process, asked again and again.

Kubeconfigs and the files they name are read for every client; the answer of a plugin is
kept until it expires or is distrusted.
"""

import asyncio
import base64
import os
from collections.abc import Mapping
from pathlib import Path

from ipvsctl.kube.connect.connection import Connection
from ipvsctl.kube.connect.entries import authority, connection_of
from ipvsctl.kube.connect.exec_plugin import CLUSTER_EXTENSION, ExecPlugin, PluginAnswer
from ipvsctl.kube.connect.files import Unusable, read_small
from ipvsctl.kube.connect.kubeconfig import Chosen, choose, parse_kubeconfig


class KubeconfigUser:
    """The cluster and the user of the current context.

    Args:
        paths: of kubeconfigs, with a colon between two. Of several, those that are not
            there say nothing, as for `kubectl`; a single one is to be there.
        environ: a plugin's environment begins with it.
    """

    def __init__(self, paths: str, environ: Mapping[str, str]) -> None:
        self._files = [Path(path) for path in paths.split(os.pathsep) if path]
        self._environ = environ
        self._read: tuple[bytes | None, ...] = ()
        self._chosen: Chosen | None = None
        self._plugin: ExecPlugin | None = None
        self._asked_for: Chosen | None = None
        self._asking = asyncio.Lock()

    def distrust(self) -> None:
        """Forget the plugin's answer."""
        self._plugin = None

    async def connection(self) -> Connection:
        """The connection, with the content that files have now.

        Raises:
            Unusable: a file cannot be used, or a plugin told nothing.
        """
        chosen = self._choose()
        provider = chosen.user.auth_provider
        if provider is not None:
            reason = (
                f"{provider.name!r}: Kubernetes has no such thing any more; use exec"
            )
            raise chosen.user_entry.unusable("auth-provider", reason)
        return connection_of(chosen, await self._ask(chosen))

    def _choose(self) -> Chosen:
        """Cluster and user; kubeconfigs are parsed only if one of them has changed."""
        read = tuple(self._content(file) for file in self._files)
        if self._chosen is None or read != self._read:
            pairs = zip(self._files, read, strict=True)
            self._chosen = choose(
                [(f, parse_kubeconfig(f, raw)) for f, raw in pairs if raw]
            )
            self._read = read
        return self._chosen

    def _content(self, file: Path) -> bytes | None:
        """The bytes of a kubeconfig; None if it is one of several and not there."""
        if len(self._files) > 1 and not file.exists():
            return None
        try:
            return read_small(file)
        except Unusable as error:
            raise Unusable(error.reason, file=str(file)) from error

    async def _ask(self, chosen: Chosen) -> PluginAnswer | None:
        asked = chosen.user.exec
        if asked is None:
            return None
        async with self._asking:
            if self._plugin is None or self._asked_for != chosen:
                self._asked_for = chosen
                self._plugin = ExecPlugin(
                    asked,
                    chosen.user_entry,
                    cluster=_told(chosen) if asked.provide_cluster_info else None,
                    environ=self._environ,
                )
            return await self._plugin.answer()


def _told(chosen: Chosen) -> Mapping[str, object]:
    """The cluster as a plugin is told about it, by the names of the plugins' API."""
    cluster = chosen.cluster
    extensions = {entry.name: entry.extension for entry in cluster.extensions}
    ca = base64.b64encode(authority(cluster, chosen.cluster_entry)).decode()
    told: Mapping[str, object] = {
        "server": cluster.server,
        "tls-server-name": cluster.tls_server_name,
        "insecure-skip-tls-verify": cluster.insecure_skip_tls_verify,
        "certificate-authority-data": ca,
        "proxy-url": cluster.proxy_url,
        "config": extensions.get(CLUSTER_EXTENSION),
    }
    return {name: value for name, value in told.items() if value}
