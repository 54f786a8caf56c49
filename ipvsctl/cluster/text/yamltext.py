"""YAML text to plain Python values, the way `kubectl` reads it.

Built on the parser's events and not on PyYAML's loaders, which take four times as
long, and read `2001:1:2:3:4:5:6:7` as a number in base 60 and an unquoted creation
time as a date. The values of scalars are in `scalars`; where a document begins and ends
is in `documents`.
"""

import re
from collections.abc import Iterator
from typing import Protocol

import msgspec
import yaml

from ipvsctl.cluster.text.scalars import MERGE, NotJson, key_text, plain, tagged

MAX_DEPTH = 200
"""Most collections inside each other; libyaml's time grows with the square of it."""

_Loader: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_MAX_FLAWS = 10
_SHOWN = 40
# What libyaml reads no further at (reader.c), a mark of the byte order apart.
_CONTROL = re.compile(
    rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\xc2[\x80-\x84\x86-\x9f]|\xef\xbf[\xbe\xbf]"
)


class YamlError(ValueError):
    """Text that is not YAML, or YAML that JSON could not say."""


class TooMuch(YamlError):
    """A file that has more in it than its size excuses; reading it ends there."""


class Allowance:
    """How many more events, aliases written out, a file may have.

    Time and memory go with the events and not with the bytes: two bytes can make one,
    and an alias any number of them.

    Attributes:
        left: how many.
    """

    def __init__(self, events: int) -> None:
        self.left = events


class YamlValue(msgspec.Struct, frozen=True, kw_only=True):
    """The content of one document.

    Attributes:
        value: dict, list, str, int, float, bool or None, nested; keys are text.
        flaws: keys that are there twice with different values, of which the last
            counts, as for `kubectl`.
    """

    value: object
    flaws: tuple[str, ...] = ()


def yaml_values(
    text: bytes, first_line: int, allowance: Allowance
) -> Iterator[YamlValue]:
    """Read documents one by one, so that those before an error are had.

    Args:
        text: UTF-8.
        first_line: the number of its first line in the file, for errors.
        allowance: is spent.

    Raises:
        YamlError: also for an alias of itself, a key that is no text in JSON, a value
            that is not what its tag says, and what is nested too deep.
        TooMuch: the allowance is spent.
    """
    builder = _Builder(first_line, allowance)
    try:
        for event in yaml.parse(text, Loader=_Loader):
            if isinstance(event, yaml.DocumentEndEvent):
                yield YamlValue(value=builder.value, flaws=tuple(builder.flaws))
                builder.close()
                builder = _Builder(first_line, allowance)
            else:
                builder.add(event)
    except yaml.reader.ReaderError as exc:
        raise YamlError(_control_character(text, first_line)) from exc
    except yaml.YAMLError as exc:
        raise YamlError(_not_yaml(exc, first_line)) from exc
    finally:
        builder.close()


def _not_yaml(exc: yaml.YAMLError, first_line: int) -> str:
    """Our words; the parser's, which change with its versions, come after them."""
    mark = getattr(exc, "problem_mark", None) or getattr(exc, "context_mark", None)
    words = getattr(exc, "problem", None) or getattr(exc, "context", None)
    place = _place(mark, first_line)
    return f"{place}not YAML" + (f" ({words})" if words else "")


def _control_character(text: bytes, first_line: int) -> str:
    found = _CONTROL.search(text)
    if found is None:
        return "not YAML"
    line = first_line + text.count(b"\n", 0, found.start())
    return f"line {line}: control character U+{ord(found[0].decode()):04X}"


def _place(mark: "_Mark | None", first_line: int) -> str:
    if mark is None:
        return ""
    return f"line {first_line + mark.line}, column {mark.column + 1}: "


class _Mark(Protocol):
    """Where an event begins; libyaml's marks and those in Python have no base."""

    @property
    def line(self) -> int: ...

    @property
    def column(self) -> int: ...


class _Open(msgspec.Struct):
    """A collection whose end was not seen yet; a mapping's items are key, value, ...

    Attributes:
        first_event: when it began.
        depth: of the deepest collection in it that came from an alias.
    """

    items: list[object]
    anchor: str | None
    first_event: int
    depth: int = 0


class _Anchored(msgspec.Struct, frozen=True):
    """The value of an alias; `depth` counts the collections inside each other."""

    value: object
    events: int
    depth: int


class _Builder:
    """Puts one document's events together."""

    def __init__(self, first_line: int, allowance: Allowance) -> None:
        self.flaws: list[str] = []
        self._first_line = first_line
        self._allowance = allowance
        self._limit = allowance.left
        self._open: list[_Open] = [_Open([], None, 0)]
        self._anchors: dict[str, _Anchored] = {}
        self._events = 0

    @property
    def value(self) -> object:
        """The document's value, once its end was seen."""
        return self._open[0].items[0]

    def close(self) -> None:
        """Pay for what was read."""
        self._allowance.left -= self._events
        self._events = 0

    def add(self, event: yaml.Event) -> None:
        """Take in one event."""
        self._events += 1
        if self._events > self._limit:
            raise TooMuch(
                f"{_place(event.start_mark, self._first_line)}"
                "more values, aliases written out, than a file of this size may have"
            )
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event)
            self._open[-1].items.append(value)
            if event.anchor is not None:
                self._anchors[event.anchor] = _Anchored(value, 1, 0)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            self._check_depth(1, event)
            self._open.append(_Open([], event.anchor, self._events))
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self._end(event)
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)

    def _end(self, event: yaml.Event) -> None:
        done = self._open.pop()
        ended: object = done.items
        if isinstance(event, yaml.MappingEndEvent):
            ended = self._mapping(done.items, event)
        outer = self._open[-1]
        outer.items.append(ended)
        depth = done.depth + 1
        outer.depth = max(outer.depth, depth)
        if done.anchor is not None:
            events = self._events - done.first_event + 1
            self._anchors[done.anchor] = _Anchored(ended, events, depth)

    def _alias(self, event: yaml.AliasEvent) -> None:
        found = self._anchors.get(event.anchor or "")
        if found is None:
            raise self._refusal(event, f"*{event.anchor} stands for nothing yet")
        self._check_depth(found.depth, event)
        self._events += found.events
        outer = self._open[-1]
        outer.items.append(found.value)
        outer.depth = max(outer.depth, found.depth)

    def _check_depth(self, inside: int, event: yaml.Event) -> None:
        if len(self._open) - 1 + inside > MAX_DEPTH:
            raise self._refusal(event, "nested too deep")

    def _scalar(self, event: yaml.ScalarEvent) -> object:
        text: str = event.value
        try:
            if event.tag is not None:
                return tagged(event.tag, text)
            # implicit[0]: plain, neither quoted nor tagged.
            return plain(text) if event.implicit[0] else text
        except NotJson as exc:
            raise self._refusal(event, str(exc)) from exc

    def _mapping(self, items: list[object], event: yaml.Event) -> dict[str, object]:
        keys = items[::2]
        for index, key in enumerate(keys):
            if type(key) is not str:
                keys[index] = self._key(key, event)
        values = items[1::2]
        mapping: dict[str, object] = dict(zip(keys, values, strict=True))  # type: ignore[arg-type]
        if len(mapping) != len(keys):
            self._note_twice(keys, values, event)
        if MERGE in mapping and any(key is MERGE for key in keys):
            return self._merged(keys, values, event)
        return mapping

    def _key(self, key: object, event: yaml.Event) -> str:
        """A key as text, as JSON has it."""
        if isinstance(key, dict | list):
            raise self._refusal(event, "a key before this is a collection")
        try:
            return key_text(key)
        except NotJson as exc:
            raise self._refusal(event, f"{exc}, in the mapping that ends here") from exc

    def _note_twice(
        self, keys: list[object], values: list[object], event: yaml.Event
    ) -> None:
        known: dict[object, object] = {}
        for key, value in zip(keys, values, strict=True):
            if key is MERGE:
                continue
            if key in known and not _is_same(known[key], value):
                if len(self.flaws) < _MAX_FLAWS:
                    place = _place(event.start_mark, self._first_line)
                    self.flaws.append(
                        f"{place}key {str(key)[:_SHOWN]!r} is in the mapping that ends"
                        " here twice; the last one is used"
                    )
                return
            known[key] = value

    def _merged(
        self, keys: list[object], values: list[object], event: yaml.Event
    ) -> dict[str, object]:
        """`<<: *base` and `<<: [*first, *second]`, which gives the first its way.

        In the order of the text, as for `kubectl`: what comes after a merge replaces
        what it took over, and a merge what came before.
        """
        merged: dict[str, object] = {}
        for key, value in zip(keys, values, strict=True):
            if key is not MERGE:
                merged[str(key)] = value
                continue
            for base in reversed(value if isinstance(value, list) else [value]):
                if not isinstance(base, dict):
                    raise self._refusal(event, "<< of something that is not a mapping")
                merged |= base
        return merged

    def _refusal(self, event: yaml.Event, reason: str) -> YamlError:
        return YamlError(f"{_place(event.start_mark, self._first_line)}{reason}")


def _is_same(one: object, other: object) -> bool:
    """Whether two scalars are equal; collections may be too large to compare."""
    if isinstance(one, dict | list) or isinstance(other, dict | list):
        return False
    return type(one) is type(other) and one == other
