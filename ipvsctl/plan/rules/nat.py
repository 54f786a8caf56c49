"""The nat table: which packets are masqueraded.

A client whose address is kept gets its reply from the endpoint's node; that works only
if the reply comes back through this node. So everything that may cross nodes is marked
here and masqueraded once IPVS has chosen the endpoint.
"""

from typing import Final

import msgspec

from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.marks import ALL_BITS
from ipvsctl.model.net import IPFamily, parse_network
from ipvsctl.model.objects import NodeContext
from ipvsctl.model.rules import (
    Jump,
    Masquerade,
    MatchAddrTypeLocal,
    MatchMark,
    MatchPhysdevIsIn,
    MatchSet,
    MatchSource,
    Rule,
    SetXMark,
    Side,
    Verdict,
)
from ipvsctl.model.sets import SetRole
from ipvsctl.plan.rules.chains import (
    CLUSTER_IP_CLIENTS,
    INSIDE,
    LOAD_BALANCER,
    MARK_MASQ,
    NODE_PORT,
    POSTROUTING,
    SERVICES,
    Rules,
    in_set,
    rule,
)
from ipvsctl.plan.rules.local_clients import LocalClient, local_clients

_PORTALS: Final = "kubernetes service portals"
_CLUSTER_IP: Final = "Kubernetes service cluster ip + port for masquerade purpose"
_EXTERNAL_IP: Final = (
    "Kubernetes service external ip + port for masquerade and filter purpose"
)
_EXTERNAL_IP_LOCAL: Final = (
    "Kubernetes service external ip + port with externalTrafficPolicy=local"
)
_LOOPBACK: Final = {
    IPFamily.IPV4: parse_network("127.0.0.0/8"),
    IPFamily.IPV6: parse_network("::1/128"),
}


def nat_table(
    family: IPFamily,
    config: ProxyConfig,
    node: NodeContext,
    *,
    random_fully: bool,
    sees_bridge_ports: bool,
) -> dict[str, Rules]:
    """Chains of the nat table by name; see `rules.desired_chains`."""
    mark = config.masquerade_mark
    short_circuit, inside = _short_circuit(config, random_fully=random_fully)
    clients = local_clients(family, config, node)
    off_cluster, clients_chain = _off_cluster(
        family, clients, masquerade_all=config.masquerade_all
    )
    return {
        "PREROUTING": (rule(Jump(SERVICES), comment=_PORTALS),),
        "OUTPUT": (rule(Jump(SERVICES), comment=_PORTALS),),
        "POSTROUTING": (
            rule(Jump(POSTROUTING), comment="kubernetes postrouting rules"),
        ),
        LOAD_BALANCER: (
            rule(
                Verdict.RETURN,
                in_set(family, SetRole.LOAD_BALANCER_LOCAL, "dst,dst"),
                comment="Kubernetes service load balancer ip + port "
                "with externalTrafficPolicy=local",
            ),
            rule(Jump(MARK_MASQ)),
        ),
        MARK_MASQ: (rule(SetXMark(mark, mark)),),
        NODE_PORT: (
            rule(
                Verdict.RETURN,
                in_set(family, SetRole.NODE_PORT_LOCAL, "dst,dst"),
                comment="Kubernetes nodeport ip + port "
                "with externalTrafficPolicy=local",
            ),
            rule(
                Jump(MARK_MASQ),
                in_set(family, SetRole.NODE_PORT, "dst,dst"),
                comment="Kubernetes nodeport ip + port for masquerade purpose",
            ),
        ),
        # Here IPVS has chosen the endpoint: it is the destination.
        POSTROUTING: (
            rule(
                Masquerade(),
                in_set(family, SetRole.LOOP_BACK, "dst,dst,src"),
                comment="Kubernetes endpoints dst ip:port, source ip "
                "for solving hairpin purpose",
            ),
            *short_circuit,
            rule(Verdict.RETURN, MatchMark(mark, mark, negated=True)),
            # The packet may traverse the stack again (a tunnel): take the mark off.
            rule(SetXMark(mark, 0)),
            rule(
                Masquerade(random_fully=random_fully),
                comment="kubernetes service traffic requiring SNAT",
            ),
        ),
        SERVICES: _services(family, off_cluster, sees_bridge_ports=sees_bridge_ports),
        **clients_chain,
        **inside,
    }


def _short_circuit(
    config: ProxyConfig, *, random_fully: bool
) -> tuple[Rules, dict[str, Rules]]:
    """Masquerade the host's own packets to a Local address.

    Nothing may mark them before IPVS, which compares the whole mark; here it is what
    is left to know them by, and its use has ended: a tunnel's packet would inherit it.

    Returns:
        The rules for POSTROUTING, and the chain they jump to.
    """
    if config.is_kube_proxy:
        return (), {}
    marks = config.marks
    jump = rule(
        Jump(INSIDE),
        MatchMark(marks.value, marks.mask),
        comment="short circuit of externalTrafficPolicy=local",
    )
    chain = (
        rule(SetXMark(0, ALL_BITS)),
        rule(Masquerade(random_fully=random_fully), MatchAddrTypeLocal(Side.SRC)),
    )
    return (jump,), {INSIDE: chain}


def _services(family: IPFamily, off_cluster: Rule, *, sees_bridge_ports: bool) -> Rules:
    # Where that is not seen, what comes through one is accepted by the next rule: the
    # address is on this node.
    routed = (MatchPhysdevIsIn(negated=True),) if sees_bridge_ports else ()
    external = in_set(family, SetRole.EXTERNAL_IP, "dst,dst")
    external_local = in_set(family, SetRole.EXTERNAL_IP_LOCAL, "dst,dst")
    load_balancer = in_set(family, SetRole.LOAD_BALANCER, "dst,dst")
    return (
        rule(Verdict.RETURN, MatchSource(_LOOPBACK[family])),
        rule(
            Jump(LOAD_BALANCER),
            load_balancer,
            comment="Kubernetes service lb portal",
        ),
        off_cluster,
        rule(Jump(MARK_MASQ), external, comment=_EXTERNAL_IP),
        *_accept_external(external, routed, _EXTERNAL_IP),
        *_accept_external(external_local, routed, _EXTERNAL_IP_LOCAL),
        rule(Jump(NODE_PORT), MatchAddrTypeLocal(Side.DST)),
        # Rules of other agents further down must not translate these packets.
        rule(Verdict.ACCEPT, in_set(family, SetRole.CLUSTER_IP, "dst,dst")),
        rule(Verdict.ACCEPT, load_balancer),
    )


def _off_cluster(
    family: IPFamily, clients: tuple[LocalClient, ...], *, masquerade_all: bool
) -> tuple[Rule, dict[str, Rules]]:
    """Choose whose packets to a cluster IP are masqueraded.

    Returns:
        The rule, and the chain it jumps to when it needs one of its own: several
        networks are several rules, for one rule cannot say "neither a nor b".
    """
    cluster_ip = in_set(family, SetRole.CLUSTER_IP, "dst,dst")
    if masquerade_all:
        return rule(Jump(MARK_MASQ), cluster_ip, comment=_CLUSTER_IP), {}
    if not clients:
        # Who is outside is unknown, but the host reaches a VIP from the VIP itself,
        # and no other node could answer that.
        from_vip = in_set(family, SetRole.CLUSTER_IP, "src,dst")
        return rule(Jump(MARK_MASQ), from_vip, comment=_CLUSTER_IP), {}
    if len(clients) == 1:
        outside = msgspec.structs.replace(clients[0], negated=True)
        return rule(Jump(MARK_MASQ), outside, cluster_ip, comment=_CLUSTER_IP), {}
    chain = (
        *(rule(Verdict.RETURN, client) for client in clients),
        rule(Jump(MARK_MASQ)),
    )
    jump = rule(Jump(CLUSTER_IP_CLIENTS), cluster_ip, comment=_CLUSTER_IP)
    return jump, {CLUSTER_IP_CLIENTS: chain}


def _accept_external(
    external: MatchSet, routed: tuple[MatchPhysdevIsIn, ...], comment: str
) -> Rules:
    return (
        rule(
            Verdict.ACCEPT,
            external,
            *routed,
            MatchAddrTypeLocal(Side.SRC, negated=True),
            comment=comment,
        ),
        rule(Verdict.ACCEPT, external, MatchAddrTypeLocal(Side.DST), comment=comment),
    )
