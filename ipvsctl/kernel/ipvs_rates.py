"""The rates that IPVS estimates, read beside everything else and again and again."""

from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Final, Protocol

from ipvsctl.kernel.family import generic_family_id
from ipvsctl.kernel.netlink import NetlinkSocket
from ipvsctl.kernel.sysctls import PROC_SYS
from ipvsctl.model.ipvs import VirtualServerKey
from ipvsctl.model.rates import RealServers, VirtualServerRates
from ipvsctl.wire.ipvs.attributes import IPVS_GENL_NAME
from ipvsctl.wire.ipvs.rates import RateReplies
from ipvsctl.wire.ipvs.requests import IpvsRequests
from ipvsctl.wire.netlink.messages import NetlinkProtocol

_READ: Final = "read rates"
_SWITCH: Final = "net/ipv4/vs/run_estimation"


class RateSource(Protocol):
    """Where rates are read.

    Every method raises KernelError: the kernel does not tell.
    """

    def is_estimating(self) -> bool:
        """Whether there are any; if not, all are 0."""
        ...

    def virtual_servers(self) -> VirtualServerRates:
        """Of every virtual server."""
        ...

    def real_servers(self, keys: Iterable[VirtualServerKey]) -> RealServers:
        """Of the real servers of these; those that are gone have none."""
        ...


class IpvsRates:
    """See `RateSource`; of the caller's network namespace.

    Raises:
        KernelError: NotFound when the kernel has no IPVS.
    """

    def __init__(self, proc_sys: Path = PROC_SYS) -> None:
        self._requests = IpvsRequests(generic_family_id(IPVS_GENL_NAME))
        self._replies = RateReplies()
        self._switch = proc_sys / _SWITCH

    def is_estimating(self) -> bool:
        """See `RateSource`; kernels before 6.2 cannot be told not to."""
        try:
            return self._switch.read_text("ascii").strip() != "0"
        except OSError:
            return True

    def virtual_servers(self) -> VirtualServerRates:
        """See `RateSource`."""
        with closing(NetlinkSocket.open(NetlinkProtocol.GENERIC)) as socket:
            request = self._requests.get_services()
            return dict(socket.stream(request, self._replies.service, _READ))

    def real_servers(self, keys: Iterable[VirtualServerKey]) -> RealServers:
        """See `RateSource`."""
        with closing(NetlinkSocket.open(NetlinkProtocol.GENERIC)) as socket:
            return {
                key: dict(
                    self._replies.dest(*part)
                    for part in socket.read(self._requests.get_dests(key), _READ)
                )
                for key in keys
            }
