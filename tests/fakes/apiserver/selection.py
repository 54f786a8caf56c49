"""Label and field selectors."""

import re
from collections.abc import Callable

from tests.fakes.apiserver.entries import Entry
from tests.fakes.apiserver.status import bad_request

Matches = Callable[[Entry], bool]

_SET = re.compile(r"^(?P<key>\S+)\s+(?P<word>in|notin)\s+\((?P<values>[^()]*)\)$")
_EQUALITY = re.compile(r"^(?P<key>[^!=\s]+)\s*(?P<word>==|=|!=)\s*(?P<value>[^!=\s]*)$")
_PRESENCE = re.compile(r"^(?P<absent>!?)(?P<key>[^!=\s()]+)$")
_BETWEEN = re.compile(r",(?![^(]*\))")


def selector(labels: str, fields: str) -> Matches:
    """Whether an object is selected by both.

    Args:
        labels: `key`, `!key`, `key=value`, `key!=value`, `key in (a,b)` and `key notin
            (a,b)`, all of them when separated by commas.
        fields: the same with `=` and `!=` over `metadata.name` and
            `metadata.namespace`.

    Raises:
        Refusal: 400, one of them cannot be read.
    """
    tests = [_label_test(part) for part in _parts(labels)]
    tests += [_field_test(part) for part in _parts(fields)]
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


def _field_test(text: str) -> Matches:
    found = _EQUALITY.match(text)
    if not found:
        raise bad_request(f'invalid selector: "{text}"; can\'t understand "{text}"')
    attributes = {"metadata.name": "name", "metadata.namespace": "namespace"}
    if found["key"] not in attributes:
        raise bad_request(
            f'"{found["key"]}" is not a known field selector: only "metadata.name", '
            '"metadata.namespace"'
        )
    attribute, value = attributes[found["key"]], found["value"]
    is_wanted = found["word"] != "!="
    return lambda entry: (getattr(entry, attribute) == value) is is_wanted
