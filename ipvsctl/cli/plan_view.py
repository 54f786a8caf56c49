"""A plan for people: every op with the Service it is for, and whether it adds."""

from collections import Counter
from ipaddress import IPv4Address, IPv6Address
from typing import Any, assert_never

import msgspec

from ipvsctl.cli.plain import plain
from ipvsctl.model.ipvs import (
    VirtualServerKey,
)
from ipvsctl.model.net import IPAddress
from ipvsctl.model.problem import ObjectRef
from ipvsctl.model.sets import Leftover, SetKey
from ipvsctl.model.state import NodeState
from ipvsctl.model.subject import (
    EntrySubject,
    LinkSubject,
    RulesSubject,
    Subject,
    SysctlSubject,
    TimeoutsSubject,
)
from ipvsctl.model.target import NamedTarget
from ipvsctl.plan.diff.kinds import Verb
from ipvsctl.plan.diff.ops import (
    Plan,
)
from ipvsctl.plan.diff.words import FirewallWords
from ipvsctl.plan.report.op_text import op_text
from ipvsctl.plan.service.program import SetMember
from ipvsctl.plan.union.frozen import DesiredLookups
from ipvsctl.plan.union.shared import bound_entry
from ipvsctl.plan.union.short_circuits import marked_entry


class PlanLine(msgspec.Struct, frozen=True, kw_only=True):
    """One op, described.

    Attributes:
        service: the Service it is for; "" for none that is known, None for the node
            itself.
        text: what is added, changed or deleted.
        op: the op as data, its kind in `type`; None unless it was asked for.
    """

    action: Verb
    service: str | None
    text: str
    op: Any = None


class PlanView(msgspec.Struct, frozen=True, kw_only=True):
    """A plan, described; `changes` in the order they run."""

    add: int
    change: int
    delete: int
    changes: tuple[PlanLine, ...]

    @property
    def is_empty(self) -> bool:
        """Nothing is to be done."""
        return not self.changes


def describe(
    plan: Plan,
    observed: NodeState,
    desired: DesiredLookups | None = None,
    *,
    firewall: FirewallWords,
    as_data: bool = False,
) -> PlanView:
    """Describe a plan.

    Args:
        plan: the ops.
        observed: the state it was made for, to say which values were before.
        desired: gives names; without it, no Service is known.
        firewall: what operators call the things of the firewall.
        as_data: with the ops as data, which takes longer than all the rest.
    """
    names = _Names(desired)
    counts = Counter(op.verb for op in plan)
    return PlanView(
        add=counts[Verb.ADD],
        change=counts[Verb.CHANGE],
        delete=counts[Verb.DELETE],
        changes=tuple(
            PlanLine(
                action=op.verb,
                service=names.service_of(op.subject),
                text=op_text(op, observed, firewall),
                op=plain(op, firewall.set_name) if as_data else None,
            )
            for op in plan
        ),
    )


def part_of(plan: PlanView, target: NamedTarget) -> PlanView:
    """The changes for a Service alone."""
    changes = tuple(
        line
        for line in plan.changes
        if line.service and target.is_of(ObjectRef(*line.service.split("/", 1)))
    )
    counts = Counter(line.action for line in changes)
    return PlanView(
        add=counts[Verb.ADD],
        change=counts[Verb.CHANGE],
        delete=counts[Verb.DELETE],
        changes=changes,
    )


class _Names:
    """Finds the Service that something is for."""

    def __init__(self, desired: DesiredLookups | None) -> None:
        self._desired = desired
        self._entries: dict[EntrySubject, str] = {}
        self._addresses: dict[IPAddress, str] = {}
        for ref, program in sorted(desired.programs.items()) if desired else ():
            for member in (
                *program.entries,
                *(e for server in program.servers for e in server.entries),
            ):
                self._entries.setdefault(_subject(member), str(ref))
            for address in program.addresses:
                self._addresses.setdefault(address, str(ref))
                bound = bound_entry(address)
                self._entries.setdefault(_subject(bound), str(ref))
        for inside, key in desired.short_circuits.items() if desired else ():
            member = marked_entry(key, inside)
            self._entries[_subject(member)] = self._of_key(key)

    def service_of(self, subject: Subject) -> str | None:
        """The Service that wants it; see `PlanLine`."""
        match subject:
            case VirtualServerKey():
                return self._of_key(subject)
            case EntrySubject():
                return self._entries.get(subject, "")
            case IPv4Address() | IPv6Address():
                return self._addresses.get(subject, "")
            case (
                SysctlSubject()
                | TimeoutsSubject()
                | LinkSubject()
                | SetKey()
                | Leftover()
                | RulesSubject()
            ):
                return None
            case _:
                assert_never(subject)

    def _of_key(self, key: VirtualServerKey) -> str:
        server = self._desired.server(key) if self._desired else None
        return str(server.port_name.service) if server else ""


def _subject(member: SetMember) -> EntrySubject:
    return EntrySubject(member.key, member.entry.identity)
