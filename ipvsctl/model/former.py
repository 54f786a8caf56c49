"""What is left in a firewall that was in use before the one that is now."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

import msgspec

from ipvsctl.model.sets import Leftover, SetEntry, SetKey


class FormerFirewall(msgspec.Struct, frozen=True, kw_only=True):
    """Another firewall that has sets of ours, or of kube-proxy's.

    Attributes:
        name: of the firewall: `iptables`, `nftables`.
        entries: of its sets; evidence of whose virtual servers are, and of the mark
            that each inside client's has, as good as that of the sets in use.
        leftovers: sets that were of no use there either.
    """

    name: str
    entries: Mapping[SetKey, AbstractSet[SetEntry]]
    leftovers: AbstractSet[Leftover] = frozenset()
