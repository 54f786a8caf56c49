"""`connect.exec_plugin`: what a plugin is told, and what becomes of what it says."""

import json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ipvsctl.kube.connect.exec_plugin import ExecPlugin, PluginAnswer
from ipvsctl.kube.connect.files import Unusable
from ipvsctl.kube.connect.kubeconfig import Entry, Exec, Variable

V1 = "client.authentication.k8s.io/v1"
BETA = "client.authentication.k8s.io/v1beta1"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def credential(version: str = V1, **status: Any) -> dict[str, Any]:
    """An ExecCredential with an answer."""
    return {"apiVersion": version, "kind": "ExecCredential", "status": status}


class Plugin:
    """A plugin that is a script, which says what is in a file and notes what it hears.

    Attributes:
        now: what time it is.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.now = NOW
        (path / "plugin.py").write_text(
            "import json, os, pathlib, sys\n"
            "here = pathlib.Path(sys.argv[0]).parent\n"
            "heard = {**os.environ, 'args': sys.argv[1:]}\n"
            "with (here / 'heard').open('a') as file:\n"
            "    print(json.dumps(heard), file=file)\n"
            "print((here / 'said').read_text())\n"
        )

    def made(self, said: object, **fields: Any) -> ExecPlugin:
        """The plugin as a kubeconfig's user has it."""
        self.says(said)
        options = {
            name: fields.pop(name)
            for name in ("cluster", "timeout_s")
            if name in fields
        }
        asked = {
            "api_version": V1,
            "command": sys.executable,
            "args": (str(self._path / "plugin.py"), "--one"),
            **fields,
        }
        return ExecPlugin(
            Exec(**asked),
            Entry(self._path / "kubeconfig", "users[u].user"),
            environ={"HOME": "/home"},
            now=lambda: self.now,
            **options,
        )

    def says(self, said: object) -> None:
        """Change what it says."""
        text = said if isinstance(said, str) else json.dumps(said)
        (self._path / "said").write_text(text)

    @property
    def heard(self) -> list[dict[str, Any]]:
        """Environment and arguments of each run."""
        lines = (self._path / "heard").read_text().splitlines()
        return [json.loads(line) for line in lines]


@pytest.fixture
def plugin(tmp_path: Path) -> Plugin:
    """One in a directory of its own."""
    return Plugin(tmp_path)


@pytest.mark.parametrize("version", [V1, BETA])
async def test_what_it_is_told(plugin: Plugin, version: str) -> None:
    """Arguments, variables beside the environment, and how and where it is asked."""
    made = plugin.made(
        credential(version, token="t"),
        api_version=version,
        env=(Variable("REGION", "north"), Variable("HOME", "/elsewhere")),
        cluster={"server": "https://one"},
    )
    assert await made.answer() == PluginAnswer(token="t")
    (heard,) = plugin.heard
    assert heard["args"] == ["--one"]
    assert (heard["REGION"], heard["HOME"]) == ("north", "/elsewhere")
    assert json.loads(heard["KUBERNETES_EXEC_INFO"]) == {
        "apiVersion": version,
        "kind": "ExecCredential",
        "spec": {"interactive": False, "cluster": {"server": "https://one"}},
    }


async def test_a_certificate(plugin: Plugin) -> None:
    """A certificate comes with its key, as text of PEM, and may come with a token."""
    said = credential(clientCertificateData="C", clientKeyData="K", token="t")
    answer = await plugin.made(said).answer()
    assert answer == PluginAnswer(token="t", certificate=b"C", key=b"K")


@pytest.mark.parametrize(
    ("expires_s", "waited_s", "runs"),
    [(None, 10**9, 1), (3600, 3500, 1), (3600, 3541, 2), (-1, 0, 2)],
)
async def test_it_is_asked_again(
    plugin: Plugin, expires_s: int | None, waited_s: int, runs: int
) -> None:
    """An answer is kept until a minute before it expires, or for good."""
    status = {"token": "t"}
    if expires_s is not None:
        status["expirationTimestamp"] = (
            (NOW + timedelta(seconds=expires_s)).isoformat().replace("+00:00", "Z")
        )
    made = plugin.made(credential(**status))
    await made.answer()
    plugin.now += timedelta(seconds=waited_s)
    plugin.says(credential(token="fresh"))
    assert (await made.answer()).token == ("t" if runs == 1 else "fresh")
    assert len(plugin.heard) == runs


async def test_a_command_beside_the_kubeconfig(plugin: Plugin, tmp_path: Path) -> None:
    """A relative path starts at the kubeconfig; a bare name is looked for in PATH."""
    script = tmp_path / "bin" / "run"
    script.parent.mkdir()
    script.write_text(f"#!/bin/sh\necho '{json.dumps(credential(token='t'))}'\n")
    script.chmod(0o700)
    made = plugin.made("", command="bin/run", args=())
    assert (await made.answer()).token == "t"


@pytest.mark.parametrize(
    ("said", "fields", "reason"),
    [
        ("", {"command": ""}, "exec.command: is missing"),
        (
            "",
            {"api_version": "client.authentication.k8s.io/v1alpha1"},
            f"exec.apiVersion: 'client.authentication.k8s.io/v1alpha1': not {V1}",
        ),
        ("", {"interactive_mode": "Always"}, "exec.interactiveMode: Always, and there"),
        (
            "",
            {"command": "no-such-command", "install_hint": "get it there"},
            "exec: no-such-command: No such file or directory; get it there",
        ),
        ("", {"args": ("\0",)}, "exec: no command (embedded null byte)"),
        ("", {"args": ("-c", "exit(3)")}, "ended with status 3"),
        ("", {"args": ("-c", "while True: print('x' * 999)")}, "said more than 1 MiB"),
        (
            "",
            {"args": ("-c", "import time; time.sleep(600)"), "timeout_s": 0.2},
            "exec: no credentials within 0.2 s",
        ),
        ("text", {}, "exec: said no ExecCredential (JSON is malformed"),
        ("[" * 100_000, {}, "exec: said no ExecCredential ("),
        ({"apiVersion": V1, "kind": "ExecCredential"}, {}, "no ExecCredential with a"),
        ({**credential(token="t"), "kind": "Pod"}, {}, "no ExecCredential with a"),
        (credential(BETA, token="t"), {}, f"exec: answered in {BETA!r}, asked in {V1}"),
        (credential(), {}, "exec: told neither a token nor a certificate"),
        (credential(clientKeyData="K"), {}, "exec: told a certificate without a key"),
        (
            credential(token="t", expirationTimestamp="tomorrow"),
            {},
            "exec: said no ExecCredential (Invalid RFC3339",
        ),
    ],
)
async def test_no_credentials(
    plugin: Plugin, said: object, fields: dict[str, Any], reason: str
) -> None:
    """Whatever goes wrong with a plugin, the error says of which user it is."""
    with pytest.raises(Unusable) as caught:
        await plugin.made(said, **fields).answer()
    assert caught.value.reason.startswith("users[u].user.exec")
    assert reason in caught.value.reason
    assert caught.value.file.endswith("/kubeconfig")


async def test_it_is_ended(plugin: Plugin, tmp_path: Path) -> None:
    """A plugin that is given up does not go on."""
    script = f"echo $$ > {tmp_path}/pid; exec yes"
    made = plugin.made("", command="sh", args=("-c", script))
    with pytest.raises(Unusable, match="said more than"):
        await made.answer()
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


async def test_a_failure_is_not_kept(plugin: Plugin) -> None:
    """A plugin that failed is asked again."""
    made = plugin.made("nothing")
    with pytest.raises(Unusable):
        await made.answer()
    plugin.says(credential(token="t"))
    assert (await made.answer()).token == "t"
