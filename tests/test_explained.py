"""What the pages for newcomers say of the kernel, and of what was run, is so."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from ipvsctl.cli.app import app
from ipvsctl.model.net import IPFamily
from ipvsctl.model.sets import SetRole, set_key
from ipvsctl.plan.rules.chains import OUR_CHAINS
from ipvsctl.wire.ipset.sets import KUBE_PROXY_SET_NAMES, set_name
from tests.pictures import hooks, ways
from tests.test_docs import PAGES, ROOT

DOCS = ROOT / "docs"

OTHERS = {
    "KUBE-IPTABLES-HINT",  # the kubelet
    "KUBE-ROUTER",  # the beginning of many of kube-router
    "KUBE-ROUTER-HAIRPIN",
    "KUBE-ROUTER-SERVICES",
    "KUBE-SVC",  # kube-proxy in iptables mode
}
"""Chains of others that pages name."""

_NAME = re.compile(r"\bKUBE-[A-Z0-9]+(?:-[A-Z0-9]+)*")
_RENDERED = re.compile(r"<!-- rendered: ([a-z ]+) -->\n```\n(.*?)```", re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_chains_and_sets(page: Path) -> None:
    """A chain or set that a page names is one of ours, or known to be another's."""
    ours = {name for names in OUR_CHAINS.values() for name in names}
    sets = {set_name(set_key(role, family)) for role in SetRole for family in IPFamily}
    known = ours | sets | KUBE_PROXY_SET_NAMES | OTHERS
    text = page.read_text(encoding="utf-8")
    # "KUBE-6-" alone stands for the beginning of many.
    assert set(_NAME.findall(text)) - known - {"KUBE-6"} == set()


def rendered(forms: list[str]) -> Iterator[str]:
    """What a node would hold for the examples."""
    words = ["--manifests", str(ROOT / "examples"), "--node-name", "node-0"]
    for form in forms:
        done = CliRunner().invoke(app, ["render", *words, "-o", form])
        yield from done.stdout.splitlines()


def test_the_example() -> None:
    """The Service on the page is in the kernel what `ipvsctl render` says."""
    page = (DOCS / "how-it-works.md").read_text(encoding="utf-8")
    ((forms, block),) = _RENDERED.findall(page)
    found = list(rendered(forms.split()))
    shown = block.splitlines()
    assert [line for line in shown if line not in found] == []
    # The page leaves nothing out: of these addresses it has every line.
    places = ("10.96.0.10", "203.0.113.50", "10.0.0.10:30080", "10.0.0.10,tcp:30080")
    about = re.compile("|".join(rf"[ ]{re.escape(place)}(?![0-9])" for place in places))
    assert sorted(shown) == sorted(line for line in found if about.search(line))


def test_pictures_are_shown() -> None:
    """Each on the page of all of them, and one that is enlarged by a click."""
    page = (DOCS / "packets.md").read_text(encoding="utf-8")
    for picture in (hooks.picture(), *ways.pictures()):
        assert f"]({picture.name}.svg)]({picture.name}.svg)" in page


def test_what_was_run() -> None:
    """The page on compatibility has the versions that the tests are made for."""
    page = (DOCS / "compatibility.md").read_text(encoding="utf-8")
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    pythons = re.findall(r"Python :: (3\.\d+)\"", project)
    assert f"Python {', '.join(pythons)}" in page
    chart = (ROOT / "charts" / "ipvsctl" / "Chart.yaml").read_text(encoding="utf-8")
    oldest = yaml.safe_load(chart)["kubeVersion"].removeprefix(">=")
    assert f"| below {oldest.rpartition('.')[0]} |" in page
    golden = ROOT / "tests" / "golden"
    (server,) = (path.name for path in golden.glob("apiserver-*"))
    assert f"kube-apiserver {server.removeprefix('apiserver-')}" in page
    kernels = {path.name.split("-")[1] for path in golden.glob("wire/linux-*")}
    for kernel in kernels:
        assert f"| {kernel.rpartition('.')[0]} (" in page
    assert len(list(golden.glob("scenarios/*-*"))) == 16
    assert "Sixteen clusters" in page
