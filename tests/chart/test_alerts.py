"""The alerts fire when they should, and are quiet when they should."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.metric_names import asked, known
from tests.chart.promtool import promtool
from tests.chart.rendered import render
from tests.chart.values import CHART

pytestmark = pytest.mark.chart

ALERTS = CHART / "files" / "alerts.yaml"
CASES = Path(__file__).with_name("alerts.yaml")


def rules() -> list[Any]:
    """All of them."""
    (group,) = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    found: list[Any] = group["rules"]
    return found


def test_cases(tmp_path: Path) -> None:
    """tests/chart/alerts.yaml has time series, and what is to be said about them."""
    tested = rules()
    for rule in tested:
        # It is the same each time, and promtool wants every word of it again.
        del rule["annotations"]["description"]
    text = yaml.safe_dump({"groups": [{"name": "ipvsctl", "rules": tested}]})
    (tmp_path / "rules.yaml").write_text(text)
    (tmp_path / "cases.yaml").write_text(CASES.read_text(encoding="utf-8"))
    promtool("test", "rules", "cases.yaml", where=tmp_path)


def test_every_alert_fires_and_is_quiet_in_some_case() -> None:
    """None is without a case of each kind."""
    fires: set[str] = set()
    quiet: set[str] = set()
    for case in yaml.safe_load(CASES.read_text(encoding="utf-8"))["tests"]:
        for expected in case["alert_rule_test"]:
            (fires if expected["exp_alerts"] else quiet).add(expected["alertname"])
    names = {rule["alert"] for rule in rules()}
    assert (fires, quiet) == (names, names)


def test_every_alert_asks_for_metrics_that_there_are() -> None:
    """docs/metrics.md has them all."""
    there = known()
    for rule in rules():
        assert asked(rule["expr"]), rule["alert"]
        assert asked(rule["expr"]) <= there, rule["alert"]


def test_every_alert_says_what_and_what_to_do() -> None:
    """And for how bad to take it."""
    for rule in rules():
        assert rule["annotations"].keys() == {"summary", "description"}, rule["alert"]
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}


def test_the_prometheusrule_holds_them_as_they_are() -> None:
    """Under the job's name that metrics.job gives."""
    enabled = {"prometheusRule": {"enabled": True}}
    spec = render(enabled).of("PrometheusRule")["spec"]
    text = ALERTS.read_text(encoding="utf-8")
    assert spec == yaml.safe_load(text)
    renamed = render({**enabled, "metrics": {"job": "kube-proxy"}})
    assert renamed.of("PrometheusRule")["spec"] == yaml.safe_load(
        text.replace('job="ipvsctl"', 'job="kube-proxy"')
    )
