"""The alerts fire when they should, and are quiet when they should."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.metric_names import asked, known
from tests.chart.promtool import promtool
from tests.chart.rendered import Raw, merged, render
from tests.chart.values import ALERTS, CHART

pytestmark = pytest.mark.chart

FILE = CHART / "files" / "alerts.yaml"
CASES = Path(__file__).with_name("alerts.yaml")
NODE = 'job="ipvsctl",instance="10.0.0.11:10249",node="node-1"'


def rules() -> list[Any]:
    """All of them."""
    (group,) = yaml.safe_load(FILE.read_text(encoding="utf-8"))["groups"]
    found: list[Any] = group["rules"]
    return found


def cases() -> Raw:
    """The file of cases."""
    found: Raw = yaml.safe_load(CASES.read_text(encoding="utf-8"))
    return found


def node_series(name: str, values: str) -> Raw:
    """A series of the one node that cases are about."""
    metric, _, labels = name.rstrip("}").partition("{")
    joined = ",".join(filter(None, (NODE, labels)))
    return {"series": f"{metric}{{{joined}}}", "values": values}


def completed(case: Raw, healthy: Raw) -> Raw:
    """A case with what is healthy, and with the silence of all other alerts."""
    own = list(case["input_series"])
    metrics = {series["series"].partition("{")[0] for series in own}
    if case.get("without") != "all":
        own += [
            node_series(name, values)
            for name, values in healthy.items()
            if name.partition("{")[0] not in metrics
        ]
    given = case["alert_rule_test"]
    named = {test["alertname"] for test in given} | {*case.get("also", ())}
    times = {test["eval_time"] for test in given}
    silence = [
        {"eval_time": time, "alertname": rule["alert"], "exp_alerts": []}
        for time in sorted(times)
        for rule in rules()
        if rule["alert"] not in named
    ]
    return {
        "interval": case["interval"],
        "input_series": own,
        "alert_rule_test": [*given, *silence],
    }


def run_cases(tests: list[Raw], directory: Path) -> None:
    """Have promtool look at them."""
    tested = rules()
    for rule in tested:
        # They are the same each time, and promtool wants every word of them again.
        del rule["annotations"]["description"], rule["annotations"]["runbook_url"]
    text = yaml.safe_dump({"groups": [{"name": "ipvsctl", "rules": tested}]})
    (directory / "rules.yaml").write_text(text)
    head = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m"}
    (directory / "cases.yaml").write_text(yaml.safe_dump({**head, "tests": tests}))
    promtool("test", "rules", "cases.yaml", where=directory)


def test_cases(tmp_path: Path) -> None:
    """tests/chart/alerts.yaml has time series, and what is to be said about them."""
    healthy = cases()["healthy"]
    run_cases([completed(case, healthy) for case in cases()["tests"]], tmp_path)


def test_a_healthy_node_is_quiet(tmp_path: Path) -> None:
    """At every third minute of three hours."""
    series = [node_series(*item) for item in cases()["healthy"].items()]
    silence = [
        {"eval_time": f"{minute}m", "alertname": rule["alert"], "exp_alerts": []}
        for minute in range(0, 180, 3)
        for rule in rules()
    ]
    case = {"interval": "1m", "input_series": series, "alert_rule_test": silence}
    run_cases([case], tmp_path)


def test_a_healthy_node_has_what_alerts_ask_for() -> None:
    """So a quiet alert is not one that has nothing to look at."""
    there = {name.partition("{")[0] for name in cases()["healthy"]}
    assert set().union(*(asked(rule["expr"]) for rule in rules())) == there


def test_every_alert_fires_and_is_quiet_in_some_case() -> None:
    """None is without a case of each kind."""
    fires: set[str] = set()
    quiet: set[str] = set()
    for case in cases()["tests"]:
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
        said = rule["annotations"]
        assert said.keys() == {"summary", "description", "runbook_url"}, rule["alert"]
        assert said["runbook_url"] == f"docs/runbook/{rule['alert']}.md"
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}


def tuning(rule: Raw) -> Raw:
    """What the chart's value of an alert is to be, but for `enabled`."""
    found = {"for": rule["for"], "severity": rule["labels"]["severity"]}
    match = re.search(r"(?:>=?|<) ([0-9.]+)$", rule["expr"])
    # `== 0` and `== 1` are what the metric says, and nothing to be tuned.
    return {**found, "threshold": float(match[1])} if match else found


def test_every_alert_has_its_value() -> None:
    """The chart's defaults are what the file says, each alert in its order."""
    defaults = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))[ALERTS]
    assert list(defaults) == [rule["alert"] for rule in rules()]
    for rule in rules():
        value = defaults[rule["alert"]]
        assert value == {"enabled": value["enabled"], **tuning(rule)}
    assert all(value["enabled"] for value in defaults.values())


def rule_spec(values: Raw) -> Any:
    """The alerts of the PrometheusRule, by name."""
    enabled = {"prometheusRule": {"enabled": True}}
    groups = render(merged(enabled, values)).of("PrometheusRule")["spec"]["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def test_the_prometheusrule_holds_them_as_they_are() -> None:
    """Under the job's name that metrics.job gives."""
    on = {ALERTS: {rule["alert"]: {"enabled": True} for rule in rules()}}
    assert rule_spec(on) == {rule["alert"]: rule for rule in rules()}
    renamed = {
        rule["alert"]: {
            **rule,
            "expr": rule["expr"].replace('job="ipvsctl"', 'job="kube-proxy"'),
        }
        for rule in rules()
    }
    assert rule_spec({**on, "metrics": {"job": "kube-proxy"}}) == renamed


def test_every_alert_can_be_tuned(tmp_path: Path) -> None:
    """Duration, severity and threshold; promtool can read the result."""
    wanted = {
        rule["alert"]: {
            "enabled": True,
            "for": "7h",
            "severity": "page",
            **({"threshold": 1234.5} if "threshold" in tuning(rule) else {}),
        }
        for rule in rules()
    }
    found = rule_spec({ALERTS: wanted})
    for rule in rules():
        tuned = found[rule["alert"]]
        assert (tuned["for"], tuned["labels"]) == ("7h", {"severity": "page"})
        if "threshold" in tuning(rule):
            assert tuned["expr"].endswith(" 1234.5")
            left = tuned["expr"].removesuffix("1234.5")
            assert rule["expr"].startswith(left)
        else:
            assert tuned["expr"] == rule["expr"]
    text = yaml.safe_dump({"groups": [{"name": "x", "rules": [*found.values()]}]})
    (tmp_path / "rules.yaml").write_text(text)
    promtool("check", "rules", "rules.yaml", where=tmp_path)


def test_all_alerts_can_be_off() -> None:
    """The PrometheusRule is empty then, and there."""
    off = {ALERTS: {rule["alert"]: {"enabled": False} for rule in rules()}}
    assert rule_spec(off) == {}
