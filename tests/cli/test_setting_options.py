"""Settings from the file, the environment and the command line, and who wins."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from ipvsctl.cli.app import app
from ipvsctl.cluster.config.config_file import API_VERSION, KIND
from ipvsctl.cluster.config.flags import FLAGS
from tests.cli.conftest import Invoke

ARP = "net/ipv4/conf/all/arp_ignore"
NO_TEXT = "\udcff"
"""How Python has a byte of the command line that is no UTF-8."""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The setting strictARP is on, and the node has a name."""
    path = tmp_path / "config.conf"
    fields: dict[str, Any] = {
        "hostnameOverride": "node-1",
        "ipvsctl": {"strictARP": True},
    }
    path.write_text(yaml.safe_dump({"apiVersion": API_VERSION, "kind": KIND, **fields}))
    return path


def render(manifests: Path, *words: object, **env: str) -> Result:
    """Run `render` in this environment and no other."""
    usual = {"IPVSCTL_NODE_NAME": None, "NODE_NAME": None}
    return CliRunner().invoke(
        app,
        ["render", "--manifests", str(manifests), "-o", "json", *map(str, words)],
        env={**usual, **env},
    )


@pytest.mark.parametrize(
    ("flag", "variable", "expected"),
    [
        (None, None, True),
        (None, "false", False),
        ("true", "false", True),
        ("false", None, False),
        ("false", "true", False),
    ],
)
def test_precedence(
    config: Path,
    manifests: Path,
    flag: str | None,
    variable: str | None,
    *,
    expected: bool,
) -> None:
    """A flag wins over a variable, a variable over the file."""
    words = () if flag is None else ("--strict-arp", flag)
    env = {} if variable is None else {"IPVSCTL_STRICT_ARP": variable}
    result = render(manifests, "--config", config, *words, **env)
    assert result.exit_code == 0
    assert (ARP in json.loads(result.stdout)["sysctls"]) is expected


def test_without_any_the_default_holds(manifests: Path) -> None:
    """No load balancer, no strict ARP."""
    assert ARP not in json.loads(render(manifests).stdout)["sysctls"]


@pytest.mark.parametrize(
    ("words", "env", "named"),
    [
        (("--drain-timeout", "soon"), {}, "--drain-timeout"),
        ((), {"IPVSCTL_DRAIN_TIMEOUT": "soon"}, "IPVSCTL_DRAIN_TIMEOUT"),
    ],
)
def test_a_wrong_value_names_where_it_was_given(
    manifests: Path, words: tuple[str, ...], env: dict[str, str], named: str
) -> None:
    """The flag or the variable, whichever it was."""
    result = render(manifests, *words, **env)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"ipvsctl: error: {named}: 'soon': not a duration")


def test_the_file_names_the_node(config: Path, manifests: Path) -> None:
    """The field hostnameOverride is this node's name; the command line's wins."""
    local = ("--config", config, "-o", "ipset")

    def hairpins(*words: str) -> list[str]:
        lines = render(manifests, *local, *words).stdout.splitlines()
        return [line.split()[2] for line in lines if line.startswith("add KUBE-LOOP")]

    assert hairpins() == ["172.16.1.1,tcp:8080,172.16.1.1"]
    assert hairpins("--node-name", "node-0") == ["172.16.0.1,tcp:8080,172.16.0.1"]


@pytest.mark.parametrize("command", ["run", "apply", "diff", "render"])
def test_every_setting_is_in_the_help(invoke: Invoke, command: str) -> None:
    """With its flag and its variable."""
    text = invoke(command, "--help").stdout
    for flag in FLAGS:
        assert f"  {flag.name} {flag.metavar}" in text
        assert flag.variable in text


@pytest.mark.parametrize("command", ["cleanup", "status"])
def test_commands_that_only_look_take_only_what_they_need(
    invoke: Invoke, command: str
) -> None:
    """The name of the VIP link says where to look."""
    text = invoke(command, "--help").stdout
    assert "--vip-link" in text
    assert "--drain-timeout" not in text


@pytest.mark.parametrize("option", ["--node-name", "--vip-link", "--kubeconfig"])
def test_what_is_no_text_is_refused(manifests: Path, option: str) -> None:
    """One sentence names the option, or the variable."""
    variable = "IPVSCTL_" + option[2:].replace("-", "_").upper()
    for result in (
        render(manifests, option, NO_TEXT),
        render(manifests, **{variable: NO_TEXT}),
    ):
        assert result.exit_code == 2
        assert result.stderr.count("\n") == 1
        assert option in result.stderr or variable in result.stderr


@pytest.mark.parametrize("words", [("-n", NO_TEXT), (NO_TEXT,), ("--", "a/" + NO_TEXT)])
def test_a_name_that_is_no_text_is_refused(
    invoke: Invoke, words: tuple[str, ...]
) -> None:
    """No Service and no namespace has it, and no daemon is asked."""
    result = invoke("status", *words)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "defect" not in result.stderr
