"""The parts of values.schema.json that are made from elsewhere.

`python -m tests.chart.schema` writes them: `config` from the fields that ipvsctl reads,
and `alerts` from the alerts. A test says whether they are up to date.
"""

import json
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, NamedTuple, get_args, get_type_hints

import msgspec

from ipvsctl.cluster.config import settings
from ipvsctl.cluster.config.fields import FIELDS, Field, Treatment
from ipvsctl.model.config import Listener, ProxyConfig
from ipvsctl.model.ipvs import SCHEDULERS
from tests.chart.values import ALERTS, CHART, Value, values
from tests.pages import attribute_docs

Schema = dict[str, Any]

FILE: Final = CHART / "values.schema.json"

_ADDRESS: Final = "[0-9A-Fa-f:.]+"
_NETWORK: Final = _ADDRESS + "/[0-9]+"
_NUMBER: Final = "(0[xXoObB])?[0-9A-Fa-f_]+"
_LINK: Final = r"[^/:\s]{1,15}"


def _text(pattern: str = "") -> Schema:
    return {"type": "string", **({"pattern": f"^({pattern})$"} if pattern else {})}


def _integer(least: int, most: int) -> Schema:
    return {"type": "integer", "minimum": least, "maximum": most}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


# Unicode has two micro signs, and Go takes both.
_UNITS: Final = "(ns|us|\u00b5s|\u03bcs|ms|s|m|h)"
_DURATION: Final = _text(rf"0|(([0-9]+(\.[0-9]*)?|\.[0-9]+){_UNITS})+")
_BY_READER: Final = MappingProxyType[object, Schema](
    {
        settings.address: _text(_ADDRESS),
        settings.boolean: {"type": "boolean"},
        settings.cluster_cidrs: _text(f"{_NETWORK}(, *{_NETWORK})?"),
        settings.count: _integer(0, 2**31 - 1),
        settings.port: _integer(0, 2**16 - 1),
        settings.directory: _text("/.*"),
        settings.duration: _DURATION,
        settings.kernel_timeout: _DURATION,
        settings.label_value: _text("([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?"),
        settings.link: _text(_LINK),
        settings.mark_bit: _integer(0, 31),
        settings.mark_range: _text(f"{_NUMBER}/{_NUMBER}"),
        settings.networks: _list(_text(_NETWORK)),
        settings.node_address: _text(_ADDRESS),
        settings.node_name: _text(),
        settings.node_port_addresses: _list(_text(f"primary|localhost|{_NETWORK}")),
        settings.persistence_netmask: _text(
            r" *([0-9]+|[0-9]+(\.[0-9]+){3})? *(, *[0-9]* *)?"
        ),
        settings.ports: _list(_integer(1, 65535)),
        settings.scheduler: {"enum": sorted(SCHEDULERS)},
        settings.text: _text(),
        settings.vip_link: _text(_LINK),
    }
)
"""What a reader takes, as far as a schema can say; ipvsctl looks closer at start."""

_BY_PATH: Final = MappingProxyType[str, Schema](
    {
        # The probes ask there, so that port cannot be "nowhere".
        "healthzBindAddress": _text(r"([0-9.]+|\[[0-9A-Fa-f:.]+\]):0*[1-9][0-9]{0,4}"),
        "metricsBindAddress": _text(r"([0-9.]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}"),
    }
)
"""Where the chart needs more than ipvsctl does: the port, for probes and monitors."""

_WRITTEN: Final = ("apiVersion", "kind", "mode")
"""What the chart writes itself."""


class _Attribute(NamedTuple):
    kind: Any
    meaning: str


def config_schema() -> Schema:
    """The schema of `config`: every field, and no other."""
    tree: Schema = {}
    for field in FIELDS:
        *sections, key = field.path.split(".")
        place = tree
        for section in sections:
            inside = {"type": ["object", "null"], "description": _section(section)}
            shut: Schema = {**inside, "additionalProperties": False, "properties": {}}
            place = place.setdefault(section, shut)["properties"]
        place[key] = _field(field)
    return {
        "description": _described("config"),
        "type": "object",
        "additionalProperties": False,
        "properties": tree,
    }


def alerts_schema() -> Schema:
    """The schema of `alerts`: one mapping for each."""
    found = {}
    for value in values():
        group, _, name = value.path.partition(".")
        if group == ALERTS:
            found[name] = _alert(value)
    return {
        "description": "The alerts of prometheusRule, each with what can be tuned.",
        "type": "object",
        "additionalProperties": False,
        "properties": found,
    }


def made() -> Schema:
    """The whole schema, with the parts that are made as they should be."""
    schema: Schema = json.loads(FILE.read_text(encoding="utf-8"))
    schema["properties"]["config"] = config_schema()
    schema["properties"][ALERTS] = alerts_schema()
    return schema


def _section(name: str) -> str:
    return f"The section `{name}`."


def _described(path: str) -> str:
    return next(value.description for value in values() if value.path == path)


def _field(field: Field) -> Schema:
    if field.path in _WRITTEN:
        return {"description": "The chart writes it.", "not": {}}
    if field.treatment is not Treatment.HONOURED:
        return {"description": f"Without effect: {field.note}."}
    attribute = _attribute(field)
    taken = _BY_PATH.get(field.path) or _BY_READER.get(field.read)
    if taken is None:
        taken = _of_type(attribute.kind)
    return {"description": attribute.meaning, **_or_unset(taken, field)}


def _attribute(field: Field) -> _Attribute:
    """The type and the meaning of the setting that a field sets."""
    owner: type[msgspec.Struct] = ProxyConfig
    *parts, name = field.attribute.split(".")
    for part in parts:
        owner = get_type_hints(owner)[part]
    return _Attribute(get_type_hints(owner)[name], attribute_docs(owner)[name])


def _of_type(kind: Any) -> Schema:
    """For readers that are made for one type."""
    for one in (kind, *get_args(kind)):
        if isinstance(one, type) and issubclass(one, StrEnum):
            return {"enum": [str(word) for word in one]}
        if one is Listener:
            return _text()
    raise TypeError(kind)


def _or_unset(taken: Mapping[str, Any], field: Field) -> Schema:
    """Also null, and for kube-proxy's texts the empty one: nobody set it."""
    empty = [""] if field.zero_is_unset else []
    if "enum" in taken:
        return {"enum": [*taken["enum"], *empty, None]}
    schema = {**taken, "type": [taken["type"], "null"]}
    if empty and "pattern" in taken:
        schema["pattern"] = f"^$|{taken['pattern']}"
    return schema


def _alert(value: Value) -> Schema:
    parts: Schema = {
        "enabled": {"description": "Have this alert.", "type": "boolean"},
        "threshold": {
            "description": "The number that its expression ends with.",
            "type": "number",
            "minimum": 0,
        },
        "for": {
            "description": "For how long the expression must be true.",
            "type": "string",
            "pattern": "^([0-9]+(ms|s|m|h|d))+$",
        },
        "severity": {
            "description": "The label `severity`, for Alertmanager's routes.",
            "type": "string",
            "minLength": 1,
        },
    }
    return {
        "description": value.description,
        "type": "object",
        "additionalProperties": False,
        "properties": {key: parts[key] for key in value.default},
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(made(), indent=2) + "\n", encoding="utf-8")
