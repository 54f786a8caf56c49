"""The schema refuses what the chart could not use, and says what and where."""

import json
from typing import Any

import jsonschema
import pytest

from tests.chart.rendered import Refused, render, tree
from tests.chart.schema import FILE, made
from tests.chart.values import values

pytestmark = pytest.mark.chart

SCHEMA = json.loads(FILE.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("hostSysctl", False, "additional properties 'hostSysctl' not allowed"),
        ("image.name", "x", "additional properties 'name' not allowed"),
        ("image.repository", "", "/image/repository"),
        ("image.digest", "sha256:12", "/image/digest"),
        ("image.pullPolicy", "always", "'Always', 'IfNotPresent', 'Never'"),
        ("apiServer.host", "https://10.0.0.5", "/apiServer/host"),
        ("apiServer.port", "6443", "/apiServer/port"),
        ("apiServer.port", 65536, "/apiServer/port"),
        ("config.healthzBindAddress", "0.0.0.0", "/config/healthzBindAddress"),
        ("config.metricsBindAddress", "::1:10249", "/config/metricsBindAddress"),
        ("config.healthzBindAddress", "0.0.0.0:0", "/config/healthzBindAddress"),
        ("config.mode", "ipvs", "/config/mode"),
        ("config.clusterCidr", "10.0.0.0/8", "additional properties 'clusterCidr'"),
        ("config.ipvs.sheduler", "lc", "/config/ipvs': additional properties"),
        ("config.ipvs.scheduler", "lcc", "/config/ipvs/scheduler"),
        ("config.ipvs.syncPeriod", 30, "/config/ipvs/syncPeriod"),
        ("config.ipvsctl.drainTimeout", "15", "/config/ipvsctl/drainTimeout"),
        ("config.conntrack.min", "1", "/config/conntrack/min"),
        ("serviceProxyName", "-x", "/serviceProxyName"),
        ("modules", ["ip_vs; reboot"], "/modules/0"),
        ("privileged", "yes", "/privileged"),
        ("resources", {"limit": {}}, "limit"),
        ("updateStrategy.type", "Recreate", "/updateStrategy/type"),
        ("updateStrategy.maxUnavailable", 0, "/updateStrategy/maxUnavailable"),
        ("updateStrategy.maxUnavailable", "1", "/updateStrategy/maxUnavailable"),
        ("updateStrategy.maxUnavailable", "0%", "/updateStrategy/maxUnavailable"),
        ("dnsPolicy", "ClusterFirst", "/dnsPolicy"),
        ("extraEnv", [{"value": "x"}], "/extraEnv/0"),
        ("extraVolumes", [{"emptyDir": {}}], "/extraVolumes/0"),
        ("extraVolumeMounts", [{"name": "a", "mountPath": "b"}], "/mountPath"),
        ("podMonitor.interval", 30, "/podMonitor/interval"),
        ("podMonitor.relabelings", [{"target": "a"}], "'target' not allowed"),
        ("alerts.IpvsctlLate", {"treshold": 9}, "'treshold' not allowed"),
        ("alerts.IpvsctlLate", {"threshold": "9"}, "/alerts/IpvsctlLate/threshold"),
        ("alerts.IpvsctlDown", {"threshold": 9}, "'threshold' not allowed"),
        ("alerts.IpvsctlDown", {"for": "5"}, "/alerts/IpvsctlDown/for"),
        ("alerts.IpvsctlUp", {"enabled": True}, "'IpvsctlUp' not allowed"),
        ("livenessProbe.periodSeconds", 0, "/livenessProbe/periodSeconds"),
    ],
)
def test_a_wrong_value_is_named(path: str, value: Any, says: str) -> None:
    """By its path, or by its own name where it is unknown."""
    with pytest.raises(Refused) as caught:
        render(tree(path, value))
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (
            {"podMonitor": {"enabled": True}},
            "config.metricsBindAddress: 127.0.0.1:10249 cannot be scraped",
        ),
        (
            {
                "serviceMonitor": {"enabled": True},
                "config": {"metricsBindAddress": "[::1]:10249"},
            },
            "config.metricsBindAddress: [::1]:10249 cannot be scraped",
        ),
        (
            {
                "podMonitor": {"enabled": True},
                "config": {"metricsBindAddress": "0.0.0.0:0"},
            },
            "config.metricsBindAddress: 0.0.0.0:0 is nowhere",
        ),
        (
            {
                "serviceProxyName": "x",
                "config": {"metricsBindAddress": "127.0.0.1:10259"},
            },
            "config.healthzBindAddress: with serviceProxyName",
        ),
        (
            {
                "serviceProxyName": "x",
                "config": {"healthzBindAddress": "0.0.0.0:10266"},
            },
            "config.metricsBindAddress: with serviceProxyName",
        ),
        (
            {"existingConfigMap": {"name": "x"}, "apiServer": {"host": "x"}},
            "apiServer.host: the kubeconfig of existingConfigMap",
        ),
        (
            {"privileged": True, "seccompLocalhostProfile": "ipvsctl/seccomp.json"},
            "seccompLocalhostProfile: a privileged container is under no",
        ),
        (
            {
                "firewall": "nftables",
                "config": {"ipvsctl": {"firewall": "iptables"}},
            },
            "firewall: nftables, and config.ipvsctl.firewall: iptables",
        ),
        (
            {
                "firewall": "nftables",
                "config": {"ipvsctl": {"compatibility": "kube-proxy"}},
            },
            "firewall: nftables has no effect with config.ipvsctl.compatibility",
        ),
        (
            {"serviceAccount": {"create": False}},
            "serviceAccount.name is needed",
        ),
    ],
)
def test_values_that_do_not_fit_together(given: Any, says: str) -> None:
    """Each may be right alone, so the templates refuse them."""
    with pytest.raises(Refused) as caught:
        render(given)
    assert says in str(caught.value)


def test_the_schema_is_one() -> None:
    """It follows the rules for schemas."""
    jsonschema.Draft7Validator.check_schema(SCHEMA)


def test_every_value_is_described_in_the_same_words() -> None:
    """Editors show the schema's, people read those of values.yaml."""
    found = {}
    for value in values():
        schema = SCHEMA
        for key in value.path.split("."):
            schema = schema["properties"][key]
        found[value.path] = schema["description"]
    assert found == {value.path: value.description for value in values()}


def test_nothing_unknown_is_let_in() -> None:
    """Each mapping with fixed keys refuses others, and each key is described."""

    def check(schema: Any, path: str) -> None:
        if "properties" not in schema:
            return
        # What a volume is made of, the API server knows.
        if path != "/extraVolumes":
            assert schema["additionalProperties"] is False, path
        for key, inner in schema["properties"].items():
            assert inner["description"], f"{path}/{key}"
            check(inner, f"{path}/{key}")
            check(inner.get("items", {}), f"{path}/{key}")

    check(SCHEMA, "")


def test_what_is_made_is_up_to_date() -> None:
    """`python -m tests.chart.schema` writes it."""
    assert made() == SCHEMA
