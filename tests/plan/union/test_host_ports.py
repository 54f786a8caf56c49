"""Node ports on which the host itself listens."""

import pytest

from ipvsctl.cluster.store import Store
from ipvsctl.controller.reconciler import Reconciler
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.host import HostSocket
from ipvsctl.model.net import Protocol, parse_address
from ipvsctl.model.objects import ServicePort, ServiceType
from tests.builders import service
from tests.controller.cluster import has, has_not, take
from tests.fakes.kernel import FakeKernel

HOSTS = tuple(map(parse_address, ("10.0.0.10", "10.9.0.10", "fd00:10::10")))
OURS = service(
    type=ServiceType.NODE_PORT,
    cluster_ips=tuple(map(parse_address, ("10.96.0.10", "fd00:96::10"))),
    ports=(
        ServicePort(name="http", protocol=Protocol.TCP, port=80, node_port=8080),
        ServicePort(name="dns", protocol=Protocol.UDP, port=53, node_port=8472),
    ),
)


@pytest.mark.parametrize(
    ("protocol", "address", "port", "named"),
    [
        (Protocol.TCP, "0.0.0.0", 8080, ["spec.ports[0].nodePort"]),
        (Protocol.TCP, "::", 8080, ["spec.ports[0].nodePort"]),
        (Protocol.TCP, "10.9.0.10", 8080, ["spec.ports[0].nodePort"]),
        (Protocol.UDP, "10.0.0.10", 8472, ["spec.ports[1].nodePort"]),
        (Protocol.TCP, "127.0.0.1", 8080, []),
        (Protocol.TCP, "0.0.0.0", 8472, []),
        (Protocol.UDP, "::", 53, []),
        # What listens on the host is no matter for a cluster IP.
        (Protocol.TCP, "0.0.0.0", 80, []),
        (Protocol.TCP, "10.96.0.10", 80, []),
    ],
)
def test_a_program_that_listens_on_a_node_port(
    protocol: Protocol, address: str, port: int, named: list[str]
) -> None:
    """It gets no client any more: that is named, once a port, and changes nothing."""
    kernel = FakeKernel(host_addresses=HOSTS)
    made = Reconciler(kernel=kernel, config=ProxyConfig(), store=Store("node-0"))
    take(made, has(OURS))
    made.audit()
    before = kernel.observe().state
    assert made.problems() == ()
    kernel.sockets = frozenset({HostSocket(protocol, parse_address(address), port)})
    assert made.audit().plan == ()
    assert [problem.field for problem in made.problems()] == named
    assert kernel.observe().state == before
    take(made, has_not(OURS))
    made.prepare()
    assert made.problems() == ()
