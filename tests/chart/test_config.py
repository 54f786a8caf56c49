"""The configuration: what the schema takes of it, and how it is put over another."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from ipvsctl.cluster.config.config_file import parse_config
from ipvsctl.cluster.config.fields import FIELDS, Treatment
from ipvsctl.model.errors import ConfigError
from tests.chart.rendered import Rendered, merged, render, tree
from tests.chart.schema import config_schema

pytestmark = pytest.mark.chart

HEAD = {
    "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
    "kind": "KubeProxyConfiguration",
}
EXISTING = {"existingConfigMap": {"name": "kube-proxy"}}
# As kubeadm 1.36 writes it.
KUBEADM = """\
apiVersion: kubeproxy.config.k8s.io/v1alpha1
bindAddress: 0.0.0.0
bindAddressHardFail: false
clientConnection:
  acceptContentTypes: ""
  burst: 0
  contentType: ""
  kubeconfig: /var/lib/kube-proxy/kubeconfig.conf
  qps: 0
clusterCIDR: 10.244.0.0/16
configSyncPeriod: 0s
conntrack:
  maxPerCore: null
  min: null
  tcpBeLiberal: false
  tcpCloseWaitTimeout: null
  tcpEstablishedTimeout: null
  udpStreamTimeout: 0s
  udpTimeout: 0s
detectLocal:
  bridgeInterface: ""
  interfaceNamePrefix: ""
detectLocalMode: ""
enableProfiling: false
healthzBindAddress: ""
hostnameOverride: ""
iptables:
  localhostNodePorts: null
  masqueradeAll: false
  masqueradeBit: null
  minSyncPeriod: 0s
  syncPeriod: 0s
ipvs:
  excludeCIDRs: null
  minSyncPeriod: 0s
  scheduler: ""
  strictARP: false
  syncPeriod: 0s
  tcpFinTimeout: 0s
  tcpTimeout: 0s
  udpTimeout: 0s
kind: KubeProxyConfiguration
logging:
  flushFrequency: 0
  options:
    json:
      infoBufferSize: "0"
    text:
      infoBufferSize: "0"
  verbosity: 0
metricsBindAddress: ""
mode: ipvs
nftables:
  masqueradeAll: false
  masqueradeBit: null
  minSyncPeriod: 0s
  syncPeriod: 0s
nodePortAddresses: null
oomScoreAdj: null
portRange: ""
showHiddenMetricsForVersion: ""
winkernel:
  enableDSR: false
  forwardHealthCheckVip: false
  networkName: ""
  rootHnsEndpointName: ""
  sourceVip: ""
"""

# Values that have one reader in common: those that can be used, and those that cannot.
VALUES: tuple[tuple[tuple[str, ...], tuple[Any, ...], tuple[Any, ...]], ...] = (
    (
        ("bindAddressHardFail", "ipvs.strictARP", "ipvsctl.shortCircuit"),
        (True, False, None),
        ("true", 1, ["true"]),
    ),
    (
        ("conntrack.min", "ipvsctl.serviceMetrics"),
        (0, 7, 2**31 - 1, None),
        (-1, 2**31, "7", True, ""),
    ),
    (("ipvs.syncPeriod",), ("30s", "1m30s", "1.5h", "0s", "", None), ("30", 30)),
    (("ipvs.minSyncPeriod",), ("500ms", ".5s", "20us", "20\u00b5s", "0s", ""), ("s",)),
    (("ipvsctl.drainTimeout",), ("0", "0s", "15m", None), ("", "15", "1 m", "-1s", 15)),
    (("ipvs.tcpTimeout", "conntrack.udpTimeout"), ("2h", "0s", "", None), ("2", 2)),
    (
        ("conntrack.tcpEstablishedTimeout",),
        ("0s", "24h", None),
        ("", "1d", 0),
    ),
    (
        ("clusterCIDR",),
        ("10.0.0.0/8", "10.0.0.0/8,fd00::/48", "10.0.0.0/8, fd00::/48", "", None),
        ("10.0.0.0", "pods", ["10.0.0.0/8"]),
    ),
    (
        ("ipvs.excludeCIDRs",),
        (["10.0.0.0/8", "fd00::/48"], [], None),
        ("10.0.0.0/8", ["10.0.0.0"], [8]),
    ),
    (
        ("ipvsctl.allowedExternalIPs",),
        (["10.0.0.0/8"], [], None),
        ("none", ["all"]),
    ),
    (
        ("nodePortAddresses",),
        (["primary"], ["10.0.0.0/8", "fd00::/8"], [], None),
        ("primary", ["eth0"]),
    ),
    (
        ("ipvs.scheduler",),
        ("rr", "mh", "", None),
        ("RR", "random", 1),
    ),
    (
        ("detectLocalMode",),
        ("ClusterCIDR", "NodeCIDR", "", None),
        ("clusterCIDR", "Pods"),
    ),
    (("ipvsctl.compatibility",), ("none", "kube-proxy", None), ("", "kubeproxy")),
    (
        ("ipvsctl.vipBinding",),
        ("address", "route", "auto", None),
        ("", "routes"),
    ),
    (("ipvsctl.tunnelPort",), (0, 6080, 65535, None), (-1, 65536, "6080", True)),
    (
        ("ipvsctl.externalForwarding",),
        ("masquerade", "tunnel", None),
        ("", "direct"),
    ),
    (
        ("ipvsctl.firewall",),
        ("auto", "iptables", "nftables", None),
        ("", "nft"),
    ),
    (("ipvsctl.localFallback",), ("none", "cluster", None), ("", "all")),
    (
        ("iptables.masqueradeBit",),
        (0, 14, 31, None),
        (32, -1, "14"),
    ),
    (
        ("ipvsctl.markRange",),
        ("0x20000/0xffffc000", "131072/4294950912", None),
        ("", "0x20000", 131072, "a-z/0"),
    ),
    (
        ("ipvsctl.persistenceNetmask",),
        ("24", "24,64", ",64", "255.255.255.0,48", None),
        ("a", "24;64", 24),
    ),
    (
        ("ipvsctl.reservedNodePorts",),
        ([22, 10250], [], None),
        ([0], [65536], ["22"], "22"),
    ),
    (
        ("ipvsctl.serviceProxyName",),
        ("", "ipvsctl", "a.b_c-d", None),
        ("-a", "a" * 64, 7),
    ),
    (("ipvsctl.procSys",), ("/host/proc/sys", None), ("", "proc/sys", 1)),
    (("ipvsctl.vipLink",), ("kube-ipvs0", None), ("", "a/b", "sixteen-letters0", 7)),
    (("bindAddress",), ("0.0.0.0", "::", "10.0.0.5", "", None), ("node", 7)),
    (("hostnameOverride",), ("node-1", "", None), (7, ["node-1"])),
    (
        ("healthzBindAddress",),
        ("0.0.0.0:10256", "[::]:10256", "", None),
        ("::1:x", ":10256", "localhost:10256"),
    ),
    (
        ("metricsBindAddress",),
        ("0.0.0.0:10249", "127.0.0.1:0", "[::1]:10249", "", None),
        ("a:1", 10249),
    ),
    (("clientConnection.kubeconfig",), ("/a", "", None), (7, ["/a"])),
)
CASES = [
    (path, value, is_usable)
    for paths, usable, unusable in VALUES
    for path in paths
    for is_usable, values in ((True, usable), (False, unusable))
    for value in values
]
CONFIG_SCHEMA = config_schema()


def takes_schema(settings: Any) -> bool:
    """Whether the chart does."""
    return bool(jsonschema.Draft7Validator(CONFIG_SCHEMA).is_valid(settings))


def takes_ipvsctl(settings: Any) -> bool:
    """Whether `ipvsctl run` does."""
    try:
        parse_config(json.dumps({**HEAD, **settings}), "config.conf")
    except ConfigError:
        return False
    return True


@pytest.mark.parametrize(("path", "value", "is_usable"), CASES)
def test_the_schema_takes_what_ipvsctl_takes(
    path: str, value: Any, *, is_usable: bool
) -> None:
    """Neither more, of these, nor less."""
    settings = tree(path, value)
    assert (takes_schema(settings), takes_ipvsctl(settings)) == (is_usable, is_usable)


def test_each_kind_of_value_is_tried() -> None:
    """Fields without a case have the reader of one that has."""
    tried = {path for path, _, _ in CASES}
    readers = {field.read for field in FIELDS if field.path in tried}
    of_one_type = {"detectLocalMode", "ipvsctl.compatibility"}
    assert of_one_type <= tried
    left = [
        field.path
        for field in FIELDS
        if field.treatment is Treatment.HONOURED
        and field.read not in readers
        and not field.path.startswith("detectLocal.")
    ]
    assert left == []


def test_what_kubeadm_writes_can_be_pasted() -> None:
    """But for the three lines that the chart writes itself."""
    settings = yaml.safe_load(KUBEADM)
    for key in ("apiVersion", "kind", "mode"):
        del settings[key]
    assert takes_schema(settings)
    assert takes_ipvsctl(settings)
    files = render({"config": settings}).of("ConfigMap")["data"]
    parse_config(files["config.conf"], "config.conf")


def merge(rendered: Rendered, existing: str, directory: Path) -> Any:
    """What the container that comes first makes of an existing configuration."""
    data = rendered.of("ConfigMap")["data"]
    (first,) = rendered.pod["initContainers"]
    python, *paths = first["command"]
    assert python == "python"
    places = {
        mount["mountPath"]: directory / mount["name"] for mount in first["volumeMounts"]
    }
    for place in places.values():
        place.mkdir()
    (places["/var/lib/kube-proxy"] / "config.conf").write_text(existing)
    for name, text in data.items():
        (places["/etc/ipvsctl"] / name).write_text(text)
    here = [str(places[str(Path(path).parent)] / Path(path).name) for path in paths]
    subprocess.run([sys.executable, *here], check=True)
    result = paths[-1]
    assert f"--config={result}" in rendered.container["args"]
    mounts = {m["mountPath"]: m["name"] for m in rendered.container["volumeMounts"]}
    assert mounts[str(Path(result).parent)] == places[str(Path(result).parent)].name
    text = Path(here[-1]).read_text()
    parse_config(text, result)
    return json.loads(text)


def test_settings_win_over_an_existing_configmap(tmp_path: Path) -> None:
    """One by one, in sections too; all the others stay."""
    given = {
        "metricsBindAddress": "0.0.0.0:10249",
        "ipvs": {"scheduler": "lc"},
        "nodePortAddresses": ["10.0.0.0/8"],
        "ipvsctl": {"drainTimeout": "1h"},
    }
    found = merge(render({**EXISTING, "config": given}), KUBEADM, tmp_path)
    assert found == merged(yaml.safe_load(KUBEADM), given)
    assert found["clusterCIDR"] == "10.244.0.0/16"
    assert found["ipvs"]["tcpTimeout"] == "0s"


def test_every_kind_of_field_can_be_put_over(tmp_path: Path) -> None:
    """All at once, each with a value that ipvsctl can use."""
    given = {path: value for path, value, is_usable in reversed(CASES) if is_usable}
    config = merged(*(tree(path, value) for path, value in given.items()))
    found = merge(render({**EXISTING, "config": config}), KUBEADM, tmp_path)
    assert {path: at(found, path) for path in given} == given


def at(found: Any, path: str) -> Any:
    """A field of a configuration."""
    for key in path.split("."):
        found = found[key]
    return found


@pytest.mark.parametrize("text", ["", "- a\n", "a: 1\n---\nb: 2\n"])
def test_a_file_that_is_no_configuration_ends_the_pod(
    text: str, tmp_path: Path
) -> None:
    """Its name is said, and nothing is served by half of it."""
    script = Path(__file__).parents[2] / "charts" / "ipvsctl" / "files" / "merge.py"
    existing, overrides = tmp_path / "config.conf", tmp_path / "overrides.yaml"
    existing.write_text(text)
    overrides.write_text("mode: ipvs\n")
    done = subprocess.run(
        [sys.executable, script, existing, overrides, tmp_path / "result"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == f"{existing}: not one document with settings\n"
    assert not (tmp_path / "result").exists()
