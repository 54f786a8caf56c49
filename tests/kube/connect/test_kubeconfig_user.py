"""`connect.user`: users and clusters of kubeconfigs as connections."""

import base64
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from ipvsctl.kube.connect.connection import Connection
from ipvsctl.kube.connect.files import Unusable
from ipvsctl.kube.connect.user import KubeconfigUser

SERVER = "https://one:6443"


def write(path: Path, *, cluster: dict[str, Any], user: dict[str, Any]) -> Path:
    """A kubeconfig of one context."""
    path.parent.mkdir(exist_ok=True)
    config = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": SERVER, **cluster}}],
        "users": [{"name": "u", "user": user}],
    }
    path.write_text(json.dumps(config))
    return path


async def connection(*paths: Path) -> Connection:
    """What a client needs to know."""
    given = ":".join(map(str, paths))
    return await KubeconfigUser(given, {"PATH": "/usr/bin:/bin"}).connection()


def encoded(content: bytes) -> str:
    """As `-data` fields have it."""
    return base64.b64encode(content).decode()


@pytest.mark.parametrize(
    ("cluster", "user", "expected"),
    [
        ({}, {}, {}),
        ({"server": f"{SERVER}/path/"}, {}, {"server": f"{SERVER}/path"}),
        ({"insecure-skip-tls-verify": True}, {}, {"is_verified": False}),
        ({"insecure-skip-tls-verify": False}, {}, {}),
        ({"tls-server-name": "n"}, {}, {"tls_server_name": "n"}),
        ({"proxy-url": "http://p:1"}, {}, {"proxy": "http://p:1"}),
        ({"certificate-authority": "file"}, {}, {"authority": b"of file"}),
        ({"certificate-authority-data": encoded(b"CA")}, {}, {"authority": b"CA"}),
        (
            {
                "certificate-authority": "none",
                "certificate-authority-data": encoded(b"CA"),
            },
            {},
            {"authority": b"CA"},
        ),
        (
            {},
            {"client-certificate": "file", "client-key-data": encoded(b"KEY")},
            {"certificate": b"of file", "key": b"KEY"},
        ),
        ({}, {"token": "t\n"}, {"authorization": "Bearer t"}),
        ({}, {"tokenFile": "file"}, {"authorization": "Bearer of file"}),
        ({}, {"tokenFile": "file", "token": "t"}, {"authorization": "Bearer of file"}),
        (
            {},
            {"username": "me", "password": "it"},
            {"authorization": f"Basic {encoded(b'me:it')}"},
        ),
        ({}, {"token": "t", "username": "me"}, {"authorization": "Bearer t"}),
    ],
)
async def test_fields(
    tmp_path: Path,
    cluster: dict[str, Any],
    user: dict[str, Any],
    expected: dict[str, Any],
) -> None:
    """Each field has its effect; data beats a file, and a token file a token."""
    (tmp_path / "file").write_text("of file")
    path = write(tmp_path / "k", cluster=cluster, user=user)
    assert await connection(path) == Connection(**{"server": SERVER, **expected})


async def test_a_plugin(tmp_path: Path) -> None:
    """A plugin's answer beats the user's own, and it is told the cluster if it asks."""
    script = (
        "import json, os; info = json.loads(os.environ['KUBERNETES_EXEC_INFO']);"
        "print(json.dumps({**info, 'status': {'token': info['spec']['cluster']"
        "['server'] + info['spec']['cluster']['certificate-authority-data']"
        " + info['spec']['cluster']['config']['audience']}}))"
    )
    cluster = {
        "certificate-authority-data": encoded(b"CA"),
        "extensions": [
            {
                "name": "client.authentication.k8s.io/exec",
                "extension": {"audience": "x"},
            }
        ],
    }
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": sys.executable,
        "args": ["-c", script],
        "provideClusterInfo": True,
    }
    path = write(tmp_path / "k", cluster=cluster, user={"exec": plugin, "token": "t"})
    found = await connection(path)
    assert found.authorization == f"Bearer {SERVER}{encoded(b'CA')}x"


@pytest.mark.parametrize(
    ("cluster", "user", "said"),
    [
        (
            {"certificate-authority": "none.pem"},
            {},
            "clusters[c].cluster.certificate-authority: {}/none.pem: No such file",
        ),
        (
            {"certificate-authority-data": "&"},
            {},
            "clusters[c].cluster.certificate-authority-data: is not base64",
        ),
        (
            {"certificate-authority": "\0"},
            {},
            "certificate-authority: {}/\0: is not a path",
        ),
        ({}, {"client-key": "/"}, "users[u].user.client-key: /: is not a file"),
        ({}, {"tokenFile": "empty"}, "users[u].user.tokenFile: {}/empty: is empty"),
        ({}, {"token": "a\nb"}, "users[u].user.token: is not a token"),
        (
            {},
            {"auth-provider": {"name": "gcp", "config": {}}},
            "users[u].user.auth-provider: 'gcp': Kubernetes has no such thing any more",
        ),
    ],
)
async def test_errors_name_field_and_file(
    tmp_path: Path, cluster: dict[str, Any], user: dict[str, Any], said: str
) -> None:
    """What cannot be used is said with its entry, and the kubeconfig that has it."""
    (tmp_path / "empty").touch()
    path = write(tmp_path / "k", cluster=cluster, user=user)
    with pytest.raises(Unusable) as caught:
        await connection(path)
    assert said.format(tmp_path) in caught.value.reason
    assert caught.value.file == str(path)


async def test_several_files(tmp_path: Path) -> None:
    """Of several kubeconfigs, one that is not there is no error; one that is bad is."""
    first = write(tmp_path / "a" / "k", cluster={}, user={"tokenFile": "token"})
    second = write(tmp_path / "b" / "k", cluster={}, user={"token": "second"})
    (first.parent / "token").write_text("first")
    missing = tmp_path / "missing"
    found = await connection(missing, first, second)
    assert found.authorization == "Bearer first"
    with pytest.raises(Unusable, match="No such file"):
        await connection(missing)
    second.write_text("[]")
    with pytest.raises(Unusable) as caught:
        await connection(first, second)
    assert caught.value.file == str(second)


async def test_a_kubeconfig_that_changes(tmp_path: Path) -> None:
    """What it says now is what counts."""
    path = write(tmp_path / "k", cluster={}, user={"token": "old"})
    user = KubeconfigUser(str(path), {})
    assert (await user.connection()).authorization == "Bearer old"
    write(path, cluster={}, user={"token": "new"})
    assert (await user.connection()).authorization == "Bearer new"
