"""A cluster and a user of a kubeconfig to a connection.

Data in the kubeconfig beats the path of a file, as for `kubectl`.
"""

import base64
import binascii

from ipvsctl.kube.connect.connection import Connection, bearer
from ipvsctl.kube.connect.exec_plugin import PluginAnswer
from ipvsctl.kube.connect.files import Unusable, read_small
from ipvsctl.kube.connect.kubeconfig import Chosen, Cluster, Entry, User


def connection_of(chosen: Chosen, answer: PluginAnswer | None) -> Connection:
    """The connection, with the content that files have now.

    Args:
        chosen: a cluster and a user.
        answer: of the user's plugin; None if the user has none.

    Raises:
        Unusable: a file cannot be read, or a value cannot be used.
    """
    cluster, user = chosen.cluster, chosen.user
    answer = answer or PluginAnswer()
    certificate, key = answer.certificate, answer.key
    if not certificate:
        certificate = pem(
            chosen.user_entry,
            "client-certificate",
            user.client_certificate_data,
            user.client_certificate,
        )
        key = pem(
            chosen.user_entry, "client-key", user.client_key_data, user.client_key
        )
    return Connection(
        server=cluster.server.rstrip("/"),
        proxy=cluster.proxy_url,
        tls_server_name=cluster.tls_server_name,
        is_verified=not cluster.insecure_skip_tls_verify,
        authority=authority(cluster, chosen.cluster_entry),
        certificate=certificate,
        key=key,
        authorization=_authorization(user, chosen.user_entry, answer),
    )


def authority(cluster: Cluster, entry: Entry) -> bytes:
    """Certificates of the CAs, PEM; b"" without.

    Raises:
        Unusable: as `connection_of`.
    """
    return pem(
        entry,
        "certificate-authority",
        cluster.certificate_authority_data,
        cluster.certificate_authority,
    )


def pem(entry: Entry, name: str, data: str, path: str) -> bytes:
    """PEM out of the kubeconfig, in base64, or else out of a file; b"" with neither.

    Raises:
        Unusable: as `connection_of`.
    """
    if data:
        try:
            return base64.b64decode("".join(data.split()), validate=True)
        except (binascii.Error, ValueError) as error:
            raise entry.unusable(f"{name}-data", "is not base64") from error
    return _file(entry, name, path) if path else b""


def _authorization(user: User, entry: Entry, answer: PluginAnswer) -> str:
    name = "token"
    text = user.token
    if answer.token:
        name, text = "exec", answer.token
    elif user.token_file:
        # It is read anew, and what is read is newer than the token beside it.
        name = "tokenFile"
        text = _file(entry, name, user.token_file).decode(errors="replace")
    if text:
        try:
            return bearer(text)
        except ValueError as error:
            raise entry.unusable(name, str(error)) from error
    if user.username and user.password:
        basic = f"{user.username}:{user.password}".encode()
        return f"Basic {base64.b64encode(basic).decode()}"
    return ""


def _file(entry: Entry, name: str, path: str) -> bytes:
    file = entry.beside(path)
    try:
        return read_small(file)
    except Unusable as error:
        raise entry.unusable(name, f"{file}: {error.reason}") from error
