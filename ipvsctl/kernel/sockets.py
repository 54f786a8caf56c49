"""The sockets of this host that wait for clients."""

from collections.abc import Sequence
from contextlib import closing

from ipvsctl.kernel.netlink import NetlinkSocket
from ipvsctl.model.errors import KernelError
from ipvsctl.model.host import HostSocket
from ipvsctl.model.net import IPFamily, Protocol
from ipvsctl.model.steps import Step, Steps
from ipvsctl.wire.netlink.messages import NetlinkProtocol
from ipvsctl.wire.sock_diag.replies import decode_socket
from ipvsctl.wire.sock_diag.requests import list_waiting


def read_sockets_in_steps(
    families: Sequence[IPFamily],
) -> Steps[frozenset[HostSocket]]:
    """All of them, see `interface.Reading`; without those a kernel cannot list.

    They are only looked at to say what is odd, so nothing depends on them.
    """
    found: set[HostSocket] = set()
    for family in families:
        for protocol in Protocol:
            yield Step.SHARED
            request = list_waiting(family, protocol)
            try:
                with closing(NetlinkSocket.open(NetlinkProtocol.SOCK_DIAG)) as socket:
                    parts = socket.read(request, "list sockets")
            except KernelError:
                continue
            sockets = (decode_socket(protocol, *part) for part in parts)
            found.update(item for item in sockets if item is not None)
    return frozenset(found)
