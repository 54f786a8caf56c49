"""What every op has; the ops themselves are in modules by what they change."""

from typing import ClassVar

import msgspec

from ipvsctl.plan.diff.stages import Stage
from ipvsctl.plan.diff.words import FirewallWords


class Operation(msgspec.Struct, gc=False, frozen=True, tag=True):
    """One change to the kernel, as a value.

    Each op also says, in attributes of its class, its `kind` (ObjectKind), its `verb`
    (Verb), the `stage` it runs in, and with `urgent` the stage it runs in for an urgent
    address, None if it never hurries; and as a property its `subject`. None of these
    has a default here, so that whoever asks an op for one that a class forgot does not
    type-check.

    Attributes:
        other_stages: where it runs in the situations named there, and only if its
            planner says so.
    """

    other_stages: ClassVar[frozenset[Stage]] = frozenset()

    def words(self, firewall: FirewallWords) -> str:
        """The op as a sentence, with what operators of a firewall call its things."""
        del firewall
        return str(self)
