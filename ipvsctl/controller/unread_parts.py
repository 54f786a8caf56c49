"""Parts of the kernel that the last audit could not read: problems of the Node."""

from ipvsctl.controller.observers import AuditDone, SyncDone
from ipvsctl.model.problem import Problem
from ipvsctl.plan.diff.words import FirewallWords
from ipvsctl.plan.report.unread import unread_problems


class UnreadParts:
    """See `Observer`; tells nobody, but has a problem for each part.

    Args:
        node: the name of this node.
        words: what operators call the things of the firewall.
    """

    def __init__(self, node: str, words: FirewallWords) -> None:
        self._node = node
        self._words = words
        self._problems: tuple[Problem, ...] = ()

    async def audited(self, done: AuditDone) -> None:
        """See `Observer`."""
        observed = done.report.observed
        self._problems = unread_problems(observed, self._words, self._node)

    async def synced(self, done: SyncDone) -> None:
        """See `Observer`."""

    def problems(self) -> tuple[Problem, ...]:
        """See `Observer`."""
        return self._problems

    def appeared(self, problems: tuple[Problem, ...]) -> None:
        """See `Observer`."""
