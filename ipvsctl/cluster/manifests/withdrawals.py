"""Whether an object that is in no manifest any more is gone."""

from collections.abc import Mapping

import msgspec

from ipvsctl.cluster.events import Upserted
from ipvsctl.cluster.manifests.manifest import ManifestFile, Manifests, ObjectKey, merge


class Withdrawals:
    """The result of several looks at the files.

    An object that is missing may have moved into a file that cannot be read: it was
    renamed, or the object was copied there first. So while there is such a file, an
    object that is missing stays in force. An exception is a file that could not be
    read, and has been as it is, ever since the object was first seen: the object cannot
    have moved there.
    """

    def __init__(self) -> None:
        self._looks = 0
        self._objects: Mapping[ObjectKey, Upserted] = {}
        self._first_seen: dict[ObjectKey, int] = {}
        self._broken: dict[str, tuple[ManifestFile, int]] = {}

    def look(self, files: Mapping[str, ManifestFile]) -> Manifests:
        """Put files together, with the objects that are not believed to be gone.

        Args:
            files: by path; one that was not written since is the same value.
        """
        self._looks += 1
        found = merge(files)
        newest = self._newest_broken(files)
        kept = {
            key: held
            for key, held in self._objects.items()
            if key not in found.objects and self._first_seen[key] < newest
        }
        if kept:
            objects = {**found.objects, **kept}
            found = msgspec.structs.replace(found, objects=objects)
        self._objects = found.objects
        self._first_seen = {
            key: self._first_seen.get(key, self._looks) for key in found.objects
        }
        return found

    def _newest_broken(self, files: Mapping[str, ManifestFile]) -> int:
        """The look at which the last broken file became as it is; 0 without any."""
        broken = {}
        for path, file in files.items():
            if not file.problems:
                continue
            before, since = self._broken.get(path, (None, self._looks))
            broken[path] = file, since if before is file else self._looks
        self._broken = broken
        return max((since for _, since in broken.values()), default=0)
