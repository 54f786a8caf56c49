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
from tests.plan.service.test_tunnels import ABLE

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
    (found,) = check_tunnels(Observed(state=held), wanted, can, CONFIG, None)
    assert found.severity is severity
    assert words in found.found
    assert bool(found.advice) == (severity is not Severity.OK)


@pytest.mark.parametrize(
    ("names", "severity", "words"),
    [
        (("node-0", "node-1"), Severity.OK, "with 1 other node"),
        (("node-0",), Severity.OK, "with 0 other nodes"),
        (("node-1",), Severity.NOTE, "other nodes have not heard"),
        ((), Severity.NOTE, "other nodes have not heard"),
    ],
)
def test_whether_others_know(
    names: tuple[str, ...], severity: Severity, words: str
) -> None:
    """Until they do all is masqueraded, which is no problem."""
    offers = {name: ABLE.tunnel_offers[name] for name in names}
    context = msgspec.structs.replace(ABLE, tunnel_offers=offers)
    can = Capabilities(release=(6, 1))
    (found, _) = check_tunnels(Observed(state=WANTED), WANTED, can, CONFIG, context)
    assert (found.severity, words in found.found) == (severity, True)


def test_nothing_without_the_setting() -> None:
    """Not even that there is nothing."""
    seen = Observed(state=NodeState())
    assert not [*check_tunnels(seen, WANTED, Capabilities(), ProxyConfig(), ABLE)]
