"""The dashboard asks for what there is, in Prometheus' words."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.metric_names import asked, known
from tests.chart.promtool import promtool
from tests.chart.rendered import render
from tests.chart.values import CHART

pytestmark = pytest.mark.chart

DASHBOARD = json.loads((CHART / "files" / "dashboard.json").read_text("utf-8"))


def panels() -> list[Any]:
    """Those with queries."""
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def queries() -> Iterator[tuple[str, str]]:
    """Title of a panel and one of its queries, for each."""
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def test_every_query_asks_for_metrics_that_there_are() -> None:
    """docs/metrics.md has them all."""
    there = known()
    assert [(title, asked(query) - there) for title, query in queries()] == [
        (title, frozenset()) for title, _ in queries()
    ]
    assert all(asked(query) for _, query in queries())


def test_every_query_is_one(tmp_path: Path) -> None:
    """Prometheus can read it, with Grafana's variables filled in."""
    rules = [
        {"record": f"query:{number}", "expr": query.replace("$__rate_interval", "5m")}
        for number, (_, query) in enumerate(queries())
    ]
    text = yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]})
    (tmp_path / "rules.yaml").write_text(text)
    promtool("check", "rules", "rules.yaml", where=tmp_path)


def test_panels_say_what_they_show_and_lie_side_by_side() -> None:
    """Each has a title, a description and a place of its own."""
    assert all(panel["title"] and panel["description"] for panel in panels())
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(
        DASHBOARD["panels"]
    )
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_the_configmap_holds_it_as_it_is() -> None:
    """Helm has changed nothing of it."""
    rendered = render(
        {
            "grafanaDashboard": {"enabled": True},
            "existingConfigMap": {"name": "kube-proxy"},
        }
    )
    assert json.loads(rendered.of("ConfigMap")["data"]["ipvsctl.json"]) == DASHBOARD
