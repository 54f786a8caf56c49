"""Label and field selectors."""

import re
from collections.abc import Callable, Mapping

import msgspec

from tests.fakes.apiserver.entries import Entry
from tests.fakes.apiserver.kinds import SERVICES, Resource
from tests.fakes.apiserver.status import bad_request

Matches = Callable[[Entry], bool]

_SET = re.compile(r"^(?P<key>\S+)\s+(?P<word>in|notin)\s+\((?P<values>[^()]*)\)$")
_EQUALITY = re.compile(r"^(?P<key>[^!=\s]+)\s*(?P<word>==|=|!=)\s*(?P<value>[^!=\s]*)$")
_PRESENCE = re.compile(r"^(?P<absent>!?)(?P<key>[^!=\s()]+)$")
_BETWEEN = re.compile(r",(?![^(]*\))")


def selector(resource: Resource, labels: str, fields: str) -> Matches:
    """Whether an object is selected by both.

    Args:
        resource: of the objects.
        labels: `key`, `!key`, `key=value`, `key!=value`, `key in (a,b)` and `key notin
            (a,b)`, all of them when separated by commas.
        fields: the same with `=` and `!=` over `metadata.name`, over
            `metadata.namespace` of what has one, and over `spec.clusterIP` and
            `spec.type` of Services.

    Raises:
        Refusal: 400, one of them cannot be read.
    """
    tests = [_label_test(part) for part in _parts(labels)]
    tests += [_field_test(resource, part) for part in _parts(fields)]
    return lambda entry: all(test(entry) for test in tests)


def _parts(text: str) -> list[str]:
    return [part.strip() for part in _BETWEEN.split(text)] if text else []


def _label_test(text: str) -> Matches:
    if found := _SET.match(text):
        values = {value.strip() for value in found["values"].split(",")}
        return _membership(found["key"], values, is_wanted=found["word"] == "in")
    if found := _EQUALITY.match(text):
        is_wanted = found["word"] != "!="
        return _membership(found["key"], {found["value"]}, is_wanted=is_wanted)
    if found := _PRESENCE.match(text):
        key, is_absent = found["key"], bool(found["absent"])
        return lambda entry: (key not in entry.labels) is is_absent
    raise bad_request(f"unable to parse requirement: found '{text}'")


def _membership(key: str, values: set[str], *, is_wanted: bool) -> Matches:
    return lambda entry: (
        (entry.labels[key] in values if key in entry.labels else False) is is_wanted
    )


def _field_test(resource: Resource, text: str) -> Matches:
    found = _EQUALITY.match(text)
    if not found:
        raise bad_request(f'invalid selector: "{text}"; can\'t understand "{text}"')
    known = _fields(resource)
    if found["key"] not in known:
        told = ", ".join(f'"{name}"' for name in known)
        raise bad_request(
            f'"{found["key"]}" is not a known field selector: only {told}'
        )
    read, value = known[found["key"]], found["value"]
    is_wanted = found["word"] != "!="
    return lambda entry: (read(entry) == value) is is_wanted


def _fields(resource: Resource) -> Mapping[str, Callable[[Entry], str]]:
    """How each field that can be selected by is read.

    Source: kubernetes `pkg/apis/core/v1/conversion.go`.
    """
    known: dict[str, Callable[[Entry], str]] = {"metadata.name": lambda e: e.name}
    if resource.is_namespaced:
        known["metadata.namespace"] = lambda e: e.namespace
    if resource == SERVICES:
        known["spec.clusterIP"] = lambda e: _service(e).spec.cluster_ip
        known["spec.type"] = lambda e: _service(e).spec.type
    return known


class _Spec(msgspec.Struct, frozen=True):
    """What a Service can be selected by."""

    cluster_ip: str = msgspec.field(name="clusterIP", default="")
    type: str = "ClusterIP"


class _Service(msgspec.Struct, frozen=True):
    spec: _Spec = _Spec()


def _service(entry: Entry) -> _Service:
    return msgspec.json.decode(entry.item(), type=_Service)
