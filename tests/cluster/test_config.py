"""Facts about the configuration file."""

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ipvsctl.cluster.config import API_VERSION, KIND, parse_config, with_flags
from ipvsctl.cluster.duration import parse_duration
from ipvsctl.model.config import (
    Compatibility,
    DetectLocalMode,
    NodePortAddresses,
    ProxyConfig,
)
from ipvsctl.model.errors import ConfigError
from ipvsctl.model.net import parse_network

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


def parse(**fields: object) -> tuple[ProxyConfig, tuple[str, ...]]:
    """Read a configuration with these fields."""
    document = {"apiVersion": API_VERSION, "kind": KIND, **fields}
    return parse_config(yaml.safe_dump(document), "config.conf")


def test_kubeadm() -> None:
    """What kubeadm writes sets what it names, and nothing in it is worth a word."""
    config, warnings = parse_config(KUBEADM, "config.conf")
    assert config == ProxyConfig(cluster_cidrs=(parse_network("10.244.0.0/16"),))
    assert warnings == ()


def test_every_setting() -> None:
    """Every field of kube-proxy that has an effect, with its unit."""
    config, warnings = parse(
        mode="ipvs",
        clusterCIDR="10.244.0.0/16,fd00:10:244::/56",
        detectLocalMode="InterfaceNamePrefix",
        detectLocal={"bridgeInterface": "cni0", "interfaceNamePrefix": "veth"},
        iptables={"masqueradeAll": True, "masqueradeBit": 0},
        ipvs={
            "scheduler": "wlc",
            "strictARP": True,
            "excludeCIDRs": ["192.0.2.0/24"],
            "tcpTimeout": "15m0s",
            "tcpFinTimeout": "1m30s",
            "udpTimeout": "5m",
            "syncPeriod": "1m",
            "minSyncPeriod": "500ms",
        },
        nodePortAddresses=["10.0.0.0/8", "fd00::/8"],
    )
    assert warnings == ()
    assert config == ProxyConfig(
        cluster_cidrs=(
            parse_network("10.244.0.0/16"),
            parse_network("fd00:10:244::/56"),
        ),
        detect_local_mode=DetectLocalMode.INTERFACE_NAME_PREFIX,
        bridge_interface="cni0",
        interface_name_prefix="veth",
        masquerade_all=True,
        masquerade_bit=0,
        scheduler="wlc",
        strict_arp=True,
        exclude_cidrs=(parse_network("192.0.2.0/24"),),
        tcp_timeout_s=900,
        tcp_fin_timeout_s=90,
        udp_timeout_s=300,
        sync_period_s=60.0,
        min_sync_period_s=0.5,
        node_port_addresses=NodePortAddresses(
            networks=(parse_network("10.0.0.0/8"), parse_network("fd00::/8"))
        ),
    )


def test_own_section() -> None:
    """Settings of ours win over kube-proxy's, and zero and false mean themselves."""
    config, warnings = parse(
        ipvs={"minSyncPeriod": "5s", "strictARP": True},
        ipvsctl={
            "compatibility": "kube-proxy",
            "drainTimeout": "0s",
            "minSyncPeriod": "0s",
            "strictARP": False,
            "vipLink": "vips0",
        },
    )
    assert warnings == ()
    assert config == ProxyConfig(
        compatibility=Compatibility.KUBE_PROXY,
        drain_timeout_s=0.0,
        min_sync_period_s=0.0,
        strict_arp=False,
        vip_link="vips0",
    )


def test_primary_node_port_addresses() -> None:
    """The word `primary` stands for the Node's own addresses."""
    config, _ = parse(nodePortAddresses=["primary"])
    assert config.node_port_addresses == NodePortAddresses(primary=True)


def test_empty_sections() -> None:
    """A section without fields is as good as none."""
    assert parse(ipvs=None, iptables={}, ipvsctl=None) == (ProxyConfig(), ())


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"mode": "iptables"}, "mode"),
        ({"conntrack": {"maxPerCore": 1}}, "conntrack"),
        ({"winkernel": {"enableDSR": True}}, "winkernel"),
        ({"iptables": {"syncPeriod": "5s"}}, "iptables.syncPeriod"),
        ({"ipvs": {"shceduler": "rr"}}, "ipvs.shceduler"),
        ({"ipvs": {"shceduler": ""}}, "ipvs.shceduler"),
        ({"ipvsctl": {"drainTimout": "1s"}}, "ipvsctl.drainTimout"),
        ({"clusterCidr": "10.0.0.0/8"}, "clusterCidr"),
    ],
)
def test_warnings(fields: dict[str, object], named: str) -> None:
    """A field that is set and has no effect is named once, and changes nothing."""
    config, warnings = parse(**fields)
    assert config == ProxyConfig()
    assert [warning.split(":")[0] for warning in warnings] == [named]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"clusterCIDR": "10.0.0.0"}, "clusterCIDR"),
        ({"clusterCIDR": "10.0.0.0/8,10.1.0.0/16"}, "clusterCIDR"),
        ({"clusterCIDR": ["10.0.0.0/8"]}, "clusterCIDR"),
        ({"detectLocalMode": "Clustercidr"}, "detectLocalMode"),
        ({"detectLocalMode": "BridgeInterface"}, "detectLocal.bridgeInterface"),
        (
            {"detectLocalMode": "InterfaceNamePrefix"},
            "detectLocal.interfaceNamePrefix",
        ),
        ({"iptables": {"masqueradeBit": 32}}, "iptables.masqueradeBit"),
        ({"iptables": {"masqueradeBit": True}}, "iptables.masqueradeBit"),
        ({"iptables": {"masqueradeAll": "yes"}}, "iptables.masqueradeAll"),
        ({"ipvs": {"scheduler": "rrr"}}, "ipvs.scheduler"),
        ({"ipvs": {"scheduler": 7}}, "ipvs.scheduler"),
        ({"ipvs": {"excludeCIDRs": ["10.0.0.0/8", "x"]}}, "ipvs.excludeCIDRs[1]"),
        ({"ipvs": {"tcpTimeout": "1.5s"}}, "ipvs.tcpTimeout"),
        ({"ipvs": {"tcpTimeout": "900"}}, "ipvs.tcpTimeout"),
        ({"ipvs": {"tcpTimeout": 900}}, "ipvs.tcpTimeout"),
        ({"ipvs": {"udpTimeout": "1000h"}}, "ipvs.udpTimeout"),
        ({"ipvs": {"syncPeriod": "-1s"}}, "ipvs.syncPeriod"),
        ({"ipvs": {"syncPeriod": "1s", "minSyncPeriod": "2s"}}, "ipvs.syncPeriod"),
        ({"ipvs": []}, "ipvs"),
        ({"nodePortAddresses": "primary"}, "nodePortAddresses"),
        ({"nodePortAddresses": ["primary", "10.0.0.0/8"]}, "nodePortAddresses"),
        ({"nodePortAddresses": ["10.0.0.1"]}, "nodePortAddresses[0]"),
        ({"ipvsctl": {"compatibility": "kubeproxy"}}, "ipvsctl.compatibility"),
        ({"ipvsctl": {"vipLink": ""}}, "ipvsctl.vipLink"),
        ({"ipvsctl": {"vipLink": "a-name-that-is-16"}}, "ipvsctl.vipLink"),
        ({"ipvsctl": {"vipLink": "a/b"}}, "ipvsctl.vipLink"),
        ({"ipvsctl": {"drainTimeout": "soon"}}, "ipvsctl.drainTimeout"),
        ({"kind": "Service"}, "config.conf: kind"),
        ({"apiVersion": "v1"}, "config.conf: apiVersion"),
    ],
)
def test_wrong_value(fields: dict[str, object], field: str) -> None:
    """A value that cannot be used is an error that names the field."""
    with pytest.raises(ConfigError) as caught:
        parse(**fields)
    assert caught.value.field == field


@pytest.mark.parametrize("text", ["", "a: [", "- a", "a: 1\n---\nb: 2\n", "5"])
def test_not_a_configuration(text: str) -> None:
    """A file that is not one configuration is an error that names the file."""
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "config.conf")
    assert caught.value.field == "config.conf"


def test_flags_win() -> None:
    """Flags replace what the file says; absent ones leave it."""
    config, _ = parse(clusterCIDR="10.0.0.0/8", ipvs={"scheduler": "sh"})
    assert with_flags(config) == config
    changed = with_flags(
        config, cluster_cidr="10.1.0.0/16,fd00::/8", compatibility="kube-proxy"
    )
    assert changed.cluster_cidrs == (
        parse_network("10.1.0.0/16"),
        parse_network("fd00::/8"),
    )
    assert changed.compatibility is Compatibility.KUBE_PROXY
    assert changed.scheduler == "sh"


@pytest.mark.parametrize(
    ("flags", "field"),
    [
        ({"cluster_cidr": "10.0.0.0"}, "--cluster-cidr"),
        ({"compatibility": "x"}, "--compatibility"),
    ],
)
def test_wrong_flag(flags: dict[str, str], field: str) -> None:
    """A flag that cannot be used is an error that names the flag."""
    with pytest.raises(ConfigError) as caught:
        with_flags(ProxyConfig(), **flags)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("0s", 0),
        ("30s", 30),
        ("1m30s", 90),
        ("1h0m0s", 3600),
        ("1.5h", 5400),
        (".5s", 0.5),
        ("1.s", 1),
        ("250ms", 0.25),
        ("1us", 1e-6),
        ("1µs", 1e-6),
        ("1μs", 1e-6),
        ("1ns", 1e-9),
    ],
)
def test_duration(text: str, seconds: float) -> None:
    """Durations are Go's, in seconds."""
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "30", "s", "1d", "-1s", "+1s", "1 s", "1s ", ".s", "1m30", "\u0661s"]
)
def test_not_a_duration(text: str) -> None:
    """What Go would refuse, and what is negative, is no duration."""
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.text(max_size=5), inner, max_size=2)
    ),
    max_leaves=4,
)
FIELDS = st.dictionaries(
    st.sampled_from(
        [
            "clusterCIDR",
            "mode",
            "nodePortAddresses",
            "ipvs",
            "ipvsctl",
            "conntrack",
            "x",
        ]
    ),
    VALUES
    | st.dictionaries(
        st.sampled_from(["scheduler", "syncPeriod", "strictARP", "vipLink", "x"]),
        VALUES,
    ),
)


@settings(deadline=None)
@given(FIELDS)
def test_garbage(fields: dict[str, object]) -> None:
    """Whatever the fields hold, the file is read or is a ConfigError."""
    try:
        config, _ = parse(**fields)
    except ConfigError:
        return
    assert isinstance(config, ProxyConfig)
