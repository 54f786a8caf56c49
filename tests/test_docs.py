"""What the pages tell people to type exists: commands, options, chart values, links."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import typer.main
import yaml
from typer.core import TyperGroup

from ipvsctl.cli.app import app
from ipvsctl.cluster.config.fields import FIELDS
from ipvsctl.kernel.modules import REQUIRED_MODULES
from ipvsctl.kernel.node_facts import FIREWALL_MODULES
from ipvsctl.plan.union.node import sysctl_names
from ipvsctl.plugin import arguments as plugin
from tests.pages import DOCS

ROOT: Final = DOCS.parent
PAGES: Final = sorted(
    page
    for folder in (DOCS, ROOT, ROOT / "charts" / "ipvsctl")
    for page in folder.glob("*.md")
    if not page.is_symlink()
)
SCHEMA: Final = ROOT / "charts" / "ipvsctl" / "values.schema.json"
SETTINGS: Final = {field.path for field in FIELDS}

OTHERS_OPTIONS: Final = {
    "--build-arg",  # docker
    "--cleanup",  # kube-proxy
    "--disable-kube-proxy",  # k3s
    "--help",
    "--kernel",  # the lab
    "--lb-server-port",  # k3s
    "--rate",  # ipvsadm
    "--run-firewall",  # kube-router
    "--run-router",  # kube-router
    "--run-service-proxy",  # kube-router
    "--services",  # the bench
}

_BLOCK: Final = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
_INDENTED: Final = re.compile(r"(?:\A|\n\n)((?:(?: {4}|\t).*\n)+)")
_INLINE: Final = re.compile(r"`([^`]+)`")
_CONTINUED: Final = re.compile(r"\\\n\s*")
# At the start of a line, or what something else is to run.
_COMMAND: Final = re.compile(
    r"(?:^ *(?:[$#] )?| -- |; )ipvsctl( [^|;&>\n]*)?", re.MULTILINE
)
_OPTION: Final = re.compile(r"`(--?[a-z][-a-z]*)[^`]*`")
_HELM_SET: Final = re.compile(r"--set(?:-json|-file|-string)? '?([\w.]+)=")
_TEST: Final = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")
_LINK: Final = re.compile(r"\]\(([^)\s#]+)(?:#[^)]*)?\)")


def commands(text: str) -> Iterator[list[str]]:
    """The arguments of every call of ipvsctl in a page, inline code included."""
    inline = _INLINE.findall(_BLOCK.sub("", text))
    for code in (*blocks(text), *inline):
        for arguments in _COMMAND.findall(_CONTINUED.sub("", code)):
            yield shlex.split(arguments, comments=True)


def blocks(text: str) -> Iterator[str]:
    """Code that is fenced or indented."""
    yield from (block for _, _, block in _BLOCK.findall(text))
    yield from _INDENTED.findall(_BLOCK.sub("", text))


def chart_values(text: str) -> Iterator[str]:
    """Paths of the values that a page sets: with --set, or in a `values.yaml`."""
    for language, block in ((lang, body) for _, lang, body in _BLOCK.findall(text)):
        if language == "yaml" and block.lstrip().startswith("# values.yaml"):
            yield from paths(yaml.safe_load(block))
        yield from _HELM_SET.findall(block)


def paths(value: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Dotted paths of the leaves of a mapping."""
    for key, child in value.items():
        if isinstance(child, dict):
            yield from paths(child, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def is_chart_value(path: str, schema: Mapping[str, Any]) -> bool:
    """Whether a chart with this schema has a value; below `config` are our settings."""
    if path.startswith("config."):
        return path.removeprefix("config.") in SETTINGS
    for key in path.split("."):
        schema = schema.get("properties", {}).get(
            key, schema.get("additionalProperties", False)
        )
        if not schema:
            return False
    return True


def parse(arguments: list[str]) -> None:
    """Parse a command line as the program would, and run nothing.

    Raises:
        Exception: typer's, for what it does not know or want.
    """
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    # `ipvsctl` alone, and `ipvsctl --some-option`, would act while they are parsed.
    if not arguments or arguments[0].startswith("-"):
        known = {name for parameter in group.params for name in parameter.opts}
        assert set(arguments) <= known | {"--help"}
        return
    with group.make_context("ipvsctl", list(arguments)) as context:
        name, command, rest = group.resolve_command(context, list(arguments))
        assert command is not None
        if "--help" not in rest:
            command.make_context(name, rest, parent=context)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_tests(page: Path) -> None:
    """Every test that a page names is there."""
    for place, name in _TEST.findall(page.read_text(encoding="utf-8")):
        assert f"def {name}" in (ROOT / place).read_text(encoding="utf-8"), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands(page: Path) -> None:
    """Every `ipvsctl ...` on a page is understood by the program."""
    for arguments in commands(page.read_text(encoding="utf-8")):
        if arguments[:1] != ["COMMAND"]:
            parse(arguments)


def test_what_is_unknown_is_noticed() -> None:
    """The tests of the pages can fail."""
    text = """
Say `ipvsctl status -x`.

```sh
kubectl exec POD -- ipvsctl fly now
helm install ipvsctl charts/ipvsctl --set image.name=a --set nodeSelector.pool=b \\
  --set config.ipvs.scheduler=lc --set config.ipvs.speed=9
```
"""
    found = list(commands(text))
    assert sorted(found) == [["fly", "now"], ["status", "-x"]]
    for arguments in found:
        with pytest.raises(typer.TyperException):
            parse(arguments)
    schema = {
        "properties": {
            "image": {"properties": {"tag": {"type": "string"}}},
            "nodeSelector": {"additionalProperties": {"type": "string"}},
        }
    }
    unknown = [path for path in chart_values(text) if not is_chart_value(path, schema)]
    assert unknown == ["image.name", "config.ipvs.speed"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_options(page: Path) -> None:
    """An option that is named alone is one of ours, or known to be another's."""
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    ours = {
        name
        for command in (group, *group.commands.values())
        for parameter in command.params
        for name in parameter.opts
    }
    ours |= set(re.findall(r"--[a-z-]+", plugin.parser().format_help()))
    named = set(_OPTION.findall(page.read_text(encoding="utf-8")))
    assert named - ours - OTHERS_OPTIONS == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_chart_values(page: Path) -> None:
    """The chart has every value that a page sets."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    set_here = chart_values(page.read_text(encoding="utf-8"))
    assert [path for path in set_here if not is_chart_value(path, schema)] == []


def test_modules_and_sysctls() -> None:
    """The page on security has the modules to load, and the sysctls that are set."""
    page = (DOCS / "security.md").read_text(encoding="utf-8")
    assert {*REQUIRED_MODULES} <= {*page.splitlines()}
    for modules in FIREWALL_MODULES.values():
        assert "\n".join(modules) in page
    families = page.replace("`arp_announce`", "`net.ipv4.conf.all.arp_announce`")
    names = {name.replace("/", ".") for name in sysctl_names()}
    named = {name for name in names if f"`{name}`" in families}
    assert {n for n in names - named if "nf_conntrack_" not in n} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links(page: Path) -> None:
    """A link to a file leads to one; `nox -s docs` looks at those to headings."""
    links = _LINK.findall(page.read_text(encoding="utf-8"))
    here = [link for link in links if "://" not in link]
    assert [link for link in here if not (page.parent / link).exists()] == []


def test_the_changelog_has_no_links_to_pages() -> None:
    """It is one of the pages too, and these would lead nowhere there."""
    links = _LINK.findall((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link] == []
