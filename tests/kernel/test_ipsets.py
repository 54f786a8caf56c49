"""A large set, read while its entries come and go."""

from contextlib import closing
from itertools import islice

import pytest

from ipvsctl.kernel.ipsets import Ipsets
from ipvsctl.model.ipset import SetEntry
from ipvsctl.model.net import IPFamily, Protocol, parse_address
from ipvsctl.plan.diff.ops import AddEntry, CreateSet, DeleteEntry
from ipvsctl.plan.rules.catalogue import SetRole, set_name, set_spec

pytestmark = pytest.mark.kernel

ENTRIES = 6000
NAME = set_name(SetRole.CLUSTER_IP, IPFamily.IPV4)


def entry(number: int) -> SetEntry:
    """One of many."""
    address = parse_address(f"10.96.{number // 250}.{number % 250}")
    return SetEntry(address=address, protocol=Protocol.TCP, port=80)


@pytest.mark.usefixtures("netns")
def test_entries_come_and_go_between_two_steps() -> None:
    """No other entry is lost to that, although the set grows to many times its size.

    One that came or went meanwhile is in the listing or is not.
    """
    spec = set_spec(SetRole.CLUSTER_IP, IPFamily.IPV4, maxelem=65536)
    with closing(Ipsets({NAME})) as sets:
        there = [entry(number) for number in range(ENTRIES)]
        assert not sets.run([CreateSet(spec), *(AddEntry(NAME, e) for e in there)])
        reading = sets.read_in_steps()
        gone = iter(there[::3])
        new = iter(range(ENTRIES, 10 * ENTRIES))
        steps = 0
        while True:
            try:
                next(reading)
            except StopIteration as done:
                listing = done.value
                break
            steps += 1
            came = [AddEntry(NAME, entry(n)) for n in islice(new, 2000)]
            went = [DeleteEntry(NAME, e) for e in islice(gone, 200)]
            assert not sets.run([*came, *went])
        assert steps > 5
        assert set(there) - set(there[::3]) <= listing.entries[NAME]
        assert listing.sets == {NAME: spec}
