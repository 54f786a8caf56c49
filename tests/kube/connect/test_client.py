"""`connect.client`: TLS with and without trust, and the keys that are none."""

from pathlib import Path

import pytest
import trustme

from ipvsctl.kube.connect.access import Access, Address
from ipvsctl.kube.connect.client import Client
from ipvsctl.kube.connect.connection import Connection, check_urls
from ipvsctl.kube.connect.files import Unusable
from ipvsctl.kube.transport import Api
from ipvsctl.model.errors import ApiError
from tests.fakes.apiserver import FakeApiServer
from tests.kube.connect.test_credentials import change_cluster

LEAF = trustme.CA().issue_cert("node")
CERTIFICATE = LEAF.cert_chain_pems[0].bytes()
KEY = LEAF.private_key_pem.bytes()
ENCRYPTED = KEY.replace(b"BEGIN EC", b"BEGIN ENCRYPTED")


async def ask(kubeconfig: Path) -> None:
    """Ask for all Services."""
    api = Api(Access(Address(kubeconfig=str(kubeconfig))))
    async with api.request("GET", "/api/v1/services") as answer:
        await answer.read()


async def test_another_name(server: FakeApiServer, kubeconfig: Path) -> None:
    """`tls-server-name` is what the certificate has to be for."""
    change_cluster(kubeconfig, **{"tls-server-name": "localhost"})
    await ask(kubeconfig)
    change_cluster(kubeconfig, **{"tls-server-name": "elsewhere.example"})
    with pytest.raises(ApiError, match="certificate"):
        await ask(kubeconfig)
    assert len(server.requests) == 1


async def test_without_trust(server: FakeApiServer, kubeconfig: Path) -> None:
    """`insecure-skip-tls-verify` talks to whoever answers; else a CA is needed."""
    change_cluster(kubeconfig, **{"certificate-authority-data": None})
    with pytest.raises(ApiError, match="certificate"):
        await ask(kubeconfig)
    assert not server.requests
    change_cluster(kubeconfig, **{"insecure-skip-tls-verify": True})
    await ask(kubeconfig)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"authority": b"CA"}, "certificate-authority: no certificate in PEM"),
        ({"certificate": b"C", "key": KEY}, "client-certificate and client-key: no"),
        ({"certificate": CERTIFICATE}, "client-certificate and client-key: no"),
        (
            {"certificate": CERTIFICATE, "key": ENCRYPTED},
            "client-key: is encrypted, and nobody is there to decrypt it",
        ),
    ],
)
async def test_pem_that_is_none(fields: dict[str, bytes], said: str) -> None:
    """The field is named, and no terminal is asked for a password."""
    with pytest.raises(Unusable) as caught:
        Client(Connection(server="https://one", **fields))  # type: ignore[arg-type]  # only these
    assert caught.value.reason.startswith(said)


async def test_certificate_and_key_in_one() -> None:
    """A certificate's key may be in its file, as the kubelet has it; HTTP has none."""
    both = Connection(server="https://one", certificate=CERTIFICATE + KEY)
    plain = Connection(server="http://one", certificate=b"C")
    for connection in (both, plain):
        await Client(connection).close()


@pytest.mark.parametrize(
    ("server", "proxy", "said"),
    [
        ("", "", "server: '': not an https URL"),
        ("ftp://one", "", "server: 'ftp://one': not an https URL"),
        (
            "https://one",
            "socks5://p",
            "proxy-url: 'socks5://p': not the URL of an HTTP",
        ),
    ],
)
def test_urls(server: str, proxy: str, said: str) -> None:
    """Other protocols are refused before anything is sent."""
    with pytest.raises(Unusable) as caught:
        check_urls(Connection(server=server, proxy=proxy))
    assert caught.value.reason.startswith(said)
