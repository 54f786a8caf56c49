"""The API's own words around objects: watch lines, list pages, Status.

Objects stay raw here, but for the fields that listing and watching need.
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
    """The fields of `metadata` that listing and watching need."""

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
        msgspec.DecodeError: the bytes are no such line.
    """
    return _lines.decode(line)


def page_of(body: bytes) -> Page:
    """Take a list apart.

    Raises:
        msgspec.DecodeError: the bytes are no list.
    """
    return _pages.decode(body)


def status_of(body: bytes | msgspec.Raw) -> Status:
    """Read a Status.

    Raises:
        msgspec.DecodeError: the bytes are no Status.
    """
    return _statuses.decode(body)


def meta_of(raw: bytes | msgspec.Raw) -> Meta:
    """An object's metadata; empty if it cannot be read."""
    try:
        return _heads.decode(raw).metadata or Meta()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Meta()
