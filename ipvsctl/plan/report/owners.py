"""Which Service something in the kernel is for."""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from typing import assert_never

from ipvsctl.model.ipvs import VirtualServerKey
from ipvsctl.model.net import IPAddress
from ipvsctl.model.sets import MARKING_ROLES, Leftover, SetKey
from ipvsctl.model.subject import (
    EntrySubject,
    FirewallSubject,
    LinkSubject,
    RulesSubject,
    Subject,
    SysctlSubject,
    TimeoutsSubject,
)
from ipvsctl.plan.service.program import ServiceProgram, SetMember
from ipvsctl.plan.union.frozen import DesiredLookups
from ipvsctl.plan.union.shared import bound_entry
from ipvsctl.plan.union.short_circuits import marked_entry


class Owners:
    """Finds the Services that some things are for.

    Args:
        desired: None if nobody knows any. May change meanwhile, in another thread.
        subjects: what will be asked for. All programs are gone through once for them,
            and only if there are any that no lookup answers.
    """

    def __init__(
        self, desired: DesiredLookups | None, subjects: AbstractSet[Subject]
    ) -> None:
        self._desired = desired
        self._names: dict[Subject, str] = {}
        if desired is None or not any(map(_must_be_looked_for, subjects)):
            return
        # A copy, in one go: nobody else gets a turn meanwhile.
        for ref, program in [*desired.programs.items()]:
            for subject in _subjects(program):
                if subject in subjects:
                    name = str(ref)
                    self._names[subject] = min(self._names.get(subject, name), name)
        for inside, key in [*desired.short_circuits.items()]:
            for role in MARKING_ROLES:
                member = marked_entry(key, inside, role)
                self._names[_subject(member)] = self._of_key(key)

    def of(self, subject: Subject) -> str | None:
        """The Service that wants it: "" for none that is known, None for the node."""
        match subject:
            case VirtualServerKey():
                return self._of_key(subject)
            case EntrySubject() | IPAddress():
                return self._names.get(subject, "")
            case (
                SysctlSubject()
                | TimeoutsSubject()
                | LinkSubject()
                | SetKey()
                | Leftover()
                | RulesSubject()
                | FirewallSubject()
            ):
                return None
            case _:
                assert_never(subject)

    def _of_key(self, key: VirtualServerKey) -> str:
        server = self._desired.server(key) if self._desired else None
        return str(server.port_name.service) if server else ""


def _subject(member: SetMember) -> EntrySubject:
    return EntrySubject(member.key, member.entry.identity)


def _must_be_looked_for(subject: Subject) -> bool:
    return isinstance(subject, EntrySubject | IPAddress)


def _subjects(program: ServiceProgram) -> Iterator[Subject]:
    for member in program.entries:
        yield _subject(member)
    for server in program.servers:
        for member in server.entries:
            yield _subject(member)
    for address in program.addresses:
        yield address
        yield _subject(bound_entry(address))
