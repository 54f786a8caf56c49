"""What a check says of tunnels between nodes."""

from typing import Final

import msgspec
import pytest

from ipvsctl.model.capabilities import Capabilities
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.net import IPFamily, IPv4Address
from ipvsctl.model.node_facts import NodeFacts
from ipvsctl.model.state import NodeState, Observed
from ipvsctl.model.tunnel import TunnelEnd
from ipvsctl.plan.report.check_tunnels import check_tunnel_mtus, check_tunnels
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


@pytest.mark.parametrize(
    ("mtu", "severity", "words"),
    [
        (1500, Severity.OK, "packets of up to 1,468 bytes go whole, of 1,500"),
        (608, Severity.OK, "up to 576 bytes"),
        (607, Severity.PROBLEM, "up to 575 bytes"),
    ],
)
def test_how_long_packets_may_be(mtu: int, severity: Severity, words: str) -> None:
    """A network that takes less than IP asks for is a problem."""
    facts = NodeFacts(mtus={END.address: mtu})
    (found,) = check_tunnel_mtus(facts, WANTED)
    assert found.severity is severity
    assert words in found.found
    assert ("608 at least" in found.advice) == (severity is Severity.PROBLEM)


def test_nothing_is_said_of_an_mtu_that_is_unknown() -> None:
    """Nor without tunnels."""
    assert not [*check_tunnel_mtus(NodeFacts(), WANTED)]
    assert not [*check_tunnel_mtus(NodeFacts(mtus={END.address: 1}), NodeState())]
