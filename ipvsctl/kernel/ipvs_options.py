"""What IPVS tells by socket options: in one call, and less than over netlink.

Source: uapi/linux/ip_vs.h (`struct ip_vs_getinfo`), ip_vs_ctl.c (`do_ip_vs_get_ctl`).
"""

import ctypes
import errno
import socket
from collections.abc import Mapping
from struct import Struct
from typing import Final

from ipvsctl.kernel.socket import CLOSED, let_go
from ipvsctl.model.errors import KernelError
from ipvsctl.model.ipvs import (
    RealServer,
    RealServerKey,
    RealServerStats,
    VirtualServerKey,
)
from ipvsctl.model.net import IPFamily
from ipvsctl.model.state import EMPTY
from ipvsctl.model.steps import Step, Steps, finish, parts
from ipvsctl.wire.ipvs.dest_entries import (
    IP_VS_SO_GET_DESTS,
    IP_VS_SO_GET_SERVICE,
    IP_VS_SO_GET_SERVICES,
    RealServersWithCounts,
    dests_question,
    iter_counts,
    read_entries,
    same_entries,
    service_name,
    service_question,
    services_question,
)

_IP_VS_SO_GET_INFO: Final = 1153
_GETINFO: Final = Struct("=III")
"""struct ip_vs_getinfo: version, size of the table of connections, virtual servers."""

_MORE: Final = 64
"""Virtual servers that may come between counting and listing them."""

_STEP_COUNTED: Final = 2000
"""Virtual servers whose real servers are counted in one step: a few milliseconds."""

_FEW: Final = 64
"""Room that costs next to nothing: some 6 kB."""

# Python's own takes no question along with the room for an answer.
_libc: Final = ctypes.CDLL(None, use_errno=True)


class IpvsOptions:
    """Of the network namespace of whoever asks first."""

    def __init__(self) -> None:
        # Whoever only lists needs none, and may not be allowed to have one.
        self._socket: socket.socket | None = None

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()

    def count(self) -> int:
        """How many virtual servers there are, a number that IPVS keeps; see `Glance`.

        Raises:
            KernelError: the kernel does not tell.
        """
        try:
            answer = self._open().getsockopt(
                socket.IPPROTO_IP, _IP_VS_SO_GET_INFO, _GETINFO.size
            )
        except OSError as error:
            self._lose(error)
            code = error.errno or errno.EIO
            raise KernelError.of(code, "count virtual servers") from error
        count: int = _GETINFO.unpack(answer)[2]
        return count

    def count_dests(self) -> Mapping[bytes, int]:
        """See `count_dests_in_steps`."""
        return finish(self.count_dests_in_steps())

    def count_dests_in_steps(self) -> Steps[Mapping[bytes, int]]:
        """How many real servers each IPv4 virtual server has, by its `service_name`.

        Empty if that is not to be had in this way.
        """
        yield Step.EXCLUSIVE
        counts: dict[bytes, int] = {}
        try:
            room = self.count() + _MORE
        except KernelError:
            return counts
        answer = self._ask(IP_VS_SO_GET_SERVICES, services_question(room))
        if answer is not None:
            for some in parts(iter_counts(answer), _STEP_COUNTED):
                yield Step.EXCLUSIVE
                counts.update(some)
        return counts

    def same_dests(
        self,
        key: VirtualServerKey,
        expected: Mapping[RealServerKey, RealServer],
        counts: Mapping[bytes, int],
    ) -> Mapping[RealServerKey, RealServerStats] | None:
        """Whether a virtual server has exactly these real servers.

        Args:
            key: of the virtual server.
            expected: what is looked for.
            counts: see `count_dests`.

        Returns:
            The counters of those that have connections; None if they are not the same,
            or if that is not to be had in this way.
        """
        count = len(expected)
        if key.family is not IPFamily.IPV4:
            return None
        name = service_name(key)
        if counts.get(name) != count:
            return None
        # One more would be seen.
        answer = self._ask(IP_VS_SO_GET_DESTS, dests_question(name, count + 1))
        return None if answer is None else same_entries(answer, expected)

    def read_dests(
        self,
        key: VirtualServerKey,
        likely: Mapping[RealServerKey, RealServer] = EMPTY,
    ) -> RealServersWithCounts | None:
        """The real servers of a virtual server, if they are likely or few.

        Args:
            key: of the virtual server.
            likely: looked for first; itself part of the answer if it is what there is.

        Returns:
            These, and the counters of those that have connections; None if they are
            not to be had in this way.
        """
        if key.family is not IPFamily.IPV4:
            return None
        about = self._ask(IP_VS_SO_GET_SERVICE, service_question(key))
        if about is None:
            return None
        counts = dict(iter_counts(about))
        if likely:
            stats = self.same_dests(key, likely, counts)
            if stats is not None:
                return likely, stats
        answer = self._ask(IP_VS_SO_GET_DESTS, dests_question(service_name(key), _FEW))
        found = None if answer is None else read_entries(answer)
        if found is None or len(found[0]) not in counts.values():
            return None
        return found

    def _ask(self, option: int, buffer: bytearray) -> bytearray | None:
        """The kernel's answer; None if it has none in this way."""
        try:
            self._fill(option, buffer)
        except OSError as error:
            if error.errno in CLOSED:
                self._lose(error)
            return None
        return buffer

    def _fill(self, option: int, buffer: bytearray) -> None:
        size = len(buffer)
        code = _libc.getsockopt(
            self._open().fileno(),
            socket.IPPROTO_IP,
            option,
            (ctypes.c_char * size).from_buffer(buffer),
            ctypes.byref(ctypes.c_uint(size)),
        )
        if code:
            raise OSError(ctypes.get_errno(), "getsockopt")

    def _open(self) -> socket.socket:
        if self._socket is None:
            # Any socket of IPv4 will do, and only a raw one would need CAP_NET_RAW
            # (udp.c:udp_getsockopt; ip_sockglue.c:ip_getsockopt).
            self._socket = socket.socket(
                socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC
            )
        return self._socket

    def _lose(self, error: OSError) -> None:
        lost, self._socket = self._socket, None
        if lost is not None:
            let_go(lost, error)
