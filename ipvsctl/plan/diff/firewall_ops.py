"""Ops about sets, their entries, and rules."""

from typing import ClassVar

from ipvsctl.model.ipset import SetEntry, SetSpec
from ipvsctl.model.net import IPFamily
from ipvsctl.model.rules import RulesChange
from ipvsctl.model.subject import EntrySubject, RulesSubject, SetSubject
from ipvsctl.plan.diff.kinds import ObjectKind, Verb
from ipvsctl.plan.diff.op import Operation
from ipvsctl.plan.diff.stages import Stage


class CreateSet(Operation, frozen=True):
    """Create an empty set."""

    kind: ClassVar = ObjectKind.SET
    verb: ClassVar = Verb.ADD
    stage: ClassVar = Stage.SETS
    urgent: ClassVar = None

    spec: SetSpec

    @property
    def subject(self) -> SetSubject:
        """The set."""
        return SetSubject(self.spec.name)

    def __str__(self) -> str:
        return f"create set {self.spec.name} {self.spec.type}"


class SwapSets(Operation, frozen=True):
    """Exchange the contents of two sets of one type, atomically."""

    kind: ClassVar = ObjectKind.SET
    verb: ClassVar = Verb.CHANGE
    stage: ClassVar = Stage.SETS
    urgent: ClassVar = None

    first: str
    second: str

    @property
    def subject(self) -> SetSubject:
        """The set that rules refer to."""
        return SetSubject(self.second)

    def __str__(self) -> str:
        return f"swap sets {self.first} {self.second}"


class DestroySet(Operation, frozen=True):
    """Delete a set that no rule refers to."""

    kind: ClassVar = ObjectKind.SET
    verb: ClassVar = Verb.DELETE
    stage: ClassVar = Stage.REMOVE_SETS
    urgent: ClassVar = None
    # One half-built, or of another type, is in the way of a set that comes.
    other_stages: ClassVar = frozenset({Stage.SETS})

    name: str

    @property
    def subject(self) -> SetSubject:
        """The set."""
        return SetSubject(self.name)

    def __str__(self) -> str:
        return f"destroy set {self.name}"


class ChangeRules(Operation, frozen=True):
    """Run one `iptables-restore --noflush` for one family."""

    kind: ClassVar = ObjectKind.RULES
    verb: ClassVar = Verb.CHANGE
    stage: ClassVar = Stage.RULES
    urgent: ClassVar = None
    # No rule is wanted any more.
    other_stages: ClassVar = frozenset({Stage.REMOVE_RULES})

    change: RulesChange

    @property
    def subject(self) -> RulesSubject:
        """The rules of the family."""
        return RulesSubject(self.change.family)

    def __str__(self) -> str:
        change = self.change
        tool = "iptables" if change.family is IPFamily.IPV4 else "ip6tables"
        parts = [f"write {len(change.write)} chains"] if change.write else []
        if change.link:
            parts.append(f"link {sum(len(rules) for _, rules in change.link)} jumps")
        if change.unlink:
            parts.append(f"unlink {len(change.unlink)} jumps")
        if change.remove:
            parts.append(f"remove {len(change.remove)} chains")
        return f"change {tool} rules: {', '.join(parts)}"


class _EntryOp(Operation, frozen=True):
    kind: ClassVar = ObjectKind.ENTRY
    urgent: ClassVar = None

    set_name: str
    entry: SetEntry

    @property
    def subject(self) -> EntrySubject:
        """The entry, whatever its mark."""
        return EntrySubject(self.set_name, self.entry.identity)


class AddEntry(_EntryOp, frozen=True):
    """Put an entry into a set; fine if it is there."""

    verb: ClassVar = Verb.ADD
    stage: ClassVar = Stage.ENTRIES
    # Of a set that is built aside.
    other_stages: ClassVar = frozenset({Stage.SETS})

    def __str__(self) -> str:
        return f"add entry {self.set_name} {self.entry}"


class DeleteEntry(_EntryOp, frozen=True):
    """Take an entry out of a set; fine if it is not there."""

    verb: ClassVar = Verb.DELETE
    stage: ClassVar = Stage.REMOVE_ENTRIES

    def __str__(self) -> str:
        return f"delete entry {self.set_name} {self.entry}"
