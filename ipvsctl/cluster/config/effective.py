"""The settings in force, written as the configuration file would have them."""

from collections.abc import Mapping
from functools import reduce
from typing import Any

from ipvsctl.cluster.config.config_file import API_VERSION, KIND
from ipvsctl.cluster.config.fields import FIELDS, Field
from ipvsctl.model.config import NodePortAddresses, ProxyConfig


def effective_config(config: ProxyConfig) -> Mapping[str, object]:
    """A KubeProxyConfiguration that has these settings, and no other field.

    `parse_config` makes the same settings of it. Unset ones are left out.
    """
    document: dict[str, Any] = {"apiVersion": API_VERSION, "kind": KIND, "mode": "ipvs"}
    for field in FIELDS:
        value = _value(config, field)
        if value is None:
            continue
        *sections, name = field.path.split(".")
        section = reduce(lambda d, key: d.setdefault(key, {}), sections, document)
        section[name] = value
    return document


def _value(config: ProxyConfig, field: Field) -> object:
    """The value as the file would hold it; None if it is unset, or no setting."""
    if not field.attribute:
        return None
    value = reduce(getattr, field.attribute.split("."), config)
    is_duration = field.attribute.endswith("_s")
    return _written(value, is_duration=is_duration, is_text=field.path == "clusterCIDR")


def _written(value: object, *, is_duration: bool, is_text: bool) -> object:
    match value:
        case NodePortAddresses():
            return [*value.words]
        case tuple() if is_text:
            return ",".join(map(str, value))
        case tuple():
            return [v if isinstance(v, int) else str(v) for v in value]
        case int() | float() if is_duration:
            return f"{value:.9f}".rstrip("0").rstrip(".") + "s"
        case bool() | int() | None:
            return value
        case _:
            return str(value)
