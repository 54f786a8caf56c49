"""A client of one API server.

kubernetes-asyncio opens the connection. It wants certificates and keys as files; they
are given to it as files in memory, so that no key is written to a disk.
"""

import os
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final

import aiohttp
import msgspec

from ipvsctl import __version__
from ipvsctl.kube.connect.connection import Connection
from ipvsctl.kube.connect.files import Unusable
from ipvsctl.kube.connect.library import rest_client_class

USER_AGENT: Final = f"ipvsctl/{__version__}"

_MFD_NOEXEC_SEAL: Final = 0x0008
"""linux/memfd.h, since Linux 6.3, which can be told to refuse files without it."""

_ENCRYPTED: Final = (b"BEGIN ENCRYPTED PRIVATE KEY", b"Proc-Type: 4,ENCRYPTED")


class _Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that `RESTClientObject` reads, by the names it has for them."""

    ssl_ca_cert: str | None
    cert_file: str | None
    key_file: str | None
    verify_ssl: bool
    tls_server_name: str | None
    proxy: str | None
    proxy_headers: None = None
    connection_pool_maxsize: int = 100
    # Go, too, takes certificates of CAs that lack an optional extension.
    disable_strict_ssl_verification: bool = True


class Client:
    """Sends requests; whoever made it closes it.

    Raises:
        Unusable: a certificate or a key is none.
    """

    def __init__(self, connection: Connection) -> None:
        self._server = connection.server
        self._headers = {"User-Agent": USER_AGENT}
        if connection.authorization:
            self._headers["Authorization"] = connection.authorization
        self._rest = _rest_client(connection)

    def url(self, path: str) -> str:
        """Where a path of the API is."""
        return f"{self._server}{path}"

    def trace(self, trace: aiohttp.TraceConfig) -> None:
        """Tell `trace`, which is frozen, of every request."""
        self._rest.pool_manager.trace_configs.append(trace)

    async def send(
        self,
        method: str,
        path: str,
        query: Sequence[tuple[str, str]],
        *,
        body: Mapping[str, object] | None,
        accept: str,
        patience: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        """Send a request; errors are aiohttp's."""
        response: aiohttp.ClientResponse = await self._rest.request(
            method,
            self.url(path),
            query_params=list(query),
            headers={**self._headers, "Accept": accept},
            body=body,
            _preload_content=False,
            _request_timeout=patience,
        )
        return response

    async def close(self) -> None:
        """Close its connections; a second time does nothing."""
        await self._rest.close()


def _rest_client(connection: Connection) -> Any:  # noqa: ANN401  # see `library`
    pem = connection.key or connection.certificate
    if any(mark in pem for mark in _ENCRYPTED):
        # OpenSSL would ask the terminal for the password.
        raise Unusable("client-key: is encrypted, and nobody is there to decrypt it")
    try:
        with ExitStack() as files:
            return rest_client_class()(_configuration(connection, files))
    except ssl.SSLError as error:
        raise _pem_error(connection, error) from error
    except OSError as error:
        # No more files may be open, say.
        reason = error.strerror or type(error).__name__
        raise Unusable(f"certificates cannot be loaded: {reason}") from error


def _configuration(connection: Connection, files: ExitStack) -> _Configuration:
    """Settings that hold while `files` is open; without TLS, no certificates."""
    is_secure = connection.server.startswith("https://")

    def path(content: bytes) -> str | None:
        if not content or not is_secure:
            return None
        return files.enter_context(_in_memory(content))

    return _Configuration(
        ssl_ca_cert=path(connection.authority),
        cert_file=path(connection.certificate),
        key_file=path(connection.key),
        verify_ssl=connection.is_verified,
        tls_server_name=connection.tls_server_name or None,
        proxy=connection.proxy or None,
    )


def _pem_error(connection: Connection, error: ssl.SSLError) -> Unusable:
    """The error with the file it is about, which the library's does not name."""
    try:
        ssl.create_default_context(cadata=connection.authority.decode("latin-1"))
    except ssl.SSLError:
        return Unusable("certificate-authority: no certificate in PEM")
    reason = error.reason or str(error)
    return Unusable(f"client-certificate and client-key: no such pair ({reason})")


@contextmanager
def _in_memory(content: bytes) -> Iterator[str]:
    """The path of a file with this content, while the context lasts."""
    try:
        descriptor = os.memfd_create("ipvsctl", os.MFD_CLOEXEC | _MFD_NOEXEC_SEAL)
    except OSError:
        descriptor = os.memfd_create("ipvsctl", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        yield f"/proc/self/fd/{descriptor}"
