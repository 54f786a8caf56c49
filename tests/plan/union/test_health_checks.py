"""Health-check node ports: who has one, what it answers, where."""

import pytest

from ipvsctl.model.config import NodePortAddresses
from ipvsctl.model.net import IPFamily, parse_address, parse_network
from ipvsctl.model.objects import NodeContext
from ipvsctl.plan.service.program import HealthCheck, ServiceProgram
from ipvsctl.plan.union.health_checks import (
    HealthChecks,
    ServiceHealth,
    health_check_addresses,
)
from tests.builders import ref

PORT = 32000


def program(
    name: str, port: int | None = PORT, count: int = 1, created: str = ""
) -> ServiceProgram:
    """A Service's program."""
    check = None if port is None else HealthCheck(port=port, local_endpoints=count)
    return ServiceProgram(ref=ref(name), created=created, health_check=check)


def health(name: str, count: int = 1) -> ServiceHealth:
    """What a port answers."""
    return ServiceHealth(ref(name), count)


@pytest.fixture
def checks() -> HealthChecks:
    """One port, taken note of."""
    made = HealthChecks()
    made.put(program("web"))
    made.take_change()
    return made


def test_a_change_is_told_once(checks: HealthChecks) -> None:
    """Ports that nobody put or removed are not in it."""
    checks.put(program("other", PORT + 1))
    assert checks.take_change() == {PORT + 1: health("other")}
    assert checks.take_change() == {}
    assert checks.all() == {PORT: health("web"), PORT + 1: health("other")}


@pytest.mark.parametrize(
    ("fact", "after", "change"),
    [
        ("an endpoint more", program("web", count=2), {PORT: health("web", 2)}),
        ("no endpoint", program("web", count=0), {PORT: health("web", 0)}),
        ("no health check", program("web", None), {PORT: None}),
        (
            "another port",
            program("web", PORT + 1),
            {PORT: None, PORT + 1: health("web")},
        ),
        ("made anew", program("web", created="2026"), {PORT: health("web")}),
    ],
)
def test_a_service_changes(
    checks: HealthChecks,
    fact: str,
    after: ServiceProgram,
    change: dict[int, ServiceHealth | None],
) -> None:
    """What its program says last is what its port answers."""
    checks.put(after)
    assert checks.take_change() == change, fact
    assert checks.all() == {p: found for p, found in change.items() if found}


def test_a_removed_service_gives_up_its_port(checks: HealthChecks) -> None:
    """Once; a Service that is not known has nothing to give up."""
    checks.remove(ref("web"))
    checks.remove(ref("web"))
    assert checks.take_change() == {PORT: None}
    assert checks.all() == {}


def test_the_older_service_keeps_a_port(checks: HealthChecks) -> None:
    """The other has a problem that names it, and the port when it is gone."""
    checks.put(program("older", created="2025", count=3))
    checks.put(program("younger", created="2026", count=0))
    assert checks.take_change() == {PORT: health("web")}
    assert {str(problem.ref) for problem in checks.lost.each()} == {
        "default/older",
        "default/younger",
    }
    assert {problem.reason for problem in checks.lost.each()} == {
        "already taken by Service default/web"
    }
    checks.remove(ref("web"))
    assert checks.take_change() == {PORT: health("older", 3)}
    checks.remove(ref("older"))
    assert checks.take_change() == {PORT: health("younger", 0)}
    assert list(checks.lost.each()) == []


def test_a_younger_service_does_not_change_the_answer(checks: HealthChecks) -> None:
    """Its endpoints are not counted."""
    checks.put(program("younger", created="2026", count=5))
    (problem,) = checks.lost.each()
    assert str(problem) == (
        "Service default/younger: spec.healthCheckNodePort: 32000:"
        " already taken by Service default/web"
    )
    assert checks.all() == {PORT: health("web")}


NODE = NodeContext(
    name="node-0",
    node_addresses=(parse_address("10.0.0.10"), parse_address("fd00:10::10")),
    host_addresses=(
        parse_address("10.0.0.10"),
        parse_address("10.9.0.10"),
        parse_address("fd00:10::10"),
    ),
)


@pytest.mark.parametrize(
    ("fact", "primary", "networks", "addresses"),
    [
        ("everywhere", False, [], ["0.0.0.0", "::"]),
        ("everywhere, said so", False, ["0.0.0.0/0", "::/0"], ["0.0.0.0", "::"]),
        ("in a network", False, ["10.9.0.0/16", "::/0"], ["10.9.0.10", "::"]),
        ("one family's networks alone", False, ["10.9.0.0/16"], ["10.9.0.10", "::"]),
        ("the Node's own", True, [], ["10.0.0.10", "fd00:10::10"]),
        ("in a network of others", False, ["192.0.2.0/24", "::/0"], ["::"]),
    ],
)
def test_where_health_checks_are_answered(
    fact: str,
    primary: bool,  # noqa: FBT001 - a column of the table
    networks: list[str],
    addresses: list[str],
) -> None:
    """Where node ports are; all addresses at once where that is every one."""
    choice = NodePortAddresses(
        primary=primary, networks=tuple(map(parse_network, networks))
    )
    found = health_check_addresses(NODE, choice)
    assert [str(address) for address in found] == addresses, fact


def test_a_kernel_without_ipv6() -> None:
    """It is asked for no IPv6 socket."""
    node = NodeContext(name="node-0", families=(IPFamily.IPV4,))
    found = health_check_addresses(node, NodePortAddresses())
    assert [str(address) for address in found] == ["0.0.0.0"]
