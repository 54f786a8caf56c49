"""Ops about sets, their entries, and rules."""

from typing import ClassVar

from ipvsctl.model.rules import RulesChange
from ipvsctl.model.sets import Leftover, SetEntry, SetKey
from ipvsctl.model.subject import EntrySubject, FirewallSubject, RulesSubject
from ipvsctl.plan.diff.kinds import ObjectKind, Verb
from ipvsctl.plan.diff.op import Operation
from ipvsctl.plan.diff.stages import Stage
from ipvsctl.plan.diff.words import PLAIN_WORDS, FirewallWords


class _FirewallOp(Operation, frozen=True):
    def __str__(self) -> str:
        return self.words(PLAIN_WORDS)


class _SetOp(_FirewallOp, frozen=True):
    kind: ClassVar = ObjectKind.SET
    stage: ClassVar = Stage.SETS
    urgent: ClassVar = None

    key: SetKey

    @property
    def subject(self) -> SetKey:
        """The set."""
        return self.key


class CreateSet(_SetOp, frozen=True):
    """Create an empty set; fails with Exists if it is there.

    Attributes:
        room: how many entries it must have room for.
    """

    verb: ClassVar = Verb.ADD

    room: int

    def words(self, firewall: FirewallWords) -> str:
        """See `Operation`."""
        return f"create set {firewall.new_set(self.key)}"


class RebuildSet(_SetOp, frozen=True):
    """Replace a set that is there by one with more room, or of a better build.

    A packet meets the set as it was or as it is to be, never an empty one. If any of
    it fails, the set stays as it was.

    Attributes:
        room: how many entries it must have room for.
        entries: what is in it afterwards.
    """

    verb: ClassVar = Verb.CHANGE

    room: int
    entries: frozenset[SetEntry]

    def words(self, firewall: FirewallWords) -> str:
        """See `Operation`."""
        return f"rebuild set {firewall.new_set(self.key)}"


class DestroySet(_FirewallOp, frozen=True):
    """Delete a set that no rule refers to; fine if it is not there."""

    kind: ClassVar = ObjectKind.SET
    verb: ClassVar = Verb.DELETE
    stage: ClassVar = Stage.REMOVE_SETS
    urgent: ClassVar = None
    # One half-built, or of another kind, is in the way of a set that comes.
    other_stages: ClassVar = frozenset({Stage.SETS})

    key: SetKey | Leftover

    @property
    def subject(self) -> SetKey | Leftover:
        """The set."""
        return self.key

    def words(self, firewall: FirewallWords) -> str:
        """See `Operation`."""
        key = self.key
        name = key.name if isinstance(key, Leftover) else firewall.set_name(key)
        return f"destroy set {name}"


class ChangeRules(_FirewallOp, frozen=True):
    """Change the rules of one family; each table at once or not at all."""

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

    def words(self, firewall: FirewallWords) -> str:
        """See `Operation`."""
        change = self.change
        parts = [f"write {len(change.write)} chains"] if change.write else []
        if change.link:
            parts.append(f"link {sum(len(rules) for _, rules in change.link)} jumps")
        if change.unlink:
            parts.append(f"unlink {len(change.unlink)} jumps")
        if change.remove:
            parts.append(f"remove {len(change.remove)} chains")
        return f"change {firewall.rules(change.family)}: {', '.join(parts)}"


class RemoveFormer(_FirewallOp, frozen=True):
    """Remove all that is ours from a firewall that is not in use any more."""

    kind: ClassVar = ObjectKind.FIREWALL
    verb: ClassVar = Verb.DELETE
    stage: ClassVar = Stage.REMOVE_FORMER
    urgent: ClassVar = None

    name: str

    @property
    def subject(self) -> FirewallSubject:
        """The firewall."""
        return FirewallSubject(self.name)

    def words(self, firewall: FirewallWords) -> str:
        """See `Operation`."""
        del firewall
        return f"remove what is left in {self.name}"


class _EntryOp(_FirewallOp, frozen=True):
    kind: ClassVar = ObjectKind.ENTRY
    urgent: ClassVar = None

    key: SetKey
    entry: SetEntry

    @property
    def subject(self) -> EntrySubject:
        """The entry, whatever its mark."""
        return EntrySubject(self.key, self.entry.identity)


class AddEntry(_EntryOp, frozen=True):
    """Put an entry into a set; fine if it is there."""

    verb: ClassVar = Verb.ADD
    stage: ClassVar = Stage.ENTRIES

    def words(self, firewall: FirewallWords) -> str:
        """See `Operation`."""
        return f"add entry {firewall.set_name(self.key)} {self.entry}"


class DeleteEntry(_EntryOp, frozen=True):
    """Take an entry out of a set; fine if it is not there."""

    verb: ClassVar = Verb.DELETE
    stage: ClassVar = Stage.REMOVE_ENTRIES

    def words(self, firewall: FirewallWords) -> str:
        """See `Operation`."""
        return f"delete entry {firewall.set_name(self.key)} {self.entry}"
