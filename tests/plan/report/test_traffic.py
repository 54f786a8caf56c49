"""Traffic by Service: nothing is lost, nothing is counted twice, nothing goes back."""

from collections.abc import Mapping
from random import Random

from ipvsctl.model.ipvs import TrafficStats, VirtualServerKey
from ipvsctl.model.net import IPFamily, Protocol, parse_address
from ipvsctl.model.problem import ObjectRef
from ipvsctl.plan.report.traffic import OTHERS, TrafficLedger
from tests.builders import ref

A, B, C = ref("a"), ref("b"), ref("c")


def key(port: int) -> VirtualServerKey:
    """A virtual server."""
    return VirtualServerKey(
        family=IPFamily.IPV4,
        protocol=Protocol.TCP,
        address=parse_address("10.96.0.1"),
        port=port,
    )


def stats(connections: int) -> TrafficStats:
    """Counters; ten bytes to a connection."""
    return TrafficStats(connections=connections, bytes_in=connections * 10)


def added(ledger: TrafficLedger, *services: ObjectRef) -> Mapping[ObjectRef, int]:
    """The connections of a choice among these Services."""
    chosen = ledger.choose(frozenset(services))
    for found in chosen.added.values():
        assert found.bytes_in == found.connections * 10
    return {name: found.connections for name, found in chosen.added.items()}


def test_first_what_others_see_is_nothing() -> None:
    """A Service is summed with others until it is chosen, and begins at 0 then."""
    ledger = TrafficLedger(1)
    ledger.count(key(1), A, stats(5))
    ledger.count(key(2), B, stats(3))
    assert added(ledger, A, B) == {OTHERS: 8, A: 0}
    ledger.count(key(1), A, stats(7))
    ledger.count(key(2), B, stats(4))
    assert added(ledger, A, B) == {OTHERS: 1, A: 2}


def test_what_was_before_us_is_not_counted() -> None:
    """A restart would else add the whole life of each virtual server."""
    ledger = TrafficLedger(1)
    ledger.begin(key(1), A, stats(1000))
    ledger.count(key(1), A, stats(1003))
    assert added(ledger, A) == {OTHERS: 3, A: 0}


def test_counters_that_were_reset() -> None:
    """What they say is what came since; so it is after a deletion."""
    ledger = TrafficLedger(1)
    ledger.count(key(1), A, stats(5))
    ledger.count(key(1), A, stats(2))
    ledger.forget(key(1))
    ledger.count(key(1), A, stats(4))
    ledger.keep(())
    ledger.count(key(1), A, stats(8))
    assert added(ledger, A) == {OTHERS: 5 + 2 + 4 + 8, A: 0}


def test_a_virtual_server_without_a_service() -> None:
    """It is its last Service's; a stranger's is not counted."""
    ledger = TrafficLedger(1)
    ledger.count(key(1), A, stats(1))
    ledger.count(key(1), None, stats(3))
    ledger.count(key(2), None, stats(100))
    ledger.begin(key(3), None, stats(100))
    ledger.count(key(3), None, stats(200))
    assert added(ledger, A) == {OTHERS: 3, A: 0}


def test_a_deleted_service_goes() -> None:
    """Its last traffic is that of others, since its series is gone."""
    ledger = TrafficLedger(2)
    ledger.count(key(1), A, stats(5))
    ledger.choose({A, B})
    ledger.count(key(1), A, stats(9))
    ledger.count(key(2), B, stats(1))
    chosen = ledger.choose({B})
    assert chosen.gone == {A}
    assert chosen.added == {OTHERS: stats(5), B: stats(0)}


def test_even_services_do_not_take_turns() -> None:
    """One that is a little ahead displaces nobody; one that is far ahead does."""
    ledger = TrafficLedger(1)
    ledger.count(key(1), A, stats(100))
    ledger.choose({A, B})
    ledger.count(key(2), B, stats(105))
    assert ledger.choose({A, B}).gone == frozenset()
    ledger.count(key(2), B, stats(305))
    assert ledger.choose({A, B}).gone == {A}


def test_an_idle_service_stays_while_there_is_room() -> None:
    """Its series says 0 a second rather than end."""
    ledger = TrafficLedger(1)
    ledger.count(key(1), A, stats(1))
    for _ in range(100):
        assert ledger.choose({A, B}).gone == frozenset()
    ledger.count(key(2), B, stats(2))
    assert ledger.choose({A, B}).gone == {A}


def test_sums_are_right_whatever_happens() -> None:
    """Over random lives of virtual servers: the sum of all that was ever added."""
    random = Random(7)
    ledger = TrafficLedger(3)
    services = [ref(f"s{number}") for number in range(10)]
    held = dict.fromkeys(range(20), 0)
    happened = told = 0
    series: dict[ObjectRef, int] = {}
    for _ in range(300):
        for port in random.sample(range(20), 5):
            more = random.randrange(1000)
            held[port] += more
            happened += more
            ledger.count(key(port), services[port % 10], stats(held[port]))
            if random.random() < 0.1:
                ledger.forget(key(port))
                held[port] = 0
        chosen = ledger.choose(frozenset(random.sample(services, 9)))
        told += sum(found.connections for found in chosen.added.values())
        for name in chosen.gone:
            assert series.pop(name) >= 0
            assert name not in chosen.added
        for name, found in chosen.added.items():
            assert found.connections >= 0
            if name not in series:
                assert name == OTHERS or found.connections == 0
            series[name] = series.get(name, 0) + found.connections
        assert len(series) <= 4
        assert told == happened
