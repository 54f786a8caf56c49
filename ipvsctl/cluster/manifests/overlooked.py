"""Objects of a manifest that do nothing for any Service, and which of them matter.

Most kinds are nobody's business here. A kind that is nearly one of ours is most likely
a mistake, and so is a slice that names no Service.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from difflib import SequenceMatcher
from typing import Final

import msgspec

from ipvsctl.cluster.events import Upserted
from ipvsctl.cluster.objects.decode import RawObject, ShapeDecoder
from ipvsctl.cluster.objects.parse import API_VERSIONS, KINDS
from ipvsctl.cluster.objects.slices import SERVICE_NAME_LABEL
from ipvsctl.model.problem import Kind

_LIST: Final = ("v1", "List")
_OURS: Final = (*((version, kind) for version, kind in KINDS), _LIST)

# How alike two names must be: "Sevice" is 0.92 a "Service", "ServiceCIDR" 0.78.
_ALIKE: Final = 0.85
# Names of kinds in Kubernetes are shorter; comparing goes with the square.
_MAX_NAME: Final = 40
# Other kinds that are compared with ours, in one file.
_MAX_COMPARED: Final = 1000


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A peculiarity that objects of a file have in common.

    Attributes:
        where: place of the first of them, `document 2 items[5]`.
        what: version and kind, `discovery.k8s.io/v1beta1 EndpointSlice`.
        reason: for people, with how many there are.
    """

    where: str
    what: str
    reason: str


class _Labelled(msgspec.Struct, gc=False):
    labels: dict[str, str | None] | None = None


class _Meta(msgspec.Struct, gc=False):
    metadata: _Labelled | None = None


_meta = ShapeDecoder("EndpointSlice", _Meta)


class Overlooked:
    """Counts the peculiar objects of one file."""

    def __init__(self) -> None:
        self._skipped: Counter[tuple[str, str]] = Counter()
        self._meant: dict[tuple[str, str], tuple[str, str]] = {}
        self._first: dict[tuple[str, str], str] = {}
        self._nameless = 0
        self._nameless_first = ""

    def skip(self, version: str, name: str, where: str) -> None:
        """Count an object of a kind that is not read."""
        seen = (version, name)
        if seen not in self._skipped and len(self._skipped) < _MAX_COMPARED:
            meant = _meant(version, name)
            if meant is not None:
                self._meant[seen] = meant
                self._first[seen] = where
        self._skipped[seen] += 1

    def look(self, found: Upserted, raw: RawObject, where: str) -> None:
        """Count an object that was read, if it stands for nothing."""
        if found.kind is not Kind.ENDPOINT_SLICE or found.values or found.problems:
            return
        meta = _meta.decode(raw).metadata
        if not ((meta and meta.labels) or {}).get(SERVICE_NAME_LABEL):
            self._nameless_first = self._nameless_first or where
            self._nameless += 1

    def skipped(self) -> Mapping[str, int]:
        """How many of each kind that is nobody's business, by `apiVersion kind`."""
        return {
            f"{version} {name}": count
            for (version, name), count in self._skipped.items()
            if (version, name) not in self._meant
        }

    def problems(self) -> Iterator[Finding]:
        """Objects that were most likely meant for us."""
        for seen, (version, name) in self._meant.items():
            count = self._skipped[seen]
            yield Finding(
                where=self._first[seen],
                what=" ".join(seen),
                reason=f"is not read, only {version} {name} is ({count} in this file)",
            )

    def notes(self) -> Iterator[Finding]:
        """Objects that were read and are of no use."""
        if self._nameless:
            yield Finding(
                where=self._nameless_first,
                what=f"{API_VERSIONS[Kind.ENDPOINT_SLICE]} {Kind.ENDPOINT_SLICE}",
                reason=f"has no label {SERVICE_NAME_LABEL}, so it is no Service's"
                f" ({self._nameless} in this file)",
            )


def _meant(version: str, name: str) -> tuple[str, str] | None:
    """The kind of ours that a version and kind of Kubernetes' own groups nearly is.

    Groups with a domain are other people's, and so are their kinds, whatever they are
    called.
    """
    group = version.rpartition("/")[0]
    if "." in group and not group.endswith(".k8s.io"):
        return None
    word = name[:_MAX_NAME].casefold()
    if word != "list":
        word = word.removesuffix("list")
    best = max(_OURS, key=lambda ours: _likeness(word, ours[1]))
    return best if _likeness(word, best[1]) >= _ALIKE else None


def _likeness(word: str, name: str) -> float:
    return SequenceMatcher(None, word, name.casefold()).ratio()
