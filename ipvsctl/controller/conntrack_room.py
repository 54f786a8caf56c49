"""A connection tracking table without room: a problem of the Node.

Nothing is refused to ipvsctl then, and what it imposes is right: only clients notice.
"""

from ipvsctl.controller.observers import AuditDone, Nobody
from ipvsctl.model.problem import Kind, ObjectRef, Problem


class ConntrackRoom(Nobody):
    """See `Observer`; tells nobody, but has a problem while there is no room.

    That begins when the table is nearly full, and ends when it is not even filling: the
    problem does not come and go with each connection.

    Args:
        node: the name of this node.
    """

    def __init__(self, node: str) -> None:
        self._node = ObjectRef("", node)
        self._problems: tuple[Problem, ...] = ()

    async def audited(self, done: AuditDone) -> None:
        """See `Observer`."""
        fill = done.report.observed.conntrack
        if fill is None or not fill.is_filling:
            self._problems = ()
        elif fill.is_nearly_full:
            problem = Problem(
                kind=Kind.NODE,
                ref=self._node,
                field="conntrack",
                # Without the count, which every connection changes.
                value=f"{fill.limit:,} entries",
                reason="nearly all are taken, and when all are new connections are"
                " dropped: raise conntrack.min, and see who fills the table",
            )
            self._problems = (problem,)

    def problems(self) -> tuple[Problem, ...]:
        """See `Observer`."""
        return self._problems
