"""The iptables rules that kube-proxy v1.36 in IPVS mode leaves, in the captures' form.

A rule for a set is there only while the set has an entry, and a load balancer that the
node may not use has a rule of its own.
Source: kube-proxy pkg/proxy/ipvs/proxier.go (`writeIptablesRules`).
"""

from ipaddress import ip_network

from tests.peer.kube_proxy import Family

_HEALTH = "Kubernetes health check node port"
_LOAD_BALANCER = "Kubernetes service load balancer ip + port"
_LOCAL = "with externalTrafficPolicy=local"
_EXTERNAL = "Kubernetes service external ip + port"
_MASQUERADE = "for masquerade purpose"
_SCTP_TYPE = r" with type \'hash ip:port\'"
_MARKED = "-m mark --mark 0x4000/0x4000 -j ACCEPT"
_KNOWN = "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
_SNAT = "kubernetes service traffic requiring SNAT"
_PACKET_FILTER = "for packet filter purpose"

_FILTER_CHAINS = (
    "FORWARD",
    "IPVS-FILTER",
    "IPVS-OUT-FILTER",
    "NODE-PORT",
    "PROXY-FIREWALL",
    "SOURCE-RANGES-FIREWALL",
)
_NAT_CHAINS = ("LOAD-BALANCER", "MARK-MASQ", "NODE-PORT", "POSTROUTING", "SERVICES")
_NODE_PORTS = (("tcp", "TCP", ""), ("udp", "UDP", ""), ("sctp", "SCTP-HASH", "SCTP"))


def rules(family: Family) -> list[str]:
    """Lines of `iptables-save` (`ip6tables-save`), counters as zero."""
    return [
        "*filter",
        *(f":{chain} ACCEPT [0:0]" for chain in ("INPUT", "FORWARD", "OUTPUT")),
        *(f":KUBE-{chain} - [0:0]" for chain in _FILTER_CHAINS),
        *_filter(family),
        "COMMIT",
        "*nat",
        *(
            f":{chain} ACCEPT [0:0]"
            for chain in ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING")
        ),
        *(f":KUBE-{chain} - [0:0]" for chain in _NAT_CHAINS),
        *_nat(family),
        "COMMIT",
    ]


def _filter(family: Family) -> list[str]:
    lines = [
        _jump("INPUT", "kubernetes ipvs access filter", "KUBE-IPVS-FILTER"),
        _jump("INPUT", "kube-proxy firewall rules", "KUBE-PROXY-FIREWALL"),
        _jump("INPUT", "kubernetes health check rules", "KUBE-NODE-PORT"),
        _jump("FORWARD", "kube-proxy firewall rules", "KUBE-PROXY-FIREWALL"),
        _jump("FORWARD", "kubernetes forwarding rules", "KUBE-FORWARD"),
        _jump("OUTPUT", "kubernetes ipvs access filter", "KUBE-IPVS-OUT-FILTER"),
        f"-A KUBE-FORWARD {_comment('kubernetes forwarding rules')} {_MARKED}",
        f"-A KUBE-FORWARD {_comment('kubernetes forwarding conntrack rule')} {_KNOWN}",
    ]
    for name in (
        "LOAD-BALANCER",
        "CLUSTER-IP",
        "EXTERNAL-IP",
        "EXTERNAL-IP-LOCAL",
        "HEALTH-CHECK-NODE-PORT",
    ):
        sides = "dst" if name == "HEALTH-CHECK-NODE-PORT" else "dst,dst"
        match = _match(family, name, sides)
        lines.append(f"-A KUBE-IPVS-FILTER {match} -j RETURN")
    icmp = "icmp" if family.version == 4 else "icmp6"
    lines.append(
        "-A KUBE-IPVS-FILTER -m conntrack --ctstate NEW"
        f" {_match(family, 'IPVS-IPS', 'dst')}"
        f" -j REJECT --reject-with {icmp}-port-unreachable"
    )
    for address, protocol, port in family.closed:
        number = {"TCP": 6, "UDP": 17, "SCTP": 132}[protocol]
        lines.append(
            f"-A KUBE-IPVS-OUT-FILTER -s {ip_network(address)} -m ipvs"
            f" --vproto {number} --vaddr {address} --vport {port} -j DROP"
        )
    health = _match(family, "HEALTH-CHECK-NODE-PORT", "dst")
    lines.append(f"-A KUBE-NODE-PORT {_comment(_HEALTH)} {health} -j ACCEPT")
    lines += _if_any(
        family,
        "LOAD-BALANCER-FW",
        "-A KUBE-PROXY-FIREWALL",
        f"{_LOAD_BALANCER} for load balancer with sourceRange",
        "dst,dst -j KUBE-SOURCE-RANGES-FIREWALL",
    )
    for name, what in (("CIDR", "source cidr"), ("IP", "source IP")):
        lines += _if_any(
            family,
            f"LOAD-BALANCER-SOURCE-{name}",
            "-A KUBE-SOURCE-RANGES-FIREWALL",
            f"{_LOAD_BALANCER} + {what} {_PACKET_FILTER}",
            "dst,dst,src -j RETURN",
        )
    return [*lines, "-A KUBE-SOURCE-RANGES-FIREWALL -j DROP"]


def _nat(family: Family) -> list[str]:
    portals = "kubernetes service portals"
    return [
        _jump("PREROUTING", portals, "KUBE-SERVICES"),
        _jump("OUTPUT", portals, "KUBE-SERVICES"),
        _jump("POSTROUTING", "kubernetes postrouting rules", "KUBE-POSTROUTING"),
        *_if_any(
            family,
            "LOAD-BALANCER-LOCAL",
            "-A KUBE-LOAD-BALANCER",
            f"{_LOAD_BALANCER} {_LOCAL}",
            "dst,dst -j RETURN",
        ),
        "-A KUBE-LOAD-BALANCER -j KUBE-MARK-MASQ",
        "-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000",
        *_node_ports(family),
        *_if_any(
            family,
            "LOOP-BACK",
            "-A KUBE-POSTROUTING",
            "Kubernetes endpoints dst ip:port, source ip for solving hairpin purpose",
            "dst,dst,src -j MASQUERADE",
        ),
        "-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN",
        "-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0",
        f"-A KUBE-POSTROUTING {_comment(_SNAT)} -j MASQUERADE --random-fully",
        *_services(family),
    ]


def _node_ports(family: Family) -> list[str]:
    lines = []
    for protocol, name, type_noted in _NODE_PORTS:
        sides = "dst,dst" if type_noted else "dst"
        suffix = _SCTP_TYPE if type_noted else ""
        chain = f"-A KUBE-NODE-PORT -p {protocol}"
        port = f"Kubernetes nodeport {protocol.upper()} port"
        lines += _if_any(
            family,
            f"NODE-PORT-LOCAL-{name}",
            chain,
            f"{port} {_LOCAL}{suffix}",
            f"{sides} -j RETURN",
        )
        lines += _if_any(
            family,
            f"NODE-PORT-{name}",
            chain,
            f"{port} {_MASQUERADE}{suffix}",
            f"{sides} -j KUBE-MARK-MASQ",
        )
    return lines


def _services(family: Family) -> list[str]:
    loopback = "127.0.0.0/8" if family.version == 4 else "::1/128"
    chain = "-A KUBE-SERVICES"
    lines = [
        f"{chain} -s {loopback} -j RETURN",
        *_if_any(
            family,
            "LOAD-BALANCER",
            chain,
            "Kubernetes service lb portal",
            "dst,dst -j KUBE-LOAD-BALANCER",
        ),
        *_off_cluster(family, chain),
    ]
    purpose = f"{_EXTERNAL} for masquerade and filter purpose"
    lines += _if_any(family, "EXTERNAL-IP", chain, purpose, "dst,dst -j KUBE-MARK-MASQ")
    for name, comment in (
        ("EXTERNAL-IP", purpose),
        ("EXTERNAL-IP-LOCAL", f"{_EXTERNAL} {_LOCAL}"),
    ):
        for rest in (
            "-m physdev ! --physdev-is-in -m addrtype ! --src-type LOCAL",
            "-m addrtype --dst-type LOCAL",
        ):
            lines += _if_any(family, name, chain, comment, f"dst,dst {rest} -j ACCEPT")
    lines.append(f"{chain} -m addrtype --dst-type LOCAL -j KUBE-NODE-PORT")
    lines += [
        f"{chain} {_match(family, name, 'dst,dst')} -j ACCEPT"
        for name in ("CLUSTER-IP", "LOAD-BALANCER")
        if family.sets[name]
    ]
    return lines


def _off_cluster(family: Family, chain: str) -> list[str]:
    networks = [n for n in family.settings.cluster_cidrs if family.is_of(n)]
    sides = "dst,dst"
    if not family.settings.masquerade_all:
        if networks:
            chain += f" ! -s {networks[0]}"
        else:
            sides = "src,dst"
    comment = f"Kubernetes service cluster ip + port {_MASQUERADE}"
    return _if_any(family, "CLUSTER-IP", chain, comment, f"{sides} -j KUBE-MARK-MASQ")


def _if_any(
    family: Family, name: str, chain: str, comment: str, rest: str
) -> list[str]:
    """The rule if the set has an entry; `rest` begins with the set's sides."""
    if not family.sets[name]:
        return []
    return [f"{chain} {_comment(comment)} {_match(family, name, rest)}"]


def _jump(chain: str, comment: str, target: str) -> str:
    return f"-A {chain} {_comment(comment)} -j {target}"


def _comment(comment: str) -> str:
    return f'-m comment --comment "{comment}"'


def _match(family: Family, name: str, sides: str) -> str:
    return f"-m set --match-set {family.set_name(name)} {sides}"
