"""The runbook: a page for each alert, with what somebody needs at night."""

import json
import re
from pathlib import Path

import pytest
import yaml

from tests.chart.metric_names import asked, known
from tests.chart.schema import FILE
from tests.chart.values import ALERTS, CHART, ROOT
from tests.test_docs import chart_values, commands, is_chart_value, parse

pytestmark = pytest.mark.chart

RUNBOOK = ROOT / "docs" / "runbook"
PAGES = sorted(path for path in RUNBOOK.glob("*.md") if path.stem != "index")
ALL = [*PAGES, RUNBOOK / "index.md"]
SITE = ROOT / "docs" / "site" / "mkdocs.yml"
TUNED = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))[ALERTS]
HEADINGS = [
    "Symptom",
    "What it means for packets",
    "Look",
    "Causes, the likeliest first",
    "Repair",
]


def by_name(path: Path) -> str:
    """The name of a page."""
    return path.stem


def test_every_alert_has_a_page() -> None:
    """And every page an alert, in the site too."""
    assert {path.stem for path in PAGES} == TUNED.keys()
    nav = re.findall(r"runbook/(\w+)\.md", SITE.read_text(encoding="utf-8"))
    assert nav == ["index", *TUNED]


@pytest.mark.parametrize("path", PAGES, ids=by_name)
def test_a_page_has_its_parts(path: Path) -> None:
    """What is seen, what it does to packets, what to type, why, and how to mend it."""
    text = path.read_text(encoding="utf-8")
    assert text.startswith(f"# {path.stem}\n")
    assert re.findall(r"^## (.*)", text, re.MULTILINE) == HEADINGS
    look = text.partition("\n## Look\n")[2].partition("\n## ")[0]
    # Commands, and what they say.
    assert "\n```sh\n" in look
    assert "\n```\n" in look
    assert "\n1. " in text.partition("\n## Causes")[2]


@pytest.mark.parametrize("path", ALL, ids=by_name)
def test_what_a_page_tells_people_to_type_exists(path: Path) -> None:
    """Commands of ipvsctl, values of the chart, metrics of queries."""
    text = path.read_text(encoding="utf-8")
    for arguments in commands(text):
        parse(arguments)
    schema = json.loads(FILE.read_text(encoding="utf-8"))
    assert [at for at in chart_values(text) if not is_chart_value(at, schema)] == []
    assert asked(text) <= known()
    named = set(re.findall(r"`((?:ipvsctl|kubeproxy)_\w+)", text))
    assert {name for name in named if not {name, f"{name}_bucket"} & known()} == set()


def test_the_index_says_what_the_chart_does() -> None:
    """Thresholds, durations and severities are those of values.yaml."""
    text = (RUNBOOK / "index.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| \[(\w+)\]\((\w+)\.md\) \| (\S*) ?\| (\w+) \| (\w+) \|", text, re.MULTILINE
    )
    assert [
        (name, page, threshold, after, severity)
        for name, page, threshold, after, severity in rows
    ] == [
        (name, name, str(tuned.get("threshold", "")), tuned["for"], tuned["severity"])
        for name, tuned in TUNED.items()
    ]
