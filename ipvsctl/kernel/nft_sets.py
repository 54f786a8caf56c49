"""Sets of nftables: a listing of them, then their entries; changes, in transactions."""

import errno
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import closing
from functools import cache, partial
from itertools import groupby
from typing import Final, NamedTuple

from ipvsctl.kernel.applier import failed_op
from ipvsctl.kernel.entry_groups import entries_of, grouped
from ipvsctl.kernel.firewall import SetListing
from ipvsctl.kernel.netlink import NetlinkSocket
from ipvsctl.kernel.transaction import TRANSACTION_BYTES, TransactionSocket
from ipvsctl.libraries.log import structlog
from ipvsctl.model.errors import NotFound
from ipvsctl.model.net import IPFamily
from ipvsctl.model.sets import (
    ENTRY_FORMS,
    EntryForm,
    Leftover,
    SetEntry,
    SetKey,
    SetShape,
)
from ipvsctl.model.steps import Step, Steps, finish, parts
from ipvsctl.plan.diff.ops import (
    AddEntry,
    CreateSet,
    DeleteEntry,
    DestroySet,
    FailedOp,
    Op,
    RebuildSet,
)
from ipvsctl.wire.netlink.messages import Ack, NetlinkProtocol
from ipvsctl.wire.nftables import replies
from ipvsctl.wire.nftables.requests import (
    add_entries,
    create_set,
    delete_entries,
    delete_set,
    empty_set,
    list_entries,
    list_sets,
    make_table,
)
from ipvsctl.wire.nftables.sets import SetSpec, key_of, set_name, shape_of
from ipvsctl.wire.nftables.words import family_and_name, qualified

ENTRIES_PER_MESSAGE: Final = 500
"""Entries of one set in one message: a nested attribute ends at 64 KiB, and the
longest entry, an IPv6 network, takes 112 bytes."""

_log = structlog.get_logger(__name__)


class NftSets:
    """The sets of our tables in the caller's network namespace.

    Args:
        socket: for changes.
        families: those that have a table.
    """

    def __init__(self, socket: TransactionSocket, families: Sequence[IPFamily]) -> None:
        self._socket = socket
        self._families = families

    def run(self, ops: Sequence[Op]) -> list[FailedOp]:
        """See `applier.Transport`."""
        failed: list[FailedOp] = []
        for key, group in groupby(ops, key=_networks_key):
            if key is None:
                pieces = map(_piece, grouped(tuple(group), ENTRIES_PER_MESSAGE))
                for some in _transactions(pieces):
                    failed += self._together(some)
            else:
                failed += self._replace(key, tuple(group))
        return failed

    def _together(self, pieces: Sequence["_Piece"]) -> Iterator[FailedOp]:
        """Run ops in one transaction; without those that are refused, if there are.

        A message with several entries is refused as a whole, so that whose they are
        is asked op by op, which changes nothing as long as one of them is refused.
        """
        if not self._refused(pieces):
            return
        left = [_piece([op]) for piece in pieces for op in piece.ops]
        while left and (refused := self._refused(left)):
            bad = [(left[n].ops[0], ack) for n, ack in sorted(refused.items())]
            left = [piece for n, piece in enumerate(left) if n not in refused]
            yield from self._one_by_one(bad)

    def _refused(self, pieces: Sequence["_Piece"]) -> dict[int, Ack]:
        """Why the kernel refuses pieces, by their place; nothing if it has run all."""
        owners = [n for n, piece in enumerate(pieces) for _ in piece.messages]
        messages = [message for piece in pieces for message in piece.messages]
        refused: dict[int, Ack] = {}
        for place, ack in sorted(self._socket.transact(messages).items()):
            refused.setdefault(owners[place], ack)
        return refused

    def _one_by_one(self, refused: Sequence[tuple[Op, Ack]]) -> Iterator[FailedOp]:
        """What is to be done about ops that were refused."""
        others = {
            key: tuple(op for op, ack in refused if _is_in_the_way(op, ack, key))
            for key in {op.key for op, _ in refused if isinstance(op, AddEntry)}
        }
        for key, some in others.items():
            yield from self._replace(key, some)
        replaced = frozenset(op for some in others.values() for op in some)
        there = cache(self._names)
        for op, ack in refused:
            if op in replaced or _is_gone(op, ack, there):
                continue
            yield failed_op(op, ack)

    def _names(self, family: IPFamily) -> frozenset[str]:
        return frozenset(name for name, _ in self.headers(family))

    def _replace(self, key: SetKey, ops: Sequence[Op]) -> Iterator[FailedOp]:
        """Put entries into a set in the place of those that are in their way.

        Another mark is another entry to the kernel, and a network has no place beside
        one that it lies in or around. Whoever is wanted comes last: what was there is
        not wanted any more.
        """
        wanted = tuple(entries_of(ops))
        found = finish(self._read_entries(self._socket, key, set_name(key)))
        held = () if found is None else found.known
        gone = tuple(_in_the_way(held, wanted))
        most = ENTRIES_PER_MESSAGE
        batch = [delete_entries(key, some) for some in parts(gone, most)]
        batch += (add_entries(key, some) for some in parts(wanted, most))
        refused = self._socket.transact(batch)
        if refused and len(ops) > 1:
            for op in ops:
                yield from self._replace(key, (op,))
        elif refused:
            yield failed_op(ops[0], min(refused.items())[1])

    def read_in_steps(self) -> Steps[SetListing]:
        """The sets of our tables with their entries; see `interface.Reading`.

        A set that is none of ours is of no use. Entries that have no value here (see
        `replies.entries`) are left out, and make their set one to be built anew.
        """
        # One that is not read to its end would be in the way of the next.
        with closing(NetlinkSocket.open(NetlinkProtocol.NETFILTER)) as socket:
            return (yield from self._read_from(socket))

    def _read_from(self, socket: NetlinkSocket) -> Steps[SetListing]:
        sets: dict[SetKey, SetShape] = {}
        entries: dict[SetKey, frozenset[SetEntry]] = {}
        leftovers: set[Leftover] = set()
        for family in self._families:
            yield Step.EXCLUSIVE
            for name, spec in self.headers(family):
                key = key_of(name, family)
                if key is None:
                    leftovers.add(Leftover(name=qualified(family, name)))
                    continue
                found = yield from self._read_entries(socket, key, name)
                if found is not None:
                    shape = shape_of(key, spec, is_strange=bool(found.others))
                    sets[key], entries[key] = shape, found.known
        return SetListing(sets, entries, leftovers)

    def headers(self, family: IPFamily) -> list[tuple[str, SetSpec]]:
        """The sets in our table of a family: names, and what they are.

        Raises:
            KernelError: they could not be read.
        """
        try:
            return self._socket.dump(list_sets(family), replies.set_header, "list sets")
        except NotFound:
            # There is no table.
            return []

    def _read_entries(
        self, socket: NetlinkSocket, key: SetKey, name: str
    ) -> Steps["_Found | None"]:
        """The entries of a set; None if it was deleted since it was listed."""
        yield Step.EXCLUSIVE
        request = list_entries(key.family, name)
        try:
            payloads = yield from socket.read_in_steps(request, f"list set {name}")
        except NotFound:
            return None
        found: set[SetEntry] = set()
        others = 0
        decode = partial(replies.entries, key=key)
        for place, payload in enumerate(payloads):
            if place:
                # Decoding needs no kernel, but it would keep others from Python.
                yield Step.EXCLUSIVE
            known, foreign = decode(*payload)
            found.update(known)
            others += foreign
        if others:
            name = qualified(key.family, name)
            _log.warning("set has foreign entries", set=name, entries=others)
        return _Found(frozenset(found), others)


class _Found(NamedTuple):
    """The entries of a set, and how many more have no value here."""

    known: frozenset[SetEntry]
    others: int


def _is_gone(op: Op, ack: Ack, names: Callable[[IPFamily], AbstractSet[str]]) -> bool:
    """Whether what was to go was not there, in a set that is."""
    if ack.errno != errno.ENOENT:
        return False
    if isinstance(op, DeleteEntry):
        return set_name(op.key) in names(op.key.family)
    return isinstance(op, DestroySet)


def _networks_key(op: Op) -> SetKey | None:
    """The set, if its entries have networks, that an op adds to."""
    if isinstance(op, AddEntry):
        is_network = ENTRY_FORMS[op.key.role] is EntryForm.PLACE_AND_NETWORK
        return op.key if is_network else None
    return None


def _is_in_the_way(op: Op, ack: Ack, key: SetKey) -> bool:
    return isinstance(op, AddEntry) and op.key == key and ack.errno == errno.EEXIST


def _in_the_way(
    held: Iterable[SetEntry], wanted: Sequence[SetEntry]
) -> Iterator[SetEntry]:
    """The entries that cannot be there beside the wanted ones."""
    stay = frozenset(wanted)
    places: dict[tuple[object, ...], list[SetEntry]] = {}
    for entry in wanted:
        places.setdefault(_place(entry), []).append(entry)
    for entry in held:
        beside = places.get(_place(entry), ())
        if entry not in stay and any(_overlap(entry, other) for other in beside):
            yield entry


def _place(entry: SetEntry) -> tuple[object, ...]:
    return entry.address, entry.protocol, entry.port, entry.second_address


def _overlap(entry: SetEntry, other: SetEntry) -> bool:
    if entry.network is None or other.network is None:
        return True
    return entry.network.overlaps(other.network)


class _Piece(NamedTuple):
    """Ops that share messages."""

    ops: Sequence[Op]
    messages: Sequence[bytes]


def _transactions(pieces: Iterable[_Piece]) -> Iterator[Sequence[_Piece]]:
    """Pieces that make a transaction of a good size; each is in one."""
    batch: list[_Piece] = []
    size = 0
    for piece in pieces:
        more = sum(map(len, piece.messages))
        if batch and size + more > TRANSACTION_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(piece)
        size += more
    if batch:
        yield batch


def _piece(group: Sequence[Op]) -> _Piece:
    return _Piece(group, _group_messages(group))


def _group_messages(group: Sequence[Op]) -> Sequence[bytes]:
    """The messages of a group."""
    match group[0]:
        case CreateSet(key):
            return make_table(key.family), create_set(key)
        case RebuildSet(key, _, entries):
            some = parts(entries, ENTRIES_PER_MESSAGE)
            return empty_set(key), *(add_entries(key, part) for part in some)
        case DestroySet(Leftover(name=name)):
            return (delete_set(*family_and_name(name)),)
        case DestroySet(SetKey() as key):
            return (delete_set(key.family, set_name(key)),)
        case AddEntry(key):
            return (add_entries(key, entries_of(group)),)
        case DeleteEntry(key):
            return (delete_entries(key, entries_of(group)),)
        case op:
            raise TypeError(op)
