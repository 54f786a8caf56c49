"""Certificates of a throwaway authority, and the kubeconfig that trusts it."""

import base64
import json
import ssl
from pathlib import Path

import trustme


class Authority:
    """Signs the server's certificate and those of clients.

    Attributes:
        ca_pem: what clients have to trust.
    """

    def __init__(self, address: str = "127.0.0.1") -> None:
        """Sign for a server at this address."""
        self._address = address
        self._ca = trustme.CA()
        self.ca_pem = self._ca.cert_pem.bytes()

    def server_context(self) -> ssl.SSLContext:
        """TLS for the address and localhost; clients may show a certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._ca.issue_cert(self._address, "localhost").configure_cert(context)
        context.load_verify_locations(cadata=self.ca_pem.decode())
        context.verify_mode = ssl.CERT_OPTIONAL
        return context

    def client_context(self) -> ssl.SSLContext:
        """TLS that trusts the server."""
        return ssl.create_default_context(cadata=self.ca_pem.decode())

    def client_pem(self, user: str) -> tuple[bytes, bytes]:
        """Certificate and key of a user."""
        leaf = self._ca.issue_cert(common_name=user)
        chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
        return chain, leaf.private_key_pem.bytes()


def write_kubeconfig(
    path: Path,
    url: str,
    ca_pem: bytes,
    *,
    token: str | None = None,
    client_pem: tuple[bytes, bytes] | None = None,
) -> Path:
    """Write a kubeconfig of one context; JSON, which is YAML too.

    Args:
        path: the file to write.
        url: of the server.
        ca_pem: whom to trust.
        token: what to show, if any.
        client_pem: certificate and key to show, if any.
    """
    user: dict[str, str] = {}
    if token is not None:
        user["token"] = token
    if client_pem is not None:
        certificate, key = map(_encoded, client_pem)
        user |= {"client-certificate-data": certificate, "client-key-data": key}
    name = "fake"
    cluster = {"server": url, "certificate-authority-data": _encoded(ca_pem)}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    path.write_text(json.dumps(config, indent=2))
    path.chmod(0o600)
    return path


def _encoded(pem: bytes) -> str:
    return base64.b64encode(pem).decode()
