"""What another firewall has left: read as evidence, removed, and then forgotten."""

import errno
from collections.abc import Sequence
from typing import Any, cast

import pytest

from ipvsctl.kernel.firewall import Firewall, RulesListing, SetListing
from ipvsctl.kernel.former import Former
from ipvsctl.model.errors import KernelError
from ipvsctl.model.former import FormerFirewall
from ipvsctl.model.net import IPFamily, IPv4Address, Protocol
from ipvsctl.model.parts import Part
from ipvsctl.model.rules import ChainRef, Chains, Jump, Rule, Table, Verdict
from ipvsctl.model.sets import SetEntry, SetRole, set_key
from ipvsctl.model.steps import Step, Steps, finish
from ipvsctl.plan.diff.kinds import ObjectKind
from ipvsctl.plan.diff.ops import (
    AddEntry,
    ChangeRules,
    CreateSet,
    DestroySet,
    FailedOp,
    Op,
    RemoveFormer,
)
from ipvsctl.plan.diff.words import PLAIN_WORDS
from tests.fakes.firewalls import FakeIptables
from tests.fakes.refusal import Refusal

KEY = set_key(SetRole.CLUSTER_IP, IPFamily.IPV4)
ENTRY = SetEntry(address=IPv4Address("10.96.0.1"), protocol=Protocol.TCP, port=443)
SERVICES = ChainRef(Table.NAT, "KUBE-SERVICES")
PREROUTING = ChainRef(Table.NAT, "PREROUTING")
CHAINS: Chains = {
    SERVICES: (Rule(target=Verdict.RETURN),),
    PREROUTING: (Rule(target=Jump(SERVICES.name)),),
}
REMOVE = RemoveFormer("iptables")


class Other:
    """A firewall in memory, behind the seam.

    Attributes:
        held: what it has.
        unread: its rules cannot be read.
        log: the ops it was asked to run.
        is_closed: it was closed.
    """

    words = PLAIN_WORDS

    def __init__(self) -> None:
        self.held = FakeIptables()
        self.unread = False
        self.log: list[Op] = []
        self.is_closed = False

    def fill(self) -> None:
        """Have a set with an entry, and rules."""
        self.held.run(CreateSet(KEY, 16))
        self.held.run(AddEntry(KEY, ENTRY))
        self.held.put_chains(IPFamily.IPV4, CHAINS)

    def read_sets_in_steps(self) -> Steps[SetListing]:
        """See `Firewall`."""
        yield Step.EXCLUSIVE
        return self.held.sets()

    def read_rules_in_steps(self) -> Steps[RulesListing]:
        """See `Firewall`."""
        yield Step.SHARED
        if self.unread:
            return RulesListing({}, {Part.RULES_IPV4: "no such luck"})
        return RulesListing(self.held.chains(), {})

    def run(self, ops: Sequence[Op]) -> list[FailedOp]:
        """See `applier.Transport`."""
        failed = []
        for op in ops:
            self.log.append(op)
            try:
                self.held.run(cast("Any", op))
            except Refusal as refusal:
                failed.append(
                    FailedOp(op=op, errno=refusal.code, reason=refusal.reason)
                )
        return failed

    def close(self) -> None:
        """See `Firewall`."""
        self.is_closed = True


@pytest.fixture
def other() -> Other:
    """A firewall with nothing in it."""
    return Other()


def former_of(other: Other) -> Former:
    """The firewall as the one before."""
    return Former("iptables", lambda: cast("Firewall", other))


def test_what_is_left_is_evidence(other: Other) -> None:
    """Its entries; its rules are not looked at."""
    other.fill()
    assert finish(former_of(other).read_in_steps()) == FormerFirewall(
        name="iptables", entries={KEY: frozenset({ENTRY})}
    )


def test_chains_alone_may_be_anothers(other: Other) -> None:
    """Kube-proxy's in iptables mode have our names, and no sets."""
    other.held.put_chains(IPFamily.IPV4, CHAINS)
    former = former_of(other)
    assert finish(former.read_in_steps()) is None
    assert former.run([REMOVE]) == []
    assert not other.log


def test_everything_goes_rules_first(other: Other) -> None:
    """A set that a rule refers to could not."""
    other.fill()
    former = former_of(other)
    assert former.run([REMOVE]) == []
    assert [type(op) for op in other.log] == [ChangeRules, DestroySet]
    assert finish(former.read_in_steps()) is None


def test_what_had_nothing_is_not_looked_at_again(other: Other) -> None:
    """An audit costs no process for it."""
    former = former_of(other)
    assert finish(former.read_in_steps()) is None
    assert other.is_closed
    other.fill()
    assert finish(former.read_in_steps()) is None
    assert former.run([REMOVE]) == []
    assert not other.log


def test_rules_that_cannot_be_read_hide_no_entries(other: Other) -> None:
    """A program that works no more does not keep a node from being served."""
    other.fill()
    other.unread = True
    found = finish(former_of(other).read_in_steps())
    assert found is not None
    assert found.entries == {KEY: frozenset({ENTRY})}


def test_what_stays_is_told(other: Other) -> None:
    """Here a rule that could not be read still refers to the set."""
    other.fill()
    in_use = Rule(matches=(), target=Verdict.RETURN)
    other.held.put_chains(IPFamily.IPV4, {SERVICES: (in_use,)})
    other.unread = True

    def refuse(op: Op) -> None:
        raise Refusal(errno.EBUSY, f"in use: {op.kind is ObjectKind.SET}")

    other.held.run = refuse  # type: ignore[method-assign] # as a kernel may
    (failed,) = former_of(other).run([REMOVE])
    assert (failed.op, failed.errno) == (REMOVE, errno.EBUSY)
    assert failed.reason == "destroy set cluster-ip IPv4: in use: True"


@pytest.mark.parametrize(
    "code", [errno.ENOENT, errno.EINVAL, errno.EOPNOTSUPP, errno.EPROTONOSUPPORT]
)
def test_one_that_is_not_installed_has_nothing(code: int) -> None:
    """It is not asked for twice."""
    asked = []

    def fail() -> Firewall:
        asked.append(1)
        raise KernelError.of(code, "iptables")

    former = Former("iptables", fail)
    assert finish(former.read_in_steps()) is None
    assert finish(former.read_in_steps()) is None
    assert asked == [1]


def test_sets_stay_as_long_as_rules_do(other: Other) -> None:
    """Without them nobody would know that something is left."""
    other.fill()
    run = other.held.run

    def refuse(op: Op) -> None:
        raise Refusal(errno.EBUSY, f"in use: {op.kind is ObjectKind.RULES}")

    other.held.run = refuse  # type: ignore[method-assign] # as a kernel may
    former = former_of(other)
    (failed,) = former.run([REMOVE])
    assert "in use: True" in failed.reason
    other.held.run = run  # type: ignore[method-assign] # as before
    assert finish(former.read_in_steps()) is not None
    assert former.run([REMOVE]) == []
    assert finish(former.read_in_steps()) is None


@pytest.mark.parametrize("code", [errno.EPERM, errno.EMFILE, errno.ENOBUFS])
def test_one_that_cannot_be_opened_now_is_not_known(other: Other, code: int) -> None:
    """Its entries may say whose virtual servers are, so it is asked again."""
    other.fill()
    codes = [code, code]

    def open_sets() -> Firewall:
        if codes:
            raise KernelError.of(codes.pop(), "open a socket")
        return cast("Firewall", other)

    former = Former("iptables", open_sets)
    with pytest.raises(KernelError, match="open a socket"):
        finish(former.read_in_steps())
    (failed,) = former.run([REMOVE])
    assert (failed.op, failed.errno) == (REMOVE, code)
    found = finish(former.read_in_steps())
    assert found is not None
    assert found.entries == {KEY: frozenset({ENTRY})}


def test_its_programs_are_started_only_to_remove_it(other: Other) -> None:
    """A look at every start costs none."""
    other.fill()
    opened = []

    def open_firewall() -> Firewall:
        opened.append(1)
        return cast("Firewall", other)

    former = Former("iptables", lambda: cast("Firewall", other), open_firewall)
    finish(former.read_in_steps())
    assert not opened
    assert former.run([REMOVE]) == []
    assert opened == [1]


def test_there_may_be_no_other() -> None:
    """Then nothing is left in it."""
    nothing = Former.nothing()
    assert finish(nothing.read_in_steps()) is None
    assert nothing.run([REMOVE]) == []
