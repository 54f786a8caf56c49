"""Annotations about limits and affinity: what each becomes, and what makes no sense."""

from typing import Any

import msgspec
import pytest

from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.ipvs import PersistenceNetmask, ServiceFlags
from ipvsctl.model.net import IPv4Address, Protocol, parse_network
from ipvsctl.model.objects import ServicePort, TrafficPolicy
from ipvsctl.model.sets import SetRole
from ipvsctl.plan.service.compile import compile_service
from ipvsctl.plan.service.program import ServiceProgram
from tests.plan.service.test_compile import (
    HERE,
    KUBE_PROXY,
    NODE,
    THERE,
    compiled,
    service,
    slices,
)

PLAIN = compiled(service())
UDP = (ServicePort(name="http", protocol=Protocol.UDP, port=53, node_port=30053),)
EXTERNAL = IPv4Address("203.0.113.50")
INSIDE = ProxyConfig(cluster_cidrs=(parse_network("172.16.0.0/12"),))


def asking(
    *,
    config: ProxyConfig = ProxyConfig(),  # noqa: B008 - frozen
    annotations: dict[str, str],
    **fields: Any,
) -> ServiceProgram:
    """The program of a Service with annotations of ours."""
    words = tuple((f"ipvsctl.io/{name}", text) for name, text in annotations.items())
    given = service(annotations=words, **fields)
    (protocol,) = {port.protocol for port in given.ports}
    found = slices(HERE, THERE, protocol=protocol)
    return compile_service(given, found, NODE, config)


def thresholds(program: ServiceProgram) -> set[tuple[int, int]]:
    """Upper and lower one of every real server."""
    return {
        (real.upper_threshold, real.lower_threshold)
        for server in program.servers
        for real in server.real_servers.values()
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [("100", (100, 75)), ("1", (1, 1)), (" 7 ", (7, 6)), ("0", (0, 0))],
)
def test_connections_have_a_limit(text: str, expected: tuple[int, int]) -> None:
    """On every way in, to every endpoint; 0 is none."""
    assert thresholds(asking(annotations={"max-connections": text})) == {expected}


def test_what_inside_clients_have_is_limited_too() -> None:
    """Their virtual server counts for itself."""
    program = asking(
        config=INSIDE,
        annotations={"max-connections": "8"},
        external_ips=(EXTERNAL,),
        external_traffic_policy=TrafficPolicy.LOCAL,
    )
    (inside,) = (server.inside for server in program.servers if server.inside)
    assert {real.upper_threshold for real in inside.real_servers.values()} == {8}


def test_the_configuration_is_for_those_that_say_nothing() -> None:
    """A Service may also ask for no limit at all."""
    limited = ProxyConfig(max_connections=50)
    assert thresholds(compiled(service(), config=limited)) == {(50, 38)}
    own = asking(config=limited, annotations={"max-connections": "4"})
    assert thresholds(own) == {(4, 3)}
    none = asking(config=limited, annotations={"max-connections": "0"})
    assert thresholds(none) == {(0, 0)}


def test_a_scheduler_that_knows_no_limit_is_named() -> None:
    """Of all that there are it is lblc alone."""
    program = asking(annotations={"max-connections": "8", "scheduler": "lblc"})
    (problem,) = program.problems
    assert problem.field == "metadata.annotations.ipvsctl.io/max-connections"
    assert "lblc" in problem.reason


@pytest.mark.parametrize(
    ("scheduler", "expected"),
    [("rr", "wrr"), ("lc", "wlc"), ("wrr", "wrr"), ("wlc", "wlc"), ("sed", "sed")],
)
def test_slow_start_takes_a_scheduler_with_weights(
    scheduler: str, expected: str
) -> None:
    """And weights that have room to grow."""
    program = asking(annotations={"slow-start": "60s", "scheduler": scheduler})
    assert not program.problems
    assert {s.server.scheduler for s in program.servers} == {expected}
    assert {s.slow_start_s for s in program.servers} == {60}
    weights = {r.weight for s in program.servers for r in s.real_servers.values()}
    assert weights == {10}


@pytest.mark.parametrize("scheduler", ["sh", "mh", "dh", "fo", "ovf", "nq", "lblc"])
def test_others_cannot_start_slowly(scheduler: str) -> None:
    """A weight says something else to them, or nothing."""
    program = asking(annotations={"slow-start": "1m", "scheduler": scheduler})
    (problem,) = program.problems
    assert problem.field == "metadata.annotations.ipvsctl.io/slow-start"
    assert scheduler in problem.reason
    assert {s.slow_start_s for s in program.servers} == {0}
    assert {s.server.scheduler for s in program.servers} == {scheduler}


def test_slow_start_may_be_the_rule() -> None:
    """With an exception."""
    slow = ProxyConfig(slow_start_s=30)
    assert {s.slow_start_s for s in compiled(service(), config=slow).servers} == {30}
    program = asking(config=slow, annotations={"slow-start": "0"})
    assert program.servers == PLAIN.servers


@pytest.mark.parametrize(
    ("weight", "expected"), [(0, 0), (3, 30), (6553, 65530), (6554, 6554)]
)
def test_weights_of_slices_are_multiplied_if_there_is_room(
    weight: int, expected: int
) -> None:
    """65,535 is the most; so large a weight can grow as it is."""
    given = service(annotations=(("ipvsctl.io/slow-start", "5s"),))
    pieces = [msgspec.structs.replace(p, weight=weight) for p in slices(HERE, THERE)]
    program = compile_service(given, pieces, NODE, ProxyConfig())
    weights = {r.weight for s in program.servers for r in s.real_servers.values()}
    assert weights == {expected}


def test_a_drain_may_be_longer_or_shorter() -> None:
    """Than what is configured."""
    assert {s.drain_timeout_s for s in PLAIN.servers} == {900}
    program = asking(annotations={"drain-timeout": "1h30m"})
    assert {s.drain_timeout_s for s in program.servers} == {5400}


def test_datagrams_are_scheduled_one_by_one() -> None:
    """On every way in; the scheduler's own flags stay."""
    program = asking(annotations={"one-packet": "true", "scheduler": "sh"}, ports=UDP)
    flags = ServiceFlags.ONEPACKET | ServiceFlags.SCHED1
    assert {s.server.flags for s in program.servers} == {flags}
    assert not program.problems
    # Nothing is masqueraded.
    roles = {member.key.role for s in program.servers for member in s.entries}
    assert roles == {
        SetRole.EXTERNAL_IP_LOCAL,
        SetRole.NODE_PORT,
        SetRole.NODE_PORT_LOCAL,
    }
    no = asking(annotations={"one-packet": "false"}, ports=UDP)
    assert {s.server.flags for s in no.servers} == {ServiceFlags.NONE}
    assert not no.problems


@pytest.mark.parametrize(
    ("text", "bits", "bits6"),
    [
        ("24", 24, 128),
        ("24,64", 24, 64),
        (",56", 32, 56),
        ("255.255.240.0,48", 20, 48),
        (" 8 , 32 ", 8, 32),
    ],
)
def test_clients_of_a_network_are_one(text: str, bits: int, bits6: int) -> None:
    """To session affinity; the kernel has a mask for IPv4, a length for IPv6."""
    program = asking(annotations={"persistence-netmask": text}, affinity_timeout_s=600)
    assert not program.problems
    assert {s.server.netmask_bits for s in program.servers} == {bits}
    configured = ProxyConfig(persistence_netmask=PersistenceNetmask(bits, bits6))
    same = compiled(service(affinity_timeout_s=600), config=configured)
    assert {s.server for s in same.servers} == {s.server for s in program.servers}


def test_without_affinity_a_network_says_nothing() -> None:
    """Nor does the kernel tell the difference."""
    configured = ProxyConfig(persistence_netmask=PersistenceNetmask(24, 64))
    assert compiled(service(), config=configured).servers == PLAIN.servers


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("max-connections", "-1", "not a count"),
        ("max-connections", "2147483648", "not a count"),
        ("max-connections", "9" * 5000, "not a count"),
        ("max-connections", "many", "not a count"),
        ("max-connections", "1.5", "not a count"),
        ("max-connections", "", "not a count"),
        ("drain-timeout", "5", "not a duration"),
        ("drain-timeout", "-5s", "not a duration"),
        ("drain-timeout", "", "not a duration"),
        ("slow-start", "1 minute", "not a duration"),
        ("slow-start", "-1s", "not a duration"),
        ("one-packet", "yes", "not true or false"),
        ("one-packet", "true", "no UDP port"),
        ("persistence-netmask", "33", "not prefix lengths"),
        ("persistence-netmask", "0", "not prefix lengths"),
        ("persistence-netmask", "24,129", "not prefix lengths"),
        ("persistence-netmask", "255.0.255.0", "not prefix lengths"),
        ("persistence-netmask", "0.0.0.0", "not prefix lengths"),
        ("persistence-netmask", "24,64,8", "not prefix lengths"),
        ("persistence-netmask", "24,ffff::", "not prefix lengths"),
        ("persistence-netmask", "24", "sessionAffinity is not ClientIP"),
    ],
)
def test_nonsense_is_a_problem_and_nothing_else(
    name: str, text: str, reason: str
) -> None:
    """Named by the annotation; the Service is served as without."""
    program = asking(annotations={name: text})
    assert program.servers == PLAIN.servers
    (problem,) = program.problems
    assert problem.field == f"metadata.annotations.ipvsctl.io/{name}"
    assert reason in problem.reason
    assert len(problem.value) < 200


def test_kube_proxy_knows_none_of_this() -> None:
    """Annotations and settings mean nothing in its place."""
    settings = msgspec.structs.replace(
        KUBE_PROXY,
        max_connections=5,
        slow_start_s=9,
        persistence_netmask=PersistenceNetmask(8, 8),
    )
    annotations = {
        "max-connections": "1",
        "drain-timeout": "1s",
        "slow-start": "1m",
        "one-packet": "maybe",
        "persistence-netmask": "8",
    }
    program = asking(config=settings, annotations=annotations, affinity_timeout_s=10)
    plain = compiled(service(affinity_timeout_s=10), config=KUBE_PROXY)
    assert program == plain
