"""What a glance at the kernel has more than is desired, or less."""

from collections.abc import Mapping
from typing import Final

import msgspec

from ipvsctl.model.glance import Glance, Notice, NoticeKind
from ipvsctl.model.net import IPAddress, IPFamily
from ipvsctl.model.objects import NodeContext
from ipvsctl.model.sets import SetKey
from ipvsctl.model.tunnel import TUNNEL_LINKS
from ipvsctl.plan.union.desired import Desired

_ALWAYS: Final = frozenset({NoticeKind.LOST, NoticeKind.TABLE_CHANGED})
_CHANGES: Final = frozenset({NoticeKind.ADDRESS_ADDED, NoticeKind.ADDRESS_GONE})


class Surplus(msgspec.Struct, frozen=True, kw_only=True):
    """It stays what it is while nobody but us changes the kernel.

    Attributes:
        of_ipv4, of_all: virtual servers, if the kernel counts those of IPv4, or all.
        entries: name of a set -> how many more it has; those that have none are left
            out.
    """

    of_ipv4: int
    of_all: int
    entries: dict[str, int]

    def differs(self, usual: "Surplus") -> str:
        """What has changed that no change of ours explains; "" if nothing."""
        if self.of_ipv4 != usual.of_ipv4 and self.of_all != usual.of_all:
            return f"virtual servers {self.of_ipv4 - usual.of_ipv4:+,}"
        names = self.entries.keys() | usual.entries.keys()
        changed = [
            f"entries of set {name} {more:+,}"
            for name in sorted(names)
            if (more := self.entries.get(name, 0) - usual.entries.get(name, 0))
        ]
        return ", ".join(changed)


def surplus(glance: Glance, desired: Desired) -> Surplus:
    """Compare a glance with what is desired at the same moment."""
    servers = desired.servers().virtual_servers
    ipv4 = sum(1 for key in servers if key.family is IPFamily.IPV4)
    return Surplus(
        of_ipv4=glance.virtual_servers - ipv4,
        of_all=glance.virtual_servers - len(servers),
        entries={} if glance.entries is None else _entries(glance.entries, desired),
    )


def _entries(counted: Mapping[SetKey, int], desired: Desired) -> dict[str, int]:
    wanted = desired.shared.entries()
    more = {str(key): n - len(wanted.get(key, ())) for key, n in counted.items()}
    for key, members in wanted.items():
        if key not in counted:
            more[str(key)] = -len(members)
    return {name: number for name, number in more.items() if number}


def matters(
    notice: Notice, vip_link: str, desired: Desired, context: NodeContext
) -> bool:
    """Whether a notice is of something that an audit would see.

    Args:
        notice: of anything.
        vip_link: name of the VIP link.
        desired: what should be.
        context: this node, as everything was compiled for it.
    """
    if notice.address is None:
        links = {vip_link, *(TUNNEL_LINKS[family] for family in desired.tunnel_ends)}
        return notice.kind in _ALWAYS or notice.link in links
    is_gone = notice.kind is NoticeKind.ADDRESS_GONE
    if notice.address in desired.shared.vips:
        # Who binds it is us, nearly always.
        return is_gone
    return is_gone == _is_host(notice.address, context)


def _is_host(address: IPAddress, context: NodeContext) -> bool:
    return address in context.host_addresses
