"""What can be seen of a kernel at a moment's cost."""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from ipvsctl.model.net import IPAddress
from ipvsctl.model.sets import SetKey


class Glance(msgspec.Struct, frozen=True, kw_only=True):
    """How much of some things there is.

    Attributes:
        virtual_servers: everybody's; those of IPv4, or of both families. Which of them
            is counted depends on the kernel.
        entries: of each set of ours; None where that takes longer to find out, and the
            kernel tells of changes.
    """

    virtual_servers: int
    entries: Mapping[SetKey, int] | None


class NoticeKind(StrEnum):
    """What the kernel tells by itself."""

    LINK_DOWN = "link down"
    """It is down, or gone."""
    ADDRESS_ADDED = "address added"
    ADDRESS_GONE = "address gone"
    TABLE_CHANGED = "table changed"
    """Of the firewall, and ours; by somebody else."""
    LOST = "notices lost"
    """There were more than it keeps: anything may have happened."""


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """A change of links or addresses, whoever made it, or of the firewall.

    Attributes:
        link: name of the link that is down; "" of anything else.
        address: None of anything else.
        table: name of a table of the firewall; "" of anything else.
    """

    kind: NoticeKind
    link: str = ""
    address: IPAddress | None = None
    table: str = ""

    def __str__(self) -> str:
        subject = self.link or self.address or self.table
        return f"{self.kind}: {subject}" if subject else str(self.kind)
