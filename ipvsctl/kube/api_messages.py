"""The API's own words around objects: watch lines, list pages, Status.

Objects stay raw here; what of them is read is what listing and watching need.
"""

from enum import StrEnum

import msgspec


class ChangeType(StrEnum):
    """`type` of a watch line."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"
    ERROR = "ERROR"


INITIAL_EVENTS_END = "k8s.io/initial-events-end"
"""Annotation of the bookmark that ends a streaming list."""


class Meta(msgspec.Struct, rename="camel", gc=False):
    """What listing and watching need of `metadata`."""

    name: str | None = None
    namespace: str | None = None
    uid: str | None = None
    resource_version: str | None = None
    annotations: dict[str, str] | None = None


class Head(msgspec.Struct, gc=False):
    """The beginning of any object."""

    metadata: Meta | None = None


class Status(msgspec.Struct, gc=False):
    """A Status object: why something was refused."""

    message: str | None = None
    reason: str | None = None
    code: int | None = None


class WatchLine(msgspec.Struct, gc=False):
    """One line of a watch."""

    type: ChangeType
    object: msgspec.Raw


class ListMeta(msgspec.Struct, rename="camel", gc=False):
    """`metadata` of a list."""

    resource_version: str | None = None
    continue_: str | None = msgspec.field(name="continue", default=None)


class Page(msgspec.Struct, gc=False):
    """A list, or a part of one."""

    metadata: ListMeta | None = None
    items: list[msgspec.Raw] | None = None


_lines = msgspec.json.Decoder(WatchLine)
_pages = msgspec.json.Decoder(Page)
_heads = msgspec.json.Decoder(Head)
_statuses = msgspec.json.Decoder(Status)


def watch_line(line: bytes) -> WatchLine:
    """Take a watch line apart.

    Raises:
        msgspec.DecodeError: it is none.
    """
    return _lines.decode(line)


def page_of(body: bytes) -> Page:
    """Take a list apart.

    Raises:
        msgspec.DecodeError: it is none.
    """
    return _pages.decode(body)


def status_of(body: bytes | msgspec.Raw) -> Status:
    """Read a Status.

    Raises:
        msgspec.DecodeError: it is none.
    """
    return _statuses.decode(body)


def meta_of(raw: bytes | msgspec.Raw) -> Meta:
    """What can be told of an object's metadata; nothing of metadata that is broken."""
    try:
        return _heads.decode(raw).metadata or Meta()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Meta()
