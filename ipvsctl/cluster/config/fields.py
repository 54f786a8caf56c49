"""Every field of a KubeProxyConfiguration, and how it is treated.

Source: kube-proxy config/v1alpha1/types.go, v1.36.
"""

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any, Final

import msgspec

from ipvsctl.cluster.config import settings
from ipvsctl.cluster.config.flags import OWN_KEY
from ipvsctl.model.config import (
    Compatibility,
    DetectLocalMode,
    ExternalForwarding,
    FirewallKind,
    LocalFallback,
    VipBinding,
)

Read = Callable[[str, object], Any]


class Treatment(StrEnum):
    """How a field is treated."""

    HONOURED = "honoured"
    NAMED = "named in a warning"
    SILENT = "ignored"
    """Nothing is lost: kube-proxy in IPVS mode makes no use of it, or kubeadm writes
    it whether or not anyone wants it."""


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """A field, or a section that is judged whole.

    Attributes:
        path: its place in the file, `ipvs.scheduler`.
        attribute: of `ProxyConfig` that it sets, `conntrack.min`; "" for none.
        read: checks the value; None if nothing reads it.
        zero_is_unset: 0, false and "" are what the field looks like when nobody set
            it; else only null is.
        from_text: makes of a flag's text what the file would hold.
        note: about the field, in the warning and in the documentation.
    """

    path: str
    treatment: Treatment = Treatment.HONOURED
    attribute: str = ""
    read: Read | None = None
    zero_is_unset: bool = True
    from_text: Callable[[str], object] = str
    note: str = ""


def _honoured(path: str, attribute: str, read: Read) -> Field:
    return Field(path=path, attribute=attribute, read=read)


def _pointer(
    path: str, attribute: str, read: Read, from_text: Callable[[str], object] = str
) -> Field:
    """A field that is null when nobody set it, so that 0 and false mean something."""
    return Field(
        path=path,
        attribute=attribute,
        read=read,
        zero_is_unset=False,
        from_text=from_text,
    )


def _limit(key: str, attribute: str) -> Field:
    return _pointer(key, f"limits.{attribute}", settings.count, settings.count_word)


def _named(paths: Iterable[str], note: str) -> list[Field]:
    return [Field(path=path, treatment=Treatment.NAMED, note=note) for path in paths]


def _silent(path: str, note: str) -> Field:
    return Field(path=path, treatment=Treatment.SILENT, note=note)


_NONE: Final = "has no effect"

# Where two fields set one attribute, the later wins.
_KUBE_PROXY: Final = (
    _silent("apiVersion", "says what the file is"),
    _silent("kind", "says what the file is"),
    _silent("mode", "the mode is always ipvs; a warning if it says another"),
    _honoured("hostnameOverride", "node_name", settings.node_name),
    _honoured("bindAddress", "node_address", settings.node_address),
    _honoured("healthzBindAddress", "serve.healthz", settings.listener(10256)),
    _honoured("metricsBindAddress", "serve.metrics", settings.listener(10249)),
    _honoured("bindAddressHardFail", "serve.must_bind", settings.boolean),
    *_named(("enableProfiling", "showHiddenMetricsForVersion"), _NONE),
    _honoured("clusterCIDR", "cluster_cidrs", settings.cluster_cidrs),
    _honoured("detectLocalMode", "detect_local_mode", settings.one_of(DetectLocalMode)),
    _honoured("detectLocal.bridgeInterface", "bridge_interface", settings.link),
    _honoured(
        "detectLocal.interfaceNamePrefix", "interface_name_prefix", settings.link
    ),
    _honoured("nodePortAddresses", "node_port_addresses", settings.node_port_addresses),
    _honoured("iptables.masqueradeAll", "masquerade_all", settings.boolean),
    _pointer("iptables.masqueradeBit", "masquerade_bit", settings.mark_bit),
    *_named(
        ("iptables.localhostNodePorts",),
        "is for kube-proxy's iptables mode; localhost in nodePortAddresses is for this",
    ),
    *_named(("iptables.syncPeriod",), "has no effect; ipvs.syncPeriod is used"),
    *_named(("iptables.minSyncPeriod",), "has no effect; ipvs.minSyncPeriod is used"),
    _honoured("ipvs.scheduler", "scheduler", settings.scheduler),
    _honoured("ipvs.strictARP", "strict_arp", settings.boolean),
    _honoured("ipvs.excludeCIDRs", "exclude_cidrs", settings.networks),
    _honoured("ipvs.tcpTimeout", "tcp_timeout_s", settings.kernel_timeout),
    _honoured("ipvs.tcpFinTimeout", "tcp_fin_timeout_s", settings.kernel_timeout),
    _honoured("ipvs.udpTimeout", "udp_timeout_s", settings.kernel_timeout),
    _honoured("ipvs.syncPeriod", "sync_period_s", settings.duration),
    _honoured("ipvs.minSyncPeriod", "min_sync_period_s", settings.duration),
    _pointer("conntrack.maxPerCore", "conntrack.max_per_core", settings.count),
    _pointer("conntrack.min", "conntrack.min", settings.count),
    _pointer(
        "conntrack.tcpEstablishedTimeout",
        "conntrack.tcp_established_timeout_s",
        settings.kernel_timeout,
    ),
    _pointer(
        "conntrack.tcpCloseWaitTimeout",
        "conntrack.tcp_close_wait_timeout_s",
        settings.kernel_timeout,
    ),
    _honoured("conntrack.tcpBeLiberal", "conntrack.tcp_be_liberal", settings.boolean),
    _honoured(
        "conntrack.udpTimeout", "conntrack.udp_timeout_s", settings.kernel_timeout
    ),
    _honoured(
        "conntrack.udpStreamTimeout",
        "conntrack.udp_stream_timeout_s",
        settings.kernel_timeout,
    ),
    _honoured("clientConnection.kubeconfig", "kubeconfig", settings.text),
    *_named(
        (
            "clientConnection.acceptContentTypes",
            "clientConnection.contentType",
            "clientConnection.qps",
            "clientConnection.burst",
        ),
        _NONE,
    ),
    *_named(("configSyncPeriod",), "has no effect; changes are followed as they come"),
    *_named(("oomScoreAdj",), "has no effect; the service manager or kubelet sets it"),
    *_named(("logging",), "has no effect; --log-format and -v are for that"),
    *_named(("featureGates",), "kube-proxy's feature gates have no effect"),
    _silent("portRange", "has no effect in kube-proxy either"),
    *_named(("nftables",), "is for kube-proxy's nftables mode"),
    *_named(("winkernel", "windows", "windowsRunAsService"), "is for Windows"),
    *_named(("linux",), "is no section of v1alpha1; its fields are one level up"),
)

_OWN: Final = (
    _pointer(
        "allowedExternalIPs",
        "allowed_external_ips",
        settings.networks,
        settings.items_of_words,
    ),
    _pointer(
        "allowedIngressVIPs",
        "allowed_ingress_vips",
        settings.networks,
        settings.items_of_words,
    ),
    _pointer("compatibility", "compatibility", settings.one_of(Compatibility)),
    _pointer("drainTimeout", "drain_timeout_s", settings.duration),
    _pointer("driftWatch", "drift_watch", settings.boolean, settings.boolean_word),
    _pointer(
        "externalForwarding",
        "external_forwarding",
        settings.one_of(ExternalForwarding),
    ),
    _pointer("firewall", "firewall", settings.one_of(FirewallKind)),
    _pointer("localFallback", "local_fallback", settings.one_of(LocalFallback)),
    _pointer("markRange", "mark_range", settings.mark_range),
    _pointer("maxConnections", "max_connections", settings.count, settings.count_word),
    _pointer("minSyncPeriod", "min_sync_period_s", settings.duration),
    _limit("namespaceHealthChecks", "namespace_health_checks"),
    _limit("namespaceMarks", "namespace_marks"),
    _limit("namespaceRealServers", "namespace_real_servers"),
    _limit("namespaceVirtualServers", "namespace_virtual_servers"),
    _pointer("persistenceNetmask", "persistence_netmask", settings.persistence_netmask),
    _pointer("procSys", "proc_sys", settings.directory),
    _limit("serviceMarks", "service_marks"),
    _pointer(
        "reservedNodePorts",
        "reserved_node_ports",
        settings.ports,
        settings.ports_of_words,
    ),
    _pointer(
        "serviceMetrics",
        "serve.service_metrics",
        settings.count,
        settings.count_word,
    ),
    _limit("serviceRealServers", "service_real_servers"),
    _limit("serviceVirtualServers", "service_virtual_servers"),
    _pointer("serviceProxyName", "service_proxy_name", settings.label_value),
    _pointer("shortCircuit", "short_circuit", settings.boolean, settings.boolean_word),
    _pointer("slowStart", "slow_start_s", settings.duration),
    _pointer("strictARP", "strict_arp", settings.boolean, settings.boolean_word),
    _pointer("tunnelPort", "tunnel_port", settings.port, settings.count_word),
    _pointer("vipBinding", "vip_binding", settings.one_of(VipBinding)),
    _pointer("vipLink", "vip_link", settings.vip_link),
)

FIELDS: Final = (
    *_KUBE_PROXY,
    *(msgspec.structs.replace(field, path=f"{OWN_KEY}.{field.path}") for field in _OWN),
)
"""All fields, kube-proxy's first."""
