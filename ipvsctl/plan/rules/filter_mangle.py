"""The fixed rules: what a node must have, and the change that gets it there.

Their number depends on the configuration and never on the cluster: every rule is
always there, and a set without entries matches nothing. Services change entries of
sets only. Names of chains are in `chains`, the nat table is in `nat`.

Names, comments and order are kube-proxy's, so that a live node is taken over with
few changes. Differences: node ports are matched by address and port in one set,
source ranges seen from the node itself are constant rules in the mangle table,
pings of a VIP are answered, and inside clients of a Local address are marked. Where
order means nothing, what most packets are about is asked first.
Source: kube-proxy pkg/proxy/ipvs/proxier.go (`writeIptablesRules`), v1.36.
"""

from typing import Final

from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.net import IPFamily
from ipvsctl.model.objects import NodeContext
from ipvsctl.model.rules import (
    ChainRef,
    Chains,
    Jump,
    MapMark,
    MatchConntrackState,
    MatchIcmpType,
    MatchInInterface,
    MatchMark,
    MatchSet,
    Reject,
    Rule,
    Side,
    Table,
    Verdict,
)
from ipvsctl.model.sets import SetRole, set_key
from ipvsctl.model.tunnel import TUNNEL_LINKS
from ipvsctl.plan.rules.chains import (
    ARRIVALS,
    CLIENTS,
    FORWARD,
    INSIDE,
    IPVS_FILTER,
    IPVS_OUT_FILTER,
    NODE_PORT,
    PROXY_FIREWALL,
    SOURCE_RANGES,
    TUNNEL,
    Rules,
    in_set,
    rule,
)
from ipvsctl.plan.rules.local_clients import local_clients
from ipvsctl.plan.rules.nat import nat_table

_ACCESS_FILTER: Final = "kubernetes ipvs access filter"
_FIREWALL: Final = "kube-proxy firewall rules"
_SHORT_CIRCUIT: Final = "short circuit of externalTrafficPolicy=local"
_WITHOUT_LOCAL: Final = "externalTrafficPolicy=local without local endpoints"
_FORWARDING: Final = "kubernetes forwarding rules"
_WITH_RANGES: Final = (
    "Kubernetes service load balancer ip + port for load balancer with sourceRange"
)
_SOURCE_CIDR: Final = (
    "Kubernetes service load balancer ip + port + source cidr for packet filter purpose"
)
_SOURCE_IP: Final = (
    "Kubernetes service load balancer ip + port + source IP for packet filter purpose"
)
_ICMP_ANSWERED: Final = {
    # echo-request; destination-unreachable/fragmentation-needed
    IPFamily.IPV4: ((8, None), (3, 4)),
    # echo-request; packet-too-big
    IPFamily.IPV6: ((128, None), (2, None)),
}


def desired_chains(
    family: IPFamily,
    config: ProxyConfig,
    node: NodeContext,
    *,
    random_fully: bool,
    sees_bridge_ports: bool = True,
) -> Chains:
    """The rules of one family, with their jumps at the top of built-in chains.

    Args:
        family: of the rules.
        config: how pods are told apart, what is masqueraded and with which mark.
        node: its pod CIDRs, in NodeCIDR mode.
        random_fully: the firewall can choose ports at random, see `Masquerade`.
        sees_bridge_ports: it has `MatchPhysdevIsIn`.

    Returns:
        Our chains, empty ones too, and the built-in chains with jumps of ours.
    """
    mark = config.masquerade_mark
    tables = {
        Table.FILTER: _filter_table(family, mark),
        Table.NAT: nat_table(
            family,
            config,
            node,
            random_fully=random_fully,
            sees_bridge_ports=sees_bridge_ports,
        ),
        Table.MANGLE: _mangle_table(family, config, node),
    }
    return {
        ChainRef(table, name): rules
        for table, chains in tables.items()
        for name, rules in chains.items()
    }


def _filter_table(family: IPFamily, mark: int) -> dict[str, Rules]:
    known = (
        SetRole.LOAD_BALANCER,
        SetRole.CLUSTER_IP,
        SetRole.EXTERNAL_IP,
        SetRole.EXTERNAL_IP_LOCAL,
    )
    health_check = in_set(family, SetRole.HEALTH_CHECK_NODE_PORT, "dst")
    vip = in_set(family, SetRole.IPVS_IPS, "dst")
    return {
        "INPUT": (
            rule(Jump(IPVS_FILTER), comment=_ACCESS_FILTER),
            rule(Jump(PROXY_FIREWALL), comment=_FIREWALL),
            rule(Jump(NODE_PORT), comment="kubernetes health check rules"),
        ),
        "FORWARD": (
            rule(Jump(PROXY_FIREWALL), comment=_FIREWALL),
            rule(Jump(FORWARD), comment=_FORWARDING),
        ),
        "OUTPUT": (rule(Jump(IPVS_OUT_FILTER), comment=_ACCESS_FILTER),),
        FORWARD: (
            rule(Verdict.ACCEPT, MatchMark(mark, mark), comment=_FORWARDING),
            rule(
                Verdict.ACCEPT,
                MatchConntrackState(("RELATED", "ESTABLISHED")),
                comment="kubernetes forwarding conntrack rule",
            ),
        ),
        # A VIP is a local address, so without this chain every port of the host
        # would answer on it. Neighbour discovery is untracked, never NEW
        # (nf_conntrack_proto_icmpv6.c:nf_conntrack_icmpv6_error), and passes.
        IPVS_FILTER: (
            # Nothing below ends but what is NEW: all that comes to the host later is
            # spared the sets.
            rule(Verdict.RETURN, MatchConntrackState(("RELATED", "ESTABLISHED"))),
            *(rule(Verdict.RETURN, in_set(family, role, "dst,dst")) for role in known),
            rule(Verdict.RETURN, in_set(family, SetRole.FOREIGN, "dst,dst")),
            rule(Verdict.RETURN, health_check),
            *(
                rule(Verdict.RETURN, MatchIcmpType(family, icmp_type, code))
                for icmp_type, code in _ICMP_ANSWERED[family]
            ),
            rule(Reject(family), MatchConntrackState(("NEW",)), vip),
        ),
        # Empty: IPVS has rewritten the destination of the host's own packets
        # before this hook, so no set could match; see `_mangle_table`.
        IPVS_OUT_FILTER: (),
        NODE_PORT: (
            rule(
                Verdict.ACCEPT,
                health_check,
                comment="Kubernetes health check node port",
            ),
        ),
        PROXY_FIREWALL: (_to_source_ranges(family),),
        SOURCE_RANGES: (
            _source_cidr(family),
            _source_ip(family),
            rule(Verdict.DROP),
        ),
    }


def _mangle_table(
    family: IPFamily, config: ProxyConfig, node: NodeContext
) -> dict[str, Rules]:
    """Source ranges for packets of the host itself, and who is an inside client.

    The host's packets never pass INPUT: IPVS takes them in OUTPUT right after nat and
    before filter (ip_vs_core.c:ip_vs_ops4, NF_IP_PRI_NAT_DST + 2). Mangle is the last
    table that sees the VIP as destination and may drop.
    """
    to_arrivals, arrivals = _arrivals(family, config)
    short_circuit = _short_circuit(family, config, node)
    if to_arrivals:
        # Before any other: what is in a tunnel is no client's.
        clients = short_circuit["PREROUTING"]
        short_circuit["PREROUTING"] = (*to_arrivals, *clients)
    return {
        **short_circuit,
        **arrivals,
        SOURCE_RANGES: (
            _source_ip(family),
            # The host reaches a VIP from the VIP itself unless its route says
            # otherwise; a range around the VIP does not allow the node.
            rule(Verdict.DROP, in_set(family, SetRole.LOAD_BALANCER_FW, "src,dst")),
            _source_cidr(family),
            rule(Verdict.DROP),
        ),
    }


def _short_circuit(
    family: IPFamily, config: ProxyConfig, node: NodeContext
) -> dict[str, Rules]:
    """Mark packets of pods and of the host to external addresses of policy Local.

    Every packet, not just the first of a connection: a UDP client may go on after
    IPVS has forgotten it. Outside clients keep the address's own virtual server; one
    without endpoints would answer them with a refusal, which a client takes for final.
    """
    source_ranges = _to_source_ranges(family)
    if config.is_kube_proxy:
        return {"OUTPUT": (source_ranges,)}
    to_inside = rule(Jump(INSIDE), comment=_SHORT_CIRCUIT)
    marked = MapMark(set_key(SetRole.SHORT_CIRCUIT, family), (Side.DST, Side.DST))
    pods = local_clients(family, config, node)
    to_clients = rule(
        Jump(CLIENTS),
        MatchConntrackState(("NEW",)),
        in_set(family, SetRole.NO_LOCAL_ENDPOINTS, "dst,dst"),
        comment=_WITHOUT_LOCAL,
    )
    return {
        # All packets of the node come by here, so few rules are for all of them.
        "PREROUTING": (
            *(rule(Jump(INSIDE), pod, comment=_SHORT_CIRCUIT) for pod in pods),
            to_clients,
        ),
        "OUTPUT": (source_ranges, to_inside),
        CLIENTS: (
            *(rule(Verdict.RETURN, pod) for pod in pods),
            rule(Verdict.DROP, comment=_WITHOUT_LOCAL),
        ),
        INSIDE: (rule(marked),),
    }


def _arrivals(family: IPFamily, config: ProxyConfig) -> tuple[Rules, dict[str, Rules]]:
    """Take packets in tunnels from Nodes alone, and lead what is in them to endpoints.

    It must not be put into a tunnel again: two nodes that know of different endpoints
    would send it to each other. So an address that this node would send on in a tunnel
    is either marked, or shut; one that it masquerades is served as that. A packet that
    none of this is about begins nothing: a refusal would be final for the client, which
    asks again in a second, and the sender has heard of it by then.

    Returns:
        The jumps of PREROUTING, and the chains they lead to.
    """
    if not config.has_tunnel:
        return (), {}
    new = MatchConntrackState(("NEW",))
    arrival = set_key(SetRole.TUNNEL_ARRIVAL, family)
    local = in_set(family, SetRole.LOAD_BALANCER_LOCAL, "dst,dst")
    jumps = (
        rule(Jump(TUNNEL), in_set(family, SetRole.TUNNEL_END, "dst,dst")),
        rule(Jump(ARRIVALS), MatchInInterface(TUNNEL_LINKS[family])),
    )
    return jumps, {
        TUNNEL: (
            rule(Verdict.RETURN, in_set(family, SetRole.TUNNEL_PEER, "src")),
            rule(Verdict.DROP),
        ),
        ARRIVALS: (
            rule(Verdict.DROP, new, in_set(family, SetRole.TUNNEL_SHUT, "dst,dst")),
            rule(MapMark(arrival, (Side.DST, Side.DST))),
            rule(Verdict.RETURN, MatchSet(arrival, (Side.DST, Side.DST))),
            rule(Verdict.RETURN, in_set(family, SetRole.EXTERNAL_IP, "dst,dst")),
            rule(Verdict.DROP, new, local),
            rule(Verdict.RETURN, in_set(family, SetRole.LOAD_BALANCER, "dst,dst")),
            rule(Verdict.DROP, new),
        ),
    }


def _to_source_ranges(family: IPFamily) -> Rule:
    with_ranges = in_set(family, SetRole.LOAD_BALANCER_FW, "dst,dst")
    return rule(Jump(SOURCE_RANGES), with_ranges, comment=_WITH_RANGES)


def _source_cidr(family: IPFamily) -> Rule:
    in_range = in_set(family, SetRole.LOAD_BALANCER_SOURCE_CIDR, "dst,dst,src")
    return rule(Verdict.RETURN, in_range, comment=_SOURCE_CIDR)


def _source_ip(family: IPFamily) -> Rule:
    covered = in_set(family, SetRole.LOAD_BALANCER_SOURCE_IP, "dst,dst,src")
    return rule(Verdict.RETURN, covered, comment=_SOURCE_IP)
