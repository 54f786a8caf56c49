"""A file's bytes to its documents, in YAML or JSON, the way `kubectl` takes them apart.

A file's name says nothing: text that begins with a brace is tried as JSON, one value
after the other, and is YAML from where that ends. YAML is cut at its separators first,
so that a document that is not YAML costs no other.
Source: k8s.io/apimachinery pkg/util/yaml/decoder.go (read at v0.36).
"""

import re
from collections.abc import Iterator
from typing import Final

import msgspec

from ipvsctl.cluster.text.encodings import MARK, utf8
from ipvsctl.cluster.text.yamltext import (
    Allowance,
    TooMuch,
    YamlError,
    yaml_values,
)

EVENTS_AT_LEAST: Final = 300_000
"""Events of YAML that any file may have; so many take about a second to read."""

EVENTS_PER_BYTE: Final = 0.25
"""Events that a larger file may have for each byte. `kubectl` writes an event in eight
bytes or more, dense JSON has one in seven."""

EVENTS_AT_MOST: Final = 16_000_000
"""Events that a file may have however large it is; so many take about a minute and two
gigabytes."""

OBJECTS_AT_LEAST: Final = 10_000
"""Objects that any file may have."""

BYTES_PER_OBJECT: Final = 32
"""Bytes for each object that a larger file may have; a small Service has 100."""

MAX_BROKEN: Final = 100
"""After so many documents that are not YAML a file is not read on."""

# What a document costs beside its events, in events.
_DOCUMENT_COST: Final = 8
_MAX_DIRECTIVES: Final = 16

# Possessive throughout: no text makes any of them try again.
_BLANK = rb"\s*+(?:#[^\n]*+\s*+)*+"
_MARKS = rb"(?:\xef\xbb\xbf)*+"

_SEPARATOR = re.compile(
    rb"^" + _MARKS + rb"(---|\.\.\.)" + _MARKS + rb"(?=[ \t\r\n]|\Z)", re.MULTILINE
)
_DIRECTIVES = re.compile(rb"\s*+(?:[#%][^\n]*+\s*+)*+")
_NOTHING = re.compile(rb"(?:---(?=\s|\Z))?+" + _BLANK)
# Where the marks of a file's beginning can be: around the separator, and before the
# first line that says something.
_START = re.compile(_MARKS + rb"(?:---)?+" + _MARKS + _BLANK + _MARKS)
_SPACE = re.compile(rb"\s*+")
# A string, a bracket, or a quote that no other closes.
_JSON_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\]]|"', re.DOTALL)


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """One document of a file.

    Attributes:
        number: from 1; empty documents of YAML count. 0: the file is this one value of
            JSON.
        value: a JSON text, or dict, list, str, int, float, bool or None, nested.
        flaws: see `YamlValue`.
        is_empty: there are comments at most; the value is None.
    """

    number: int
    value: object
    flaws: tuple[str, ...] = ()
    is_empty: bool = False

    @property
    def where(self) -> str:
        """`document 2`; "" for the whole file."""
        return f"document {self.number}" if self.number else ""


class Broken(msgspec.Struct, frozen=True, kw_only=True):
    """A document, or the rest of a file, that cannot be read.

    Attributes:
        number: as for `Document`, never 0.
        reason: with line and column, as far as they are known.
    """

    number: int
    reason: str

    @property
    def where(self) -> str:
        """`document 2`."""
        return f"document {self.number}"

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}"


class Documents:
    """The documents of one file.

    Args:
        raw: the file's bytes.

    Attributes:
        bad_line: see `Utf8`.
    """

    def __init__(self, raw: bytes) -> None:
        decoded = utf8(raw)
        self.bad_line = decoded.bad_line
        self._text = decoded.text

    @property
    def is_blank(self) -> bool:
        """Whether there is nothing at all, not even a comment."""
        return _after_space(self._text, 0) == len(self._text)

    @property
    def max_objects(self) -> int:
        """How many objects a file of this size may have."""
        return max(OBJECTS_AT_LEAST, len(self._text) // BYTES_PER_OBJECT)

    def __iter__(self) -> Iterator[Document | Broken]:
        """Documents in order; one that is broken stops no other."""
        text = self._text
        start = _after_space(text, 0)
        if start == len(text):
            return
        if text[start : start + 1] != b"{":
            yield from _yaml_documents(text, 0, 1)
        elif _is_json(text):
            yield Document(number=0, value=text)
        else:
            pieces, rest = _json_pieces(text, start, self.max_objects)
            for number, piece in enumerate(pieces, 1):
                yield Document(number=number, value=piece)
            for found in _yaml_documents(text, rest, len(pieces) + 1):
                if isinstance(found, Broken) and found.number == len(pieces) + 1:
                    reason = f"not JSON; {found.reason}"
                    yield msgspec.structs.replace(found, reason=reason)
                else:
                    yield found


class NotOneMapping(ValueError):
    """A file is not one mapping; the text says why."""


def one_mapping(raw: bytes, kind: str) -> tuple[dict[str, object], tuple[str, ...]]:
    """The only document of a file, and its flaws.

    Args:
        raw: the file's bytes.
        kind: name of such a document, for errors.

    Raises:
        NotOneMapping: there is none, more than one, or something else; or one cannot be
            read.
    """
    found: list[Document] = []
    for part in Documents(raw):
        if isinstance(part, Broken):
            raise NotOneMapping(str(part))
        if part.value is not None:
            found.append(part)
    value = _plain(found[0].value) if len(found) == 1 else None
    if not isinstance(value, dict):
        raise NotOneMapping(f"not one {kind} document")
    return value, found[0].flaws


def _plain(value: object) -> object:
    """A document's value, also of JSON."""
    if not isinstance(value, bytes):
        return value
    try:
        return msgspec.json.decode(value)
    except (msgspec.DecodeError, RecursionError) as exc:
        raise NotOneMapping(f"cannot be read ({exc})") from exc


def _json_pieces(text: bytes, start: int, most: int) -> tuple[list[bytes], int]:
    """The values of JSON at the start, and the place where something else begins."""
    pieces: list[bytes] = []
    while text[start : start + 1] == b"{" and len(pieces) < most:
        end = _end_of_json(text, start)
        piece = text[start:end]
        if not _is_json(piece):
            break
        pieces.append(piece)
        start = _after_space(text, end)
    return pieces, start


def _end_of_json(text: bytes, start: int) -> int:
    """Where the value that begins at `start` ends; the end of the text if nowhere."""
    depth = 0
    for token in _JSON_TOKEN.finditer(text, start):
        first = token[0]
        if first in {b"{", b"["}:
            depth += 1
        elif first in {b"}", b"]"}:
            depth -= 1
            if depth <= 0:
                return token.end()
        elif first == b'"':
            break
    return len(text)


def _is_json(text: bytes) -> bool:
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _after_space(text: bytes, start: int) -> int:
    match = _SPACE.match(text, start)
    return start if match is None else match.end()


def _yaml_documents(
    text: bytes, start: int, number: int
) -> Iterator[Document | Broken]:
    """Documents of YAML from `start` on, the first of which has this number."""
    events = min(max(EVENTS_AT_LEAST, int(len(text) * EVENTS_PER_BYTE)), EVENTS_AT_MOST)
    allowance = Allowance(events)
    line = 1 + text.count(b"\n", 0, start)
    broken = 0
    for first, end in _chunks(text, start):
        if _NOTHING.fullmatch(text, first, end):
            if text.startswith(b"---", first):
                yield Document(number=number, value=None, is_empty=True)
                number += 1
        else:
            allowance.left -= _DOCUMENT_COST
            try:
                for found in yaml_values(
                    _without_marks(text[first:end], line), line, allowance
                ):
                    yield Document(number=number, value=found.value, flaws=found.flaws)
                    number += 1
            except YamlError as exc:
                yield Broken(number=number, reason=str(exc))
                number += 1
                broken += 1
                if isinstance(exc, TooMuch):
                    return
            if broken == MAX_BROKEN:
                reason = f"{broken} documents are not YAML; the file is not read on"
                yield Broken(number=number, reason=reason)
                return
        line += text.count(b"\n", first, end)


def _chunks(text: bytes, start: int) -> Iterator[tuple[int, int]]:
    """Where documents begin and end: directives, `---`, what follows, and `...`."""
    for separator in _SEPARATOR.finditer(text, start):
        if separator[1] == b"...":
            end = text.find(b"\n", separator.end()) + 1 or len(text)
        else:
            end = separator.start()
            if _DIRECTIVES.fullmatch(text, start, end):
                continue
        yield start, end
        start = end
    if start < len(text):
        yield start, len(text)


def _without_marks(chunk: bytes, line: int) -> bytes:
    """The text of a document without the marks that files begin with.

    A mark inside of a document is left by concatenating files without `---`.

    Raises:
        YamlError: there is one, or there are too many directives.
    """
    if MARK in chunk:
        start = _START.match(chunk)
        if start is not None:
            chunk = start[0].replace(MARK, b"") + chunk[start.end() :]
        inside = chunk.find(b"\n" + MARK)
        if inside >= 0:
            line += 1 + chunk.count(b"\n", 0, inside)
            raise YamlError(
                f"line {line}: a byte order mark inside a document; a line --- is"
                " missing before it"
            )
    # libyaml compares each directive with all before it.
    if chunk.startswith(b"%") and chunk.count(b"\n%") >= _MAX_DIRECTIVES:
        raise YamlError(f"line {line}: more than {_MAX_DIRECTIVES} directives")
    return chunk
