"""ipsets: a listing of headers, then the entries of those that matter; changes."""

import errno
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from itertools import groupby
from typing import Final, NamedTuple

import structlog

from ipvsctl.kernel.applier import failed_op
from ipvsctl.kernel.netlink import NetlinkSocket, Payload
from ipvsctl.model.errors import NotFound
from ipvsctl.model.ipset import SetEntry, SetSpec
from ipvsctl.model.steps import Step, Steps
from ipvsctl.plan.diff.ops import (
    AddEntry,
    CreateSet,
    DeleteEntry,
    DestroySet,
    FailedOp,
    Op,
    SwapSets,
)
from ipvsctl.wire.ipset.replies import IpsetReplies
from ipvsctl.wire.ipset.requests import (
    add_entries,
    create_set,
    delete_entries,
    destroy_set,
    list_headers,
    list_set,
    swap_sets,
)
from ipvsctl.wire.netlink.messages import Ack, NetlinkProtocol

IPSET_OPS: Final = (CreateSet, SwapSets, DestroySet, AddEntry, DeleteEntry)
"""The kinds of op that `Ipsets.run` takes."""

ENTRIES_PER_MESSAGE: Final = 500
"""Entries of one set in one message: a nested attribute ends at 64 KiB, and the
longest entry, an IPv6 `hash:ip,port,net` one, takes 76 bytes."""

_log = structlog.get_logger(__name__)


class IpsetListing(NamedTuple):
    """Sets and their entries, by name."""

    sets: dict[str, SetSpec]
    entries: dict[str, frozenset[SetEntry]]


class Ipsets:
    """The ipsets of the caller's network namespace.

    Args:
        names: the only sets that are read; others may be large and are not ours.

    Raises:
        KernelError: the socket cannot be opened.
    """

    def __init__(self, names: Collection[str]) -> None:
        self._names = names
        self._socket = NetlinkSocket.open(NetlinkProtocol.NETFILTER)
        self._replies = IpsetReplies()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def run(self, ops: Sequence[Op]) -> list[FailedOp]:
        """See `applier.Transport`.

        Entries for one set travel together. When the kernel refuses one of them it
        stops there and names none, so all of that message go again one by one: those
        that were taken the first time are no news to it.
        """
        groups = list(_groups(ops))
        refused = self._socket.apply(map(_message, groups))
        failed: list[FailedOp] = []
        for place, ack in sorted(refused.items()):
            group = groups[place]
            if len(group) == 1:
                outcome = {0: ack}
            else:
                outcome = self._socket.apply(_message([op]) for op in group)
            failed += (
                failed_op(group[index], reason)
                for index, reason in sorted(outcome.items())
                if not _is_fine(group[index], reason)
            )
        return failed

    def read_in_steps(self) -> Steps[IpsetListing]:
        """The sets of our names with their entries; see `seam.Reading`.

        A set of a type that is not in use here is left out, and so are entries that
        have no value here (see `IpsetReplies.entries`); both are logged. The kernel
        lists a set by its buckets, each whole, and keeps the table that it has begun
        with until the end (ip_set_hash_gen.h:mtype_list, mtype_uref), so that entries
        that come and go between two steps cost no other its place.
        """
        # One that is not read to its end would be in the way of the next.
        with closing(NetlinkSocket.open(NetlinkProtocol.NETFILTER)) as socket:
            return (yield from self._read_from(socket))

    def _read_from(self, socket: NetlinkSocket) -> Steps[IpsetListing]:
        listing = IpsetListing({}, {})
        yield Step.EXCLUSIVE
        headers = socket.dump(list_headers(), self._replies.header, "list sets")
        for header in headers:
            if header.name not in self._names:
                continue
            if header.spec is None:
                _log.warning("set has a foreign type", set=header.name)
                continue
            yield Step.EXCLUSIVE
            try:
                parts = yield from socket.read_in_steps(
                    list_set(header.name), f"list set {header.name}"
                )
            except NotFound:
                # It was destroyed since the headers were listed.
                continue
            listing.sets[header.name] = header.spec
            listing.entries[header.name] = yield from self._entries(header.name, parts)
        return listing

    def _entries(
        self, name: str, parts: Sequence[Payload]
    ) -> Steps[frozenset[SetEntry]]:
        found: set[SetEntry] = set()
        others = 0
        for place, part in enumerate(parts):
            if place:
                # Decoding needs no kernel, but it would keep others from Python.
                yield Step.EXCLUSIVE
            entries, foreign = self._replies.entries(*part)
            found.update(entries)
            others += foreign
        if others:
            _log.warning("set has foreign entries", set=name, entries=others)
        return frozenset(found)


def _groups(ops: Sequence[Op]) -> Iterator[Sequence[Op]]:
    """Ops that share a message."""
    for target, run in groupby(ops, key=_target):
        group = tuple(run)
        size = 1 if target is None else ENTRIES_PER_MESSAGE
        for start in range(0, len(group), size):
            yield group[start : start + size]


def _target(op: Op) -> tuple[type[Op], str] | None:
    if isinstance(op, AddEntry | DeleteEntry):
        return type(op), op.set_name
    return None


def _message(group: Sequence[Op]) -> bytes:
    match group[0]:
        case CreateSet(spec):
            return create_set(spec)
        case SwapSets(first, second):
            return swap_sets(first, second)
        case DestroySet(name):
            return destroy_set(name)
        case AddEntry(set_name):
            return add_entries(set_name, _entries(group))
        case DeleteEntry(set_name):
            return delete_entries(set_name, _entries(group))
        case op:
            raise TypeError(op)


def _entries(group: Sequence[Op]) -> Iterator[SetEntry]:
    return (op.entry for op in group if isinstance(op, AddEntry | DeleteEntry))


def _is_fine(op: Op, ack: Ack) -> bool:
    return isinstance(op, DestroySet) and ack.errno == errno.ENOENT
