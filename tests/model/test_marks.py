"""Ranges of packet marks."""

import pytest

from ipvsctl.model.config import Compatibility, ProxyConfig
from ipvsctl.model.marks import MarkRange


@pytest.mark.parametrize(
    ("given", "marks", "last", "size"),
    [
        (MarkRange(), [0x20000, 0x20001, 0x20002], 0x23FFF, 16384),
        (MarkRange(0x100, 0xFFFFFFF5), [0x100, 0x102, 0x108, 0x10A], 0x10A, 4),
        (MarkRange(7, 0xFFFFFFFF), [7], 7, 1),
    ],
)
def test_marks_are_numbered_by_the_bits_outside_the_mask(
    given: MarkRange, marks: list[int], last: int, size: int
) -> None:
    """Ascending, each of them in the range, and no more than that."""
    assert [given.mark(index) for index in range(len(marks))] == marks
    assert given.mark(len(given) - 1) == last
    assert len(given) == size
    assert all(mark in given for mark in marks)
    assert last + 0x80000000 not in given
    assert 0 not in given


def test_no_mark_asks_another_agent_for_anything() -> None:
    """Neither the masquerade mark nor the kubelet's bit is in any of them."""
    config = ProxyConfig(mark_range=MarkRange(0x20000, 0xFFFF0000), masquerade_bit=3)
    reserved = 0x8000 | 1 << 3
    marks = config.marks
    assert len(marks) == 1 << 14
    assert all(not marks.mark(n) & reserved for n in range(len(marks)))
    assert str(marks) == "0x20000/0xffff8008"


def test_kube_proxy_has_no_short_circuit() -> None:
    """Compatibility wins over the setting."""
    assert ProxyConfig().has_short_circuit
    assert not ProxyConfig(short_circuit=False).has_short_circuit
    assert not ProxyConfig(compatibility=Compatibility.KUBE_PROXY).has_short_circuit
