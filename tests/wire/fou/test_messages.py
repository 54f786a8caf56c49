"""Messages about UDP ports that unpack packets, against captured ones."""

from typing import Final

import pytest

from ipvsctl.model.errors import WireError
from ipvsctl.wire.fou.messages import FouReplies, FouRequests, UnpackingPort
from tests.wire.golden import datagrams, payloads
from tests.wire.samples import UNPACKING_PORTS

KERNEL: Final = "linux-6.1.176"


def test_ports_of_a_kernel() -> None:
    """Those of a kind that is none of ours, or at every address, are passed over."""
    replies = FouReplies()
    found = [replies.port(*payload) for payload in payloads(KERNEL, "fou")]
    assert len(found) == 4
    assert {port for port in found if port is not None} == set(UNPACKING_PORTS)


@pytest.mark.parametrize("port", UNPACKING_PORTS, ids=str)
def test_a_port_survives_the_wire(port: UnpackingPort) -> None:
    """A request to have it reads as that port."""
    message = FouRequests(30).add(port)
    assert FouReplies().port(message, 16, len(message)) == port
    assert FouRequests(30).delete(port)[20:] == message[20:]


def test_a_truncated_answer() -> None:
    """It is an error and no port."""
    (datagram,) = datagrams(KERNEL, "fou")[:1]
    _, start, end = payloads(KERNEL, "fou")[0]
    with pytest.raises(WireError):
        FouReplies().port(datagram[: end - 3], start, end)
    with pytest.raises(WireError, match="without its number"):
        FouReplies().port(bytes(8), 0, 4)
