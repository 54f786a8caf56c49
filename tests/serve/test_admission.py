"""Which connections are let in, on a clock of the test's own."""

from collections import Counter

import pytest
from structlog.testing import capture_logs

from ipvsctl.serve.admission import (
    LOCAL_RATE,
    PORT_RATE,
    SOURCE_RATE,
    Admission,
    Bucket,
    Rate,
    is_local,
)
from ipvsctl.serve.complaints import EVERY_S, Complaints
from tests.fakes.clock import FakeClock

NODE = "10.0.0.10"


def let_in(admission: Admission, client: str, times: int) -> int:
    """How many of so many connections are let in."""
    return sum(admission.admits(client, NODE) for _ in range(times))


def test_one_client_takes_nothing_from_others() -> None:
    """What it asks beyond its own rate is not counted against theirs."""
    admission = Admission(FakeClock())
    assert let_in(admission, "10.9.9.9", 100_000) == SOURCE_RATE.burst
    assert let_in(admission, "10.9.9.8", 10) == 10


def test_many_clients_take_nothing_from_the_node_itself() -> None:
    """The kubelet's probe comes from an address of the node, and has its own rate."""
    clock = FakeClock()
    admission = Admission(clock)
    crowd = Counter(
        admission.admits(f"10.8.{i // 250}.{i % 250}", NODE) for i in range(3000)
    )
    assert crowd[True] == PORT_RATE.burst
    assert let_in(admission, NODE, 100) == 100
    clock.advance(1)
    assert let_in(admission, "10.7.0.1", 1) == 1


def test_a_rate_refills() -> None:
    """By time, and never beyond its burst."""
    bucket = Bucket(Rate(per_s=2, burst=3), 100.0)
    assert [bucket.take(100.0) for _ in range(4)] == [True, True, True, False]
    assert [bucket.take(100.5) for _ in range(2)] == [True, False]
    assert [bucket.take(900.0) for _ in range(4)] == [True, True, True, False]


def test_ports_share_a_rate() -> None:
    """A storm over many ports is one storm."""
    clock = FakeClock()
    shared = Bucket(Rate(per_s=1, burst=5), clock())
    ports = [Admission(clock, shared=shared) for _ in range(10)]
    assert sum(let_in(port, "10.9.9.9", 2) for port in ports) == 5
    assert let_in(ports[0], NODE, 1) == 1


def test_a_network_of_ipv6_is_one_client() -> None:
    """A host has a whole /64 of addresses to come from; IPv4 in IPv6 is not one."""
    admission = Admission(FakeClock())
    taken = sum(admission.admits(f"fd00:1::{i:x}", "fd00::10") for i in range(100))
    assert taken == SOURCE_RATE.burst
    assert admission.admits("fd00:2::1", "fd00::10")
    mapped = sum(admission.admits(f"::ffff:10.9.0.{i}", NODE) for i in range(100))
    assert mapped == 100


def test_clients_are_forgotten() -> None:
    """Those not heard of for longest, so that a crowd takes no memory."""
    clock = FakeClock()
    admission = Admission(clock)
    assert let_in(admission, "10.9.9.9", 100) == SOURCE_RATE.burst
    for i in range(2000):
        clock.advance(0.01)
        admission.admits(f"10.8.{i // 250}.{i % 250}", NODE)
    assert let_in(admission, "10.9.9.9", 1) == 1


@pytest.mark.parametrize(
    ("client", "server", "expected"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("::ffff:127.0.0.1", "::ffff:127.0.0.1", True),
        ("::1", "::1", True),
        (NODE, NODE, True),
        ("fd00::10", "fd00::10", True),
        ("10.0.0.11", NODE, False),
        ("::1234", "fd00::10", False),
        ("1270::1", "fd00::10", False),
        ("::ffff:10.0.0.11", "::ffff:10.0.0.10", False),
    ],
)
def test_what_is_local(client: str, server: str, *, expected: bool) -> None:
    """Loopback, and an address that talks to itself."""
    assert is_local(client, server) is expected


def test_the_node_has_a_limit_too() -> None:
    """A broken agent in the host's network must not stop the daemon either."""
    admission = Admission(FakeClock())
    assert let_in(admission, NODE, 10_000) == LOCAL_RATE.burst


def test_complaints_are_one_line_a_minute() -> None:
    """With all that was counted since the last one."""
    clock = FakeClock()
    complaints = Complaints("f", clock)
    with capture_logs() as logs:
        for _ in range(1000):
            complaints.note("refused")
        clock.advance(EVERY_S)
        complaints.note("bad_requests")
    assert [(log.get("refused"), log.get("bad_requests")) for log in logs] == [
        (1, None),
        (999, 1),
    ]
