"""Facts about the configuration file."""

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ipvsctl.cluster.config.config_file import (
    API_VERSION,
    KIND,
    GivenText,
    parse_config,
    with_given,
)
from ipvsctl.cluster.config.duration import parse_duration
from ipvsctl.cluster.config.fields import FIELDS, Treatment
from ipvsctl.cluster.config.flags import FLAGS, OWN_KEY
from ipvsctl.model.config import (
    Compatibility,
    ConntrackConfig,
    DetectLocalMode,
    ExternalForwarding,
    Listener,
    LocalFallback,
    NodePortAddresses,
    ProxyConfig,
    ServeConfig,
    VipBinding,
)
from ipvsctl.model.errors import ConfigError
from ipvsctl.model.ipvs import PersistenceNetmask
from ipvsctl.model.limits import Resource, Scope, setting
from ipvsctl.model.marks import MarkRange
from ipvsctl.model.net import IPFamily, parse_address, parse_network

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


def at(address: str, port: int) -> Listener:
    """A place to listen."""
    return Listener(parse_address(address), port)


def parse(**fields: object) -> tuple[ProxyConfig, tuple[str, ...]]:
    """Read a configuration with these fields."""
    document = {"apiVersion": API_VERSION, "kind": KIND, **fields}
    return parse_config(yaml.safe_dump(document), "config.conf")


def test_kubeadm() -> None:
    """What kubeadm writes sets what it names, and nothing in it is worth a word."""
    config, warnings = parse_config(KUBEADM, "config.conf")
    assert config == ProxyConfig(
        kubeconfig="/var/lib/kube-proxy/kubeconfig.conf",
        cluster_cidrs=(parse_network("10.244.0.0/16"),),
    )
    assert warnings == ()


def test_every_setting() -> None:
    """Every field of kube-proxy that has an effect, with its unit."""
    config, warnings = parse(
        mode="ipvs",
        hostnameOverride=" Node-0 ",
        bindAddress="10.0.0.10",
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
        conntrack={
            "maxPerCore": 0,
            "min": 131072,
            "tcpEstablishedTimeout": "24h0m0s",
            "tcpCloseWaitTimeout": "1h",
            "tcpBeLiberal": True,
            "udpTimeout": "30s",
            "udpStreamTimeout": "3m",
        },
        nodePortAddresses=["10.0.0.0/8", "fd00::/8"],
    )
    assert warnings == ()
    assert config == ProxyConfig(
        node_name="node-0",
        node_address=parse_address("10.0.0.10"),
        conntrack=ConntrackConfig(
            max_per_core=0,
            min=131072,
            tcp_established_timeout_s=86400,
            tcp_close_wait_timeout_s=3600,
            tcp_be_liberal=True,
            udp_timeout_s=30,
            udp_stream_timeout_s=180,
        ),
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
            "localFallback": "none",
            "markRange": "0x100/0xff00",
            "maxConnections": 500,
            "minSyncPeriod": "0s",
            "persistenceNetmask": "24,64",
            "procSys": "/host/proc/sys",
            "shortCircuit": False,
            "slowStart": "90s",
            "externalForwarding": "tunnel",
            "tunnelPort": 6080,
            "vipBinding": "route",
            "strictARP": False,
            "vipLink": "vips0",
            "allowedExternalIPs": ["203.0.113.0/24"],
            "allowedIngressVIPs": [],
            "reservedNodePorts": [2222],
        },
    )
    assert warnings == ()
    assert config == ProxyConfig(
        compatibility=Compatibility.KUBE_PROXY,
        drain_timeout_s=0.0,
        local_fallback=LocalFallback.NONE,
        mark_range=MarkRange(0x100, 0xFF00),
        max_connections=500,
        persistence_netmask=PersistenceNetmask(24, 64),
        proc_sys="/host/proc/sys",
        allowed_external_ips=(parse_network("203.0.113.0/24"),),
        allowed_ingress_vips=(),
        reserved_node_ports=(2222,),
        short_circuit=False,
        slow_start_s=90,
        external_forwarding=ExternalForwarding.TUNNEL,
        tunnel_port=6080,
        vip_binding=VipBinding.ROUTE,
        min_sync_period_s=0.0,
        strict_arp=False,
        vip_link="vips0",
    )


def test_primary_node_port_addresses() -> None:
    """The word `primary` stands for the Node's own addresses."""
    config, _ = parse(nodePortAddresses=["primary"])
    assert config.node_port_addresses == NodePortAddresses(primary=True)


def test_localhost_beside_node_port_addresses() -> None:
    """The word is no network, and goes with networks, with `primary`, or alone."""
    config, _ = parse(nodePortAddresses=["primary", "localhost"])
    assert config.node_port_addresses == NodePortAddresses(primary=True, localhost=True)
    config, _ = parse(nodePortAddresses=["localhost", "10.0.0.0/8"])
    assert config.node_port_addresses == NodePortAddresses(
        networks=(parse_network("10.0.0.0/8"),), localhost=True
    )
    assert str(config.node_port_addresses) == "10.0.0.0/8,localhost"
    config, _ = parse(nodePortAddresses=["localhost"])
    assert config.node_port_addresses == NodePortAddresses(localhost=True)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ([], []),
        (["primary"], []),
        (["0.0.0.0/0", "::/0"], []),
        (["10.0.0.0/8", "fd00::/8"], []),
        (["127.0.0.0/8"], ["127.0.0.1"]),
        (["127.0.0.1/32", "10.0.0.0/8"], ["127.0.0.1"]),
        (["127.0.0.2/32"], []),
        (["::1/128"], ["::1"]),
        (["localhost"], ["127.0.0.1", "::1"]),
        (["primary", "localhost"], ["127.0.0.1", "::1"]),
        (["localhost", "10.0.0.0/8"], ["127.0.0.1", "::1"]),
    ],
)
def test_where_localhost_is_asked_for(given: list[str], found: list[str]) -> None:
    """By its word, or by a loopback network; kube-proxy has it never."""
    config, _ = parse(nodePortAddresses=given)
    assert [
        str(address)
        for family in sorted(IPFamily)
        if (address := config.localhost(family)) is not None
    ] == found
    config, _ = parse(nodePortAddresses=given, ipvsctl={"compatibility": "kube-proxy"})
    assert not any(map(config.localhost, IPFamily))


def test_empty_sections() -> None:
    """A section without fields is as good as none."""
    assert parse(ipvs=None, iptables={}, ipvsctl=None) == (ProxyConfig(), ())


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"mode": "iptables"}, "mode"),
        ({"mode": "nftables"}, "mode"),
        ({"enableProfiling": True}, "enableProfiling"),
        ({"showHiddenMetricsForVersion": "1.35"}, "showHiddenMetricsForVersion"),
        ({"clientConnection": {"qps": 5.0}}, "clientConnection.qps"),
        ({"configSyncPeriod": "15m0s"}, "configSyncPeriod"),
        ({"oomScoreAdj": -999}, "oomScoreAdj"),
        ({"logging": {"verbosity": 4}}, "logging"),
        ({"featureGates": {"X": True}}, "featureGates"),
        ({"nftables": {"masqueradeAll": True}}, "nftables"),
        ({"windowsRunAsService": True}, "windowsRunAsService"),
        ({"linux": {"oomScoreAdj": 1}}, "linux"),
        ({"iptables": {"localhostNodePorts": True}}, "iptables.localhostNodePorts"),
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
    ("fields", "expected"),
    [
        ({}, ServeConfig()),
        (
            {"bindAddress": "::"},
            ServeConfig(healthz=at("::", 10256), metrics=at("::1", 10249)),
        ),
        (
            {"bindAddress": "::", "metricsBindAddress": "[::]"},
            ServeConfig(healthz=at("::", 10256), metrics=at("::", 10249)),
        ),
        (
            {"healthzBindAddress": "10.0.0.10:8080", "bindAddressHardFail": True},
            ServeConfig(healthz=at("10.0.0.10", 8080), must_bind=True),
        ),
        (
            {"metricsBindAddress": "[fd00::1]:9", "ipvsctl": {"serviceMetrics": 0}},
            ServeConfig(metrics=at("fd00::1", 9), service_metrics=0),
        ),
    ],
)
def test_where_to_serve(fields: dict[str, object], expected: ServeConfig) -> None:
    """Addresses to serve on are read with kube-proxy's defaults."""
    config, warnings = parse(**fields)
    assert config.serve == expected
    assert warnings == ()


def test_limits() -> None:
    """Each has a field of its own; 0 is what it says, and null is the default."""
    given = {
        "serviceVirtualServers": 1,
        "namespaceVirtualServers": 2,
        "serviceRealServers": 3,
        "namespaceRealServers": 4,
        "serviceMarks": 5,
        "namespaceMarks": 0,
        "namespaceHealthChecks": None,
    }
    config, warnings = parse(ipvsctl=given)
    assert msgspec.structs.astuple(config.limits) == (1, 2, 3, 4, 5, 0, 4096)
    assert warnings == ()
    with pytest.raises(ConfigError, match=r"ipvsctl\.serviceMarks"):
        parse(ipvsctl={"serviceMarks": -1})


@pytest.mark.parametrize(
    ("scope", "resource"), [(s, r) for s in Scope for r in Resource]
)
def test_problems_name_limits_as_the_file_does(
    scope: Scope, resource: Resource
) -> None:
    """Every limit there is has such a field."""
    path = setting(scope, resource)
    known = {field.path for field in FIELDS}
    is_there = (scope, resource) != (Scope.SERVICE, Resource.HEALTH_CHECKS)
    assert (path in known) is is_there


@pytest.mark.parametrize(
    ("conntrack", "cpus", "limit"),
    [
        ({}, 1, 131072),
        ({}, 4, 131072),
        ({"maxPerCore": None, "min": None}, 8, 262144),
        ({}, 32, 1048576),
        ({}, 33, 1048576),
        ({"maxPerCore": 1, "min": 0}, 4, 4),
        ({"maxPerCore": 65536}, 512, 1048576),
        ({"maxPerCore": 1, "min": 2097152}, 512, 2097152),
        ({"maxPerCore": 32768}, 4, 131072),
        ({"maxPerCore": 32768, "min": 262144}, 4, 262144),
        ({"maxPerCore": 0, "min": 262144}, 4, 0),
        ({"maxPerCore": 0}, 4, 0),
        ({"min": 262144}, 4, 262144),
        ({"min": 0}, 1, 32768),
    ],
)
def test_conntrack_limit(conntrack: dict[str, object], cpus: int, limit: int) -> None:
    """The limit grows with the CPUs from a floor; 0 a CPU leaves the kernel's.

    It grows to 1,048,576, as with kube-proxy 1.36.
    """
    config, _ = parse(conntrack=conntrack)
    assert config.conntrack.limit(cpus) == limit


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"mode": "ipvsadm"}, "mode"),
        ({"hostnameOverride": "  "}, "hostnameOverride"),
        ({"bindAddress": "node-0"}, "bindAddress"),
        ({"healthzBindAddress": "10256"}, "healthzBindAddress"),
        ({"healthzBindAddress": "0.0.0.0:http"}, "healthzBindAddress"),
        ({"metricsBindAddress": "0.0.0.0:65536"}, "metricsBindAddress"),
        ({"metricsBindAddress": "a:b:1"}, "metricsBindAddress"),
        ({"conntrack": {"maxPerCore": -1}}, "conntrack.maxPerCore"),
        ({"conntrack": {"min": 1.5}}, "conntrack.min"),
        ({"conntrack": {"udpTimeout": "1.5s"}}, "conntrack.udpTimeout"),
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
        (
            {"nodePortAddresses": ["primary", "localhost", "::1/128"]},
            "nodePortAddresses",
        ),
        ({"nodePortAddresses": ["Localhost"]}, "nodePortAddresses[0]"),
        ({"nodePortAddresses": ["10.0.0.1"]}, "nodePortAddresses[0]"),
        ({"ipvsctl": {"compatibility": "kubeproxy"}}, "ipvsctl.compatibility"),
        ({"ipvsctl": {"markRange": "0x100"}}, "ipvsctl.markRange"),
        ({"ipvsctl": {"markRange": "0x100/x"}}, "ipvsctl.markRange"),
        ({"ipvsctl": {"markRange": "0/0xff00"}}, "ipvsctl.markRange"),
        ({"ipvsctl": {"markRange": "0x101/0xff00"}}, "ipvsctl.markRange"),
        ({"ipvsctl": {"markRange": "1/0x1ffffffff"}}, "ipvsctl.markRange"),
        ({"ipvsctl": {"maxConnections": -1}}, "ipvsctl.maxConnections"),
        ({"ipvsctl": {"maxConnections": "8"}}, "ipvsctl.maxConnections"),
        ({"ipvsctl": {"persistenceNetmask": "33"}}, "ipvsctl.persistenceNetmask"),
        ({"ipvsctl": {"persistenceNetmask": 24}}, "ipvsctl.persistenceNetmask"),
        ({"ipvsctl": {"vipBinding": "routes"}}, "ipvsctl.vipBinding"),
        ({"ipvsctl": {"tunnelPort": 65536}}, "ipvsctl.tunnelPort"),
        ({"ipvsctl": {"tunnelPort": "6080"}}, "ipvsctl.tunnelPort"),
        ({"ipvsctl": {"externalForwarding": "dsr"}}, "ipvsctl.externalForwarding"),
        ({"ipvsctl": {"localFallback": "local"}}, "ipvsctl.localFallback"),
        ({"ipvsctl": {"shortCircuit": "true"}}, "ipvsctl.shortCircuit"),
        ({"ipvsctl": {"procSys": "proc/sys"}}, "ipvsctl.procSys"),
        ({"ipvsctl": {"vipLink": ""}}, "ipvsctl.vipLink"),
        ({"ipvsctl": {"vipLink": "a-name-that-is-16"}}, "ipvsctl.vipLink"),
        ({"ipvsctl": {"vipLink": "a/b"}}, "ipvsctl.vipLink"),
        ({"ipvsctl": {"drainTimeout": "soon"}}, "ipvsctl.drainTimeout"),
        ({"ipvsctl": {"allowedExternalIPs": "all"}}, "ipvsctl.allowedExternalIPs"),
        (
            {"ipvsctl": {"allowedIngressVIPs": ["10.0.0.1"]}},
            "ipvsctl.allowedIngressVIPs[0]",
        ),
        ({"ipvsctl": {"reservedNodePorts": 22}}, "ipvsctl.reservedNodePorts"),
        ({"ipvsctl": {"reservedNodePorts": [22, 0]}}, "ipvsctl.reservedNodePorts[1]"),
        ({"ipvsctl": {"reservedNodePorts": [True]}}, "ipvsctl.reservedNodePorts[0]"),
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


def beside(path: str, text: str, name: str = "--flag") -> GivenText:
    """A setting from outside the file."""
    return GivenText(path=path, name=name, text=text)


def test_flags_win() -> None:
    """What is given beside the file wins over it; the rest of the file stays."""
    config, _ = parse(
        clusterCIDR="10.0.0.0/8",
        ipvs={"scheduler": "sh"},
        ipvsctl={"strictARP": True, "drainTimeout": "1s", "vipLink": "vips0"},
    )
    assert with_given(config, ()) == config
    changed = with_given(
        config,
        (
            beside("clusterCIDR", "10.1.0.0/16,fd00::/8"),
            beside("ipvsctl.compatibility", "kube-proxy"),
            beside("ipvsctl.drainTimeout", "0s"),
            beside("ipvsctl.strictARP", "false"),
        ),
    )
    assert changed.cluster_cidrs == (
        parse_network("10.1.0.0/16"),
        parse_network("fd00::/8"),
    )
    assert changed.compatibility is Compatibility.KUBE_PROXY
    assert changed.drain_timeout_s == 0
    assert changed.strict_arp is False
    assert (changed.scheduler, changed.vip_link) == ("sh", "vips0")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("clusterCIDR", "10.0.0.0"),
        ("ipvsctl.compatibility", "x"),
        ("ipvsctl.allowedExternalIPs", "all"),
        ("ipvsctl.drainTimeout", "5"),
        ("ipvsctl.strictARP", "yes"),
        ("ipvsctl.vipLink", "a/b"),
    ],
)
def test_wrong_flag(path: str, text: str) -> None:
    """A text that cannot be used is an error that names where it was given."""
    with pytest.raises(ConfigError) as caught:
        with_given(ProxyConfig(), [beside(path, text, name="IPVSCTL_X")])
    assert caught.value.field.partition("[")[0] == "IPVSCTL_X"


def test_lists_as_flags() -> None:
    """Words are separated by commas; `none` is the empty list, which is not unset."""
    some = with_given(
        ProxyConfig(),
        (
            beside("ipvsctl.allowedExternalIPs", "203.0.113.0/24, 2001:db8::/32"),
            beside("ipvsctl.allowedIngressVIPs", "none"),
            beside("ipvsctl.reservedNodePorts", "22, 8472"),
        ),
    )
    assert some.allowed_external_ips == (
        parse_network("203.0.113.0/24"),
        parse_network("2001:db8::/32"),
    )
    assert some.allowed_ingress_vips == ()
    assert some.reserved_node_ports == (22, 8472)
    none = with_given(ProxyConfig(), [beside("ipvsctl.reservedNodePorts", "none")])
    assert none.reserved_node_ports == ()
    with pytest.raises(ConfigError):
        with_given(ProxyConfig(), [beside("ipvsctl.reservedNodePorts", "22,ssh")])


def test_flags_are_checked_together_with_the_file() -> None:
    """A flag that does not fit the file is as wrong as a field that does not."""
    config, _ = parse(ipvs={"syncPeriod": "5s"})
    with pytest.raises(ConfigError, match="shorter than minSyncPeriod"):
        with_given(config, [beside("ipvsctl.minSyncPeriod", "6s")])


def test_every_setting_of_ours_has_a_flag() -> None:
    """What is ours can be given beside the file, and little else."""
    own = {field.path for field in FIELDS if field.path.startswith(f"{OWN_KEY}.")}
    others = {"clientConnection.kubeconfig", "clusterCIDR"}
    assert {flag.path for flag in FLAGS} == own | others
    flags = {flag.path: flag for flag in FLAGS}
    drain_timeout = flags["ipvsctl.drainTimeout"]
    assert drain_timeout.name == "--drain-timeout"
    assert flags["ipvsctl.allowedExternalIPs"].name == "--allowed-external-ips"
    assert drain_timeout.variable == "IPVSCTL_DRAIN_TIMEOUT"


def test_every_field_is_judged() -> None:
    """Each field once; what is honoured is read, what is named says why."""
    paths = [field.path for field in FIELDS]
    assert len(set(paths)) == len(paths)
    for field in FIELDS:
        if field.treatment is Treatment.HONOURED:
            assert field.read is not None
        else:
            assert field.note


def test_kube_proxys_fields_are_all_known() -> None:
    """Nothing that kubeadm writes is a field that the table forgot."""
    known = {field.path for field in FIELDS}
    for name, value in yaml.safe_load(KUBEADM).items():
        if isinstance(value, dict) and name not in known:
            assert {f"{name}.{inner}" for inner in value} <= known
        else:
            assert name in known


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
GARBAGE = st.dictionaries(
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
@given(GARBAGE)
def test_garbage(fields: dict[str, object]) -> None:
    """Whatever the fields hold, the file is read or is a ConfigError."""
    try:
        config, _ = parse(**fields)
    except ConfigError:
        return
    assert isinstance(config, ProxyConfig)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("yes", True), ("on", True), ("y", True), ("off", False), ("n", False)],
)
def test_booleans_of_yaml(text: str, expected: bool) -> None:  # noqa: FBT001  # a table
    """Words that YAML 1.1 takes for booleans are, as kube-proxy reads them."""
    config, warnings = parse_config(
        f"apiVersion: {API_VERSION}\nkind: {KIND}\nipvsctl: {{shortCircuit: {text}}}\n",
        "test",
    )
    assert config.has_short_circuit is expected
    assert warnings == ()


def test_key_that_is_there_twice() -> None:
    """The last one counts, as for kube-proxy, and is a warning."""
    config, (warning,) = parse_config(
        f"apiVersion: {API_VERSION}\nkind: {KIND}\n"
        "ipvs:\n  scheduler: lc\n  scheduler: sh\n",
        "test",
    )
    assert config.scheduler == "sh"
    assert "key 'scheduler'" in warning


@pytest.mark.parametrize("text", ["[" * 100_000, "{" * 1000, '{"a":' * 100_000])
def test_text_that_would_not_end(text: str) -> None:
    """Nesting is an error that names the file."""
    with pytest.raises(ConfigError, match=r"kube-proxy\.conf"):
        parse_config(text, "kube-proxy.conf")
