"""YAML text to plain Python values, the way `kubectl` reads it.

Built on the parser's events and not on PyYAML's loaders, which take four times as
long, and read `2001:1:2:3:4:5:6:7` as a number in base 60, `on` as a boolean and an
unquoted creation time as a date.
"""

import re
from collections.abc import Iterator

import msgspec
import yaml

MAX_EVENTS = 20_000_000
"""Most nodes of one document with its aliases written out (an alias bomb has more)."""

MAX_DEPTH = 200
"""Most collections inside each other; libyaml's time grows with the square of it."""

_Loader: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_TAG = "tag:yaml.org,2002:"
_CONSTANTS: dict[str, object] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_NUMBER_START = frozenset("+-.0123456789")
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)|0o[0-7]+|0x[0-9a-fA-F]+", re.ASCII)
_FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII
)
# An object of its own, so that `is` tells it from text that was quoted.
_MERGE = "<<"
# Python refuses longer ones, and the API has none.
_MAX_DIGITS = 40


class YamlError(ValueError):
    """Text that is not YAML, or YAML that is not JSON in other words.

    Attributes:
        document: number of the document it is in, from 1.
        reason: with line and column.
    """

    def __init__(self, document: int, reason: str) -> None:
        super().__init__(f"document {document}: {reason}")
        self.document = document
        self.reason = reason


class Document(msgspec.Struct, frozen=True):
    """One document of a file.

    Attributes:
        number: from 1; empty documents count.
        value: dict, list, str, int, float, bool or None, nested; keys are text.
    """

    number: int
    value: object


def yaml_documents(raw: bytes) -> Iterator[Document]:
    """Read documents one by one, so that those before an error are had.

    Raises:
        YamlError: also for a key given twice, an alias of itself, a tag that JSON has
            no word for, and more depth or nodes than the limits above.
    """
    builder = _Builder()
    number = 1
    try:
        for event in yaml.parse(raw, Loader=_Loader):
            if isinstance(event, yaml.DocumentEndEvent):
                yield Document(number, builder.value)
                number += 1
                builder = _Builder()
            else:
                builder.add(event)
    except yaml.MarkedYAMLError as exc:
        reason = exc.problem or exc.context or "not YAML"
        raise YamlError(number, f"{_place(exc.problem_mark)}{reason}") from exc
    except yaml.YAMLError as exc:
        raise YamlError(number, str(exc).replace("\n", " ")) from exc
    except _NotJson as exc:
        raise YamlError(number, f"{_place(exc.mark)}{exc}") from exc


class _NotJson(Exception):
    def __init__(self, mark: object, reason: str) -> None:
        super().__init__(reason)
        self.mark = mark


def _place(mark: object) -> str:
    line, column = getattr(mark, "line", None), getattr(mark, "column", None)
    if line is None or column is None:
        return ""
    return f"line {line + 1}, column {column + 1}: "


class _Open(msgspec.Struct):
    """A collection whose end was not seen yet; a mapping's items are key, value, ..."""

    items: list[object]
    anchor: str | None
    first_event: int


class _Builder:
    """Puts one document's events together."""

    def __init__(self) -> None:
        self._open: list[_Open] = [_Open([], None, 0)]
        self._anchors: dict[str, tuple[object, int]] = {}
        self._events = 0

    @property
    def value(self) -> object:
        """The document's value, once its end was seen."""
        return self._open[0].items[0]

    def add(self, event: yaml.Event) -> None:
        """Take in one event."""
        self._events += 1
        if isinstance(event, yaml.ScalarEvent):
            value = _scalar(event)
            self._open[-1].items.append(value)
            if event.anchor is not None:
                self._anchors[event.anchor] = (value, 1)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            if len(self._open) > MAX_DEPTH:
                raise _NotJson(event.start_mark, "nested too deep")
            self._open.append(_Open([], event.anchor, self._events))
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            done = self._open.pop()
            ended: object = done.items
            if isinstance(event, yaml.MappingEndEvent):
                ended = _mapping(done.items, event.start_mark)
            self._open[-1].items.append(ended)
            if done.anchor is not None:
                self._anchors[done.anchor] = (ended, self._events - done.first_event)
        elif isinstance(event, yaml.AliasEvent):
            self._open[-1].items.append(self._alias(event))

    def _alias(self, event: yaml.AliasEvent) -> object:
        if event.anchor not in self._anchors:
            raise _NotJson(event.start_mark, f"alias {event.anchor!r} of nothing yet")
        value, events = self._anchors[event.anchor]
        self._events += events
        if self._events > MAX_EVENTS:
            raise _NotJson(event.start_mark, "aliases stand for too much")
        return value


def _scalar(event: yaml.ScalarEvent) -> object:
    text: str = event.value
    if event.tag is not None:
        return _tagged(event.tag, text, event.start_mark)
    # implicit[0]: plain, neither quoted nor tagged.
    return _plain(text) if event.implicit[0] else text


def _plain(text: str) -> object:
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text == _MERGE:
        return _MERGE
    if text[0] in _NUMBER_START and len(text) <= _MAX_DIGITS:
        if _INT.fullmatch(text):
            return int(text, 0)
        if _FLOAT.fullmatch(text):
            return float(text)
    return text


_JSON_TYPES: dict[str, type] = {
    "null": type(None),
    "bool": bool,
    "int": int,
    "float": float,
}


def _tagged(tag: str, text: str, mark: object) -> object:
    name = tag.removeprefix(_TAG)
    if name == "str":
        return text
    value = _plain(text)
    if type(value) is not _JSON_TYPES.get(name):
        raise _NotJson(mark, f"{text[:40]!r} tagged {tag}")
    return value


def _mapping(items: list[object], mark: object) -> dict[str, object]:
    keys = items[::2]
    for index, key in enumerate(keys):
        if type(key) is not str:
            keys[index] = _key(key, mark)
    mapping: dict[str, object] = dict(zip(keys, items[1::2], strict=True))  # type: ignore[arg-type]
    if len(mapping) != len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise _NotJson(mark, f"key {twice!r} twice in the mapping that ends here")
    if _MERGE in mapping and any(key is _MERGE for key in keys):
        return _merged(mapping, mark)
    return mapping


def _key(key: object, mark: object) -> str:
    """A key as text, as JSON has it."""
    if isinstance(key, dict | list):
        raise _NotJson(mark, "a key of the mapping that ends here is a collection")
    if key is None or isinstance(key, bool):
        return {None: "null", True: "true", False: "false"}[key]
    return str(key)


def _merged(mapping: dict[str, object], mark: object) -> dict[str, object]:
    """`<<: *base` and `<<: [*first, *second]`: what is not given is taken over."""
    bases = mapping.pop("<<")
    merged: dict[str, object] = {}
    for base in reversed(bases if isinstance(bases, list) else [bases]):
        if not isinstance(base, dict):
            raise _NotJson(mark, "<< of something that is not a mapping")
        merged |= base
    return merged | mapping
