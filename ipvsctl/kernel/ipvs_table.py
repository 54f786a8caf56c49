"""The IPVS table: one dump of virtual servers, one of real servers for each."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from ipvsctl.kernel.netlink import NetlinkSocket
from ipvsctl.model.errors import KernelError, NotFound
from ipvsctl.model.ipvs import (
    RealServer,
    RealServerKey,
    RealServerStats,
    TrafficStats,
    VirtualServer,
    VirtualServerKey,
)
from ipvsctl.wire.generic import decode_family, get_family
from ipvsctl.wire.ipvs import IpvsRequests
from ipvsctl.wire.ipvs_attributes import IPVS_GENL_NAME
from ipvsctl.wire.ipvs_decode import IpvsReplies, Timeouts
from ipvsctl.wire.netlink import Ack, NetlinkProtocol

_READ_TABLE: Final = "list virtual servers"


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

    Attributes:
        requests: encodes changes for `apply`.

    Raises:
        KernelError: NotFound when the kernel has no IPVS.
    """

    def __init__(self) -> None:
        self._socket = NetlinkSocket(NetlinkProtocol.GENERIC)
        try:
            self.requests = IpvsRequests(self._family_id())
        except KernelError:
            self._socket.close()
            raise
        self._replies = IpvsReplies()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def apply(self, requests: Iterable[bytes]) -> dict[int, Ack]:
        """Run changes in order; why refused ones were, by place."""
        return self._socket.apply(requests)

    def read(self) -> IpvsListing:
        """Every virtual server with its real servers and counters."""
        request = self.requests.get_services()
        listed = self._socket.dump(request, self._replies.service, _READ_TABLE)
        return self._with_real_servers(listed)

    def read_some(self, keys: Iterable[VirtualServerKey]) -> IpvsListing:
        """The virtual servers of these keys that are there, likewise."""
        questions = map(self.requests.get_service, keys)
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
        answer = self._socket.ask([self.requests.get_config()], self._replies.config)
        return _only(answer, "read IPVS timeouts")

    def set_timeouts(self, timeouts: Timeouts) -> None:
        """Change the idle timeouts of connections; 0 leaves one as it is."""
        request = self.requests.set_config(**timeouts._asdict())
        for ack in self._socket.apply([request]).values():
            raise KernelError.of(ack.errno, "set IPVS timeouts", ack.reason)

    def _with_real_servers(
        self, listed: list[tuple[VirtualServer, TrafficStats]]
    ) -> IpvsListing:
        listing = IpvsListing({}, {}, {}, {})
        for virtual_server, traffic in listed:
            key = virtual_server.key
            request = self.requests.get_dests(key)
            dests = self._socket.dump(request, self._replies.dest, "list real servers")
            listing.virtual_servers[key] = virtual_server
            listing.traffic[key] = traffic
            listing.real_servers[key] = {server.key: server for server, _ in dests}
            listing.connections[key] = {server.key: stats for server, stats in dests}
        return listing

    def _family_id(self) -> int:
        answer = self._socket.ask([get_family(IPVS_GENL_NAME)], decode_family)
        number, _ = _only(answer, "find IPVS in the kernel (module ip_vs)")
        return number


def _only(answers: list[T | Ack], what: str) -> T:
    answer = answers[0]
    if isinstance(answer, Ack):
        raise KernelError.of(answer.errno, what, answer.reason)
    return answer
