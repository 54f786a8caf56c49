"""What the chart asks of a cluster and of its nodes, and what it says."""

import base64
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from ipvsctl.cluster.config.config_file import parse_config
from ipvsctl.cluster.config.flags import FLAGS
from ipvsctl.kernel.modules import REQUIRED_MODULES
from ipvsctl.kernel.node_facts import FIREWALL_MODULES
from ipvsctl.model.config import FirewallKind
from tests.chart.rendered import CI_VALUES, Rendered, notes, render, run_helm
from tests.chart.values import CHART

pytestmark = pytest.mark.chart

TRIAL = {
    "serviceProxyName": "ipvsctl",
    "config": {
        "healthzBindAddress": "0.0.0.0:10266",
        "metricsBindAddress": "127.0.0.1:10259",
    },
}
OPERATORS = "monitoring.coreos.com/v1"


def values_of(path: Path) -> Any:
    """A file of values."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.fixture(
    params=[None, *CI_VALUES], ids=lambda path: path.stem if path else "default"
)
def rendered(request: pytest.FixtureRequest) -> Rendered:
    """The chart with its own values, and with each file of `ci/`."""
    return render(values_of(request.param) if request.param else None)


@pytest.mark.parametrize("path", CI_VALUES, ids=lambda path: path.stem)
def test_helm_has_nothing_to_say_about_it(path: Path) -> None:
    """Not even a warning."""
    said = run_helm("lint", "--strict", str(CHART), values=values_of(path))
    assert "[WARNING]" not in said


@pytest.mark.parametrize("version", ["1.27", "1.36"])
def test_an_api_server_takes_it(rendered: Rendered, version: str) -> None:
    """No field is unknown, missing or of the wrong type."""
    for item in rendered.objects:
        if item["apiVersion"] != OPERATORS:
            kubernetes_validate.validate(item, version, strict=True)


def test_ipvsctl_takes_its_configuration(rendered: Rendered) -> None:
    """Without a warning about a field that has no effect or that nobody knows."""
    files = [item["data"] for item in rendered.objects if item["kind"] == "ConfigMap"]
    texts = [data["config.conf"] for data in files if "config.conf" in data]
    for text in texts:
        _, warnings = parse_config(text, "config.conf")
        # The two addresses have an effect once something is served there.
        served = ("healthzBindAddress", "metricsBindAddress")
        assert [said for said in warnings if not said.startswith(served)] == []


def test_every_variable_is_known(rendered: Rendered) -> None:
    """A setting that nobody reads would be a wish."""
    known = {flag.variable for flag in FLAGS}
    ours = {name for name in rendered.env if name.startswith("IPVSCTL_")}
    assert ours <= known


def test_rights_on_the_node(default: Rendered) -> None:
    """Two capabilities, a read-only root, and three things of the host's."""
    assert default.container["securityContext"] == {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN", "NET_RAW"]},
    }
    assert default.pod["securityContext"] == {
        "runAsUser": 0,
        "runAsGroup": 0,
        "seccompProfile": {"type": "RuntimeDefault"},
        "seLinuxOptions": {"type": "spc_t", "level": "s0"},
    }
    assert default.pod["hostNetwork"] is True
    assert not {"hostPID", "hostIPC", "initContainers"} & default.pod.keys()
    hosts = {
        volume["hostPath"]["path"]: volume["hostPath"]["type"]
        for volume in default.pod["volumes"]
        if "hostPath" in volume
    }
    assert hosts == {
        "/run/xtables.lock": "FileOrCreate",
        "/run/ipvsctl": "DirectoryOrCreate",
        "/proc/sys/net": "Directory",
    }


def test_sysctls_are_where_the_mount_is(default: Rendered) -> None:
    """`/proc/sys/net` of the host, and the variable that leads there."""
    places = [mount["mountPath"] for mount in default.container["volumeMounts"]]
    assert f"{default.env['IPVSCTL_PROC_SYS']}/net" in places
    privileged = render({"privileged": True})
    assert "IPVSCTL_PROC_SYS" not in privileged.env
    assert "/host" not in str(privileged.pod)


def test_the_icon_is_the_file() -> None:
    """It is in the chart's description, since there is no place that would have it."""
    found = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))["icon"]
    kind, _, encoded = found.partition(";base64,")
    assert kind == "data:image/svg+xml"
    assert base64.b64decode(encoded) == (CHART / "files" / "icon.svg").read_bytes()


def test_a_preflight_sees_what_the_daemon_will_see() -> None:
    """Configuration, variables and rights are the same; its report never fails."""
    more = {
        "serviceProxyName": "ipvsctl",
        "apiServer": {"host": "10.0.0.5"},
        "extraEnv": [{"name": "A", "value": "b"}],
        "extraVolumes": [{"name": "x", "emptyDir": {}}],
        "extraVolumeMounts": [{"name": "x", "mountPath": "/x"}],
        "config": {
            "healthzBindAddress": "0.0.0.0:1",
            "metricsBindAddress": "0.0.0.0:2",
        },
    }
    seen = render({**more, "preflight": "report"})
    (preflight,) = seen.pod["initContainers"]
    for key in ("image", "env", "volumeMounts", "securityContext", "resources"):
        assert preflight.get(key) == seen.container.get(key), key
    assert preflight["args"] == ["check", seen.container["args"][1]]
    assert {"name": "A", "value": "b"} in preflight["env"]
    command = ["sh", "-c", preflight["command"][2].replace("ipvsctl", "false"), "x"]
    assert subprocess.run([*command, "check"], check=False).returncode == 0


def test_each_capability_has_its_reason() -> None:
    """A comment stands right above it."""
    lines = [
        line.strip()
        for name in ("daemonset.yaml", "_container.tpl")
        for line in (CHART / "templates" / name).read_text("utf-8").splitlines()
    ]
    names = ("- NET_ADMIN", "- NET_RAW", "- SYS_MODULE")
    found = {line: lines[at - 1] for at, line in enumerate(lines) if line in names}
    assert sorted(found) == sorted(names)
    assert all(above.startswith("# ") for above in found.values())


def test_only_the_first_container_loads_modules() -> None:
    """The one that stays has the same rights as without."""
    loading = render({"loadModules": True})
    (first,) = loading.pod["initContainers"]
    assert first["securityContext"]["capabilities"] == {
        "drop": ["ALL"],
        "add": ["SYS_MODULE"],
    }
    assert first["command"][4:] == [*REQUIRED_MODULES, "ip_vs_rr"]
    places = [mount["mountPath"] for mount in loading.container["volumeMounts"]]
    assert "/lib/modules" not in places
    assert loading.container == render().container


@pytest.mark.parametrize("kind", [FirewallKind.IPTABLES, FirewallKind.NFTABLES])
@pytest.mark.parametrize(
    "values",
    [
        lambda kind: {"firewall": kind},
        lambda kind: {"config": {"ipvsctl": {"firewall": kind}}},
    ],
)
def test_a_firewall_that_is_asked_for_has_its_modules(
    kind: FirewallKind, values: Callable[[str], Any]
) -> None:
    """All that `check` looks for, none of the other's; one that is missing fails."""
    loading = render({"loadModules": True, **values(kind.value)})
    (first,) = loading.pod["initContainers"]
    assert first["command"] == [
        *("modprobe", "--all", "--"),
        *(*REQUIRED_MODULES, *FIREWALL_MODULES[kind], "ip_vs_rr"),
    ]


@pytest.mark.parametrize(
    ("lacking", "loaded"),
    [
        ((), ("iptables", "all")),
        (("xt_set",), ("iptables", "nftables", "all")),
        (("xt_set", "nft_masq"), ("iptables", "nftables", "all")),
    ],
)
def test_auto_tries_one_firewall_and_then_the_other(
    tmp_path: Path, lacking: tuple[str, ...], loaded: tuple[str, ...]
) -> None:
    """Neither has to be there; what every node needs has to."""
    log = tmp_path / "log"
    refused = "".join(f"*' {name} '*) exit 1;; " for name in lacking)
    fake = tmp_path / "modprobe"
    fake.write_text(
        f'#!/bin/sh\necho "$*" >>{log}\ncase " $* " in {refused} *) ;; esac\n'
    )
    fake.chmod(0o755)
    (first,) = render({"loadModules": True}).pod["initContainers"]
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    assert subprocess.run(first["command"], env=env, check=False).returncode == 0
    kinds = {
        "iptables": FIREWALL_MODULES[FirewallKind.IPTABLES],
        "nftables": FIREWALL_MODULES[FirewallKind.NFTABLES],
        "all": (*REQUIRED_MODULES, "ip_vs_rr"),
    }
    assert log.read_text().splitlines() == [
        " ".join(("--all", "--", *kinds[kind])) for kind in loaded
    ]


def test_nftables_asks_nothing_of_iptables() -> None:
    """Not the lock, and not by what `config` says either."""
    chosen: list[dict[str, Any]] = [
        {"firewall": "nftables"},
        {"config": {"ipvsctl": {"firewall": "nftables"}}},
        {"firewall": "nftables", "preflight": "report", "loadModules": True},
    ]
    for values in chosen:
        seen = render({**values, "iptablesCleanup": False})
        assert "xtables" not in str(seen.pod)
        assert "NET_RAW" not in str(seen.pod)
        # What iptables has left could not be removed without.
        switched = str(render(values).pod)
        assert "xtables" in switched
        assert "NET_RAW" in switched
    assert "xtables" in str(render({"firewall": "iptables"}).pod)
    both = {"firewall": "nftables", "compatibility": "kube-proxy"}
    assert "xtables" in str(render({"config": {"ipvsctl": both}}).pod)


def test_rights_in_the_cluster(default: Rendered) -> None:
    """What is watched, and events; no secrets, nothing is changed or deleted."""
    assert default.of("ClusterRole")["rules"] == [
        {
            "apiGroups": [""],
            "resources": ["services", "nodes"],
            "verbs": ["list", "watch"],
        },
        {
            "apiGroups": ["discovery.k8s.io"],
            "resources": ["endpointslices"],
            "verbs": ["list", "watch"],
        },
        {
            "apiGroups": ["events.k8s.io"],
            "resources": ["events"],
            "verbs": ["create"],
        },
    ]
    binding = default.of("ClusterRoleBinding")
    assert binding["roleRef"]["name"] == default.of("ClusterRole")["metadata"]["name"]
    assert binding["subjects"] == [
        {
            "kind": "ServiceAccount",
            "name": default.of("ServiceAccount")["metadata"]["name"],
            "namespace": "kube-system",
        }
    ]
    assert default.pod["serviceAccountName"] == binding["subjects"][0]["name"]


def test_every_node_one_at_a_time(default: Rendered) -> None:
    """Tainted ones too; two never meet on one."""
    assert default.pod["tolerations"] == [{"operator": "Exists"}]
    assert default.pod["priorityClassName"] == "system-node-critical"
    assert default.of("DaemonSet")["spec"]["updateStrategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0},
    }


def test_probes_ask_where_it_listens() -> None:
    """Port and, for an address of loopback, host are those of healthzBindAddress."""
    ways: dict[str, dict[str, object]] = {
        "0.0.0.0:10266": {"port": 10266},
        "[::]:10256": {"port": 10256},
        "127.0.0.1:10256": {"port": 10256, "host": "127.0.0.1"},
        "[::1]:10256": {"port": 10256, "host": "::1"},
    }
    paths = {
        "startupProbe": "/livez",
        "livenessProbe": "/livez",
        "readinessProbe": "/readyz",
    }
    for address, expected in ways.items():
        container = render({"config": {"healthzBindAddress": address}}).container
        asked = {probe: container[probe]["httpGet"] for probe in paths}
        assert asked == {
            probe: {"path": path, **expected} for probe, path in paths.items()
        }


def test_a_changed_configuration_is_a_changed_pod() -> None:
    """So pods start again, one at a time; an existing ConfigMap is not ours to read."""

    def checksum(rendered: Rendered) -> str | None:
        template = rendered.of("DaemonSet")["spec"]["template"]
        found: str | None = template["metadata"]["annotations"].get("checksum/config")
        return found

    assert checksum(render()) == checksum(render({"verbose": True}))
    scheduler = {"config": {"ipvs": {"scheduler": "lc"}}}
    assert checksum(render()) != checksum(render(scheduler))
    existing = {"existingConfigMap": {"name": "kube-proxy"}}
    assert checksum(render(existing)) is None
    other = {"config": {"ipvs": {"scheduler": "sh"}}}
    assert checksum(render({**existing, **scheduler})) is not None
    assert checksum(render({**existing, **scheduler})) != checksum(
        render({**existing, **other})
    )


def test_kubeadms_configmap_is_used_as_it_is() -> None:
    """Mounted where its own kubeconfig line expects it; no other is made."""
    rendered = render(values_of(CHART / "ci" / "kubeadm-values.yaml"))
    assert not rendered.has("ConfigMap")
    assert "initContainers" not in rendered.pod
    assert "--config=/var/lib/kube-proxy/config.conf" in rendered.container["args"]
    assert rendered.env["IPVSCTL_KUBECONFIG"] == "/var/lib/kube-proxy/kubeconfig.conf"


def test_notes_name_the_next_two_commands() -> None:
    """And the test, and nothing else, where nothing is amiss."""
    said = notes(
        {"apiServer": {"host": "10.0.0.5"}, "config": {"clusterCIDR": "10.0.0.0/8"}}
    )
    commands = [line.strip() for line in said.splitlines() if line.startswith("  ")]
    assert commands == [
        "kubectl -n kube-system rollout status daemonset/proxy-ipvsctl",
        (
            "kubectl -n kube-system exec daemonset/proxy-ipvsctl --"
            " ipvsctl status default/kubernetes"
        ),
        "helm test proxy --namespace kube-system --logs",
    ]
    assert "WARNING" not in said


def test_notes_name_selectors_as_kubectl_takes_them() -> None:
    """Words for `-l`, not JSON."""
    first = notes({"nodeSelector": {"pool": "a"}}).splitlines()[0]
    assert "every node with kubernetes.io/os=linux,pool=a. Next" in first
    assert "every node. Next" in notes({"nodeSelector": None})


@pytest.mark.parametrize(
    ("values", "warning"),
    [
        ({}, "apiServer.host is not set"),
        ({}, "config.clusterCIDR is not set"),
        ({"privileged": True}, "the container is privileged"),
        ({"hostSysctls": False}, "hostSysctls is false"),
        ({"existingConfigMap": {"name": "kube-proxy"}}, "Probes ask port 10256"),
        (
            {
                "existingConfigMap": {"name": "kube-proxy"},
                "config": {"ipvs": {"scheduler": "lc"}},
            },
            "and over it what `config` says",
        ),
        (TRIAL, "service.kubernetes.io/service-proxy-name=ipvsctl"),
        ({"tunnels": True}, "module fou"),
    ],
)
def test_notes_warn(values: Any, warning: str) -> None:
    """Of what works at first and fails later."""
    assert warning in notes(values)


@pytest.mark.parametrize(
    ("values", "warning"),
    [
        (TRIAL, "apiServer.host"),
        ({"existingConfigMap": {"name": "kube-proxy"}}, "apiServer.host"),
        ({"existingConfigMap": {"name": "kube-proxy"}}, "config.clusterCIDR"),
        ({"config": {"detectLocalMode": "NodeCIDR"}}, "config.clusterCIDR"),
        ({"config": {"clusterCIDR": "10.0.0.0/8"}}, "config.clusterCIDR"),
    ],
)
def test_notes_do_not_warn_in_vain(values: Any, warning: str) -> None:
    """Of what is well as it is."""
    assert f"WARNING: {warning}" not in notes(values)
