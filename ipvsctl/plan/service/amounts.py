"""Amounts of everything that is limited, and the limits as such amounts."""

from operator import le
from typing import Final, NamedTuple

from ipvsctl.model.limits import Limits, Resource
from ipvsctl.model.net import IPFamily

_ANY: Final = 1 << 62
"""More than there can be of anything."""


class Amounts(NamedTuple):
    """How much of each; marks by family, as each family has all marks for itself."""

    virtual_servers: int = 0
    real_servers: int = 0
    marks_ipv4: int = 0
    marks_ipv6: int = 0
    health_checks: int = 0

    def marks(self, family: IPFamily) -> int:
        """The marks of a family."""
        return self.marks_ipv4 if family is IPFamily.IPV4 else self.marks_ipv6

    def fits(self, limit: "Amounts") -> bool:
        """Whether there is no more of anything than in `limit`."""
        return all(map(le, self, limit))

    def up_to(self, limit: "Amounts") -> "Amounts":
        """Of each no more than in `limit`."""
        return Amounts(*map(min, self, limit))


RESOURCES: Final = (
    Resource.VIRTUAL_SERVERS,
    Resource.REAL_SERVERS,
    Resource.MARKS,
    Resource.MARKS,
    Resource.HEALTH_CHECKS,
)
"""The resource of each of the `Amounts`, in their order."""

ANY_AMOUNTS: Final = Amounts(*(_ANY,) * 5)
"""No limit."""


def service_limit(limits: Limits) -> Amounts:
    """The most that one Service may have; a health-check node port it always may."""
    return _limit(
        limits.service_virtual_servers,
        limits.service_real_servers,
        limits.service_marks,
        0,
    )


def namespace_limit(limits: Limits) -> Amounts:
    """The most that all Services of a namespace may have together."""
    return _limit(
        limits.namespace_virtual_servers,
        limits.namespace_real_servers,
        limits.namespace_marks,
        limits.namespace_health_checks,
    )


def _limit(
    virtual_servers: int, real_servers: int, marks: int, health_checks: int
) -> Amounts:
    given = (virtual_servers, real_servers, marks, marks, health_checks)
    return Amounts(*(amount or _ANY for amount in given))
