"""Parts of the kernel that an audit could not read are problems of the Node."""

import msgspec

from ipvsctl.controller.observers import AuditDone
from ipvsctl.controller.unread_parts import UnreadParts
from ipvsctl.model.parts import Part
from tests.controller.test_audit import World
from tests.controller.test_history import audited


async def test_problems_come_and_go() -> None:
    """By the firewall's name for them, with the reason."""
    world = World(0)
    done: AuditDone = audited(world, world.reconciler.audit())
    parts = UnreadParts("node-0", world.kernel.words)
    report = done.report
    observed = msgspec.structs.replace(
        report.observed, unread={Part.RULES_IPV6: "killed after 60 s"}
    )
    unread = msgspec.structs.replace(report, observed=observed)
    await parts.audited(msgspec.structs.replace(done, report=unread))
    (problem,) = parts.problems()
    assert str(problem) == (
        "Node node-0: kernel: ip6tables rules:"
        " cannot be read, and are not repaired: killed after 60 s"
    )
    await parts.audited(done)
    assert parts.problems() == ()
