"""What a check says of tunnels between nodes."""

from ipaddress import IPv4Address
from typing import Final

import msgspec
import pytest

from ipvsctl.model.capabilities import Capabilities
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.net import IPFamily
from ipvsctl.model.state import NodeState, Observed
from ipvsctl.model.tunnel import TunnelEnd
from ipvsctl.plan.report.check_tunnels import check_tunnels
from ipvsctl.plan.report.findings import Severity

CONFIG: Final = ProxyConfig(tunnel_port=6080)
END: Final = TunnelEnd(address=IPv4Address("10.0.0.10"), port=6080)
WANTED: Final = NodeState(tunnel_ends={IPFamily.IPV4: END})
BROKEN: Final = NodeState(
    tunnel_ends={IPFamily.IPV4: msgspec.structs.replace(END, is_whole=False)}
)


@pytest.mark.parametrize(
    ("held", "wanted", "release", "severity", "words"),
    [
        (WANTED, WANTED, (6, 1), Severity.OK, "end at 10.0.0.10 port 6080"),
        (BROKEN, WANTED, (6, 1), Severity.PROBLEM, "no whole end at 10.0.0.10"),
        (NodeState(), WANTED, (6, 1), Severity.PROBLEM, "no whole end at 10.0.0.10"),
        (NodeState(), NodeState(), (6, 1), Severity.NOTE, "does not say"),
        (NodeState(), NodeState(), (5, 2), Severity.PROBLEM, "has none in UDP"),
    ],
)
def test_findings(
    held: NodeState,
    wanted: NodeState,
    release: tuple[int, int],
    severity: Severity,
    words: str,
) -> None:
    """An end that is not there loses packets; one that nobody asks for does not."""
    can = Capabilities(release=release)
    (found,) = check_tunnels(Observed(state=held), wanted, can, CONFIG)
    assert found.severity is severity
    assert words in found.found
    assert bool(found.advice) == (severity is not Severity.OK)


def test_nothing_without_the_setting() -> None:
    """Not even that there is nothing."""
    seen = Observed(state=NodeState())
    assert not [*check_tunnels(seen, WANTED, Capabilities(), ProxyConfig())]
