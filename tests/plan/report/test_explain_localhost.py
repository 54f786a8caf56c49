"""Node ports on localhost in an explanation."""

import pytest

from ipvsctl.model.config import Compatibility, Listener, NodePortAddresses, ProxyConfig
from ipvsctl.model.explanation import Explanation, Verdict
from ipvsctl.model.neighbours import Neighbours
from ipvsctl.model.net import Protocol, parse_address
from ipvsctl.model.objects import ServicePort, ServiceType, TrafficPolicy
from ipvsctl.model.relay import ListenerState
from ipvsctl.model.state import Observed
from ipvsctl.model.steps import finish
from ipvsctl.model.target import parse_target
from ipvsctl.plan.diff.plan import DiffOptions
from ipvsctl.plan.report.explain import explain
from ipvsctl.plan.report.explain_inputs import ExplainInputs
from ipvsctl.wire.iptables.words import IptablesWords
from tests.builders import endpoint_slice, service
from tests.plan.report.test_status import CONTEXT, Node

LOCALHOST = ProxyConfig(node_port_addresses=NodePortAddresses(localhost=True))
LISTENER = Listener(parse_address("127.0.0.1"), 30080)
NODE_PORT = ServicePort(name="http", protocol=Protocol.TCP, port=80, node_port=30080)
OFF = (
    "there are no node ports on localhost: nodePortAddresses names neither localhost"
    " nor a loopback network"
)
OTHER_PROTOCOL = (
    "node port 30053 of Service default/web is for UDP, and on localhost there are"
    " those of TCP alone"
)
UDP = ServicePort(name="dns", protocol=Protocol.UDP, port=53, node_port=30053)


def explained(
    target: str,
    config: ProxyConfig = LOCALHOST,
    listeners: dict[Listener, ListenerState] | None = None,
    *,
    has_endpoints: bool = True,
    policy: TrafficPolicy = TrafficPolicy.CLUSTER,
) -> Explanation:
    """The explanation on a node that serves `default/web`."""
    web = service(
        type=ServiceType.NODE_PORT,
        ports=(NODE_PORT, UDP),
        external_traffic_policy=policy,
    )
    owner = "web" if has_endpoints else "other"
    node = Node.of(web, endpoint_slice(service_name=owner), config=config)
    inputs = ExplainInputs(
        objects=node.store,
        desired=node.desired.frozen(),
        observed=Observed(state=node.desired.state()),
        neighbours=Neighbours(),
        context=CONTEXT,
        config=config,
        options=DiffOptions(vip_link="kube-ipvs0"),
        words=IptablesWords(),
        listeners=listeners,
    )
    return finish(explain(inputs, parse_target(target)))


def test_a_listener_that_works() -> None:
    """By its address; where it leads, and what endpoints see."""
    found = explained("127.0.0.1:30080", listeners={LISTENER: ListenerState()})
    assert [part.title for part in found.parts] == [
        "node node-0",
        "Service default/web",
        "node port on localhost 127.0.0.1:30080/TCP",
    ]
    (step,) = found.parts[-1].steps
    assert step.verdict is Verdict.OK
    assert step.found == "the daemon listens, and relays to 1 endpoint; 0 connections"
    assert step.details == ("endpoints see this node's address, and none of loopback",)


def test_a_service_with_all_its_ways_in() -> None:
    """The listener is one of them."""
    found = explained("default/web:http", listeners={LISTENER: ListenerState()})
    titles = [part.title for part in found.parts]
    assert "node port 10.0.0.10:30080/TCP" in titles
    assert "node port on localhost 127.0.0.1:30080/TCP" in titles


@pytest.mark.parametrize(
    ("listeners", "has_endpoints", "expected"),
    [
        (
            None,
            True,
            "no ipvsctl run was asked, and nobody else listens there for it",
        ),
        (
            {LISTENER: ListenerState(refused="cannot listen: Address in use")},
            True,
            "cannot listen: Address in use",
        ),
        (
            {LISTENER: ListenerState()},
            False,
            "closed, since there is no endpoint to relay to",
        ),
    ],
)
def test_a_listener_that_does_not_listen(
    listeners: dict[Listener, ListenerState] | None,
    expected: str,
    *,
    has_endpoints: bool,
) -> None:
    """Why it does not."""
    found = explained(
        "127.0.0.1:30080", listeners=listeners, has_endpoints=has_endpoints
    )
    (step,) = found.parts[-1].steps
    verdict = Verdict.UNKNOWN if listeners is None else Verdict.BROKEN
    assert (step.verdict, step.found) == (verdict, expected)


@pytest.mark.parametrize(
    ("target", "config", "expected"),
    [
        (
            "127.0.0.1:30080",
            ProxyConfig(),
            OFF,
        ),
        (
            "127.0.0.1:30080",
            ProxyConfig(
                node_port_addresses=NodePortAddresses(localhost=True),
                compatibility=Compatibility.KUBE_PROXY,
            ),
            "there are no node ports on localhost with compatibility kube-proxy",
        ),
        (
            "127.0.0.1:30053",
            LOCALHOST,
            OTHER_PROTOCOL,
        ),
        ("[::1]:30081", LOCALHOST, "no Service has a node port at [::1]:30081"),
    ],
)
def test_nothing_is_there(target: str, config: ProxyConfig, expected: str) -> None:
    """Which setting or protocol is in the way."""
    found = explained(target, config, {})
    assert found.headline is not None
    assert found.headline.found == expected
