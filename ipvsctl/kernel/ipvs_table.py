"""The IPVS table: reading it and changing it.

The kernel lists virtual servers in one dump, and real servers in one dump each.
"""

import errno
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from ipvsctl.kernel.applier import failed_op
from ipvsctl.kernel.family import generic_family_id
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
from ipvsctl.plan.ops import (
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
from ipvsctl.wire.ipvs import IpvsRequests
from ipvsctl.wire.ipvs_attributes import IPVS_GENL_NAME
from ipvsctl.wire.ipvs_decode import IpvsReplies
from ipvsctl.wire.netlink import Ack, NetlinkProtocol

_READ_TABLE: Final = "list virtual servers"


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

IPVS_OPS: Final = tuple(_REQUESTS)
"""The kinds of op that `IpvsTable.run` takes."""


class IpvsListing(NamedTuple):
    """Virtual servers and what belongs to them, each by its key.

    A virtual server without real servers is in the last two with none.
    """

    virtual_servers: dict[VirtualServerKey, VirtualServer]
    traffic: dict[VirtualServerKey, TrafficStats]
    real_servers: dict[VirtualServerKey, dict[RealServerKey, RealServer]]
    connections: dict[VirtualServerKey, dict[RealServerKey, RealServerStats]]


class IpvsTable:
    """The IPVS table of the caller's network namespace.

    Raises:
        KernelError: NotFound when the kernel has no IPVS.
    """

    def __init__(self) -> None:
        self._requests = IpvsRequests(generic_family_id(IPVS_GENL_NAME))
        self._socket = NetlinkSocket.open(NetlinkProtocol.GENERIC)
        self._replies = IpvsReplies()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def run(self, ops: Sequence[Op]) -> list[FailedOp]:
        """See `applier.Transport`.

        Nothing waits for the answer to a virtual server before its real servers are
        sent: the kernel refuses those itself, and then the first refusal is why.
        """
        requests = self._requests
        refused = self._socket.apply(_REQUESTS[type(op)](requests, op) for op in ops)
        lost = {
            op.server.key
            for op in (ops[place] for place in refused)
            if isinstance(op, AddVirtualServer)
        }
        return [
            failed_op(ops[place], _explain(ops[place], ack, lost))
            for place, ack in sorted(refused.items())
        ]

    def read(self) -> IpvsListing:
        """Every virtual server with its real servers and counters."""
        request = self._requests.get_services()
        listed = self._socket.dump(request, self._replies.service, _READ_TABLE)
        return self._with_real_servers(listed)

    def read_some(self, keys: Iterable[VirtualServerKey]) -> IpvsListing:
        """The virtual servers of these keys that are there, likewise."""
        questions = map(self._requests.get_service, keys)
        listed = []
        for answer in self._socket.ask(questions, self._replies.service):
            if not isinstance(answer, Ack):
                listed.append(answer)
                continue
            error = KernelError.of(answer.errno, _READ_TABLE, answer.reason)
            if not isinstance(error, NotFound):
                raise error
        return self._with_real_servers(listed)

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

    def _with_real_servers(
        self, listed: list[tuple[VirtualServer, TrafficStats]]
    ) -> IpvsListing:
        listing = IpvsListing({}, {}, {}, {})
        for virtual_server, traffic in listed:
            key = virtual_server.key
            request = self._requests.get_dests(key)
            dests = self._socket.dump(request, self._replies.dest, "list real servers")
            listing.virtual_servers[key] = virtual_server
            listing.traffic[key] = traffic
            listing.real_servers[key] = {server.key: server for server, _ in dests}
            listing.connections[key] = {server.key: stats for server, stats in dests}
        return listing


def _explain(op: Op, ack: Ack, lost: Container[VirtualServerKey]) -> Ack:
    if (
        isinstance(op, AddRealServer)
        and ack.errno == errno.ESRCH
        and op.virtual_server in lost
    ):
        return Ack(ack.errno, "its virtual server was refused")
    return ack
