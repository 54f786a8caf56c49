"""The dashboard asks for what there is, in Prometheus' words."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest
import yaml

from tests.chart.metric_names import asked, known
from tests.chart.picture import PICTURE
from tests.chart.promtool import promtool
from tests.chart.rendered import render
from tests.chart.scrape import scraped, series
from tests.chart.values import ALERTS, CHART

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


def test_every_panel_has_unit_and_description() -> None:
    """A number alone says nothing."""
    for panel in panels():
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]


def test_every_stat_says_when_it_is_bad() -> None:
    """By steps of colour; the first has no bound."""
    stats = [panel for panel in panels() if panel["type"] == "stat"]
    for panel in stats:
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["color"] == {"mode": "thresholds"}, panel["title"]
        steps = defaults["thresholds"]["steps"]
        assert steps[0]["value"] is None, panel["title"]
        # One colour alone is for what is neither good nor bad.
        assert len(steps) > 1 or steps[0]["color"] == "blue", panel["title"]
    assert len(stats) == 12


def test_panels_name_alerts_that_there_are() -> None:
    """And a line is drawn at the threshold that the alert has."""
    alerts = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))[ALERTS]
    for panel in panels():
        named = re.findall(r"Ipvsctl\w+", panel["description"])
        assert set(named) <= alerts.keys()
        defaults = panel["fieldConfig"]["defaults"]
        if "thresholdsStyle" in defaults.get("custom", {}):
            (alert,) = named
            line = defaults["thresholds"]["steps"][-1]["value"]
            assert line == alerts[alert]["threshold"], panel["title"]


def test_nodes_are_chosen_by_name_or_by_address() -> None:
    """Every query goes by both; without a label `node`, All of these is all."""
    variables = {item["name"]: item for item in DASHBOARD["templating"]["list"]}
    assert list(variables) == ["datasource", "job", "node", "instance"]
    for name in ("node", "instance"):
        assert variables[name]["allValue"] == ".*"
    chosen = '{job="$job",node=~"$node",instance=~"$instance"}'
    for title, query in queries():
        assert query.count(chosen) == query.count("{"), title


async def test_no_panel_is_empty_where_all_is_well(tmp_path: Path) -> None:
    """What is only there once something has failed is 0 until then."""
    text = await scraped(tmp_path)
    filled = {"$__rate_interval": "5m", "$job": "ipvsctl", "$node": ".*"}
    filled["$instance"] = ".*"
    tests = []
    for panel in panels():
        wanted = " or ".join(f"({target['expr']})" for target in panel["targets"])
        for name, value in filled.items():
            wanted = wanted.replace(name, value)
        there = f"count({wanted}) > bool 0"
        tests.append(
            {
                "expr": there,
                "eval_time": "20m",
                "exp_samples": [{"labels": "{}", "value": 1}],
            }
        )
    case = {
        "interval": "1m",
        "input_series": [*series(text, 30)],
        "promql_expr_test": tests,
    }
    head = {"rule_files": [], "evaluation_interval": "1m"}
    (tmp_path / "cases.yaml").write_text(yaml.safe_dump({**head, "tests": [case]}))
    promtool("test", "rules", "cases.yaml", where=tmp_path)


def test_panels_say_what_they_show_and_lie_side_by_side() -> None:
    """Each has a title and a place of its own."""
    assert all(panel["title"] for panel in panels())
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


def test_the_picture_shows_every_panel() -> None:
    """`python -m tests.chart.picture` draws it; what it shows is another each time."""
    shown = re.findall(r">([^<]+)</text>", PICTURE.read_text(encoding="utf-8"))
    titles = [panel["title"] for panel in DASHBOARD["panels"]]
    assert [title for title in titles if escape(title) not in shown] == []


def test_the_configmap_holds_it_as_it_is() -> None:
    """Helm has changed nothing of it."""
    rendered = render(
        {
            "grafanaDashboard": {"enabled": True},
            "existingConfigMap": {"name": "kube-proxy"},
        }
    )
    assert json.loads(rendered.of("ConfigMap")["data"]["ipvsctl.json"]) == DASHBOARD
