"""Where the API server is, and with which credentials it is asked.

Files are read whenever a client is made, and a client is made for every list and every
watch: a token or a certificate that is replaced on disk is used within minutes.
"""

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ipvsctl import __version__
from ipvsctl.kube.library import library
from ipvsctl.model.errors import ConfigError, IpvsctlError

if TYPE_CHECKING:
    from kubernetes_asyncio.client.api_client import ApiClient

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where the kubelet puts a pod's token and the cluster's CA certificate."""

PLUGIN_TIMEOUT_S: Final = 60.0
"""How long a plugin may take to tell its credentials."""

USER_AGENT: Final = f"ipvsctl/{__version__}"

_MAX_BYTES: Final = 2**20
"""The largest kubeconfig; one with certificates in it has some kilobytes."""

_HOST: Final = "KUBERNETES_SERVICE_HOST"
_PORT: Final = "KUBERNETES_SERVICE_PORT"


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """What was said about where the server is; "" for nothing.

    Attributes:
        kubeconfig: path of a kubeconfig.
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


def is_in_cluster(
    environ: Mapping[str, str] = os.environ, account: Path = SERVICE_ACCOUNT
) -> bool:
    """Whether this process runs in a pod that may talk to the API server."""
    return (
        bool(environ.get(_HOST))
        and bool(environ.get(_PORT))
        and (account / "token").is_file()
    )


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
        self._loading = asyncio.Lock()
        self._loader: Any = None
        self._loaded: tuple[int, int, int] | None = None

    def distrust(self) -> None:
        """The server did not take the credentials: ask for others, even if they last.

        Token and certificate files are read anew in any case; this is about what a
        plugin said.
        """
        self._loader = None

    async def client(self) -> "ApiClient":
        """A client with what the files say now. The caller closes it.

        Raises:
            ConfigError: a file is missing or cannot be understood, or a plugin failed.
        """
        async with self._readable():
            configuration = await self._configuration()
            token = configuration.api_key.get("BearerToken")
            if token:
                configuration.api_key["BearerToken"] = token.strip()
            # Go, too, takes certificates of CAs that lack an optional extension.
            configuration.disable_strict_ssl_verification = True
            client: ApiClient = library().ApiClient(configuration)
        client.user_agent = USER_AGENT
        return client

    async def urls(self) -> tuple[str, ...]:
        """Where such a client sends its requests: the server, and a proxy before it.

        Raises:
            ConfigError: as `client`.
        """
        async with self._readable():
            configuration = await self._configuration()
            return tuple(filter(None, (configuration.host, configuration.proxy)))

    @asynccontextmanager
    async def _readable(self) -> AsyncIterator[None]:
        try:
            yield
        except (IpvsctlError, asyncio.CancelledError):
            raise
        except Exception as error:
            # A kubeconfig is anything a file can hold, and its reader checks little.
            raise self._config_error(error) from error

    async def _configuration(self) -> Any:  # noqa: ANN401  # made of a lazy import
        configuration = library().Configuration()
        async with self._loading, asyncio.timeout(PLUGIN_TIMEOUT_S):
            await self._load(configuration)
        if self.address.master:
            configuration.host = self.address.master.rstrip("/")
        _check_url(configuration.host or "")
        return configuration

    async def _load(self, configuration: Any) -> None:  # noqa: ANN401  # made of a lazy import
        if self.address.kubeconfig:
            await self._load_kubeconfig(configuration)
        elif not self.address.master or (
            # The address of the cluster is a VIP that only a proxy makes reachable, so
            # a pod that is the proxy has to be told another one.
            self.address.master.startswith("https://")
            and is_in_cluster(self._environ, self._account)
        ):
            self._load_account(configuration)

    async def _load_kubeconfig(self, configuration: Any) -> None:  # noqa: ANN401  # see `_load`
        path = self.address.kubeconfig
        status = os.stat(path)  # noqa: PTH116  # four numbers of it
        _check_file(status)
        fingerprint = status.st_ino, status.st_mtime_ns, status.st_size
        if self._loader is None or self._loaded != fingerprint:
            # What a plugin said is kept by the loader until it expires.
            self._loader = await library().load_kube_config(
                config_file=path,
                client_configuration=configuration,
                persist_config=False,
            )
            self._loaded = fingerprint
        else:
            await self._loader.load_and_set(configuration)

    def _load_account(self, configuration: Any) -> None:  # noqa: ANN401  # see `_load`
        library().load_incluster_config(
            client_configuration=configuration,
            try_refresh_token=False,
            environ=dict(self._environ),
            token_filename=str(self._account / "token"),
            cert_filename=str(self._account / "ca.crt"),
        )

    def _config_error(self, error: Exception) -> ConfigError:
        reason = str(error) or type(error).__name__
        if isinstance(error, TimeoutError):
            reason = f"no credentials within {PLUGIN_TIMEOUT_S:g} s"
        elif isinstance(error, OSError) and error.strerror:
            named = f"{error.filename}: " if error.filename else ""
            reason = f"{named}{error.strerror}"
        if self.address:
            field = "kubeconfig" if self.address.kubeconfig else "--master"
            value = self.address.kubeconfig or self.address.master
            return ConfigError(field=field, value=value, reason=reason)
        return ConfigError(
            field=str(self._account),
            value=None,
            reason=f"{reason.rstrip('.')}, and neither --kubeconfig nor --master is"
            " given",
        )


def _check_file(status: os.stat_result) -> None:
    """A FIFO or a device would never end, nor would a large file soon.

    Raises:
        ValueError: with the reason.
    """
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("is not a file")
    if status.st_size > _MAX_BYTES:
        raise ValueError(f"is larger than {_MAX_BYTES // 2**20} MiB")
    if not status.st_size:
        # So are files of /proc that never end.
        raise ValueError("is empty")


def _check_url(url: str) -> None:
    if not url.startswith(("https://", "http://")):
        raise ConfigError(field="server", value=url, reason="not an https URL")
