"""Large answers are encoded in pieces, and are the JSON that they would be in one."""

import msgspec
import pytest

from ipvsctl.cli.encode import encode_in_steps
from ipvsctl.model.status import NodeStatus, ServiceStatus, Summary
from ipvsctl.model.steps import finish

SUMMARY = Summary(
    version="1", node="node-0", zone="", scheduler="rr", compatibility="none"
)


@pytest.mark.parametrize("count", [0, 1, 20, 21, 1000])
def test_pieces(count: int) -> None:
    """All of them together say the same, whatever their number; none is large."""
    services = tuple(
        ServiceStatus(
            namespace="default", name=f"web-{number}", type="", virtual_servers=()
        )
        for number in range(count)
    )
    status = NodeStatus(summary=SUMMARY, services=services)
    pieces = finish(encode_in_steps(status, "services"))
    assert msgspec.json.decode(b"".join(pieces), type=NodeStatus) == status
    assert max(map(len, pieces)) < 1 << 16
