"""The pod that this process may be in: its cluster's address, its token and its CA.

Source: client-go rest/config.go:InClusterConfig (read at v0.36).
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ipvsctl.kube.connect.connection import Connection, bearer
from ipvsctl.kube.connect.files import Unusable, read_small

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where the kubelet puts a pod's token and the cluster's CA certificate."""

_HOST: Final = "KUBERNETES_SERVICE_HOST"
_PORT: Final = "KUBERNETES_SERVICE_PORT"


def is_in_cluster(
    environ: Mapping[str, str] = os.environ, account: Path = SERVICE_ACCOUNT
) -> bool:
    """Whether this process runs in a pod that may talk to the API server."""
    return (
        bool(environ.get(_HOST))
        and bool(environ.get(_PORT))
        and (account / "token").is_file()
    )


def account_connection(environ: Mapping[str, str], account: Path) -> Connection:
    """The connection, with the content that files have now.

    Raises:
        Unusable: the environment does not say where the API server is, or a file
            cannot be used.
    """
    host, port = environ.get(_HOST), environ.get(_PORT)
    if not host or not port:
        raise Unusable(f"Service host and port ({_HOST}, {_PORT}) are not set")
    token = account / "token"
    try:
        authorization = bearer(_read("token", token).decode(errors="replace"))
    except ValueError as error:
        raise Unusable(f"Service token file {token}: {error}") from error
    bracketed = f"[{host}]" if ":" in host or "%" in host else host
    return Connection(
        server=f"https://{bracketed}:{port}",
        authority=_read("CA", account / "ca.crt"),
        authorization=authorization,
    )


def _read(what: str, file: Path) -> bytes:
    try:
        return read_small(file)
    except Unusable as error:
        raise Unusable(f"Service {what} file {file}: {error.reason}") from error
