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
      firewall: nftables          # or iptables, or auto (default)
      minSyncPeriod: 0s
      shortCircuit: true
      localFallback: none         # or cluster
      markRange: 0x20000/0xffffc000
      serviceMetrics: 20
      strictARP: true
      vipBinding: route           # or auto, or address (default)
      vipLink: kube-ipvs0

The module `fields` lists the fields, and how each is treated. Callers read the file.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

import msgspec

from ipvsctl.cluster.config import settings
from ipvsctl.cluster.config.fields import FIELDS, Treatment
from ipvsctl.cluster.config.flags import OWN_KEY
from ipvsctl.cluster.text.documents import NotOneMapping, one_mapping
from ipvsctl.model.config import (
    DetectLocalMode,
    Listener,
    ProxyConfig,
    ServeConfig,
)
from ipvsctl.model.errors import ConfigError
from ipvsctl.model.marks import KUBELET_DROP_MARK
from ipvsctl.model.net import parse_address

API_VERSION = "kubeproxy.config.k8s.io/v1alpha1"
KIND = "KubeProxyConfiguration"

_BY_PATH = MappingProxyType({field.path: field for field in FIELDS})

_SECTIONS = frozenset(path.split(".")[0] for path in _BY_PATH if "." in path)


class Mode(StrEnum):
    """The modes of kube-proxy."""

    IPTABLES = "iptables"
    IPVS = "ipvs"
    NFTABLES = "nftables"
    KERNELSPACE = "kernelspace"


class GivenText(msgspec.Struct, frozen=True, kw_only=True):
    """A setting from the command line or the environment.

    Attributes:
        path: of the field it stands for.
        name: of the flag or the variable, for errors.
    """

    path: str
    name: str
    text: str


def parse_config(raw: bytes | str, source: str) -> tuple[ProxyConfig, tuple[str, ...]]:
    """Read a configuration file.

    Args:
        raw: the text of the file, YAML or JSON.
        source: name of the file in errors.

    Returns:
        The settings, and a warning for each field that is set and has no effect,
        and for each key that is there twice.

    Raises:
        ConfigError: not a KubeProxyConfiguration, or a field that cannot be used.
    """
    document, twice = _document(raw, source)
    given = dict(_fields(document))
    warnings = (*twice, *_warnings(given))
    values: dict[str, object] = {}
    for field in FIELDS:
        value = given.get(field.path)
        if value is None or (field.zero_is_unset and _is_unset(value)):
            continue
        if field.read is not None:
            values[field.attribute] = field.read(field.path, value)
    config = _with(_defaults(given), values)
    _check(config)
    return config, warnings


def with_given(config: ProxyConfig, given: Iterable[GivenText]) -> ProxyConfig:
    """The settings with those of the command line and the environment, which win.

    Raises:
        ConfigError: one of them cannot be used.
    """
    values: dict[str, object] = {}
    for setting in given:
        field = _BY_PATH[setting.path]
        if field.read is None:
            raise ValueError(setting.path)
        values[field.attribute] = field.read(
            setting.name, field.from_text(setting.text)
        )
    config = _with(config, values)
    _check(config)
    return config


# Where an IPv6 node listens unless it says.
_IPV6_SERVERS: Final = ServeConfig(
    healthz=Listener(parse_address("::"), 10256),
    metrics=Listener(parse_address("::1"), 10249),
)


def _defaults(given: Mapping[str, object]) -> ProxyConfig:
    field = "bindAddress"
    bind = given.get(field)
    if bind and settings.address(field, bind).version == 6:
        return ProxyConfig(serve=_IPV6_SERVERS)
    return ProxyConfig()


def _with(config: ProxyConfig, values: Mapping[str, object]) -> ProxyConfig:
    """The settings with these attributes, `min` of a part as `conntrack.min`."""
    whole: dict[str, object] = {}
    parts: defaultdict[str, dict[str, object]] = defaultdict(dict)
    for attribute, value in values.items():
        part, _, name = attribute.rpartition(".")
        (parts[part] if part else whole)[name] = value
    for part, inner in parts.items():
        whole[part] = msgspec.structs.replace(getattr(config, part), **inner)
    return msgspec.structs.replace(config, **whole)


def _document(
    raw: bytes | str, source: str
) -> tuple[dict[str, object], tuple[str, ...]]:
    """The file's only document, and a warning for what is said twice in it."""
    text = raw.encode() if isinstance(raw, str) else raw
    try:
        document, flaws = one_mapping(text, KIND)
    except NotOneMapping as exc:
        raise ConfigError(field=source, value=None, reason=str(exc)) from exc
    for field, expected in (("apiVersion", API_VERSION), ("kind", KIND)):
        if document.get(field) != expected:
            raise ConfigError(
                field=f"{source}: {field}",
                value=document.get(field),
                reason=f"not {expected}",
            )
    return document, flaws


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
        field = _BY_PATH.get(path)
        if field is None:
            if path not in _SECTIONS:
                yield f"{path}: is not known and has no effect"
        elif field.treatment is Treatment.NAMED and not _is_unset(value):
            yield f"{path}: {field.note}"
    mode = given.get("mode")
    if mode and settings.one_of(Mode)("mode", mode) is not Mode.IPVS:
        yield f"mode: {mode!r} has no effect; the mode is always ipvs"


def _is_unset(value: object) -> bool:
    """Whether a field of kube-proxy looks as it does when nobody set it."""
    if isinstance(value, dict):
        return all(map(_is_unset, value.values()))
    return value in (None, False, 0, "", "0", "0s", [])


def _check(config: ProxyConfig) -> None:
    """Refuse settings that do not fit together.

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
    reserved = config.masquerade_mark | KUBELET_DROP_MARK
    if config.has_short_circuit and config.mark_range.value & reserved:
        raise ConfigError(
            field=f"{OWN_KEY}.markRange",
            value=str(config.mark_range),
            reason=f"has a bit of {reserved:#x}, the masquerade mark and the kubelet's",
        )
    if config.sync_period_s < config.min_sync_period_s:
        raise ConfigError(
            field="ipvs.syncPeriod",
            value=f"{config.sync_period_s:g}s",
            reason=f"shorter than minSyncPeriod, {config.min_sync_period_s:g}s",
        )
