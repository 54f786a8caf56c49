"""Node ports on localhost: which Service's connections each listener relays."""

import msgspec
import pytest

from ipvsctl.model.config import Listener
from ipvsctl.model.ipvs import RealServer, RealServerKey
from ipvsctl.model.net import Protocol, parse_address
from ipvsctl.model.objects import ServicePortName
from ipvsctl.plan.service.program import LocalhostPort, ServiceProgram
from ipvsctl.plan.union.localhost_ports import LocalhostPorts
from tests.builders import ref


def at(number: int) -> Listener:
    """A listener."""
    return Listener(parse_address("127.0.0.1"), number)


def port(name: str, number: int, *endpoints: str) -> LocalhostPort:
    """A Service's port there."""
    keys = [RealServerKey(parse_address(address), 8080) for address in endpoints]
    return LocalhostPort(
        port_name=ServicePortName(ref(name), "http", Protocol.TCP),
        listener=at(number),
        field="spec.ports[0].nodePort",
        real_servers={key: RealServer(key=key) for key in keys},
    )


def program(name: str, *numbers: int, created: str = "") -> ServiceProgram:
    """A Service's program with listeners."""
    ports = tuple(port(name, number, "172.16.0.5") for number in numbers)
    return ServiceProgram(ref=ref(name), created=created, localhost_ports=ports)


@pytest.fixture
def ports() -> LocalhostPorts:
    """One Service with two listeners, taken note of."""
    made = LocalhostPorts()
    made.put(program("web", 30080, 30081))
    made.take_change()
    return made


def test_a_change_is_told_once(ports: LocalhostPorts) -> None:
    """Listeners that nobody put or removed are not in it."""
    ports.put(program("web", 30080, 30081))
    ports.put(program("none"))
    assert ports.take_change() == {}
    ports.put(program("web", 30080, 30082))
    assert ports.take_change() == {
        at(30081): None,
        at(30082): port("web", 30082, "172.16.0.5"),
    }
    assert {*ports.all()} == {at(30080), at(30082)}
    ports.remove(ref("web"))
    ports.remove(ref("web"))
    assert ports.take_change() == {at(30080): None, at(30082): None}
    assert ports.all() == {}


def test_other_endpoints_are_a_change(ports: LocalhostPorts) -> None:
    """Of the listener that has them, and of no other."""
    moved = port("web", 30081, "172.16.0.6")
    given = program("web", 30080, 30081)
    given = msgspec.structs.replace(
        given, localhost_ports=(given.localhost_ports[0], moved)
    )
    ports.put(given)
    assert ports.take_change() == {at(30081): moved}


def test_the_older_service_has_a_listener(ports: LocalhostPorts) -> None:
    """The other has a problem until it is free, and then has it."""
    ports.put(program("young", 30080, created="2026"))
    (problem,) = ports.lost.each()
    assert str(problem) == (
        "Service default/young: spec.ports[0].nodePort: 127.0.0.1:30080: already taken"
        " by Service default/web"
    )
    found = ports.find(at(30080))
    assert found is not None
    assert found.port_name.service == ref("web")
    ports.take_change()
    ports.remove(ref("web"))
    assert ports.take_change() == {
        at(30080): port("young", 30080, "172.16.0.5"),
        at(30081): None,
    }
    assert not [*ports.lost.each()]
