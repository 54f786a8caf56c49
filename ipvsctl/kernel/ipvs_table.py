"""The IPVS table: reading it and changing it.

The kernel lists virtual servers in one dump, and real servers in one dump each.
"""

import errno
from collections.abc import (
    Callable,
    Container,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import closing
from itertools import groupby, islice
from typing import Any, Final, NamedTuple

from ipvsctl.kernel.applier import failed_op
from ipvsctl.kernel.family import generic_family_id
from ipvsctl.kernel.ipvs_options import IpvsOptions
from ipvsctl.kernel.netlink import NetlinkSocket
from ipvsctl.model.errors import KernelError, NotFound
from ipvsctl.model.ipvs import (
    RealServer,
    RealServerKey,
    RealServerStats,
    Timeouts,
    TrafficStats,
    VirtualServer,
    VirtualServerKey,
)
from ipvsctl.model.net import IPFamily
from ipvsctl.model.state import EMPTY, NodeState
from ipvsctl.model.steps import Step, Steps
from ipvsctl.plan.diff.ops import (
    AddRealServer,
    AddVirtualServer,
    DeleteRealServer,
    DeleteVirtualServer,
    FailedOp,
    Op,
    SetTimeouts,
    UpdateRealServer,
    UpdateVirtualServer,
)
from ipvsctl.wire.ipvs.attributes import IPVS_GENL_NAME
from ipvsctl.wire.ipvs.dest_entries import RealServersWithCounts
from ipvsctl.wire.ipvs.replies import IpvsReplies
from ipvsctl.wire.ipvs.requests import IpvsRequests
from ipvsctl.wire.netlink.messages import Ack, NetlinkProtocol

_READ_TABLE: Final = "list virtual servers"

_STEP: Final = 25
"""Virtual servers whose real servers are read in one step: a few milliseconds."""

_STEP_LISTED: Final = 300
"""Virtual servers that are listed in one step, likewise."""

_MOST_MISSED: Final = 200
"""Virtual servers that are asked for because a listing may have passed over them; more
than syncs delete while it runs."""

_Known = Mapping[VirtualServerKey, Mapping[RealServerKey, RealServer]]


_REQUESTS: Final[Mapping[type[Op], Callable[[IpvsRequests, Any], bytes]]] = {
    AddVirtualServer: lambda requests, op: requests.new_service(op.server),
    UpdateVirtualServer: lambda requests, op: requests.set_service(op.server),
    DeleteVirtualServer: lambda requests, op: requests.del_service(op.key),
    AddRealServer: lambda requests, op: requests.new_dest(op.virtual_server, op.server),
    UpdateRealServer: lambda requests, op: requests.set_dest(
        op.virtual_server, op.server
    ),
    DeleteRealServer: lambda requests, op: requests.del_dest(op.virtual_server, op.key),
    SetTimeouts: lambda requests, op: requests.set_config(op.timeouts),
}


class IpvsListing(NamedTuple):
    """Virtual servers and what belongs to them, each by its key.

    A virtual server without real servers is in the last two with none. A real server
    without connections may be absent from the last.
    """

    virtual_servers: dict[VirtualServerKey, VirtualServer]
    traffic: dict[VirtualServerKey, TrafficStats]
    real_servers: dict[VirtualServerKey, Mapping[RealServerKey, RealServer]]
    connections: dict[VirtualServerKey, Mapping[RealServerKey, RealServerStats]]


class _Likely(NamedTuple):
    """What is looked for first.

    Attributes:
        real_servers: of each virtual server.
        counts: how many there are, see `IpvsOptions`.
    """

    real_servers: _Known
    counts: Mapping[bytes, int]


class IpvsTable:
    """The IPVS table of the caller's network namespace.

    Args:
        options: asked first whether real servers are what is likely.

    Raises:
        KernelError: NotFound when the kernel has no IPVS.
    """

    def __init__(self, options: IpvsOptions) -> None:
        self._options = options
        self._requests = IpvsRequests(generic_family_id(IPVS_GENL_NAME))
        self._socket = NetlinkSocket.open(NetlinkProtocol.GENERIC)
        self._replies = IpvsReplies()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def run(self, ops: Sequence[Op]) -> list[FailedOp]:
        """See `applier.Transport`.

        Real servers wait for the answers to all virtual servers before them: one that
        is there already is another's, and would get them. To one that was refused for
        another reason the kernel refuses them itself; then the first refusal is why.
        """
        failed: dict[int, Ack] = {}
        lost: set[VirtualServerKey] = set()
        others: set[VirtualServerKey] = set()
        first = 0
        for is_adding, group in groupby(ops, key=_adds_virtual_server):
            sent: Sequence[Op] = tuple(group)
            # There may be 100,000: none gets a number of its own to keep.
            places: Sequence[int] = range(first, first + len(sent))
            first += len(sent)
            if others and not is_adding:
                orphans = {p for p in places if _is_of(ops[p], others)}
                failed |= dict.fromkeys(orphans, _ORPHANED)
                places = [p for p in places if p not in orphans]
                sent = [ops[p] for p in places]
            refused = self._socket.apply(
                _REQUESTS[type(op)](self._requests, op) for op in sent
            )
            for number, ack in refused.items():
                is_lost = _has_lost(sent[number], ack, lost)
                failed[places[number]] = _ORPHANED if is_lost else ack
            if is_adding and refused:
                lost |= {key for n in refused for key in _added(sent[n])}
                others |= _others(sent, refused)
        return [failed_op(ops[place], ack) for place, ack in sorted(failed.items())]

    def read_in_steps(self, likely: NodeState) -> Steps[IpvsListing]:
        """Every virtual server with its real servers and counters.

        See `interface.Reading`.

        Args:
            likely: its real servers are the result's where they are what is read.

        Raises:
            KernelError: NotFound when the kernel has no IPVS any more.
        """
        try:
            listed = yield from self._list_in_steps()
        except NotFound:
            # The module was taken out, and maybe put in again, with another number.
            self._requests = IpvsRequests(generic_family_id(IPVS_GENL_NAME))
            listed = yield from self._list_in_steps()
        if listed:
            yield Step.EXCLUSIVE
            found = {server.key for server, _ in listed}
            missed = (key for key in likely.virtual_servers if key not in found)
            listed += self._list_some(islice(missed, _MOST_MISSED))
        listing = IpvsListing({}, {}, {}, {})
        counts = yield from self._options.count_dests_in_steps()
        likely_here = _Likely(likely.real_servers, counts)
        for place, (virtual_server, traffic) in enumerate(listed):
            if place % _STEP == 0:
                yield Step.EXCLUSIVE
            self._add(listing, virtual_server, traffic, likely_here)
        return listing

    def _list_in_steps(
        self,
    ) -> Steps[list[tuple[VirtualServer, TrafficStats]]]:
        """Every virtual server that does not come or go meanwhile, but for a few.

        The kernel goes on at the place it has come to: when one before that is gone,
        it passes over another (ip_vs_ctl.c:ip_vs_genl_dump_services).
        """
        listed: list[tuple[VirtualServer, TrafficStats]] = []
        yield Step.EXCLUSIVE
        # One that is not read to its end would be in the way of the next.
        with closing(NetlinkSocket.open(NetlinkProtocol.GENERIC)) as socket:
            request = self._requests.get_services()
            for item in socket.stream(request, self._replies.service, _READ_TABLE):
                listed.append(item)
                if len(listed) % _STEP_LISTED == 0:
                    yield Step.EXCLUSIVE
        return listed

    def read_some(
        self, keys: Iterable[VirtualServerKey], likely: _Known
    ) -> IpvsListing:
        """The virtual servers of these keys that are there, likewise."""
        listing = IpvsListing({}, {}, {}, {})
        for virtual_server, traffic in self._list_some(keys):
            expected = likely.get(virtual_server.key, EMPTY)
            read = self._options.read_dests(virtual_server.key, expected)
            self._put(listing, virtual_server, traffic, expected, read)
        return listing

    def _list_some(
        self, keys: Iterable[VirtualServerKey]
    ) -> list[tuple[VirtualServer, TrafficStats]]:
        questions = map(self._requests.get_service, keys)
        listed = []
        for answer in self._socket.ask(questions, self._replies.service):
            if not isinstance(answer, Ack):
                listed.append(answer)
                continue
            error = KernelError.of(answer.errno, _READ_TABLE, answer.reason)
            if not isinstance(error, NotFound):
                raise error
        return listed

    def read_timeouts(self) -> Timeouts:
        """The idle timeouts of connections."""
        request = self._requests.get_config()
        return self._socket.ask_one(request, self._replies.config, "read IPVS timeouts")

    def known_schedulers(self, names: Iterable[str]) -> frozenset[str]:
        """Those of these schedulers that the kernel has; nothing is changed.

        The kernel loads a scheduler's module when it is first asked for it, which
        works from a container without `/lib/modules` as well. It looks for the
        scheduler before it finds that a prefix of length 0 is no prefix
        (ip_vs_ctl.c:ip_vs_add_service), so the question is a virtual server that
        cannot be.
        """
        asked = sorted(names)
        refused = self._socket.apply(
            self._requests.new_service(
                VirtualServer(
                    key=VirtualServerKey(family=IPFamily.IPV6, fwmark=0xFFFFFFFF),
                    scheduler=name,
                    netmask_bits=0,
                )
            )
            for name in asked
        )
        return frozenset(
            name
            for place, name in enumerate(asked)
            if refused[place].errno != errno.ENOENT
        )

    def _add(
        self,
        listing: IpvsListing,
        virtual_server: VirtualServer,
        traffic: TrafficStats,
        likely: _Likely,
    ) -> None:
        """Put a virtual server into a listing, with its real servers."""
        key = virtual_server.key
        expected = likely.real_servers.get(key)
        if expected is None:
            expected = EMPTY
            read = self._options.read_dests(key)
        else:
            stats = self._options.same_dests(key, expected, likely.counts)
            read = None if stats is None else (expected, stats)
        self._put(listing, virtual_server, traffic, expected, read)

    def _put(
        self,
        listing: IpvsListing,
        virtual_server: VirtualServer,
        traffic: TrafficStats,
        expected: Mapping[RealServerKey, RealServer],
        read: RealServersWithCounts | None,
    ) -> None:
        """The same, with the real servers dumped if they have not been read yet."""
        key = virtual_server.key
        listing.virtual_servers[key] = virtual_server
        listing.traffic[key] = traffic
        if read is not None:
            listing.real_servers[key], listing.connections[key] = read
            return
        question = self._requests.get_dests(key)
        parts = self._socket.read(question, "list real servers")
        stats = self._replies.same_dests(parts, expected)
        if stats is not None:
            listing.real_servers[key] = expected
            listing.connections[key] = stats
            return
        dests = [self._replies.dest(*part) for part in parts]
        listing.real_servers[key] = {server.key: server for server, _ in dests}
        listing.connections[key] = {server.key: stats for server, stats in dests}


_ORPHANED: Final = Ack(errno.ESRCH, "its virtual server was refused")


def _adds_virtual_server(op: Op) -> bool:
    return isinstance(op, AddVirtualServer)


def _added(op: Op) -> tuple[VirtualServerKey, ...]:
    return (op.server.key,) if isinstance(op, AddVirtualServer) else ()


def _others(sent: Sequence[Op], refused: Mapping[int, Ack]) -> set[VirtualServerKey]:
    """Those that are there, and that these ops have not added."""
    there, added = set[VirtualServerKey](), set[VirtualServerKey]()
    for number, op in enumerate(sent):
        ack = refused.get(number)
        if ack is None:
            added.update(_added(op))
        elif ack.errno == errno.EEXIST:
            there.update(_added(op))
    return there - added


def _is_of(op: Op, keys: Container[VirtualServerKey]) -> bool:
    return isinstance(op, AddRealServer) and op.virtual_server in keys


def _has_lost(op: Op, ack: Ack, lost: Container[VirtualServerKey]) -> bool:
    return ack.errno == errno.ESRCH and _is_of(op, lost)
