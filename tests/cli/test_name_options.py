"""What a shell completes."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ipvsctl.cli.app import app
from ipvsctl.cli.daemon import PROTOCOL
from ipvsctl.serve.control import Pieces, control_socket

NAMES = ["default/web", "default/web-api", "kube-system/kube-dns", "shop/web"]


async def _version(_query: Mapping[str, str]) -> Pieces:
    return (json.dumps({"version": "9", "protocol": PROTOCOL}).encode(),)


async def _names(_query: Mapping[str, str]) -> Pieces:
    return (json.dumps(NAMES).encode(),)


def completed(path: Path, words: str) -> list[str]:
    """What bash is told after these words; the last one is begun."""
    said = CliRunner().invoke(
        app,
        [],
        prog_name="ipvsctl",
        env={
            "_IPVSCTL_COMPLETE": "complete_bash",
            "COMP_WORDS": f"ipvsctl {words}",
            "COMP_CWORD": str(len(words.split(" "))),
            "IPVSCTL_SOCKET": str(path),
        },
    )
    assert said.stderr == ""
    return said.stdout.split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("status default/", ["default/web", "default/web-api"]),
        ("explain shop", ["shop/web"]),
        ("top kube-system/kube", ["kube-system/kube-dns"]),
        ("conns x", []),
        ("diff ", NAMES),
        ("events sh", ["shop/web"]),
        ("status -n default we", ["web", "web-api"]),
        ("status -n ku", ["kube-system"]),
    ],
)
async def test_services_and_namespaces(
    tmp_path: Path, words: str, expected: list[str]
) -> None:
    """Those that the daemon knows, in every command that takes one."""
    path = tmp_path / "s"
    async with control_socket(path, {"/v1/names": _names, "/v1/version": _version}):
        assert await asyncio.to_thread(completed, path, words) == expected


async def test_a_daemon_that_cannot_say(tmp_path: Path) -> None:
    """One of another version, or none: the shell completes nothing, and is not told."""
    path = tmp_path / "s"
    assert completed(path, "status de") == []
    async with control_socket(path, {}):
        assert await asyncio.to_thread(completed, path, "status de") == []
