"""Bytes or plain Python values to the wire shapes of `api`, with errors that say where.

JSON bytes (from the API) and dicts (from YAML) take the same path from here on. A value
of which the API server would have made another one is read again, see `lenient`.
"""

import re
from reprlib import Repr
from sys import intern
from types import MappingProxyType
from typing import Generic, TypeVar

import msgspec
from msgspec import inspect

from ipvsctl.cluster.objects.api import ObjectMeta
from ipvsctl.cluster.objects.lenient import as_stored
from ipvsctl.cluster.text.scalars import Letter
from ipvsctl.model.errors import BadObject
from ipvsctl.model.problem import Kind, ObjectRef

T = TypeVar("T")

RawObject = bytes | msgspec.Raw | dict[str, object]
"""One object: its JSON text, or the dict that a YAML reader made of it."""

_CANNOT_DECODE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_PATH = re.compile(
    r"^(?P<reason>.*) - at (?:`key` in )?`\$\.?(?P<path>.*)`$", re.DOTALL
)
_TYPES = re.compile(r"Expected `(?P<expected>\w+)(?: \| null)?`, got `(?P<got>\w+)`")
_TYPE_WORDS = MappingProxyType(
    {
        "str": "text",
        "Letter": "text",
        "int": "a whole number",
        "float": "a number with a fraction",
        "bool": "true or false",
        "array": "a list",
        "object": "a mapping",
    }
)
_PLAIN = frozenset({"int", "float", "bool"})
_SOME_KEY = "[...]"
_short = Repr()
_STEP = re.compile(r"\[(\d+)\]|([^.\[\]]+)")


class ShapeDecoder(Generic[T]):
    """Decodes one kind of object into its wire shape."""

    def __init__(self, kind: str, shape: type[T]) -> None:
        self._kind = kind
        self._shape = shape
        self._json = msgspec.json.Decoder(shape)
        self._type = inspect.type_info(shape)

    def decode(self, raw: RawObject) -> T:
        """The wire shape of `raw`.

        Raises:
            BadObject: not JSON, or a field of another type than the API's.
        """
        try:
            if isinstance(raw, dict):
                return msgspec.convert(raw, self._shape)
            return self._json.decode(raw)
        except msgspec.ValidationError as exc:
            return self._decode_again(raw, exc)
        except _CANNOT_DECODE as exc:
            raise _bad_object(self._kind, raw, exc) from exc

    def _decode_again(self, raw: RawObject, first: msgspec.ValidationError) -> T:
        whole = plain_object(raw)
        if not isinstance(whole, dict):
            raise _bad_object(self._kind, raw, first) from first
        try:
            return msgspec.convert(as_stored(whole, self._type), self._shape)
        except msgspec.ValidationError as exc:
            raise _bad_object(self._kind, whole, exc) from exc


def object_ref(kind: Kind, meta: ObjectMeta | None) -> ObjectRef:
    """The name of a namespaced object; no namespace is `default`, as for kubectl.

    Raises:
        BadObject: no name.
    """
    if meta is None or not meta.name:
        raise BadObject(
            ref=f"{kind} without a name",
            field="metadata.name",
            value=None,
            reason="is missing",
        )
    # A cluster has far fewer namespaces than objects.
    return ObjectRef(intern(meta.namespace or "default"), meta.name)


def _bad_object(kind: str, raw: RawObject, exc: Exception) -> BadObject:
    whole = plain_object(raw)
    ref = _describe(kind, whole)
    if isinstance(exc, RecursionError):
        return BadObject(ref=ref, field="", value=None, reason="nested too deep")
    match = _PATH.match(str(exc))
    if match is None:
        reason = _reason(str(exc)) if whole is not None else f"not JSON ({exc})"
        return BadObject(ref=ref, field="", value=None, reason=reason)
    path, value = _place(whole, match["path"])
    return BadObject(
        ref=ref, field=path, value=_shown(value), reason=_reason(match["reason"])
    )


def _reason(words: str) -> str:
    """Our words for a value of a wrong type; the decoder's words where we have none."""
    match = _TYPES.fullmatch(words)
    if match is None:
        return f"cannot be read ({words})"
    expected = _TYPE_WORDS.get(match["expected"], match["expected"])
    got = _TYPE_WORDS.get(match["got"], match["got"])
    advice = (
        "; quote it" if match["expected"] == "str" and match["got"] in _PLAIN else ""
    )
    return f"is {got}, not {expected}{advice}"


def _place(whole: object, path: str) -> tuple[str, object]:
    """The path and the value there; with the key, if one of many texts is wrong."""
    if not path.endswith(_SOME_KEY):
        return path, _value_at(whole, path)
    path = path.removesuffix(_SOME_KEY)
    mapping = _value_at(whole, path)
    if isinstance(mapping, dict):
        for key, value in mapping.items():
            if not isinstance(value, str | Letter | None):
                return f"{path}.{key}", value
    return path, mapping


def _shown(value: object) -> object:
    """A value for an error: a collection may have no end of words."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return _short.repr(value) if isinstance(value, dict | list) else value


def plain_object(raw: RawObject) -> object:
    """An object as plain Python values; None if it is not even JSON."""
    if isinstance(raw, dict):
        return raw
    try:
        return msgspec.json.decode(raw)
    except _CANNOT_DECODE:
        return None


def _describe(kind: str, whole: object) -> str:
    """`Service default/web`, as far as the object tells."""
    meta = whole.get("metadata") if isinstance(whole, dict) else None
    name = meta.get("name") if isinstance(meta, dict) else None
    if not isinstance(name, str | Letter) or not isinstance(meta, dict):
        return f"{kind} without a name"
    if kind == Kind.NODE:
        return f"{kind} {name}"
    namespace = meta.get("namespace")
    known = isinstance(namespace, str | Letter)
    return f"{kind} {namespace if known else 'default'}/{name}"


def _value_at(whole: object, path: str) -> object:
    """The value at `spec.ports[0].port`; None where the path does not lead."""
    value = whole
    for index, name in _STEP.findall(path):
        if isinstance(value, list) and index and int(index) < len(value):
            value = value[int(index)]
        elif isinstance(value, dict) and name in value:
            value = value[name]
        else:
            return None
    return value
