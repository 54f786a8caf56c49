"""The command line as a whole: help, version, defects, the cost of starting."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main
from typer.core import TyperGroup
from typer.testing import CliRunner

from ipvsctl import __version__
from ipvsctl.cli.app import MODULES, app
from ipvsctl.cli.environment import (
    Environment,
    effective_capabilities,
    require_capabilities,
)
from ipvsctl.kernel.interface import Kernel
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.errors import KernelError, NotPermitted
from tests.cli.conftest import Invoke

COMMANDS = [
    "run",
    "apply",
    "diff",
    "cleanup",
    "status",
    "check",
    "explain",
    "events",
    "conns",
    "top",
    "render",
    "version",
]

HEAVY = ("pydantic", "msgspec", "pyroute2", "aiohttp", "yaml", "structlog", "rich")


def test_version_is_printed(invoke: Invoke) -> None:
    """`ipvsctl version` names the program and its version."""
    result = invoke("version")
    assert (result.exit_code, result.stdout) == (0, f"ipvsctl {__version__}\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_tells_the_exit_statuses(invoke: Invoke, command: str) -> None:
    """Each command documents what it exits with."""
    result = invoke(command, "--help")
    assert result.exit_code == 0
    assert "Exit status: 0 " in " ".join(result.stdout.split())


def test_every_command_is_listed(invoke: Invoke) -> None:
    """The tests above cover all commands."""
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    assert [*group.commands] == COMMANDS
    shown = invoke("--help").stdout.split()
    assert {*COMMANDS} <= {*shown}


def test_each_command_is_where_it_is_looked_for() -> None:
    """It is made of the function of its name, in that module."""
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    for name, module in MODULES.items():
        command = group.commands[name]
        assert command is group.commands[name]
        assert command.name == name
        assert command.callback is not None
        assert command.callback.__module__ == f"ipvsctl.cli.commands.{module}"
    assert "no-such-command" not in group.commands


def _loaded(*words: str) -> set[str]:
    """The modules that a command line has loaded when it ends."""
    code = (
        "import sys\n"
        f"sys.argv = ['ipvsctl', *{words!r}]\n"
        "from ipvsctl.cli import main\n"
        "try:\n"
        "    main()\n"
        "except SystemExit:\n"
        "    pass\n"
        "print(*sys.modules, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout
    return {*done.stderr.split()}


@pytest.mark.parametrize("words", [["version"], ["status", "--help"], ["--help"]])
def test_starting_imports_nothing_heavy(words: list[str]) -> None:
    """Commands that do little start in little time: no heavy library is imported."""
    assert not {*HEAVY} & _loaded(*words)


def test_a_command_does_not_import_the_others() -> None:
    """Nor does its help."""
    loaded = _loaded("status", "--help")
    place = "ipvsctl.cli.commands."
    ours = {name.removeprefix(place) for name in loaded if name.startswith(place)}
    assert ours == {"root", "looking"}


def test_a_command_that_does_something_imports_no_pydantic(manifests: Path) -> None:
    """Whatever is given with it."""
    given = ("--manifests", str(manifests), "--node-name", "node-0", "-o", "ipvsadm")
    loaded = _loaded("render", *given)
    assert "msgspec" in loaded
    assert "pydantic" not in loaded


@pytest.mark.parametrize("word", ["version", "--version"])
def test_the_version_needs_no_command_line(word: str) -> None:
    """It is printed by a few modules of Python's own."""
    loaded = _loaded(word)
    assert not {"typer", "typing", "ipvsctl.cli.app"} & loaded
    assert len(loaded) < 60


@pytest.mark.parametrize("word", ["version", "--version"])
def test_a_version_that_cannot_be_printed_is_an_error(word: str) -> None:
    """As what any other command prints."""
    command = [sys.executable, "-m", "ipvsctl", word]
    printed = subprocess.run(command, capture_output=True, text=True, check=True)
    assert printed.stdout == f"ipvsctl {__version__}\n"
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode != 0
    assert b"No space left" in done.stderr


def test_a_wrong_option_is_a_usage_error(invoke: Invoke) -> None:
    """Usage errors exit 2 like every other error."""
    result = invoke("status", "-o", "xml")
    assert result.exit_code == 2
    assert "xml" in result.stderr
    assert result.stdout == ""


def _invoke_with_kernel_error(
    error: BaseException, manifests: Path, *words: str
) -> tuple[int, str]:
    def open_kernel(_config: ProxyConfig, *, to_change: bool) -> Kernel:
        assert not to_change
        raise error

    result = CliRunner().invoke(
        app,
        ["diff", "--manifests", str(manifests), "--node-name", "node-0", *words],
        obj=Environment(open_kernel=open_kernel),
    )
    return result.exit_code, result.stderr


def test_no_permission_is_one_sentence(manifests: Path) -> None:
    """Without CAP_NET_ADMIN the sentence names it."""
    status, text = _invoke_with_kernel_error(
        KernelError.of(1, "read virtual servers"), manifests
    )
    assert (status, text) == (
        2,
        (
            "ipvsctl: error: read virtual servers:"
            " EPERM (not permitted (CAP_NET_ADMIN is needed))\n"
        ),
    )


def test_a_defect_says_so_and_verbose_shows_where(manifests: Path) -> None:
    """An unexpected exception is one line that says where; -v prints the traceback."""
    status, text = _invoke_with_kernel_error(ValueError("boom"), manifests)
    assert status == 2
    assert re.fullmatch(
        r"ipvsctl: error: unexpected ValueError: boom"
        r" \(a defect of ipvsctl, in cli/\S+\.py:\d+; -v shows more\)\n",
        text,
    )
    status, text = _invoke_with_kernel_error(ValueError("boom"), manifests, "-v")
    assert status == 2
    assert text.startswith("Traceback (most recent call last):\n")
    assert text.endswith("ValueError: boom\n")


@pytest.mark.parametrize(
    ("capabilities", "firewall", "missing"),
    [
        ("000001ffffffffff", "iptables", ""),
        ("0000000000003000", "iptables", ""),
        ("0000000000003000", "auto", ""),
        ("0000000000001000", "nftables", ""),
        ("ffffefff", "nftables", "CAP_NET_ADMIN missing"),
        ("0000000000001000", "iptables", "CAP_NET_RAW missing"),
        ("0000000000001000", "auto", "CAP_NET_RAW missing"),
        ("0000000000000000", "iptables", "CAP_NET_ADMIN and CAP_NET_RAW missing"),
    ],
)
def test_capabilities_are_asked_for_by_name(
    capabilities: str, firewall: str, missing: str
) -> None:
    """Not every tool that would fail without one says what it lacks."""
    effective = effective_capabilities(
        f"Name:\tx\nCapPrm:\t0\nCapEff:\t{capabilities}\nCapBnd:\t0\n"
    )
    if missing:
        with pytest.raises(NotPermitted, match=missing):
            require_capabilities(effective, firewall)
    else:
        require_capabilities(effective, firewall)


def test_an_interrupted_command_exits_130(manifests: Path) -> None:
    """As a shell would have it."""
    status, text = _invoke_with_kernel_error(KeyboardInterrupt(), manifests)
    assert (status, text) == (130, "")


def test_the_version_as_an_option() -> None:
    """As the command has it."""
    by_option = CliRunner().invoke(app, ["--version"])
    by_command = CliRunner().invoke(app, ["version"])
    assert by_option.exit_code == by_command.exit_code == 0
    assert by_option.stdout == by_command.stdout


def test_yml_is_yaml(invoke: Invoke, manifests: Path) -> None:
    """Nobody remembers which."""
    words = ("diff", "--manifests", manifests, "-o")
    assert invoke(*words, "yml").stdout == invoke(*words, "yaml").stdout != ""
