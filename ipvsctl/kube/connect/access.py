"""Where the API server is, and with which credentials it is asked.

Files are read whenever a client is made, and a client is made for every list and every
watch: a token or a certificate that is replaced on disk is used within minutes.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from ipvsctl.kube.connect.client import Client
from ipvsctl.kube.connect.connection import Connection, check_urls
from ipvsctl.kube.connect.files import Unusable
from ipvsctl.kube.connect.service_account import (
    SERVICE_ACCOUNT,
    account_connection,
    is_in_cluster,
)
from ipvsctl.kube.connect.user import KubeconfigUser
from ipvsctl.model.errors import ConfigError


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """The server that was asked for; "" for nothing.

    Attributes:
        kubeconfig: path of a kubeconfig, or of several that are taken as one, with a
            colon between two, as in the variable KUBECONFIG of `kubectl`.
        master: URL of the server, instead of the kubeconfig's.
    """

    kubeconfig: str = ""
    master: str = ""

    def __bool__(self) -> bool:
        return bool(self.kubeconfig or self.master)

    def __str__(self) -> str:
        if not self:
            return "the cluster of this pod"
        return " of ".join(filter(None, (self.master, self.kubeconfig)))


class Access:
    """Makes clients; with neither kubeconfig nor master, for the cluster it runs in.

    In a pod, a master without a kubeconfig is asked as the pod's service account;
    kube-proxy asks it as nobody.
    Source: kube-proxy cmd/kube-proxy/app/server.go:createClient.
    """

    def __init__(
        self,
        address: Address,
        *,
        environ: Mapping[str, str] = os.environ,
        account: Path = SERVICE_ACCOUNT,
    ) -> None:
        self.address = address
        self._environ = environ
        self._account = account
        self._user = KubeconfigUser(address.kubeconfig, environ)

    def distrust(self) -> None:
        """The server did not take the credentials: ask for others, even if they last.

        Token and certificate files are read anew in any case; this is about the answer
        of a plugin.
        """
        self._user.distrust()

    async def client(self) -> Client:
        """A client with the credentials that files have now. The caller closes it.

        Raises:
            ConfigError: a file is missing or cannot be understood, or a plugin failed.
        """
        connection = await self._connection()
        with self._reported():
            return Client(connection)

    async def urls(self) -> tuple[str, ...]:
        """Where such a client sends its requests: the server, and a proxy before it.

        Raises:
            ConfigError: as `client`.
        """
        connection = await self._connection()
        return tuple(filter(None, (connection.server, connection.proxy)))

    async def _connection(self) -> Connection:
        with self._reported():
            connection = Connection()
            if self.address.kubeconfig:
                connection = await self._user.connection()
            elif not self.address.master or (
                # The address of the cluster is a VIP that only a proxy makes reachable,
                # so a pod that is the proxy has to be told another one.
                self.address.master.startswith("https://")
                and is_in_cluster(self._environ, self._account)
            ):
                connection = account_connection(self._environ, self._account)
            if self.address.master:
                server = self.address.master.rstrip("/")
                connection = msgspec.structs.replace(connection, server=server)
            check_urls(connection)
            return connection

    @contextmanager
    def _reported(self) -> Iterator[None]:
        """Have the error say where unusable credentials were looked for."""
        try:
            yield
        except Unusable as error:
            raise self._config_error(error) from error

    def _config_error(self, error: Unusable) -> ConfigError:
        if self.address:
            field = "kubeconfig" if self.address.kubeconfig else "--master"
            value = error.file or self.address.kubeconfig or self.address.master
            return ConfigError(field=field, value=value, reason=error.reason)
        return ConfigError(
            field=str(self._account),
            value=None,
            reason=f"{error.reason}, and neither --kubeconfig nor --master is given",
        )
