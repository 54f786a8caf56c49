"""The page about packets says what was measured."""

from itertools import product

from tests.bench.packet_worlds import EXTRA_RULES, KUBE_PROXY, NO_PROXY, WAYS
from tests.bench.packets import SIZES, name_of
from tests.bench.packets_page import packet_lines, packet_table
from tests.bench.sizes import Figures


def figures(proxy: str, services: int, way: str, us: float, rules: int) -> Figures:
    """Of one way, all of them of one time and one number."""
    begin = name_of(proxy, services, way)
    times = {"connect": us, "connect, p99": 2 * us, "answer": us / 2}
    return {
        **{f"{begin}, {name}": value * 1e-6 for name, value in times.items()},
        f"{begin}, bytes/s": 2.5e9,
        f"{begin}, beside none": us / 50,
        f"{begin}, rules, first": rules,
        f"{begin}, rules, later": rules / 2,
        f"{begin}, rules, answer": rules / 4,
    }


def found() -> Figures:
    """A run on a kernel without nftables."""
    made: Figures = {}
    for way in WAYS:
        made |= figures(NO_PROXY, 0, way, 50, 0)
        made |= figures("connections tracked", 0, way, 60, 0)
        for proxy, services in product((KUBE_PROXY, "iptables"), SIZES):
            made |= figures(proxy, services, way, 80 + services / 100, 40)
    return made | figures(f"{EXTRA_RULES} rules of iptables", 0, "pod to pod", 260, 501)


def test_a_row_for_each_way_and_proxy() -> None:
    """What was not measured has none; times stand beside those without a proxy."""
    table = packet_table(found())
    begin = "| node to cluster IP | "
    rows = [line.removeprefix(begin) for line in table if line.startswith(begin)]
    last = ("90 us", "1.80", "180 us", "45 us", "2.50", "40", "20", "10")
    assert rows == [
        "none |  | 50 us | 1.00 | 100 us | 25 us | 2.50 | 0 | 0 | 0 |",
        "connections tracked |  | 60 us | 1.20 | 120 us | 30 us | 2.50 | 0 | 0 | 0 |",
        "kube-proxy | 1 | 80 us | 1.60 | 160 us | 40 us | 2.50 | 40 | 20 | 10 |",
        "kube-proxy | 1,000 | 90 us | 1.80 | 180 us | 45 us | 2.50 | 40 | 20 | 10 |",
        "ipvsctl, iptables | 1 | 80 us | 1.60 | 160 us | 40 us | 2.50 | 40 | 20 | 10 |",
        f"ipvsctl, iptables | 1,000 | {' | '.join(last)} |",
    ]


def test_what_one_rule_costs() -> None:
    """A question and its answer met all the rules once each."""
    assert packet_table(found())[-1].endswith("does not match: 100 ns with iptables.")


def test_rules_must_not_grow_with_services() -> None:
    """That is a goal, which is missed as soon as one number differs."""
    lines = [*packet_lines({1_000: found()})]
    assert len(lines) == 2 * len(WAYS)
    assert {line.holds for line in lines} == {None, True}
    more = found() | figures("iptables", SIZES[1], WAYS[2], 90, 44)
    assert [line.holds for line in packet_lines({1_000: more})].count(False) == 1
