"""`connect.service_account`: what a pod knows about its cluster."""

from pathlib import Path

import pytest

from ipvsctl.kube.connect.connection import Connection
from ipvsctl.kube.connect.files import Unusable
from ipvsctl.kube.connect.service_account import account_connection


@pytest.fixture
def account(tmp_path: Path) -> Path:
    """The directory of a service account."""
    (tmp_path / "token").write_text("secret\n")
    (tmp_path / "ca.crt").write_text("CA")
    return tmp_path


def environ(host: str, port: str = "443") -> dict[str, str]:
    """A pod's environment."""
    return {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}


@pytest.mark.parametrize(
    ("host", "server"),
    [
        ("10.96.0.1", "https://10.96.0.1:443"),
        ("fd00:10:96::1", "https://[fd00:10:96::1]:443"),
        ("fe80::1%eth0", "https://[fe80::1%eth0]:443"),
        ("api.example", "https://api.example:443"),
    ],
)
def test_what_a_pod_knows(account: Path, host: str, server: str) -> None:
    """The address is in the environment, an IPv6 one without its brackets."""
    assert account_connection(environ(host), account) == Connection(
        server=server, authority=b"CA", authorization="Bearer secret"
    )


def test_a_new_token(account: Path) -> None:
    """A token that is replaced is the next one used: its file is a link that moves."""
    (account / "new").write_text("fresh")
    (account / "token").unlink()
    (account / "token").symlink_to("new")
    found = account_connection(environ("10.96.0.1"), account)
    assert found.authorization == "Bearer fresh"


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("token", None, "Service token file {}: No such file or directory"),
        ("token", b"", "Service token file {}: is empty"),
        ("token", b" \n", "Service token file {}: is not a token"),
        ("token", b"two\nlines", "Service token file {}: is not a token"),
        ("token", b"\xff", "Service token file {}: is not a token"),
        ("token", b"a" * (2**20 + 1), "Service token file {}: is larger than 1 MiB"),
        ("ca.crt", None, "Service CA file {}: No such file or directory"),
        ("ca.crt", b"", "Service CA file {}: is empty"),
    ],
)
def test_files(account: Path, file: str, content: bytes | None, said: str) -> None:
    """A file that is missing or no such thing is named."""
    path = account / file
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Unusable) as caught:
        account_connection(environ("10.96.0.1"), account)
    assert caught.value.reason == said.format(path)


@pytest.mark.parametrize(("host", "port"), [("", "443"), ("10.96.0.1", "")])
def test_no_address(account: Path, host: str, port: str) -> None:
    """Without host or port, the variables are named."""
    with pytest.raises(Unusable, match="KUBERNETES_SERVICE_HOST, KUBERNETES_SERVICE"):
        account_connection(environ(host, port), account)
