"""Manifest files: text to objects, files to one cluster, and what changed between two.

No file is opened here; `sources.manifests` does that.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import msgspec

from ipvsctl.cluster.api import TypeMeta
from ipvsctl.cluster.decode import RawObject, ShapeDecoder
from ipvsctl.cluster.events import Deleted, Event, Invalid, Upserted
from ipvsctl.cluster.parse import API_VERSIONS, decode_list, parse_object
from ipvsctl.cluster.yamltext import YamlError, yaml_documents
from ipvsctl.model.errors import BadObject
from ipvsctl.model.problem import Kind, ObjectRef, Problem, Tally

ObjectKey = tuple[Kind, ObjectRef]

_KINDS = {(version, kind.value): kind for kind, version in API_VERSIONS.items()}
_LISTS = {(version, f"{name}List"): (version, name) for version, name in _KINDS}
_ORDER = {
    kind: place
    for place, kind in enumerate(
        (Kind.NODE, Kind.SERVICE, Kind.ENDPOINT_SLICE, Kind.ENDPOINTS)
    )
}
_MAX_DEPTH = 8
_SHOWN = 120

_type_meta = ShapeDecoder("Object", TypeMeta)


class ManifestFile(msgspec.Struct, frozen=True, kw_only=True):
    """What one file says.

    Attributes:
        objects: those that were understood.
        problems: about the file itself: text that is not YAML, documents that are not
            what they say. While there are some, objects missing from the file may be
            among what was not understood.
        skipped: how many documents of other kinds there were, by `apiVersion kind`.
    """

    objects: Mapping[ObjectKey, Upserted]
    problems: tuple[Problem, ...] = ()
    skipped: Mapping[str, int] = MappingProxyType({})


class Manifests(msgspec.Struct, frozen=True, kw_only=True):
    """What all files say together.

    Attributes:
        objects: each once, with the problem on it if several files have it.
        invalid: problems of files, by path.
        skipped: as in `ManifestFile`.
    """

    objects: Mapping[ObjectKey, Upserted] = MappingProxyType({})
    invalid: Mapping[str, tuple[Problem, ...]] = MappingProxyType({})
    skipped: Mapping[str, int] = MappingProxyType({})


def parse_manifest(raw: bytes, path: str, proxy_name: str = "") -> ManifestFile:
    """Read a file of YAML documents, or of one JSON document if it is named `.json`.

    Lists are opened, also inside lists. A broken document is a problem and stops no
    other; text that is not YAML ends the reading where it is. `proxy_name`: see
    `ProxyConfig.service_proxy_name`.
    """
    reader = _Reader(path, proxy_name)
    if not raw.strip():
        reader.fail("", "", "is empty; delete the file to withdraw its objects")
    elif path.endswith(".json"):
        reader.read(raw, "", 0)
    else:
        try:
            for document in yaml_documents(raw):
                where = f"document {document.number}"
                if document.value is not None:
                    reader.read(document.value, where, 0)
        except YamlError as exc:
            reader.fail(f"document {exc.document}", "", exc.reason)
    return reader.result()


def unreadable(path: str, reason: str) -> ManifestFile:
    """A file that is there but could not be read."""
    reader = _Reader(path)
    reader.fail("", "", reason)
    return reader.result()


def keep_last_good(now: ManifestFile, before: ManifestFile | None) -> ManifestFile:
    """What is in force of a file: for what it no longer says clearly, the last good.

    A file with problems withdraws nothing, since what is missing may be what is
    broken; what it does say counts.
    """
    if not now.problems or before is None:
        return now
    return ManifestFile(
        objects={**before.objects, **now.objects},
        problems=now.problems,
        skipped=now.skipped,
    )


def merge(files: Mapping[str, ManifestFile]) -> Manifests:
    """Put files together; of an object in several, the first by path is used."""
    objects: dict[ObjectKey, Upserted] = {}
    origin: dict[ObjectKey, str] = {}
    skipped: Counter[str] = Counter()
    for path, file in sorted(files.items()):
        skipped.update(file.skipped)
        for key, found in file.objects.items():
            if key in objects:
                twice = _twice(key, path, f"also in {origin[key]}, which is used")
                first = objects[key]
                objects[key] = msgspec.structs.replace(
                    first, problems=(*first.problems, twice)
                )
            else:
                objects[key] = found
                origin[key] = path
    return Manifests(
        objects=objects,
        invalid={path: file.problems for path, file in files.items() if file.problems},
        skipped=dict(skipped),
    )


def changes(before: Manifests, after: Manifests) -> Iterator[Event]:
    """The events that lead from one state to another, Nodes first, then by name."""
    for key in sorted(after.objects, key=_order):
        if before.objects.get(key) != after.objects[key]:
            yield after.objects[key]
    for kind, ref in sorted(before.objects.keys() - after.objects.keys(), key=_order):
        yield Deleted(kind=kind, ref=ref)
    for path in sorted(before.invalid.keys() | after.invalid.keys()):
        ref = ObjectRef("", path)
        problems = after.invalid.get(path, ())
        if problems and problems != before.invalid.get(path):
            yield Invalid(kind=Kind.MANIFEST, ref=ref, problems=problems)
        elif not problems:
            yield Deleted(kind=Kind.MANIFEST, ref=ref)


def _order(key: ObjectKey) -> tuple[int, ObjectRef]:
    kind, ref = key
    return _ORDER[kind], ref


def _twice(key: ObjectKey, where: str, reason: str) -> Problem:
    kind, ref = key
    return Problem(
        kind=kind, ref=ref, field="metadata.name", value=where, reason=reason
    )


class _Reader:
    """Collects the objects of one file."""

    def __init__(self, path: str, proxy_name: str = "") -> None:
        self._ref = ObjectRef("", path)
        self._proxy_name = proxy_name
        self._objects: dict[ObjectKey, Upserted] = {}
        self._tally = Tally()
        self._skipped: Counter[str] = Counter()

    def result(self) -> ManifestFile:
        """All that was read."""
        return ManifestFile(
            objects=self._objects,
            problems=self._tally.problems,
            skipped=dict(self._skipped),
        )

    def fail(self, field: str, value: str, reason: str) -> None:
        """Note what is wrong with the file."""
        self._tally.add(
            Problem(
                kind=Kind.MANIFEST,
                ref=self._ref,
                field=field,
                value=value[:_SHOWN],
                reason=reason,
            )
        )

    def read(
        self,
        raw: object,
        where: str,
        depth: int,
        default: tuple[str | None, str | None] = (None, None),
    ) -> None:
        """Read one document or list item.

        Args:
            raw: the object.
            where: what to call it, `document 2 items[5]`.
            depth: how many lists it is in.
            default: version and kind it has if it does not say, as items of an
                `EndpointSliceList` do not.
        """
        if not isinstance(raw, dict | bytes | msgspec.Raw):
            self.fail(where, str(raw), "not an object")
            return
        try:
            self._read(raw, where, depth, default)
        except BadObject as exc:
            value = "" if exc.value is None else str(exc.value)
            self.fail(
                ": ".join(filter(None, (where, exc.field))),
                value,
                f"{exc.ref}: {exc.reason}",
            )

    def _read(
        self,
        raw: RawObject,
        where: str,
        depth: int,
        default: tuple[str | None, str | None],
    ) -> None:
        meta = _type_meta.decode(raw)
        version = meta.api_version or default[0]
        name = meta.kind or default[1]
        if not name or not version:
            raise BadObject(
                ref="Object",
                field="apiVersion" if name else "kind",
                value=None,
                reason="is missing",
            )
        if (version, name) == ("v1", "List") or (version, name) in _LISTS:
            inside = _LISTS.get((version, name), (None, None))
            for index, item in enumerate(_items(raw, name, depth)):
                path = f"{where} items[{index}]".lstrip()
                self.read(item, path, depth + 1, inside)
        elif (version, name) in _KINDS:
            kind = _KINDS[version, name]
            self._keep(parse_object(kind, raw, self._proxy_name), where)
        else:
            self._skipped[f"{version} {name}"] += 1

    def _keep(self, found: Upserted, where: str) -> None:
        key = (found.kind, found.ref)
        first = self._objects.setdefault(key, found)
        if first is not found:
            reason = "the file has it already, and the first is used"
            self._objects[key] = msgspec.structs.replace(
                first, problems=(*first.problems, _twice(key, where, reason))
            )


def _items(raw: RawObject, name: str, depth: int) -> Sequence[object]:
    if depth >= _MAX_DEPTH:
        raise BadObject(ref=name, field="items", value=None, reason="nested too deep")
    if not isinstance(raw, dict):
        return decode_list(raw).items or ()
    items = raw.get("items") or ()
    if not isinstance(items, list | tuple):
        raise BadObject(ref=name, field="items", value=items, reason="not a list")
    return items
