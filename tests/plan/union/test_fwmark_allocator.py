"""Which address gets which fwmark, and keeps it."""

from ipvsctl.model.ipvs import VirtualServerKey
from ipvsctl.model.marks import MarkRange
from ipvsctl.model.net import IPFamily, IPv4Address, Protocol
from ipvsctl.plan.union.fwmark_allocator import BesideKind, FwmarkAllocator, Place

RANGE = MarkRange(0x20000, 0xFFFFFFFC)
FIRST, SECOND, THIRD, LAST = 0x20000, 0x20001, 0x20002, 0x20003
NOBODY: frozenset[int] = frozenset()


def key(port: int, kind: BesideKind = BesideKind.INSIDE) -> Place:
    """A place beside an address virtual server."""
    address = VirtualServerKey(
        family=IPFamily.IPV4,
        protocol=Protocol.TCP,
        address=IPv4Address("203.0.113.1"),
        port=port,
    )
    return Place(address, kind)


def taken(*ports: int) -> tuple[FwmarkAllocator, list[int | None]]:
    """FwmarkAllocator that these ports have asked for, and what they got."""
    marks = FwmarkAllocator(RANGE)
    return marks, [marks.take(key(port)) for port in ports]


def test_the_lowest_free_mark_is_given_out_and_kept() -> None:
    """Whoever asks again is told the same."""
    marks, given = taken(80, 81)
    assert given == [FIRST, SECOND]
    assert marks.take(key(80)) == FIRST


def test_two_places_beside_an_address_have_two_marks() -> None:
    """Both are kept, and given back apart."""
    marks, _ = taken(80)
    assert marks.take(key(80, BesideKind.ARRIVAL)) == SECOND
    assert marks.take(key(80)) == FIRST
    marks.release(key(80))
    assert marks.take(key(80, BesideKind.ARRIVAL)) == SECOND


def test_a_mark_rests_before_it_stands_for_another() -> None:
    """What is given back in one change is free in the next."""
    marks, _ = taken(80)
    marks.release(key(80))
    assert marks.take(key(81)) == SECOND
    marks.take_fresh()
    assert marks.take(key(82)) == FIRST


def test_fresh_marks_are_told_until_they_are_confirmed() -> None:
    """A change that could not be imposed is followed by another with the same mark."""
    marks, _ = taken(80, 81)
    marks.release(key(80))
    assert marks.take_fresh() == {SECOND}
    assert marks.take_fresh() == {SECOND}
    marks.confirm({SECOND})
    assert marks.take_fresh() == frozenset()


def test_a_mark_that_a_stranger_took_first_is_changed() -> None:
    """Its entry was in the set before anybody had the mark, and says nothing."""
    marks, _ = taken()
    marks.agree({}, NOBODY)
    marks.take(key(80))
    marks.doubt({FIRST})
    assert marks.agree({key(80): FIRST}, frozenset({FIRST})) == {key(80)}
    assert marks.take(key(80)) == SECOND
    assert marks.foreign == {FIRST}


def test_when_all_are_out_the_next_waits() -> None:
    """It gets the first that is free when the kernel is looked at again."""
    marks, given = taken(80, 81, 82, 83, 84)
    assert given == [FIRST, SECOND, THIRD, LAST, None]
    assert marks.waiting == {key(84)}
    marks.agree({}, NOBODY)
    assert marks.waiting == {key(84)}
    marks.release(key(81))
    marks.take_fresh()
    assert marks.agree({}, NOBODY) == {key(84)}
    assert marks.take(key(84)) == SECOND
    assert not marks.waiting


def test_the_first_that_waits_is_ready_when_a_mark_is_free() -> None:
    """However often that is asked; a mark at rest is not free yet."""
    marks, _ = taken(80, 81, 82, 83, 84, 85)
    ready = [marks.ready]
    marks.release(key(83))
    ready.append(marks.ready)
    marks.take_fresh()
    ready += [marks.ready, marks.ready]
    assert ready == [None, None, key(84), key(84)]
    marks.release(key(81))
    marks.take_fresh()
    assert marks.take(key(84)) == SECOND, "the lowest, though another was free before"
    assert [marks.ready] == [key(85)]
    marks.release(key(85))
    assert [marks.ready] == [None]
    assert marks.take(key(86)) == LAST


def test_one_that_waits_may_go() -> None:
    """Nobody waits for what is not wanted any more."""
    marks, _ = taken(80, 81, 82, 83, 84)
    marks.release(key(84))
    assert not marks.waiting


def test_marks_of_the_process_before_are_taken_over() -> None:
    """In whatever order Services are heard of, each address has the mark it had."""
    marks, given = taken(80, 81, 82)
    assert given == [FIRST, SECOND, THIRD]
    moved = marks.agree({key(80): LAST, key(81): FIRST}, frozenset({FIRST, LAST}))
    assert [marks.take(key(port)) for port in (80, 81, 82)] == [LAST, FIRST, SECOND]
    assert moved == {key(80), key(81), key(82)}
    assert marks.take_fresh() == frozenset()


def test_the_mark_of_an_address_that_is_gone_rests_too() -> None:
    """Its entry is still there until the first plan has run."""
    marks, _ = taken(80)
    marks.agree({key(99): FIRST}, frozenset({FIRST}))
    assert marks.take(key(80)) == SECOND
    assert marks.take(key(81)) == THIRD
    marks.take_fresh()
    assert marks.take(key(82)) == FIRST


def test_marks_that_make_no_sense_are_not_taken_over() -> None:
    """One outside of the range, and one that stands for two, for the second."""
    marks, _ = taken(80, 81, 82)
    marks.agree({key(80): 7, key(81): LAST, key(82): LAST}, NOBODY)
    assert [marks.take(key(port)) for port in (80, 81, 82)] == [FIRST, LAST, SECOND]


def test_a_strangers_mark_is_not_given_out() -> None:
    """A fwmark virtual server without an entry of ours is somebody else's."""
    marks, _ = taken(80)
    assert marks.agree({}, frozenset({FIRST, THIRD})) == {key(80)}
    assert marks.take(key(80)) == SECOND
    assert marks.take(key(81)) == LAST


def test_a_stranger_that_leaves_leaves_its_mark() -> None:
    """It is free from the next look on."""
    marks, _ = taken()
    marks.agree({}, frozenset({FIRST}))
    assert marks.take(key(80)) == SECOND
    marks.agree({key(80): SECOND}, frozenset({SECOND}))
    assert marks.take(key(81)) == FIRST


def test_a_new_mark_gives_way_to_a_stranger() -> None:
    """Between two looks somebody may have come first; nothing of ours is there yet."""
    marks, _ = taken(80)
    marks.agree({}, NOBODY)
    marks.take(key(81))
    assert marks.agree({key(80): FIRST}, frozenset({FIRST, SECOND})) == {key(81)}
    assert marks.take(key(81)) == THIRD


def test_a_confirmed_mark_stays() -> None:
    """Nobody had it when it was imposed, so who has it now is us."""
    marks, _ = taken()
    marks.agree({}, NOBODY)
    marks.take(key(80))
    marks.confirm(marks.take_fresh())
    assert marks.agree({}, frozenset({FIRST})) == frozenset()
    assert marks.take(key(80)) == FIRST


def test_flushed_sets_cost_no_mark() -> None:
    """A mark that has been ours stays so, though no entry says it any more."""
    marks, _ = taken(80)
    marks.agree({}, NOBODY)
    assert marks.agree({}, frozenset({FIRST})) == frozenset()
    assert marks.take(key(80)) == FIRST


def test_a_changed_entry_does_not_change_the_mark() -> None:
    """Once imposed, the mark is ours to say; the entry is put right."""
    marks, _ = taken(80)
    marks.agree({}, NOBODY)
    assert marks.agree({key(80): LAST}, frozenset({FIRST})) == frozenset()
    assert marks.take(key(80)) == FIRST
