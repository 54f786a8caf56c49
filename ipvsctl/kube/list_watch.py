"""A list, then a watch from where it ended: no gap between them, and no relist.

The place in the stream of changes is a resource version, which only the server
understands. It is kept when a watch breaks off, so the next one goes on from there; it
is forgotten, and everything listed anew, when the server has (410).

It may also be ahead of the server: somebody has restored a backup. A server lets such a
watch begin and tells nothing, until it comes to that place again. So after each end
that was not in good order the server is asked whether the place is one of its own.
"""

import random
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Final, Protocol

import msgspec

from ipvsctl.cluster.events import Deleted, Event, Invalid
from ipvsctl.cluster.objects.parse import parse_versioned
from ipvsctl.cluster.objects.slices import service_of
from ipvsctl.kube.api_messages import (
    INITIAL_EVENTS_END,
    ChangeType,
    Meta,
    WatchLine,
    meta_of,
    page_of,
    status_of,
    watch_line,
)
from ipvsctl.kube.lines import LineTooLong, lines
from ipvsctl.kube.resources import Resource
from ipvsctl.kube.transport import Api
from ipvsctl.model.errors import ApiError, BadObject
from ipvsctl.model.problem import Kind, ObjectRef, Problem

WATCH_S: Final = (300, 600)
"""Seconds after which the server is to end a watch, by chance within: as client-go, so
that the watches of many nodes do not all come back at once."""

PAGE_ITEMS: Final = 500

_EXPIRED: Final = 410
_BAD_REQUEST: Final = 400
_INVALID: Final = 422
_TIMEOUT: Final = 504
_TOO_LARGE: Final = "Too large resource version"
"""How a server says that (storage/errors.go:NewTooLargeResourceVersionError)."""

_ANY_NAME: Final = "kubernetes"
_MARK: Final = "-"


class Listed(msgspec.Struct, frozen=True):
    """Every object has been told; changes follow."""


Told = Event | Listed


class Listener(Protocol):
    """Is told how a watch goes."""

    def connected(self) -> object:
        """The server has begun to answer."""
        ...

    def heard(self) -> None:
        """A line or an answer came."""
        ...


class ListWatch:
    """One resource: listed, and followed."""

    def __init__(
        self, api: Api, resource: Resource, listener: Listener, proxy_name: str = ""
    ) -> None:
        self._api = api
        self._resource = resource
        self._listener = listener
        self._proxy_name = proxy_name
        self._version = ""
        self._can_stream = True
        self._is_unsure = False
        self._listed: set[ObjectRef] = set()

    async def events(self) -> AsyncGenerator[Told, None]:
        """Changes from here on, until the server ends it; first a list if needed.

        Raises:
            ApiError: the watch broke off, or could not be had. The next call goes on.
            ConfigError: the credentials cannot be used.
        """
        if self._version and self._is_unsure and await self._is_ahead():
            self._version = ""
        self._is_unsure = True
        if not self._version and self._can_stream:
            try:
                async with aclosing(self._follow()) as told:
                    async for event in told:
                        yield event
            except ApiError as error:
                if error.status not in {_BAD_REQUEST, _INVALID}:
                    raise
                # A server before 1.32, or without the feature WatchList.
                self._can_stream = False
            else:
                self._is_unsure = False
                return
        if not self._version:
            async with aclosing(self._pages()) as told:
                async for event in told:
                    yield event
        async with aclosing(self._follow()) as told:
            async for event in told:
                yield event
        self._is_unsure = False

    async def objects(self) -> AsyncGenerator[Event, None]:
        """A list, and no more.

        Raises:
            ApiError, ConfigError: as `events`.
        """
        self._version = ""
        async with aclosing(self.events()) as told:
            async for event in told:
                if isinstance(event, Listed):
                    return
                yield event

    def forget(self) -> None:
        """Have `events` list everything anew when it is called next."""
        self._version = ""

    async def _is_ahead(self) -> bool:
        """Whether the place in the stream is one that the server has yet to come to.

        One object at most is in the answer.

        Raises:
            ApiError, ConfigError: as `events`.
        """
        query = (
            ("fieldSelector", f"metadata.name={_ANY_NAME}"),
            ("resourceVersion", self._version),
            ("resourceVersionMatch", "NotOlderThan"),
        )
        try:
            async with self._api.request("GET", self._resource.path, query) as answer:
                await answer.read()
        except ApiError as error:
            is_later = error.status == _TIMEOUT and _TOO_LARGE in error.reason
            if is_later or error.status == _EXPIRED:
                return True
            raise
        self._listener.heard()
        return False

    async def _follow(self) -> AsyncGenerator[Told, None]:
        """A watch; without a place to go on from, one that begins with all objects."""
        query = [
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("timeoutSeconds", str(random.randint(*WATCH_S))),  # noqa: S311  # spreads load
            *self._resource.selectors,
        ]
        if self._version:
            query.append(("resourceVersion", self._version))
        else:
            query.append(("sendInitialEvents", "true"))
            query.append(("resourceVersionMatch", "NotOlderThan"))
            self._listed = set()
        try:
            async with self._api.request("GET", self._resource.path, query) as answer:
                self._listener.connected()
                async for line in lines(answer.content.iter_any()):
                    self._listener.heard()
                    for event in self._take(watch_line(line)):
                        yield event
        except (msgspec.DecodeError, UnicodeDecodeError, LineTooLong) as error:
            raise self._garbage(str(error)) from error
        except ApiError as error:
            if error.status == _EXPIRED:
                self._version = ""
            raise

    def _take(self, line: WatchLine) -> Iterator[Told]:
        """The news in a line of a watch.

        Raises:
            ApiError: the line ends the watch.
        """
        if line.type is ChangeType.ERROR:
            status = status_of(line.object)
            code = status.code or 0
            raise ApiError(
                status=code,
                url=self._resource.path,
                reason=status.message or "the server ended the watch",
                word="" if code else "ended",
            )
        if line.type is ChangeType.BOOKMARK:
            yield from self._bookmark(meta_of(line.object))
            return
        if line.type is ChangeType.DELETED:
            meta = meta_of(line.object)
            version = meta.resource_version or ""
            ref = self._ref(meta)
            self._listed.discard(ref)
            if meta.name:
                yield Deleted(kind=self._resource.kind, ref=ref)
        else:
            event, version = self._parse(line.object)
            yield event
        if self._version and version:
            self._version = version

    def _bookmark(self, meta: Meta) -> Iterator[Told]:
        if not meta.resource_version:
            raise self._garbage("a bookmark without a resourceVersion")
        ends = (meta.annotations or {}).get(INITIAL_EVENTS_END) == "true"
        if not self._version and not ends:
            return
        first, self._version = not self._version, meta.resource_version
        if first:
            yield from self._complete()

    async def _pages(self) -> AsyncGenerator[Told, None]:
        """A list in pages; in one piece if the server forgets it in between."""
        limit = PAGE_ITEMS
        token = ""
        self._listed = set()
        while True:
            query = [("limit", str(limit))] if limit else []
            query += [("continue", token)] if token else []
            try:
                async with self._api.request(
                    "GET", self._resource.path, [*query, *self._resource.selectors]
                ) as answer:
                    self._listener.connected()
                    body = await answer.read()
            except ApiError as error:
                if error.status != _EXPIRED or not token:
                    raise
                limit, token = 0, ""
                self._listed = set()
                continue
            self._listener.heard()
            try:
                page = page_of(body)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise self._garbage(str(error)) from error
            for raw in page.items or ():
                yield self._parse(raw)[0]
            token = (page.metadata and page.metadata.continue_) or ""
            if not token:
                version = page.metadata and page.metadata.resource_version
                if not version:
                    raise self._garbage("a list without a resourceVersion")
                self._version = version
                for event in self._complete():
                    yield event
                return

    def _complete(self) -> Iterator[Told]:
        refs, self._listed = frozenset(self._listed), set()
        yield from self._resource.listed(refs)
        yield Listed()

    def _parse(self, raw: msgspec.Raw) -> tuple[Event, str]:
        """One object that is there, noted as listed, and its resource version."""
        kind = self._resource.kind
        try:
            found, version = parse_versioned(kind, raw, self._proxy_name)
        except BadObject as error:
            # Of an object that cannot be read, metadata may be left.
            meta = meta_of(raw)
            ref = self._ref(meta)
            self._listed.add(ref)
            problem = Problem(
                kind=kind,
                ref=ref,
                field=error.field,
                value="" if error.value is None else str(error.value),
                reason=error.reason,
            )
            is_slice = kind is Kind.ENDPOINT_SLICE
            service = service_of(raw, ref.namespace) if is_slice else None
            invalid = Invalid(kind=kind, ref=ref, problems=(problem,), service=service)
            return invalid, meta.resource_version or ""
        self._listed.add(found.ref)
        return found, version

    def _ref(self, meta: Meta) -> ObjectRef:
        namespace = "" if self._resource.kind is Kind.NODE else meta.namespace
        return ObjectRef(namespace or "", meta.name or _MARK)

    def _garbage(self, reason: str) -> ApiError:
        self._version = ""
        return ApiError(
            status=0,
            url=self._resource.path,
            reason=f"not what the API says: {reason}",
            word="garbage",
        )
