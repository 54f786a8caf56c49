"""Watches and streaming lists: lines, one JSON object each."""

import asyncio
from collections.abc import Callable

import msgspec

from tests.fakes.apiserver.entries import Entry, type_prefix
from tests.fakes.apiserver.kinds import Resource, Target
from tests.fakes.apiserver.lists import Shown
from tests.fakes.apiserver.options import ListOptions
from tests.fakes.apiserver.selection import Matches
from tests.fakes.apiserver.shelf import Change
from tests.fakes.apiserver.status import Refusal, expired_watch
from tests.fakes.apiserver.store import Store

# What a bookmark carries besides its metadata: Go writes fields that have no
# `omitempty`, filled or not.
_EMPTY = {
    "Service": b',"spec":{},"status":{"loadBalancer":{}}',
    "EndpointSlice": b',"addressType":"","endpoints":null,"ports":null',
    "Node": b',"spec":{},"status":{"daemonEndpoints":{"kubeletEndpoint":{"Port":0}},'
    b'"nodeInfo":{"machineID":"","systemUUID":"","bootID":"","kernelVersion":"",'
    b'"osImage":"","containerRuntimeVersion":"","kubeletVersion":"",'
    b'"kubeProxyVersion":"","operatingSystem":"","architecture":""}}',
    "Namespace": b',"spec":{},"status":{}',
    "Event": b',"eventTime":null',
    "Lease": b',"spec":{}',
    "ServiceCIDR": b',"spec":{},"status":{}',
}


class Watch:
    """One watch: what it has still to send.

    Attributes:
        resource: what is watched.
        has_bookmarks: whether it asked for them.
    """

    def __init__(
        self, store: Store, target: Target, options: ListOptions, shown: Shown
    ) -> None:
        """Begin at the resource version asked for.

        Raises:
            Refusal: 410, that is forgotten; 400.
        """
        self.resource = target.resource
        self.has_bookmarks = options.has_bookmarks
        self._store = store
        self._shelf = store.shelf(target.resource)
        self._matches = options.matches(target)
        self._shown = shown
        self._lines: list[bytes] = []
        self._has_ended = False
        self._woken = asyncio.Event()
        self._since = options.since()
        is_streamed = options.is_streamed is True
        if is_streamed or (not self._since and options.is_streamed is None):
            self._begin_with_state()
            if is_streamed and options.has_bookmarks:
                self._push(bookmark(self.resource, store.revision, is_initial=True))
        elif self._since:
            self._begin_since()
        self._shelf.listeners.append(self._take)

    def close(self) -> None:
        """Take no more changes."""
        self._shelf.listeners.remove(self._take)

    def end(self) -> None:
        """Have it end once everything is sent."""
        self._has_ended = True
        self._woken.set()

    def add_bookmark(self) -> None:
        """Say which resource version has been reached."""
        self._push(bookmark(self.resource, self._store.revision))

    async def lines(self) -> list[bytes]:
        """What to send next, as soon as there is something; empty at the end."""
        while not self._lines and not self._has_ended:
            self._woken.clear()
            await self._woken.wait()
        lines, self._lines = self._lines, []
        return lines

    def _begin_with_state(self) -> None:
        for entry in self._shelf.entries():
            if self._matches(entry):
                self._push(_event("ADDED", entry, self._shown))
        self._since = self._store.revision

    def _begin_since(self) -> None:
        if self._since < self._shelf.oldest:
            raise expired_watch(self._since, self._shelf.oldest)
        for change in self._shelf.changes_since(self._since):
            self._take(change)

    def _take(self, change: Change) -> None:
        # A client that is ahead, after the server lost its history, is told nothing
        # until the resource versions have caught up.
        if change.revision > self._since:
            line = _line(change, self._matches, self._shown)
            if line is not None:
                self._push(line)

    def _push(self, line: bytes) -> None:
        self._lines.append(line)
        self._woken.set()


def bookmark(resource: Resource, revision: int, *, is_initial: bool = False) -> bytes:
    """A line that says the watch has seen everything up to there.

    Args:
        resource: what is watched.
        revision: how far it got.
        is_initial: also say that a streaming list is complete.
    """
    end = b',"annotations":{"k8s.io/initial-events-end":"true"}'
    return b'{"type":"BOOKMARK","object":%b,"metadata":{%b%b}%b}}\n' % (
        type_prefix(resource),
        b'"resourceVersion":"%d"' % revision,
        end if is_initial else b"",
        _EMPTY[resource.kind],
    )


def error_line(refusal: Refusal) -> bytes:
    """A refusal inside of a stream."""
    status = msgspec.json.encode(refusal.body)
    return b'{"type":"ERROR","object":%b}\n' % status


def _line(change: Change, matches: Matches, shown: Shown) -> bytes | None:
    """What a watch says about a change: it sees only objects that match."""
    before = change.before if change.before and matches(change.before) else None
    after = change.after if change.after and matches(change.after) else None
    if after is not None:
        return _event("MODIFIED" if before else "ADDED", after, shown)
    if before is not None:
        return _event("DELETED", before.at(change.revision), shown)
    return None


def _event(kind: str, entry: Entry, shown: Callable[[Entry], bytes]) -> bytes:
    return b'{"type":"%b","object":%b,%b}\n' % (
        kind.encode(),
        type_prefix(entry.resource),
        shown(entry)[1:],
    )
