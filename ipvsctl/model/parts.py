"""The parts of a kernel that are read on their own, so that each may fail alone."""

from enum import StrEnum
from typing import Final

from ipvsctl.model.net import IPFamily


class Part(StrEnum):
    """What one reader reads; the value is what metrics and probes call it.

    Sysctls are none: each is a file, and may fail alone.
    """

    RULES_IPV4 = "rules_ipv4"
    RULES_IPV6 = "rules_ipv6"

    SETS = "sets"

    NETWORK = "network"
    """Links, addresses and routes."""

    SOCKETS = "sockets"
    """Those of the host that wait for clients."""

    IPVS = "ipvs"
    CONNTRACK = "conntrack"

    @property
    def is_needed(self) -> bool:
        """Without it something that clients need is not repaired."""
        return self not in {Part.SOCKETS, Part.CONNTRACK}


EVIDENCE: Final = frozenset({Part.SETS, Part.NETWORK, Part.IPVS})
"""What says whose a virtual server is: without one of these nothing is taken away."""

RULES: Final = {IPFamily.IPV4: Part.RULES_IPV4, IPFamily.IPV6: Part.RULES_IPV6}
"""The rules of each family."""
