"""The chains that are ours, and the words their rules are built of."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from ipvsctl.model.net import IPFamily
from ipvsctl.model.rules import ChainRef, Match, MatchSet, Rule, Side, Table, Target
from ipvsctl.model.sets import SetRole, set_key

SERVICES: Final = "KUBE-SERVICES"
NODE_PORT: Final = "KUBE-NODE-PORT"
LOAD_BALANCER: Final = "KUBE-LOAD-BALANCER"
MARK_MASQ: Final = "KUBE-MARK-MASQ"
POSTROUTING: Final = "KUBE-POSTROUTING"
FORWARD: Final = "KUBE-FORWARD"
PROXY_FIREWALL: Final = "KUBE-PROXY-FIREWALL"
SOURCE_RANGES: Final = "KUBE-SOURCE-RANGES-FIREWALL"
IPVS_FILTER: Final = "KUBE-IPVS-FILTER"
IPVS_OUT_FILTER: Final = "KUBE-IPVS-OUT-FILTER"
CLUSTER_IP_CLIENTS: Final = "KUBE-IPVS-CLUSTER-IP"
"""Not one of kube-proxy's; there when pods have several networks of one family."""
CLIENTS: Final = "KUBE-IPVS-CLIENTS"
INSIDE: Final = "KUBE-IPVS-INSIDE"
"""Not kube-proxy's either: clients told apart, and those inside the cluster."""
TUNNEL: Final = "KUBE-IPVS-TUNNEL"
ARRIVALS: Final = "KUBE-IPVS-ARRIVALS"
"""There on nodes that take part in tunnels: who may send such packets, and where what
was in them goes."""

OUR_CHAINS: Final[Mapping[Table, frozenset[str]]] = MappingProxyType(
    {
        Table.FILTER: frozenset(
            {
                FORWARD,
                IPVS_FILTER,
                IPVS_OUT_FILTER,
                NODE_PORT,
                PROXY_FIREWALL,
                SOURCE_RANGES,
            }
        ),
        Table.NAT: frozenset(
            {
                CLUSTER_IP_CLIENTS,
                INSIDE,
                LOAD_BALANCER,
                MARK_MASQ,
                NODE_PORT,
                POSTROUTING,
                SERVICES,
            }
        ),
        Table.MANGLE: frozenset(
            {ARRIVALS, CLIENTS, INSIDE, IPVS_OUT_FILTER, SOURCE_RANGES, TUNNEL}
        ),
    }
)
"""Every chain that is read and, when not wanted, removed. KUBE-FIREWALL,
KUBE-KUBELET-CANARY and KUBE-MARK-DROP are the kubelet's and never touched."""

FORMER_CHAINS: Final = frozenset({ChainRef(Table.MANGLE, IPVS_OUT_FILTER)})
"""Those of `OUR_CHAINS` that only releases before this one have."""

Rules = tuple[Rule, ...]


def in_set(family: IPFamily, role: SetRole, sides: str) -> MatchSet:
    """Match a set of ours; `sides` in the order of an entry, `dst,dst,src`."""
    ends = tuple(Side(side) for side in sides.split(","))
    return MatchSet(set_key(role, family), ends)


def rule(target: Target, *matches: Match, comment: str = "") -> Rule:
    """A rule, target first, as tables of rules read best."""
    return Rule(matches=matches, target=target, comment=comment)
