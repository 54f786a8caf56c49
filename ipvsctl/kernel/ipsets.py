"""ipsets: a listing of headers, then the entries of those that matter; changes."""

import errno
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import groupby
from typing import Final, NamedTuple

import msgspec

from ipvsctl.kernel.applier import failed_op
from ipvsctl.kernel.entry_groups import entries_of, grouped
from ipvsctl.kernel.firewall import SetListing
from ipvsctl.kernel.netlink import NetlinkSocket, Payload
from ipvsctl.libraries.log import structlog
from ipvsctl.model.errors import NotFound
from ipvsctl.model.sets import (
    Leftover,
    SetEntry,
    SetKey,
    SetShape,
)
from ipvsctl.model.steps import Step, Steps, parts
from ipvsctl.plan.diff.ops import (
    AddEntry,
    CreateSet,
    DeleteEntry,
    DestroySet,
    FailedOp,
    Op,
    RebuildSet,
)
from ipvsctl.wire.ipset.errors import describe_ipset_error
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
from ipvsctl.wire.ipset.sets import (
    KUBE_PROXY_SET_NAMES,
    TEMPORARY_NAMES,
    key_of,
    leftover_of,
    set_name,
    set_spec,
    shape_of,
    temporary_name,
)
from ipvsctl.wire.netlink.messages import Ack, NetlinkProtocol

ENTRIES_PER_MESSAGE: Final = 500
"""Entries of one set in one message: a nested attribute ends at 64 KiB, and the
longest entry, an IPv6 `hash:ip,port,net` one, takes 76 bytes."""

_log = structlog.get_logger(__name__)


class Ipsets:
    """The ipsets of the caller's network namespace.

    Sets of other agents are not read, for they may be large.

    Raises:
        KernelError: the socket cannot be opened.
    """

    def __init__(self) -> None:
        self._socket = NetlinkSocket.open(NetlinkProtocol.NETFILTER)
        self._replies = IpsetReplies()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def run(self, ops: Sequence[Op]) -> list[FailedOp]:
        """See `applier.Transport`."""
        failed: list[FailedOp] = []
        for is_rebuild, group in groupby(ops, key=_is_rebuild):
            if is_rebuild:
                failed += (refusal for op in group for refusal in self._rebuild(op))
            else:
                failed += self._run(tuple(group))
        return failed

    def _run(self, ops: Sequence[Op]) -> list[FailedOp]:
        """Run ops that are one request each.

        Entries for one set travel together. When the kernel refuses one of them it
        stops there and names none, so all of that message go again one by one: those
        that were taken the first time are no news to it.
        """
        groups = list(grouped(ops, ENTRIES_PER_MESSAGE))
        refused = self._socket.apply(map(_message, groups))
        failed: list[FailedOp] = []
        for place, ack in sorted(refused.items()):
            group = groups[place]
            if len(group) == 1:
                outcome = {0: ack}
            else:
                outcome = self._socket.apply(_message([op]) for op in group)
            failed += (
                _failed(group[index], reason)
                for index, reason in sorted(outcome.items())
                if not _is_fine(group[index], reason)
            )
        return failed

    def _rebuild(self, op: Op) -> Iterator[FailedOp]:
        """Build a set aside and swap it in, so that no packet meets it empty.

        A set cannot grow in place. One that could not be filled is not swapped in.
        """
        if not isinstance(op, RebuildSet):
            raise TypeError(op)
        aside = temporary_name(op.key)
        spec = msgspec.structs.replace(set_spec(op.key, op.room), name=aside)
        build = [create_set(spec)]
        build += (
            add_entries(aside, some) for some in parts(op.entries, ENTRIES_PER_MESSAGE)
        )
        refused = self._socket.apply(build)
        if not refused:
            swap = swap_sets(aside, set_name(op.key))
            refused = self._socket.apply([swap])
        # What is aside now is the old set, or what could not take its place.
        left = self._socket.apply([destroy_set(aside)])
        if refused or left:
            yield _failed(op, min((refused or left).items())[1])

    def read_in_steps(self) -> Steps[SetListing]:
        """The sets of our names with their entries; see `interface.Reading`.

        A set of a type that is not in use here is left out, and logged. So are entries
        that have no value here (see `IpsetReplies.entries`), and they make their set
        one to be built anew. The kernel lists a set by its buckets, each whole, and
        keeps the table that it has begun with until the end (ip_set_hash_gen.h:
        mtype_list, mtype_uref), so that entries that come and go between two steps
        cost no other its place.
        """
        # One that is not read to its end would be in the way of the next.
        with closing(NetlinkSocket.open(NetlinkProtocol.NETFILTER)) as socket:
            return (yield from self._read_from(socket))

    def count_entries(self) -> dict[SetKey, int]:
        """How many entries each set of ours has."""
        counts = self._socket.dump(list_headers(), self._replies.count, "count entries")
        return {
            key: number for name, number in counts if (key := key_of(name)) is not None
        }

    def _read_from(self, socket: NetlinkSocket) -> Steps[SetListing]:
        sets: dict[SetKey, SetShape] = {}
        entries: dict[SetKey, frozenset[SetEntry]] = {}
        leftovers: set[Leftover] = set()
        yield Step.EXCLUSIVE
        headers = socket.dump(list_headers(), self._replies.header, "list sets")
        for name, spec in headers:
            key = key_of(name)
            if name in TEMPORARY_NAMES:
                leftovers.add(leftover_of(name))
                continue
            if key is None and name not in KUBE_PROXY_SET_NAMES:
                continue
            if spec is None:
                _log.warning("set has a foreign type", set=name)
                continue
            found = yield from self._read_set(socket, name)
            if found is None:
                continue
            if key is None:
                leftovers.add(leftover_of(name, found.known))
            else:
                shape = shape_of(key, spec, is_strange=bool(found.others))
                sets[key], entries[key] = shape, found.known
        return SetListing(sets, entries, leftovers)

    def _read_set(self, socket: NetlinkSocket, name: str) -> Steps["_Found | None"]:
        """The entries of a set; None if it was destroyed since it was listed."""
        yield Step.EXCLUSIVE
        try:
            parts = yield from socket.read_in_steps(list_set(name), f"list set {name}")
        except NotFound:
            return None
        return (yield from self._entries(name, parts))

    def _entries(self, name: str, parts: Sequence[Payload]) -> Steps["_Found"]:
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
        return _Found(frozenset(found), others)


class _Found(NamedTuple):
    """The entries of a set, and how many more have no value here."""

    known: frozenset[SetEntry]
    others: int


def _is_rebuild(op: Op) -> bool:
    return isinstance(op, RebuildSet)


def _message(group: Sequence[Op]) -> bytes:
    match group[0]:
        case CreateSet(key, room):
            return create_set(set_spec(key, room))
        case DestroySet(Leftover(name=name)):
            return destroy_set(name)
        case DestroySet(SetKey() as key):
            return destroy_set(set_name(key))
        case AddEntry(key):
            return add_entries(set_name(key), entries_of(group))
        case DeleteEntry(key):
            return delete_entries(set_name(key), entries_of(group))
        case op:
            raise TypeError(op)


def _failed(op: Op, ack: Ack) -> FailedOp:
    words = ack.reason or describe_ipset_error(ack.errno)
    return failed_op(op, ack._replace(reason=words))


def _is_fine(op: Op, ack: Ack) -> bool:
    return isinstance(op, DestroySet) and ack.errno == errno.ENOENT
