"""All objects of a cluster, with one resource version that counts across kinds."""

import uuid
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from tests.fakes.apiserver.entries import Entry, make_entry
from tests.fakes.apiserver.kinds import RESOURCES, Resource, resource_of
from tests.fakes.apiserver.shelf import Change, Shelf

Raw = dict[str, Any]

# Kinds whose objects count the changes to what they ask for.
_WITH_GENERATION = {"EndpointSlice"}
_NOT_ASKED_FOR = {"kind", "apiVersion", "metadata", "status"}


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Store:
    """Objects by resource.

    Attributes:
        revision: resource version of the latest change.
    """

    def __init__(self, *, now: Callable[[], datetime] = _utc_now) -> None:
        """Start empty.

        Args:
            now: what objects are stamped with.
        """
        self.revision = 1
        self._now = now
        self._shelves = {resource: Shelf(resource) for resource in RESOURCES}

    def shelf(self, resource: Resource) -> Shelf:
        """What there is of a resource."""
        return self._shelves[resource]

    def load(self, objects: Iterable[Raw], *, revision: int) -> None:
        """Take objects as they are, with their uids and resource versions.

        Args:
            objects: with `kind`; objects of other names stay.
            revision: resource version of the latest change from now on.
        """
        found: dict[Resource, list[Entry]] = {}
        for raw in objects:
            resource = resource_of(raw["kind"])
            at = int(raw["metadata"].get("resourceVersion", revision))
            completed = {**raw, "metadata": self._complete(raw, None)}
            found.setdefault(resource, []).append(make_entry(resource, completed, at))
        for resource, entries in found.items():
            self._shelves[resource].load(iter(entries))
        self.revision = revision
        self.compact()

    def restore(self, objects: Iterable[Raw], *, revision: int) -> None:
        """Be as a backup was; see `load`. Nobody who watches is told."""
        for shelf in self._shelves.values():
            shelf.clear()
        self.load(objects, revision=revision)

    def put(self, raw: Raw) -> Entry:
        """Create an object, or have it be like that instead of as it was.

        Args:
            raw: with `kind`; uid, resource version, generation and creation are filled
                in.
        """
        resource = resource_of(raw["kind"])
        shelf = self._shelves[resource]
        metadata = raw["metadata"]
        if resource.is_namespaced:
            metadata = {**metadata, "namespace": metadata.get("namespace", "default")}
        before = shelf.get(metadata.get("namespace", ""), metadata["name"])
        named = {**raw, "metadata": metadata}
        completed = {**named, "metadata": self._complete(named, before)}
        if before is not None:
            same = make_entry(resource, completed, before.revision)
            if same == before:
                return before
        after = make_entry(resource, completed, self.tick())
        shelf.record(Change(after.revision, before, after))
        return after

    def delete(self, kind: str, name: str, namespace: str = "default") -> Entry | None:
        """Delete an object; the answer is its last state, or None if there is none."""
        resource = resource_of(kind)
        shelf = self._shelves[resource]
        before = shelf.get(namespace if resource.is_namespaced else "", name)
        if before is None:
            return None
        revision = self.tick()
        shelf.record(Change(revision, before, None))
        return before.at(revision)

    def tick(self) -> int:
        """The next resource version; on its own, something changed nobody watches."""
        self.revision += 1
        return self.revision

    def compact(self, revision: int | None = None) -> None:
        """Forget every change up to that resource version; default: all."""
        for shelf in self._shelves.values():
            shelf.compact(self.revision if revision is None else revision)

    def _complete(self, raw: Raw, before: Entry | None) -> Raw:
        """The metadata that the server sets, filled in."""
        given = raw["metadata"]
        if before is None:
            stamp = self._now().strftime("%Y-%m-%dT%H:%M:%SZ")
            filled: Raw = {"uid": str(uuid.uuid4()), "creationTimestamp": stamp}
            if raw["kind"] in _WITH_GENERATION:
                filled["generation"] = 1
            return {**filled, **{k: v for k, v in given.items() if v is not None}}
        was = before.decode()
        kept = {
            key: was["metadata"][key]
            for key in ("uid", "creationTimestamp", "generation")
            if key in was["metadata"]
        }
        if "generation" in kept and _asked_for(raw) != _asked_for(was):
            kept["generation"] += 1
        return {**given, **kept}


def _asked_for(raw: Raw) -> Raw:
    return {k: v for k, v in raw.items() if k not in _NOT_ASKED_FOR}
