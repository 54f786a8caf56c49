"""The settings in force, as a configuration file."""

import json

import pytest

from ipvsctl.cluster.config.config_file import parse_config
from ipvsctl.cluster.config.effective import effective_config
from ipvsctl.model.config import ProxyConfig


def round_trip(config: ProxyConfig) -> tuple[ProxyConfig, tuple[str, ...]]:
    """What is read of what is written."""
    return parse_config(json.dumps(effective_config(config)), "configz")


def test_defaults() -> None:
    """They are written out, under the names of kube-proxy and of ours."""
    document = effective_config(ProxyConfig())
    assert document["kind"] == "KubeProxyConfiguration"
    assert document["mode"] == "ipvs"
    assert document["metricsBindAddress"] == "127.0.0.1:10249"
    ipvs, own = document["ipvs"], document["ipvsctl"]
    assert isinstance(ipvs, dict)
    assert isinstance(own, dict)
    assert ipvs["syncPeriod"] == "30s"
    assert own["serviceMetrics"] == 20
    assert "strictARP" not in own
    assert round_trip(ProxyConfig()) == (ProxyConfig(), ())


@pytest.mark.parametrize(
    "fields",
    [
        {"clusterCIDR": "10.0.0.0/8,fd00::/8", "nodePortAddresses": ["primary"]},
        {"nodePortAddresses": ["10.0.0.0/8"], "hostnameOverride": "a"},
        {"nodePortAddresses": ["127.0.0.0/8", "localhost"], "hostnameOverride": "a"},
        {"ipvs": {"excludeCIDRs": ["10.9.0.0/16"], "tcpTimeout": "2h"}},
        {"ipvs": {"strictARP": True}, "conntrack": {"maxPerCore": 0, "min": 7}},
        {"ipvsctl": {"minSyncPeriod": "0s", "drainTimeout": "1ms"}},
        {"ipvsctl": {"strictARP": False, "shortCircuit": False}},
        {"ipvsctl": {"vipBinding": "route", "markRange": "0x100000/0xff00000"}},
        {"ipvsctl": {"vipBinding": "auto"}},
        {"ipvsctl": {"serviceVirtualServers": 0, "namespaceMarks": 7}},
        {"ipvsctl": {"allowedExternalIPs": ["10.0.0.0/8"], "allowedIngressVIPs": []}},
        {"ipvsctl": {"reservedNodePorts": [22, 8472]}},
        {"healthzBindAddress": "[::1]:1", "bindAddressHardFail": True},
        {"iptables": {"masqueradeAll": True, "masqueradeBit": 0}},
        {"detectLocalMode": "BridgeInterface", "detectLocal": {"bridgeInterface": "b"}},
    ],
)
def test_what_is_written_is_read_as_the_same(fields: dict[str, object]) -> None:
    """Whatever is set, and without a warning."""
    head = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
    }
    config, warnings = parse_config(json.dumps({**head, **fields}), "file")
    assert warnings == ()
    assert config != ProxyConfig()
    assert round_trip(config) == (config, ())
