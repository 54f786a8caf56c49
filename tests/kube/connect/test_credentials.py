"""`connect.access`: which server, and with which credentials."""

import errno
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from ipvsctl.kube.connect.access import Access, Address
from ipvsctl.kube.connect.service_account import is_in_cluster
from ipvsctl.kube.transport import Api
from ipvsctl.model.errors import ApiError, ConfigError
from tests.fakes.apiserver import FakeApiServer


async def ask(access: Access) -> None:
    """Ask for all Services."""
    async with Api(access).request("GET", "/api/v1/services") as answer:
        await answer.read()


def of(kubeconfig: Path, master: str = "") -> Access:
    """Access by kubeconfig."""
    return Access(Address(kubeconfig=str(kubeconfig), master=master))


def change_user(kubeconfig: Path, **user: Any) -> None:
    """Give the kubeconfig's user other credentials."""
    config = json.loads(kubeconfig.read_text())
    config["users"][0]["user"] = user
    kubeconfig.write_text(json.dumps(config))


def change_cluster(kubeconfig: Path, **fields: str | bool | None) -> None:
    """Give the kubeconfig's cluster other fields; None takes one out."""
    config = json.loads(kubeconfig.read_text())
    cluster = {**config["clusters"][0]["cluster"], **fields}
    config["clusters"][0]["cluster"] = {k: v for k, v in cluster.items() if v}
    kubeconfig.write_text(json.dumps(config))


def plugin(tmp_path: Path, expires: str | None) -> dict[str, Any]:
    """An exec plugin that tells the token in a file, and counts how often."""
    status = {"token": None} | ({"expirationTimestamp": expires} if expires else {})
    script = tmp_path / "plugin.py"
    script.write_text(
        "import json, pathlib\n"
        f"here = pathlib.Path({str(tmp_path)!r})\n"
        "with (here / 'calls').open('a') as calls: calls.write('x')\n"
        f"status = {status!r}\n"
        "status['token'] = (here / 'token').read_text()\n"
        "print(json.dumps({'apiVersion': 'client.authentication.k8s.io/v1',"
        " 'kind': 'ExecCredential', 'status': status}))\n"
    )
    return {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": sys.executable,
        "args": [str(script)],
        "interactiveMode": "Never",
    }


@pytest.fixture
def account(server: FakeApiServer, tmp_path: Path) -> Path:
    """A pod's service account."""
    path = tmp_path / "account"
    path.mkdir()
    (path / "token").write_text(server.token + "\n")
    (path / "ca.crt").write_bytes(server.authority.ca_pem)
    return path


def environ(server: FakeApiServer) -> dict[str, str]:
    """A pod's environment."""
    host, _, port = server.url.removeprefix("https://").partition(":")
    return {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}


async def test_in_cluster(server: FakeApiServer, account: Path) -> None:
    """A pod's token and CA are used, and read again when the token is replaced."""
    access = Access(Address(), environ=environ(server), account=account)
    assert is_in_cluster(environ(server), account)
    await ask(access)
    server.access.users.clear()
    server.access.users["fresh"] = "system:node-proxier"
    (account / "token").write_text("fresh")
    await ask(access)
    assert server.requests[-1].headers["user-agent"].startswith("ipvsctl/")


async def test_master_in_cluster(server: FakeApiServer, account: Path) -> None:
    """A pod that is given another URL of its cluster asks there as its account."""
    elsewhere = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "1"}
    address = Address(master=server.url)
    await ask(Access(address, environ=elsewhere, account=account))
    assert server.requests[-1].user == "system:node-proxier"


@pytest.mark.parametrize("missing", ["token", "ca.crt", "KUBERNETES_SERVICE_HOST"])
async def test_incomplete_account(
    server: FakeApiServer, account: Path, missing: str
) -> None:
    """What a pod lacks is an error that names where it was looked for."""
    environment = environ(server)
    environment.pop(missing, None)
    (account / missing).unlink(missing_ok=True)
    with pytest.raises(ConfigError, match=r"account: Service .*--kubeconfig"):
        await Access(Address(), environ=environment, account=account).client()
    assert is_in_cluster(environment, account) is (missing == "ca.crt")


async def test_client_certificate(server: FakeApiServer, tmp_path: Path) -> None:
    """A client certificate lets in, and its name is who asks."""
    await ask(of(server.kubeconfig(tmp_path / "k", user="system:node:node-0")))
    assert server.requests[-1].user == "system:node:node-0"


async def test_token_file(
    server: FakeApiServer, kubeconfig: Path, tmp_path: Path
) -> None:
    """A token file of a kubeconfig is read for every request, as kubeadm needs it."""
    (tmp_path / "token").write_text("first\n")
    change_user(kubeconfig, tokenFile="token")
    server.access.users |= dict.fromkeys(("first", "second"), "system:node-proxier")
    access = of(kubeconfig)
    await ask(access)
    del server.access.users["first"]
    (tmp_path / "token").write_text("second\n")
    await ask(access)


async def test_plugin(server: FakeApiServer, kubeconfig: Path, tmp_path: Path) -> None:
    """A plugin is asked once while its token lasts, and again when it is refused."""
    (tmp_path / "token").write_text(server.token)
    change_user(kubeconfig, exec=plugin(tmp_path, "2999-01-01T00:00:00Z"))
    access = of(kubeconfig)
    await ask(access)
    await ask(access)
    assert (tmp_path / "calls").read_text() == "x"
    server.access.users.clear()
    server.access.users["fresh"] = "system:node-proxier"
    (tmp_path / "token").write_text("fresh")
    with pytest.raises(ApiError, match="401"):
        await ask(access)
    await ask(access)
    assert (tmp_path / "calls").read_text() == "xx"


async def test_expired_plugin(
    server: FakeApiServer, kubeconfig: Path, tmp_path: Path
) -> None:
    """A plugin whose token has expired is asked again."""
    (tmp_path / "token").write_text(server.token)
    change_user(kubeconfig, exec=plugin(tmp_path, "2020-01-01T00:00:00Z"))
    access = of(kubeconfig)
    await ask(access)
    await ask(access)
    assert (tmp_path / "calls").read_text() == "xx"


async def test_broken_plugin(kubeconfig: Path, tmp_path: Path) -> None:
    """A plugin that fails is an error with what it said."""
    failing = plugin(tmp_path, None)
    (tmp_path / "plugin.py").write_text("raise SystemExit('no token today')\n")
    change_user(kubeconfig, exec=failing)
    with pytest.raises(ConfigError, match=r"(?s)kubeconfig: .*no token today"):
        await of(kubeconfig).client()


async def test_master(server: FakeApiServer, kubeconfig: Path) -> None:
    """`--master` is the server instead of the kubeconfig's, with its credentials."""
    change_cluster(kubeconfig, server="https://127.0.0.1:1")
    await ask(of(kubeconfig, master=server.url + "/"))


async def test_refusals_name_the_url(server: FakeApiServer, kubeconfig: Path) -> None:
    """An error has the status, the URL, and the server's words."""
    server.access.denied.add(("list", "services"))
    with pytest.raises(ApiError) as caught:
        await ask(of(kubeconfig))
    assert (caught.value.status, caught.value.word) == (403, "forbidden")
    assert caught.value.url == f"{server.url}/api/v1/services"
    assert "cannot list resource" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, os.strerror(errno.ENOENT)),
        ("", ""),
        ("{]", ""),
        ("[]", ""),
        ("a: b", ""),
        ('{"current-context": "x", "contexts": [], "clusters": []}', ""),
    ],
)
async def test_bad_kubeconfig(tmp_path: Path, text: str | None, said: str) -> None:
    """Whatever a kubeconfig holds, the error names the file."""
    path = tmp_path / "kubeconfig"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        await of(path).client()
    assert caught.value.value == str(path)
    assert said in caught.value.reason


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"server": "127.0.0.1:6443"}, "not an https URL"),
        ({"certificate-authority": "missing.pem"}, r"missing\.pem"),
    ],
)
async def test_bad_cluster(kubeconfig: Path, change: dict[str, str], said: str) -> None:
    """A server that is no URL, and a CA file that is not there, are said at once."""
    change_cluster(kubeconfig, **{"certificate-authority-data": None, **change})
    with pytest.raises(ConfigError, match=said):
        await of(kubeconfig).client()


async def test_stranger(server: FakeApiServer, kubeconfig: Path) -> None:
    """A server whose certificate another authority signed is not talked to."""
    async with FakeApiServer() as other:
        with pytest.raises(ApiError) as caught:
            await ask(of(kubeconfig, master=other.url))
    assert isinstance(caught.value.__cause__, aiohttp.ClientConnectorCertificateError)
    assert not server.requests


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (os.mkfifo, "is not a file"),
        (Path.mkdir, "is not a file"),
        (lambda path: path.symlink_to("/dev/zero"), "is not a file"),
        (Path.touch, "is empty"),
        (lambda path: path.write_bytes(b"#" * (2**20 + 1)), "is larger than 1 MiB"),
    ],
)
async def test_kubeconfig_that_would_not_end(
    tmp_path: Path, make: Callable[[Path], object], said: str
) -> None:
    """What is no file of a size is not opened, and the error names it."""
    path = tmp_path / "kubeconfig"
    make(path)
    with pytest.raises(ConfigError) as caught:
        await of(path).client()
    assert (caught.value.value, caught.value.reason) == (str(path), said)


def test_what_it_is_called() -> None:
    """For logs: the kubeconfig, the master, or neither."""
    assert str(Address()) == "the cluster of this pod"
    assert str(Address(kubeconfig="k", master="https://m")) == "https://m of k"
