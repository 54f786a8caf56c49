"""Manifest files: text to objects, files to one cluster, and changes between two.

No file is opened here; `sources.manifests` does that.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from types import MappingProxyType

import msgspec

from ipvsctl.cluster.events import Deleted, Event, Invalid, Upserted
from ipvsctl.cluster.manifests.overlooked import Overlooked
from ipvsctl.cluster.objects.api import TypeMeta
from ipvsctl.cluster.objects.decode import RawObject, ShapeDecoder
from ipvsctl.cluster.objects.parse import KINDS, decode_list, parse_object
from ipvsctl.cluster.text.documents import Broken, Documents
from ipvsctl.model.errors import BadObject
from ipvsctl.model.problem import Kind, ObjectRef, Problem, Tally

ObjectKey = tuple[Kind, ObjectRef]

_LISTS = {(version, f"{name}List"): (version, name) for version, name in KINDS}
_ORDER = {
    kind: place
    for place, kind in enumerate(
        (Kind.NODE, Kind.LEASE, Kind.SERVICE, Kind.ENDPOINT_SLICE, Kind.ENDPOINTS)
    )
}
_MAX_DEPTH = 8
_SHOWN = 120
_MAX_TOLD = 16

_type_meta = ShapeDecoder("Object", TypeMeta)


class ManifestFile(msgspec.Struct, frozen=True, kw_only=True):
    """The content of one file.

    Attributes:
        objects: the objects that were understood.
        problems: about the file itself, for each part that could not be read, or not
            for sure: text that is not YAML, documents that are not what they say or
            say something twice, kinds and versions that are nearly ours, a file too
            large. With any of them the file is not whole: objects missing from it may
            be among what was not understood. Without any, it says all there is in it.
        notes: objects that were understood and will surprise all the same: slices that
            are no Service's. The file is whole in spite of them.
        skipped: how many documents of other kinds there were, by `apiVersion kind`.
        was_whole: the file had no problems before, and what it said then is in force.
    """

    objects: Mapping[ObjectKey, Upserted]
    problems: tuple[Problem, ...] = ()
    notes: tuple[Problem, ...] = ()
    skipped: Mapping[str, int] = MappingProxyType({})
    was_whole: bool = False


class Manifests(msgspec.Struct, frozen=True, kw_only=True):
    """The content of all files together.

    Attributes:
        objects: each once, with the problem on it if several files have it.
        invalid: problems of files, by path.
        notes: notes of files, by path.
        unknown: the files with problems that were never read whole.
        skipped: as in `ManifestFile`.
    """

    objects: Mapping[ObjectKey, Upserted] = MappingProxyType({})
    invalid: Mapping[str, tuple[Problem, ...]] = MappingProxyType({})
    notes: Mapping[str, tuple[Problem, ...]] = MappingProxyType({})
    unknown: frozenset[str] = frozenset()
    skipped: Mapping[str, int] = MappingProxyType({})


def parse_manifest(raw: bytes, path: str, proxy_name: str = "") -> ManifestFile:
    """Read a file of documents in YAML or JSON, whatever its name.

    Lists are opened, also inside lists. A broken document is a problem and stops no
    other. `proxy_name`: see `ProxyConfig.service_proxy_name`.
    """
    documents = Documents(raw)
    reader = _Reader(path, proxy_name, documents.max_objects)
    if documents.is_blank:
        reader.fail("", "", "is empty; delete the file to withdraw its objects")
    has_objects = has_null = False
    for document in documents:
        if isinstance(document, Broken):
            reader.fail(document.where, "", document.reason)
        elif document.value is not None:
            has_objects = True
            for flaw in document.flaws:
                reader.fail(document.where, "", flaw)
            reader.read(document.value, document.where, 0)
        else:
            has_null = has_null or not document.is_empty
    if has_null and not has_objects:
        # Among objects it is what a chart leaves of something that is off.
        reader.fail("", "null", "not an object")
    if documents.bad_line:
        reader.note(
            f"line {documents.bad_line}",
            "",
            "has bytes that are no characters; each is read as U+FFFD",
        )
    return reader.result()


def unreadable(path: str, reason: str) -> ManifestFile:
    """A file that is there but could not be read."""
    reader = _Reader(path)
    reader.fail("", "", reason)
    return reader.result()


def keep_last_good(now: ManifestFile, before: ManifestFile | None) -> ManifestFile:
    """Merge a broken file over its last good version.

    A file with problems withdraws nothing, since an object that is missing may be the
    broken one; the objects it does have count.
    """
    if not now.problems or before is None:
        return now
    return ManifestFile(
        objects={**before.objects, **now.objects},
        problems=now.problems,
        notes=now.notes,
        skipped=now.skipped,
        was_whole=before.was_whole or not before.problems,
    )


def merge(files: Mapping[str, ManifestFile]) -> Manifests:
    """Put files together; of an object in several, the first by path is used."""
    objects: dict[ObjectKey, Upserted] = {}
    origin: dict[ObjectKey, str] = {}
    repeated: dict[ObjectKey, list[Problem]] = {}
    skipped: Counter[str] = Counter()
    for path, file in sorted(files.items()):
        skipped.update(file.skipped)
        for key, found in file.objects.items():
            if key in objects:
                reason = f"also in {origin[key]}, which is used"
                repeated.setdefault(key, []).append(_twice(key, path, reason))
            else:
                objects[key] = found
                origin[key] = path
    for key, problems in repeated.items():
        objects[key] = _with_problems(objects[key], problems)
    return Manifests(
        objects=objects,
        invalid={path: file.problems for path, file in files.items() if file.problems},
        notes={path: file.notes for path, file in files.items() if file.notes},
        unknown=frozenset(
            path for path, file in files.items() if file.problems and not file.was_whole
        ),
        skipped=dict(skipped),
    )


def changes(before: Manifests, after: Manifests) -> Iterator[Event]:
    """The events that lead from one state to another, Nodes first, then by name."""
    for key in sorted(after.objects, key=_order):
        if before.objects.get(key) != after.objects[key]:
            yield after.objects[key]
    for kind, ref in sorted(before.objects.keys() - after.objects.keys(), key=_order):
        yield Deleted(kind=kind, ref=ref)
    # What is broken now before what is not any more: never does all seem well between.
    for path in sorted(
        _told(before) | _told(after), key=lambda p: (p not in after.invalid, p)
    ):
        event = _file_event(after, path)
        if event != _file_event(before, path):
            yield event


def _told(manifests: Manifests) -> AbstractSet[str]:
    return manifests.invalid.keys() | manifests.notes.keys()


def _file_event(manifests: Manifests, path: str) -> Event:
    """Problems and notes of a file as an event; with notes alone, not `Invalid`."""
    ref = ObjectRef("", path)
    problems, notes = manifests.invalid.get(path, ()), manifests.notes.get(path, ())
    if problems:
        return Invalid(
            kind=Kind.MANIFEST,
            ref=ref,
            problems=(*problems, *notes),
            is_kept=path not in manifests.unknown,
        )
    if notes:
        return Upserted(kind=Kind.MANIFEST, ref=ref, values=(), problems=notes)
    return Deleted(kind=Kind.MANIFEST, ref=ref)


def _order(key: ObjectKey) -> tuple[int, ObjectRef]:
    kind, ref = key
    return _ORDER[kind], ref


def _twice(key: ObjectKey, where: str, reason: str) -> Problem:
    kind, ref = key
    return Problem(
        kind=kind, ref=ref, field="metadata.name", value=where, reason=reason
    )


def _with_problems(found: Upserted, problems: Sequence[Problem]) -> Upserted:
    """The object with problems that are all alike, few of them in words."""
    told = list(problems[:_MAX_TOLD])
    if len(problems) > _MAX_TOLD:
        more = f"and {len(problems) - _MAX_TOLD} more"
        told.append(msgspec.structs.replace(problems[-1], value=more))
    return msgspec.structs.replace(found, problems=(*found.problems, *told))


class _Reader:
    """Collects the objects of one file."""

    def __init__(self, path: str, proxy_name: str = "", max_objects: int = 0) -> None:
        self._ref = ObjectRef("", path)
        self._proxy_name = proxy_name
        self._left = max_objects
        self._objects: dict[ObjectKey, Upserted] = {}
        self._repeated: dict[ObjectKey, list[Problem]] = {}
        self._problems = Tally()
        self._notes = Tally()
        self._overlooked = Overlooked()

    def result(self) -> ManifestFile:
        """The content of the file, as far as it was read."""
        for key, problems in self._repeated.items():
            self._objects[key] = _with_problems(self._objects[key], problems)
        for found in self._overlooked.problems():
            self.fail(found.where, found.what, found.reason)
        for found in self._overlooked.notes():
            self.note(found.where, found.what, found.reason)
        return ManifestFile(
            objects=self._objects,
            problems=self._problems.problems,
            notes=self._notes.problems,
            skipped=self._overlooked.skipped(),
        )

    def fail(self, field: str, value: str, reason: str) -> None:
        """Note a part of the file that cannot be read."""
        self._problems.add(self._problem(field, value, reason))

    def note(self, field: str, value: str, reason: str) -> None:
        """Note a part that was read and will surprise."""
        self._notes.add(self._problem(field, value, reason))

    def _problem(self, field: str, value: str, reason: str) -> Problem:
        return Problem(
            kind=Kind.MANIFEST,
            ref=self._ref,
            field=field,
            value=value[:_SHOWN],
            reason=reason,
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
            where: the place of the object, `document 2 items[5]`.
            depth: how many lists the object is in.
            default: version and kind of an object that says none, as items of an
                `EndpointSliceList` do not.
        """
        self._left -= 1
        if self._left < 0:
            if self._left == -1:
                self.fail(where, "", "too many objects for a file of this size")
            return
        if not isinstance(raw, dict | bytes | msgspec.Raw):
            shown = "" if isinstance(raw, list) else str(raw)
            self.fail(where, shown, "not an object")
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
        elif (version, name) in KINDS:
            found = parse_object(KINDS[version, name], raw, self._proxy_name)
            self._overlooked.look(found, raw, where)
            self._keep(found, where)
        else:
            self._overlooked.skip(version, name, where)

    def _keep(self, found: Upserted, where: str) -> None:
        key = (found.kind, found.ref)
        if self._objects.setdefault(key, found) is not found:
            reason = "the file has it already, and the first is used"
            self._repeated.setdefault(key, []).append(_twice(key, where, reason))


def _items(raw: RawObject, name: str, depth: int) -> Sequence[object]:
    if depth >= _MAX_DEPTH:
        raise BadObject(ref=name, field="items", value=None, reason="nested too deep")
    if not isinstance(raw, dict):
        return decode_list(raw).items or ()
    items = raw.get("items") or ()
    if not isinstance(items, list | tuple):
        raise BadObject(ref=name, field="items", value=items, reason="not a list")
    return items
