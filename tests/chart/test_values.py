"""Every value does what its description says, and nothing is left out."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import yaml

from tests.chart.rendered import Raw, Rendered, merged, render, tree
from tests.chart.values import ALERTS, CHART, readme, values

pytestmark = pytest.mark.chart

SCRAPED = {"config": {"metricsBindAddress": "0.0.0.0:10249"}}
POD_MONITOR = {**SCRAPED, "podMonitor": {"enabled": True}}
SERVICE_MONITOR = {**SCRAPED, "serviceMonitor": {"enabled": True}}
RULE = {"prometheusRule": {"enabled": True}}
DASHBOARD = {"grafanaDashboard": {"enabled": True}}
EXISTING = {"existingConfigMap": {"name": "kube-proxy"}}
LOADS = {"loadModules": True}
TUNNELS = {"tunnels": True}
NO_ACCOUNT = {"serviceAccount": {"create": False, "name": "other"}}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One value, changed.

    Attributes:
        path: of the value.
        value: what it is changed to.
        look: where that is to be seen.
        expected: what is to be seen there, and was not before.
        base: values that are set before and after.
    """

    path: str
    value: Any
    look: Callable[[Rendered], Any]
    expected: Any
    base: Raw = field(default_factory=dict)


def name(kind: str) -> Callable[[Rendered], Any]:
    """The name of the only object of a kind."""
    return lambda seen: seen.of(kind)["metadata"]["name"]


def has_tunnels(seen: Rendered) -> tuple[bool, ...]:
    """Whether there is what tunnels need of the cluster, one by one."""
    return tuple(map(seen.has, ("Namespace", "Role", "RoleBinding")))


def pod(*path: str) -> Callable[[Rendered], Any]:
    """A field of the pod's spec."""
    return lambda seen: at(seen.pod, *path)


def container(*path: str) -> Callable[[Rendered], Any]:
    """A field of the container."""
    return lambda seen: at(seen.container, *path)


def metadata(kind: str, *path: str) -> Callable[[Rendered], Any]:
    """A field of the metadata of the only object of a kind."""
    return lambda seen: at(seen.of(kind)["metadata"], *path)


def pod_metadata(*path: str) -> Callable[[Rendered], Any]:
    """A field of the metadata of the pods."""
    return lambda seen: at(seen.of("DaemonSet")["spec"]["template"]["metadata"], *path)


def update(*path: str) -> Callable[[Rendered], Any]:
    """A field of the way pods are replaced."""
    return lambda seen: at(seen.of("DaemonSet")["spec"]["updateStrategy"], *path)


def variable(key: str) -> Callable[[Rendered], Any]:
    """A variable of the container."""
    return lambda seen: seen.env.get(key)


def argument(text: str) -> Callable[[Rendered], Any]:
    """Whether the container has an argument."""
    return lambda seen: text in seen.container["args"]


def is_there(kind: str) -> Callable[[Rendered], Any]:
    """Whether there is an object of a kind."""
    return lambda seen: seen.has(kind)


def scrape(kind: str, *path: str) -> Callable[[Rendered], Any]:
    """A field of what a monitor scrapes."""
    key = {"PodMonitor": "podMetricsEndpoints", "ServiceMonitor": "endpoints"}[kind]
    return lambda seen: at(seen.of(kind)["spec"][key][0], *path)


def settings(seen: Rendered) -> Any:
    """The configuration file."""
    return yaml.safe_load(seen.of("ConfigMap")["data"]["config.conf"])


def config_volume(seen: Rendered) -> Any:
    """The ConfigMap that is mounted."""
    (volume,) = (item for item in seen.pod["volumes"] if item["name"] == "config")
    return volume["configMap"]["name"]


def init(seen: Rendered) -> Any:
    """The command of the container that comes first."""
    return seen.pod["initContainers"][0]["command"]


def mounts(seen: Rendered) -> Any:
    """Where the container has something of the host's."""
    return [item["mountPath"] for item in seen.container["volumeMounts"]]


def at(found: Any, *path: str) -> Any:
    """What is there under these keys, if anything."""
    for key in path:
        found = (found or {}).get(key)
    return found


def probe_rows(probe: str) -> list[Row]:
    """The values of one probe."""
    return [
        Row(path=f"{probe}.{key}", value=77, look=container(probe, key), expected=77)
        for key in ("periodSeconds", "timeoutSeconds", "failureThreshold")
    ]


def monitor_rows(value: str, kind: str, base: Raw) -> list[Row]:
    """The values of one kind of monitor."""
    return [
        Row(
            path=f"{value}.enabled",
            value=True,
            look=is_there(kind),
            expected=True,
            base=SCRAPED,
        ),
        Row(
            path=f"{value}.labels",
            value={"release": "prometheus"},
            look=metadata(kind, "labels", "release"),
            expected="prometheus",
            base=base,
        ),
        Row(
            path=f"{value}.interval",
            value="7s",
            look=scrape(kind, "interval"),
            expected="7s",
            base=base,
        ),
        Row(
            path=f"{value}.scrapeTimeout",
            value="3s",
            look=scrape(kind, "scrapeTimeout"),
            expected="3s",
            base=base,
        ),
        Row(
            path=f"{value}.relabelings",
            value=[{"action": "labeldrop", "regex": "pod"}],
            look=lambda seen: scrape(kind, "relabelings")(seen)[2:],
            expected=[{"action": "labeldrop", "regex": "pod"}],
            base=base,
        ),
        Row(
            path=f"{value}.metricRelabelings",
            value=[{"action": "drop", "sourceLabels": ["service"], "regex": "_other"}],
            look=scrape(kind, "metricRelabelings"),
            expected=[
                {"action": "drop", "sourceLabels": ["service"], "regex": "_other"}
            ],
            base=base,
        ),
    ]


def alert_rows() -> list[Row]:
    """The values of each alert; test_alerts.py has the others of its parts."""
    return [
        Row(
            path=value.path,
            value={"enabled": not value.default["enabled"]},
            look=has_alert(value.path.removeprefix(f"{ALERTS}.")),
            expected=not value.default["enabled"],
            base=RULE,
        )
        for value in values()
        if value.path.startswith(f"{ALERTS}.")
    ]


def has_alert(alert: str) -> Callable[[Rendered], Any]:
    """Whether there is an alert of a name."""
    return lambda seen: alert in {rule["alert"] for rule in rules_of(seen)}


def rules_of(seen: Rendered) -> Any:
    """All alerts of the PrometheusRule."""
    (group,) = seen.of("PrometheusRule")["spec"]["groups"]
    return group["rules"]


AFFINITY = {
    "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [
                {"matchExpressions": [{"key": "pool", "operator": "Exists"}]}
            ]
        }
    }
}
DIGEST = f"sha256:{'0' * 64}"

ROWS = (
    Row(
        path="nameOverride",
        value="balancer",
        look=name("DaemonSet"),
        expected="proxy-balancer",
    ),
    Row(
        path="fullnameOverride",
        value="balancer",
        look=name("DaemonSet"),
        expected="balancer",
    ),
    Row(
        path="image.repository",
        value="example.net/x",
        look=container("image"),
        expected="example.net/x:0.1.0",
    ),
    Row(
        path="image.tag",
        value="v9",
        look=container("image"),
        expected="ipvsctl:v9",
    ),
    Row(
        path="image.digest",
        value=DIGEST,
        look=container("image"),
        expected=f"ipvsctl@{DIGEST}",
        base={"image": {"tag": "v9"}},
    ),
    Row(
        path="image.pullPolicy",
        value="Always",
        look=container("imagePullPolicy"),
        expected="Always",
    ),
    Row(
        path="imagePullSecrets",
        value=[{"name": "registry"}],
        look=pod("imagePullSecrets"),
        expected=[{"name": "registry"}],
    ),
    Row(
        path="apiServer.host",
        value="fd00::5",
        look=variable("KUBERNETES_SERVICE_HOST"),
        expected="fd00::5",
    ),
    Row(
        path="apiServer.port",
        value=443,
        look=variable("KUBERNETES_SERVICE_PORT"),
        expected="443",
        base={"apiServer": {"host": "api.example.net"}},
    ),
    Row(
        path="config",
        value={"clusterCIDR": "10.0.0.0/8", "ipvs": {"scheduler": "sh"}},
        look=settings,
        expected={
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "ipvs",
            "clusterCIDR": "10.0.0.0/8",
            "ipvs": {"scheduler": "sh"},
        },
    ),
    Row(
        path="existingConfigMap.name",
        value="kube-proxy",
        look=config_volume,
        expected="kube-proxy",
    ),
    Row(
        path="existingConfigMap.configKey",
        value="proxy.yaml",
        look=argument("--config=/var/lib/kube-proxy/proxy.yaml"),
        expected=True,
        base=EXISTING,
    ),
    Row(
        path="existingConfigMap.kubeconfigKey",
        value="kc",
        look=variable("IPVSCTL_KUBECONFIG"),
        expected="/var/lib/kube-proxy/kc",
        base=EXISTING,
    ),
    Row(
        path="serviceProxyName",
        value="ipvsctl",
        look=variable("IPVSCTL_SERVICE_PROXY_NAME"),
        expected="ipvsctl",
        base={
            "config": {
                "healthzBindAddress": "0.0.0.0:10266",
                "metricsBindAddress": "127.0.0.1:10259",
            }
        },
    ),
    Row(
        path="loadModules",
        value=True,
        look=lambda seen: at(seen.pod, "initContainers") is not None,
        expected=True,
    ),
    Row(
        path="modules",
        value=["ip_vs"],
        look=lambda seen: init(seen)[3:],
        expected=["--", "ip_vs", "ip_vs_lc"],
        base={**LOADS, "config": {"ipvs": {"scheduler": "lc"}}},
    ),
    Row(
        path="firewall",
        value="nftables",
        look=variable("IPVSCTL_FIREWALL"),
        expected="nftables",
    ),
    Row(
        path="iptablesCleanup",
        value=False,
        look=container("securityContext", "capabilities", "add"),
        expected=["NET_ADMIN"],
        base={"firewall": "nftables"},
    ),
    Row(
        path="firewallModules.iptables",
        value=["xt_a"],
        look=lambda seen: init(seen)[-2:],
        expected=["xt_a", "ip_vs_rr"],
        base={**LOADS, "firewall": "iptables"},
    ),
    Row(
        path="firewallModules.nftables",
        value=["nft_a"],
        look=lambda seen: init(seen)[-2:],
        expected=["nft_a", "ip_vs_rr"],
        base={**LOADS, "firewall": "nftables"},
    ),
    Row(
        path="preflight",
        value="require",
        look=lambda seen: [
            (one["name"], one["args"][0], "command" in one)
            for one in at(seen.pod, "initContainers") or ()
        ],
        expected=[("preflight", "check", False)],
    ),
    Row(
        path="hostSysctls",
        value=False,
        look=mounts,
        expected=["/var/lib/kube-proxy", "/run/xtables.lock", "/run/ipvsctl"],
    ),
    Row(path="hostPID", value=True, look=pod("hostPID"), expected=True),
    Row(
        path="privileged",
        value=True,
        look=container("securityContext"),
        expected={"privileged": True, "readOnlyRootFilesystem": True},
    ),
    Row(
        path="seLinuxOptions",
        value={"type": "proxy_t"},
        look=pod("securityContext", "seLinuxOptions", "type"),
        expected="proxy_t",
    ),
    Row(
        path="seccompLocalhostProfile",
        value="ipvsctl/seccomp.json",
        look=container("securityContext", "seccompProfile"),
        expected={"type": "Localhost", "localhostProfile": "ipvsctl/seccomp.json"},
    ),
    Row(
        path="resources",
        value={"limits": {"memory": "1Gi"}},
        look=container("resources", "limits"),
        expected={"memory": "1Gi"},
    ),
    Row(
        path="priorityClassName",
        value="x",
        look=pod("priorityClassName"),
        expected="x",
    ),
    Row(path="tolerations", value=[], look=pod("tolerations"), expected=None),
    Row(
        path="nodeSelector",
        value={"pool": "a"},
        look=pod("nodeSelector"),
        expected={"kubernetes.io/os": "linux", "pool": "a"},
    ),
    Row(path="affinity", value=AFFINITY, look=pod("affinity"), expected=AFFINITY),
    Row(
        path="updateStrategy.type",
        value="OnDelete",
        look=update(),
        expected={"type": "OnDelete"},
    ),
    Row(
        path="updateStrategy.maxUnavailable",
        value="10%",
        look=update("rollingUpdate", "maxUnavailable"),
        expected="10%",
    ),
    Row(
        path="terminationGracePeriodSeconds",
        value=77,
        look=pod("terminationGracePeriodSeconds"),
        expected=77,
    ),
    Row(
        path="dnsPolicy",
        value="ClusterFirstWithHostNet",
        look=pod("dnsPolicy"),
        expected="ClusterFirstWithHostNet",
    ),
    Row(
        path="logFormat",
        value="console",
        look=argument("--log-format=console"),
        expected=True,
    ),
    Row(path="verbose", value=True, look=argument("--verbose"), expected=True),
    Row(
        path="extraArgs",
        value=["--drain-timeout=1h"],
        look=argument("--drain-timeout=1h"),
        expected=True,
    ),
    Row(
        path="extraEnv",
        value=[{"name": "TZ", "value": "UTC"}],
        look=variable("TZ"),
        expected="UTC",
    ),
    Row(
        path="extraVolumes",
        value=[{"name": "certs", "hostPath": {"path": "/etc/ssl/certs"}}],
        look=lambda seen: seen.pod["volumes"][-1],
        expected={"name": "certs", "hostPath": {"path": "/etc/ssl/certs"}},
    ),
    Row(
        path="extraVolumeMounts",
        value=[{"name": "certs", "mountPath": "/etc/ssl/certs", "readOnly": True}],
        look=lambda seen: seen.container["volumeMounts"][-1],
        expected={"name": "certs", "mountPath": "/etc/ssl/certs", "readOnly": True},
        base={"extraVolumes": [{"name": "certs", "emptyDir": {}}]},
    ),
    Row(
        path="podAnnotations",
        value={"a": "b"},
        look=pod_metadata("annotations", "a"),
        expected="b",
    ),
    Row(
        path="podLabels",
        value={"a": "b"},
        look=pod_metadata("labels", "a"),
        expected="b",
    ),
    *probe_rows("startupProbe"),
    *probe_rows("livenessProbe"),
    *probe_rows("readinessProbe"),
    Row(
        path="serviceAccount.create",
        value=False,
        look=is_there("ServiceAccount"),
        expected=False,
        base={"serviceAccount": {"name": "other"}},
    ),
    Row(
        path="serviceAccount.name",
        value="another",
        look=pod("serviceAccountName"),
        expected="another",
        base=NO_ACCOUNT,
    ),
    Row(
        path="serviceAccount.annotations",
        value={"a": "b"},
        look=metadata("ServiceAccount", "annotations"),
        expected={"a": "b"},
    ),
    Row(
        path="rbac.create",
        value=False,
        look=lambda seen: (seen.has("ClusterRole"), seen.has("ClusterRoleBinding")),
        expected=(False, False),
    ),
    Row(
        path="rbac.create",
        value=False,
        look=lambda seen: (seen.has("Role"), seen.has("RoleBinding")),
        expected=(False, False),
        base=TUNNELS,
    ),
    Row(
        path="tunnels",
        value=True,
        look=has_tunnels,
        expected=(True, True, True),
    ),
    Row(
        path="config",
        value={"ipvsctl": {"tunnelPort": 6080}},
        look=has_tunnels,
        expected=(True, True, True),
    ),
    Row(
        path="tunnelModules",
        value=["fou6"],
        look=lambda seen: seen.pod["initContainers"][0]["command"][-2],
        expected="fou6",
        base={**LOADS, **TUNNELS},
    ),
    Row(
        path="metrics.job",
        value="kube-proxy",
        look=scrape("PodMonitor", "relabelings"),
        expected=[
            {"targetLabel": "job", "replacement": "kube-proxy"},
            {
                "sourceLabels": ["__meta_kubernetes_pod_node_name"],
                "targetLabel": "node",
            },
        ],
        base=POD_MONITOR,
    ),
    Row(
        path="metrics.job",
        value="kube-proxy",
        look=lambda seen: 'job="kube-proxy"' in str(seen.of("PrometheusRule")),
        expected=True,
        base=RULE,
    ),
    *monitor_rows("podMonitor", "PodMonitor", POD_MONITOR),
    *monitor_rows("serviceMonitor", "ServiceMonitor", SERVICE_MONITOR),
    Row(
        path="prometheusRule.enabled",
        value=True,
        look=is_there("PrometheusRule"),
        expected=True,
    ),
    Row(
        path="prometheusRule.labels",
        value={"release": "prometheus"},
        look=metadata("PrometheusRule", "labels", "release"),
        expected="prometheus",
        base=RULE,
    ),
    Row(
        path="prometheusRule.runbookUrl",
        value="https://docs.example.net/{alert}/",
        look=lambda seen: rules_of(seen)[0]["annotations"]["runbook_url"],
        expected="https://docs.example.net/IpvsctlDown/",
        base=RULE,
    ),
    *alert_rows(),
    Row(
        path="grafanaDashboard.enabled",
        value=True,
        look=lambda seen: sum(item["kind"] == "ConfigMap" for item in seen.objects),
        expected=2,
    ),
    Row(
        path="grafanaDashboard.labels",
        value={"folder": "x"},
        look=lambda seen: seen.of("ConfigMap")["metadata"]["labels"].get("folder"),
        expected="x",
        base={**DASHBOARD, **EXISTING},
    ),
    Row(
        path="grafanaDashboard.annotations",
        value={"folder": "x"},
        look=metadata("ConfigMap", "annotations"),
        expected={"folder": "x"},
        base={**DASHBOARD, **EXISTING},
    ),
)


@pytest.mark.parametrize("row", ROWS, ids=[row.path for row in ROWS])
def test_a_value_is_seen_in_its_place(row: Row) -> None:
    """Changed alone it changes what it is for."""
    assert row.look(render(row.base)) != row.expected
    changed = merged(row.base, tree(row.path, row.value))
    assert row.look(render(changed)) == row.expected


def test_every_value_has_a_row() -> None:
    """What is in values.yaml is tested here, and the other way round."""
    documented = [value.path for value in values()]
    assert sorted({row.path for row in ROWS}) == sorted(documented)
    assert sorted(leaves(yaml.safe_load((CHART / "values.yaml").read_text()))) == (
        sorted(documented)
    )


def leaves(found: Raw, prefix: str = "") -> list[str]:
    """Paths of all values; a mapping that a user fills is one of them."""
    documented = {value.path for value in values()}
    paths = []
    for key, value in found.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict) and path not in documented:
            paths += leaves(value, f"{path}.")
        else:
            paths.append(path)
    return paths


def test_the_readme_has_them_all() -> None:
    """`python -m tests.chart.values` writes its table."""
    assert (CHART / "README.md").read_text(encoding="utf-8") == readme()
