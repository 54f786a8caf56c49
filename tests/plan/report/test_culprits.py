"""A guess at who changes what is repaired again and again."""

import pytest

from ipvsctl.model.config import FirewallKind
from ipvsctl.model.processes import Process, Processes
from ipvsctl.plan.diff.kinds import ObjectKind
from ipvsctl.plan.report.culprits import PROGRAMS, UNSEEN, guess

_KERNEL_KEEPS = 15


def runs(*names: str, are_nodes: bool = True) -> Processes:
    """These programs run, the first with pid 1."""
    return Processes(
        running=tuple(Process(pid=pid, name=n) for pid, n in enumerate(names, 1)),
        are_nodes=are_nodes,
    )


@pytest.mark.parametrize(
    ("kind", "names", "found"),
    [
        (ObjectKind.VIRTUAL_SERVER, ("kube-proxy",), "kube-proxy (pid 1)"),
        (ObjectKind.VIRTUAL_SERVER, ("firewalld", "keepalived"), "keepalived (pid 2)"),
        (ObjectKind.RULES, ("firewalld", "keepalived"), "firewalld (pid 1)"),
        (ObjectKind.ADDRESS, ("systemd-networkd",), "systemd-networkd (pid 1)"),
        (ObjectKind.ENTRY, ("ipset", "tuned"), "ipset (pid 1)"),
        (ObjectKind.SYSCTL, ("ipset", "tuned"), "tuned (pid 2)"),
        (ObjectKind.REAL_SERVER, ("firewalld",), ""),
        (ObjectKind.REAL_SERVER, (), ""),
    ],
)
def test_by_what_a_program_is_known_to_change(
    kind: ObjectKind, names: tuple[str, ...], found: str
) -> None:
    """Who changes other things is not named, and without anybody nothing is said."""
    said = guess(kind, runs(*names), FirewallKind.IPTABLES)
    if found:
        assert said == (
            f"a guess at who that is: {found},"
            " which runs on this node and changes such things"
        )
    else:
        assert not said


def test_the_likeliest_come_first() -> None:
    """Each once, and not all."""
    seen = runs("puppet", "keepalived", "keepalived", "ipvsadm", "kube-proxy")
    assert guess(ObjectKind.VIRTUAL_SERVER, seen, FirewallKind.NFTABLES) == (
        "a guess at who that is: kube-proxy (pid 5) and keepalived (pid 2) and"
        " ipvsadm (pid 4), which run on this node and change such things"
    )


def test_who_holds_the_lock_is_named_for_rules() -> None:
    """Whatever its program; sets and IPVS have no such lock."""
    seen = Processes(lock_holder=Process(pid=7, name="backup.sh"))
    assert guess(ObjectKind.RULES, seen, FirewallKind.IPTABLES) == (
        "a guess at who that is: backup.sh (pid 7),"
        " which held the lock of iptables just then"
    )
    assert guess(ObjectKind.ENTRY, seen, FirewallKind.IPTABLES) == UNSEEN
    assert guess(ObjectKind.RULES, seen, FirewallKind.NFTABLES) == UNSEEN


@pytest.mark.parametrize(
    ("kind", "firewall", "found"),
    [
        (ObjectKind.RULES, FirewallKind.IPTABLES, "iptables (pid 1) and nft (pid 3)"),
        (ObjectKind.ENTRY, FirewallKind.IPTABLES, "ipset (pid 2),"),
        (ObjectKind.RULES, FirewallKind.NFTABLES, "is: nft (pid 3),"),
        (ObjectKind.ENTRY, FirewallKind.NFTABLES, "is: nft (pid 3),"),
    ],
)
def test_who_cannot_reach_the_firewall_is_not_named(
    kind: ObjectKind, firewall: FirewallKind, found: str
) -> None:
    """Our tables of nftables are none of iptables', and nft knows no ipset."""
    assert found in guess(kind, runs("iptables", "ipset", "nft"), firewall)


def test_where_the_nodes_processes_are_not_seen() -> None:
    """That is said, and nobody is blamed; who is seen all the same is named."""
    assert guess(ObjectKind.RULES, Processes(), FirewallKind.IPTABLES) == UNSEEN
    seen = runs("ufw", are_nodes=False)
    assert "ufw (pid 1)" in guess(ObjectKind.RULES, seen, FirewallKind.IPTABLES)


@pytest.mark.parametrize(
    ("word", "is_named"), [("run", True), ("apply", True), ("status", False)]
)
def test_another_ipvsctl(word: str, *, is_named: bool) -> None:
    """One that only looks changes nothing."""
    one = Process(pid=9, name="ipvsctl", arguments=frozenset({"ipvsctl", word}))
    seen = Processes(running=(one,), are_nodes=True)
    said = guess(ObjectKind.RULES, seen, FirewallKind.IPTABLES)
    assert bool(said) is is_named


def test_every_kind_has_programs_that_can_be_told_apart() -> None:
    """But for flows, which no audit takes for drift; by what the kernel keeps."""
    assert {kind for kinds in PROGRAMS.values() for kind in kinds} == set(ObjectKind)
    assert len({name[:_KERNEL_KEEPS] for name in PROGRAMS}) == len(PROGRAMS)
