"""A connection as a value: the server, the user, and how each is trusted."""

from typing import Final

import msgspec

from ipvsctl.kube.connect.files import Unusable

_SCHEMES: Final = ("https://", "http://")


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """A server and a user of its, for a client; "" and b"" for nothing.

    Attributes:
        server: URL of the API server, without a slash at its end.
        proxy: URL of a proxy before it.
        tls_server_name: the name that the server's certificate is for, instead of the
            URL's.
        is_verified: whether the server's certificate is looked at.
        authority: certificates of the CAs that may have signed it, PEM; without, the
            host's own.
        certificate: the user's, PEM.
        key: of that certificate, PEM; without, it is in `certificate`.
        authorization: value of the header of that name.
    """

    server: str = ""
    proxy: str = ""
    tls_server_name: str = ""
    is_verified: bool = True
    authority: bytes = b""
    certificate: bytes = b""
    key: bytes = b""
    authorization: str = ""


def check_urls(connection: Connection) -> None:
    """Do nothing if requests can be sent there.

    Raises:
        Unusable: a URL is none, or of another protocol.
    """
    if not connection.server.startswith(_SCHEMES):
        raise Unusable(f"server: {connection.server!r}: not an https URL")
    if connection.proxy and not connection.proxy.startswith(_SCHEMES):
        raise Unusable(f"proxy-url: {connection.proxy!r}: not the URL of an HTTP proxy")


def bearer(text: str) -> str:
    """The header of a token.

    Raises:
        ValueError: the token has more than one line, or what no header can have.
    """
    token = text.strip()
    if not token or not token.isascii() or not token.isprintable():
        raise ValueError("is not a token")
    return f"Bearer {token}"
