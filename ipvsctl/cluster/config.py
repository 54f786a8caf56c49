"""The configuration file: a KubeProxyConfiguration, as kubeadm writes it.

Our own settings are under a key of their own, `ipvsctl`, which kube-proxy does not
know; there, 0 and false mean what they say. In kube-proxy's own fields they are what an
unset field looks like, since kubeadm writes every field there is:

    apiVersion: kubeproxy.config.k8s.io/v1alpha1
    kind: KubeProxyConfiguration
    mode: ipvs
    clusterCIDR: 10.244.0.0/16,fd00:10:244::/56
    ipvs:
      scheduler: rr
    ipvsctl:
      compatibility: kube-proxy   # or none (default)
      drainTimeout: 15m
      minSyncPeriod: 0s
      strictARP: true
      vipLink: kube-ipvs0

Reading the file is the caller's.
"""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from ipvsctl.cluster import settings
from ipvsctl.cluster.yamltext import YamlError, yaml_documents
from ipvsctl.model.config import (
    Compatibility,
    DetectLocalMode,
    ProxyConfig,
)
from ipvsctl.model.errors import ConfigError

API_VERSION = "kubeproxy.config.k8s.io/v1alpha1"
KIND = "KubeProxyConfiguration"

Read = Callable[[str, object], Any]


class _Setting(msgspec.Struct, frozen=True, kw_only=True):
    """How a field becomes an attribute of `ProxyConfig`.

    Attributes:
        read: checks the value.
        zero_is_unset: 0, false and "" are what the field looks like when nobody set
            it; else only null is.
    """

    attribute: str
    read: Read
    zero_is_unset: bool = True


def _exact(attribute: str, read: Read) -> _Setting:
    return _Setting(attribute=attribute, read=read, zero_is_unset=False)


def _lenient(attribute: str, read: Read) -> _Setting:
    return _Setting(attribute=attribute, read=read)


# Where two fields set one attribute, the later wins.
_SETTINGS: Mapping[str, _Setting] = MappingProxyType(
    {
        "clusterCIDR": _lenient("cluster_cidrs", settings.cluster_cidrs),
        "detectLocalMode": _lenient(
            "detect_local_mode", settings.one_of(DetectLocalMode)
        ),
        "detectLocal.bridgeInterface": _lenient("bridge_interface", settings.link),
        "detectLocal.interfaceNamePrefix": _lenient(
            "interface_name_prefix", settings.link
        ),
        "iptables.masqueradeAll": _lenient("masquerade_all", settings.boolean),
        # kube-proxy's is a pointer: bit 0 is a bit like others.
        "iptables.masqueradeBit": _exact("masquerade_bit", settings.mark_bit),
        "ipvs.scheduler": _lenient("scheduler", settings.scheduler),
        "ipvs.strictARP": _lenient("strict_arp", settings.boolean),
        "ipvs.excludeCIDRs": _lenient("exclude_cidrs", settings.networks),
        "ipvs.tcpTimeout": _lenient("tcp_timeout_s", settings.kernel_timeout),
        "ipvs.tcpFinTimeout": _lenient("tcp_fin_timeout_s", settings.kernel_timeout),
        "ipvs.udpTimeout": _lenient("udp_timeout_s", settings.kernel_timeout),
        "ipvs.syncPeriod": _lenient("sync_period_s", settings.duration),
        "ipvs.minSyncPeriod": _lenient("min_sync_period_s", settings.duration),
        "nodePortAddresses": _lenient(
            "node_port_addresses", settings.node_port_addresses
        ),
        "ipvsctl.compatibility": _exact(
            "compatibility", settings.one_of(Compatibility)
        ),
        "ipvsctl.drainTimeout": _exact("drain_timeout_s", settings.duration),
        "ipvsctl.minSyncPeriod": _exact("min_sync_period_s", settings.duration),
        "ipvsctl.strictARP": _exact("strict_arp", settings.boolean),
        "ipvsctl.vipLink": _exact("vip_link", settings.link),
    }
)

# Sections and fields of kube-proxy that have no effect, and what to say of them if they
# are set; "" where nothing is lost.
_WITHOUT_EFFECT: Mapping[str, str] = MappingProxyType(
    {
        "apiVersion": "",
        "kind": "",
        "bindAddress": "",
        "clientConnection": "",
        "mode": "",
        "portRange": "",
        "logging": "has no effect",
        "featureGates": "kube-proxy's feature gates have no effect",
        "hostnameOverride": "has no effect",
        "healthzBindAddress": "has no effect",
        "metricsBindAddress": "has no effect",
        "bindAddressHardFail": "has no effect",
        "enableProfiling": "has no effect",
        "showHiddenMetricsForVersion": "has no effect",
        "configSyncPeriod": "has no effect",
        "oomScoreAdj": "has no effect; set it in the service manager",
        "conntrack": "has no effect; conntrack limits are the node's own sysctls",
        "winkernel": "is for Windows",
        "windowsRunAsService": "is for Windows",
        "nftables": "is for kube-proxy's nftables mode",
        "iptables.localhostNodePorts": "is for kube-proxy's iptables mode",
        "iptables.snatNodeInternalIP": "has no effect",
        "iptables.syncPeriod": "has no effect; ipvs.syncPeriod is used",
        "iptables.minSyncPeriod": "has no effect; ipvs.minSyncPeriod is used",
    }
)

_SECTIONS = frozenset(path.split(".")[0] for path in _SETTINGS if "." in path)


def parse_config(raw: bytes | str, source: str) -> tuple[ProxyConfig, tuple[str, ...]]:
    """Read a configuration file.

    Args:
        raw: its text, YAML or JSON.
        source: what to call it in errors.

    Returns:
        The settings, and a warning for each field that is set and has no effect.

    Raises:
        ConfigError: not a KubeProxyConfiguration, or a field that cannot be used.
    """
    given = dict(_fields(_document(raw, source)))
    warnings = tuple(_warnings(given))
    values: dict[str, Any] = {}
    for path, setting in _SETTINGS.items():
        value = given.get(path)
        if value is None or (setting.zero_is_unset and _is_unset(value)):
            continue
        values[setting.attribute] = setting.read(path, value)
    config = ProxyConfig(**values)
    _check(config)
    return config, warnings


def with_flags(
    config: ProxyConfig,
    *,
    cluster_cidr: str | None = None,
    compatibility: str | None = None,
) -> ProxyConfig:
    """The settings with those of the command line, which win.

    Raises:
        ConfigError: a flag that cannot be used.
    """
    values: dict[str, Any] = {}
    if cluster_cidr is not None:
        values["cluster_cidrs"] = settings.cluster_cidrs("--cluster-cidr", cluster_cidr)
    if compatibility is not None:
        values["compatibility"] = settings.one_of(Compatibility)(
            "--compatibility", compatibility
        )
    return msgspec.structs.replace(config, **values)


def _document(raw: bytes | str, source: str) -> dict[str, object]:
    text = raw.encode() if isinstance(raw, str) else raw
    try:
        values = [d.value for d in yaml_documents(text) if d.value is not None]
    except YamlError as exc:
        raise ConfigError(field=source, value=None, reason=str(exc)) from exc
    if len(values) != 1 or not isinstance(values[0], dict):
        raise ConfigError(field=source, value=None, reason=f"not one {KIND} document")
    document = values[0]
    for field, expected in (("apiVersion", API_VERSION), ("kind", KIND)):
        if document.get(field) != expected:
            raise ConfigError(
                field=f"{source}: {field}",
                value=document.get(field),
                reason=f"not {expected}",
            )
    return document


def _fields(document: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """Every field by path; sections without settings of ours count as one field."""
    for name, value in document.items():
        if name not in _SECTIONS or value is None:
            yield name, value
        elif isinstance(value, dict):
            for inner, inner_value in value.items():
                yield f"{name}.{inner}", inner_value
        else:
            raise ConfigError(field=name, value=value, reason="not a mapping")


def _warnings(given: Mapping[str, object]) -> Iterator[str]:
    for path, value in given.items():
        if path in _SETTINGS or path in _SECTIONS:
            continue
        if path not in _WITHOUT_EFFECT:
            yield f"{path}: is not known and has no effect"
        elif _WITHOUT_EFFECT[path] and not _is_unset(value):
            yield f"{path}: {_WITHOUT_EFFECT[path]}"
    mode = given.get("mode")
    if mode and mode != "ipvs":
        yield f"mode: {mode!r} has no effect; the mode is always ipvs"


def _is_unset(value: object) -> bool:
    """Whether a field of kube-proxy looks as it does when nobody set it."""
    if isinstance(value, dict):
        return all(map(_is_unset, value.values()))
    return value in (None, False, 0, "", "0", "0s", [])


def _check(config: ProxyConfig) -> None:
    """Settings that do not fit together.

    Source: kube-proxy pkg/proxy/apis/config/validation.
    """
    mode = config.detect_local_mode
    needed = {
        DetectLocalMode.BRIDGE_INTERFACE: (
            "detectLocal.bridgeInterface",
            config.bridge_interface,
        ),
        DetectLocalMode.INTERFACE_NAME_PREFIX: (
            "detectLocal.interfaceNamePrefix",
            config.interface_name_prefix,
        ),
    }
    field, value = needed.get(mode, ("", mode.value))
    if not value:
        raise ConfigError(
            field=field, value=value, reason=f"needed by detectLocalMode {mode}"
        )
    if config.sync_period_s < config.min_sync_period_s:
        raise ConfigError(
            field="ipvs.syncPeriod",
            value=f"{config.sync_period_s:g}s",
            reason=f"shorter than minSyncPeriod, {config.min_sync_period_s:g}s",
        )
