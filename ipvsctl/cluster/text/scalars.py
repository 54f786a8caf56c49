"""Scalars of YAML to values, the way `kubectl` reads them.

Its YAML is 1.1 with changes: `on` is true, `014` is twelve and `1_000` a thousand, but
nothing is in base 60 and a date is text. A number that JSON does not have (`.inf`) is
refused.
Source: go.yaml.in/yaml/v2 resolve.go (read at v2.4.3), through sigs.k8s.io/yaml.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

MERGE: Final = "<<"
"""A plain key that takes over the keys of other mappings; compare it with `is`."""


class Letter:
    """A plain `y`, `Y`, `n` or `N`: a boolean where one is expected, else text.

    `kubectl` takes it for a boolean everywhere, which refuses an object of that name;
    YAML 1.2 takes it for text everywhere. It is neither here, so that whoever expects
    one of them has to ask.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return self._text

    @property
    def boolean(self) -> bool:
        """The boolean it means."""
        return self._text in {"y", "Y"}


class NotJson(ValueError):
    """A scalar that JSON cannot say."""


_TAG = "tag:yaml.org,2002:"
_BEYOND_JSON = object()


def _spelled(words: str, value: object) -> dict[str, object]:
    """Each word in lower case, as a name and in upper case."""
    forms = (words, words.title(), words.upper())
    return {word: value for form in forms for word in form.split()}


_WORDS: Final = MappingProxyType(
    {
        **_spelled("null", value=None),
        "": None,
        "~": None,
        **_spelled("true yes on", value=True),
        **_spelled("false no off", value=False),
        **{letter: Letter(letter) for letter in "yYnN"},
        **{
            sign + form: _BEYOND_JSON
            for sign in ("", "+", "-")
            for form in (".inf", ".Inf", ".INF")
        },
        **dict.fromkeys((".nan", ".NaN", ".NAN"), _BEYOND_JSON),
        MERGE: MERGE,
    }
)
_NUMBER_START = frozenset("+-.0123456789")
_INTEGER = re.compile(
    r"(?P<sign>[-+]?)"
    r"(?:0[xX](?P<hex>[0-9a-fA-F]+)|0[bB](?P<binary>[01]+)|0[oO]?(?P<octal>[0-7]+)"
    r"|(?P<decimal>0|[1-9][0-9]*))",
    re.ASCII,
)
_FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII
)
_BASES: Final = MappingProxyType({"hex": 16, "binary": 2, "octal": 8, "decimal": 10})
# Longer numbers are text: a double has no more digits before its point.
_MAX_DIGITS = 400
_INTEGERS = range(-(2**63), 2**64)
# encoding/json writes a double from here on with an exponent, which is no integer.
_INTEGER_END = 1e21


def plain(text: str) -> object:
    """A scalar that is neither quoted nor tagged.

    Returns:
        None, bool, int, float, `Letter`, `MERGE` itself, or the text; a float with no
        fraction is an int, as in the JSON that `kubectl` makes of it.

    Raises:
        NotJson: infinity, or not a number.
    """
    if text in _WORDS:
        word = _WORDS[text]
        if word is _BEYOND_JSON:
            raise NotJson(f"{text} is a number that JSON does not have")
        return word
    if text[0] in _NUMBER_START and len(text) <= _MAX_DIGITS:
        return _number(text)
    return text


def tagged(tag: str, text: str) -> object:
    """A scalar with a tag; one that is not YAML's own means text.

    Raises:
        NotJson: the text is not what the tag says.
    """
    name = tag.removeprefix(_TAG)
    if name in {tag, "str"}:
        return text
    if name == "binary":
        try:
            return base64.b64decode(text, validate=True).decode(errors="replace")
        except (binascii.Error, ValueError):
            raise NotJson(f"{text[:40]!r} tagged !!binary is not base64") from None
    if name not in _TYPES:
        return text
    value = plain(text)
    if isinstance(value, Letter):
        value = value.boolean if name == "bool" else str(value)
    if type(value) not in _TYPES[name]:
        raise NotJson(f"{text[:40]!r} tagged !!{name} is something else")
    return value


_TYPES: Final[Mapping[str, set[type]]] = MappingProxyType(
    {
        "null": {type(None)},
        "bool": {bool},
        "int": {int},
        "float": {float, int},
        "timestamp": {str},
    }
)


def key_text(value: object) -> str:
    """The key that a scalar is in JSON.

    Raises:
        NotJson: null, which is none.
    """
    if value is None:
        raise NotJson("a key is missing, or null")
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)


def whole(value: float) -> float | int:
    """A number without a fraction as the integer it is in Go's JSON."""
    if value.is_integer() and abs(value) < _INTEGER_END:
        return int(value)
    return value


def _number(text: str) -> object:
    digits = text.replace("_", "")
    match = _INTEGER.fullmatch(digits)
    if match is not None and match.lastgroup is not None:
        sign, form = match["sign"], match.lastgroup
        value = int(sign + match[form], _BASES[form])
        if value in _INTEGERS and not (sign == "+" and value >= 2**63):
            return value
    if _FLOAT.fullmatch(digits):
        number = float(digits)
        # Go's reader takes what is too large for a double as text.
        return text if number in {float("inf"), float("-inf")} else whole(number)
    return text
