"""Every fault: what is planted, what is asked, and what an operator must be told."""

from dataclasses import dataclass
from typing import Final

from ipvsctl.model.config import FirewallKind
from tests.kernel.firewalls import firewall_of_run

WEB = "shop/web"
VIP = "10.96.0.10"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault.

    Attributes:
        name: for the table.
        plant: commands, run in the node's namespace; none for a fault of an object.
        asked: words after `ipvsctl explain`.
        told: a regular expression; the headline of the answer must contain it.
        knocks: a VIP that a client has just asked in vain; "" for none.
    """

    name: str
    asked: tuple[str, ...] = (WEB,)
    told: str
    plant: tuple[str, ...] = ()
    knocks: str = ""


def kernel(name: str, plant: str, told: str, *asked: str) -> Fault:
    """A fault of the kernel's state, in one command or several."""
    lines = tuple(line.strip() for line in plant.strip().splitlines())
    return Fault(name=name, plant=lines, told=told, asked=asked or (WEB,))


def of_object(name: str, told: str, *asked: str) -> Fault:
    """A fault that is in the cluster's objects from the start."""
    return Fault(name=name, told=told, asked=asked)


_IPTABLES_FAULTS: tuple[Fault, ...] = (
    kernel(
        "virtual server missing",
        f"ipvsadm -D -t {VIP}:80",
        rf"missing: virtual server tcp {VIP}:80",
    ),
    kernel(
        "real server missing",
        f"ipvsadm -d -t {VIP}:80 -r 172.16.0.11:8080",
        rf"missing: real server tcp {VIP}:80 -> 172\.16\.0\.11:8080",
    ),
    kernel(
        "weight 0",
        f"ipvsadm -e -t {VIP}:80 -r 172.16.0.11:8080 -m -w 0",
        r"172\.16\.0\.11:8080 masquerade weight 1 \(was .*weight 0\)",
    ),
    kernel(
        "connection limit of somebody else",
        f"ipvsadm -e -t {VIP}:80 -r 172.16.0.11:8080 -m -w 1 -x 5",
        r"172\.16\.0\.11:8080 masquerade weight 1 \(was .*at most 5",
    ),
    kernel(
        "wrong scheduler",
        f"ipvsadm -E -t {VIP}:80 -s lc",
        rf"virtual server tcp {VIP}:80 rr \(was lc\)",
    ),
    kernel(
        "wrong persistence timeout",
        "ipvsadm -E -t 10.96.0.11:80 -s rr -p 5",
        r"10\.96\.0\.11:80 rr persistent 10800s \(was .*persistent 5s\)",
        "shop/kept",
    ),
    kernel(
        "set entry missing",
        f"ipset del KUBE-CLUSTER-IP {VIP},tcp:80",
        rf"missing: entry KUBE-CLUSTER-IP {VIP},tcp:80",
    ),
    kernel(
        "set entry of another port",
        f"""ipset del KUBE-CLUSTER-IP {VIP},tcp:80
            ipset add KUBE-CLUSTER-IP {VIP},tcp:81""",
        rf"missing: entry KUBE-CLUSTER-IP {VIP},tcp:80",
    ),
    kernel(
        "set flushed",
        "ipset flush KUBE-CLUSTER-IP",
        rf"missing: entry KUBE-CLUSTER-IP {VIP},tcp:80",
    ),
    kernel(
        "set missing",
        """iptables -t nat -F KUBE-SERVICES
           iptables -t filter -F KUBE-IPVS-FILTER
           ipset destroy KUBE-CLUSTER-IP""",
        r"KUBE-CLUSTER-IP",
    ),
    kernel(
        "rule edited",
        "iptables -t nat -R KUBE-POSTROUTING 3 -m mark --mark 0x8000/0x8000 -j RETURN",
        r"different: iptables rules: - nat KUBE-POSTROUTING: .*0x8000",
    ),
    kernel(
        "rule added at the top of a chain of ours",
        "iptables -t nat -I KUBE-SERVICES 1 -j RETURN",
        r"different: iptables rules: - nat KUBE-SERVICES: -j RETURN",
    ),
    kernel(
        "chain flushed",
        "iptables -t nat -F KUBE-SERVICES",
        r"different: iptables rules: \+ nat KUBE-SERVICES",
    ),
    kernel(
        "jump removed",
        "iptables -t nat -F PREROUTING",
        r"different: iptables rules: \+ nat PREROUTING: .*KUBE-SERVICES",
    ),
    kernel(
        "address unbound",
        f"ip address del {VIP}/32 dev kube-ipvs0",
        rf"missing: address {VIP}",
    ),
    kernel(
        "link down",
        "ip link set kube-ipvs0 down",
        r"kube-ipvs0 is not there, or it is down",
    ),
    kernel("link deleted", "ip link del kube-ipvs0", r"kube-ipvs0 is not there"),
    kernel(
        "route missing",
        f"ip route del local {VIP} dev kube-ipvs0 table local",
        rf"(missing|different): route {VIP}",
    ),
    kernel(
        "sysctl vs.conntrack off",
        "sysctl -qw net.ipv4.vs.conntrack=0",
        r"net/ipv4/vs/conntrack=1 \(was 0\)",
    ),
    kernel(
        "sysctl ip_forward off",
        "sysctl -qw net.ipv4.ip_forward=0",
        r"net/ipv4/ip_forward=1 \(was 0\)",
    ),
    kernel(
        "sysctl arp_ignore off",
        "sysctl -qw net.ipv4.conf.all.arp_ignore=0",
        r"arp_ignore=1 \(was 0\)",
        "198.51.100.8:80",
    ),
    kernel(
        "sysctl expire_nodest_conn off",
        "sysctl -qw net.ipv4.vs.expire_nodest_conn=0",
        r"expire_nodest_conn=1 \(was 0\)",
    ),
    kernel(
        "FORWARD DROP of another agent",
        "iptables -I FORWARD 1 -j DROP",
        r"answer .* dropped in FORWARD: filter FORWARD 1: -j DROP",
    ),
    kernel(
        "INPUT REJECT of another agent",
        """iptables -N OTHER-AGENT
           iptables -A OTHER-AGENT -j REJECT --reject-with icmp-port-unreachable
           iptables -I INPUT 1 -j OTHER-AGENT""",
        r"dropped in INPUT: filter OTHER-AGENT 1: -j REJECT",
    ),
    kernel(
        "FORWARD policy DROP, rules gone",
        """iptables -P FORWARD DROP
           iptables -F FORWARD""",
        r"FORWARD",
    ),
)

_ENTRY: Final = f"ip ipvsctl cluster-ip {{ {VIP} . tcp . 80 }}"
_MISSING: Final = rf"missing: entry ip ipvsctl cluster-ip {VIP},tcp:80"
_DIFFERENT: Final = r"different: nft rules of table ip ipvsctl: .*"

_NFTABLES_FAULTS: tuple[Fault, ...] = (
    kernel("set entry missing", f"nft delete element {_ENTRY}", _MISSING),
    kernel(
        "set entry of another port",
        f"""nft delete element {_ENTRY}
            nft add element {_ENTRY.replace("80 }", "81 }")}""",
        _MISSING,
    ),
    kernel("set flushed", "nft flush set ip ipvsctl cluster-ip", _MISSING),
    kernel(
        "set missing",
        """nft flush chain ip ipvsctl nat-KUBE-SERVICES
           nft flush chain ip ipvsctl filter-KUBE-IPVS-FILTER
           nft delete set ip ipvsctl cluster-ip""",
        rf"{_DIFFERENT}@cluster-ip",
    ),
    kernel(
        "rule edited",
        """nft flush chain ip ipvsctl nat-KUBE-IPVS-INSIDE
           nft add rule ip ipvsctl nat-KUBE-IPVS-INSIDE meta mark set 0x1""",
        rf"{_DIFFERENT}- nat KUBE-IPVS-INSIDE: meta mark set 0x1",
    ),
    kernel(
        "rule added at the top of a chain of ours",
        "nft insert rule ip ipvsctl nat-KUBE-SERVICES return",
        rf"{_DIFFERENT}- nat KUBE-SERVICES: return",
    ),
    kernel(
        "chain flushed",
        "nft flush chain ip ipvsctl nat-KUBE-SERVICES",
        rf"{_DIFFERENT}\+ nat KUBE-SERVICES",
    ),
    kernel(
        "jump removed",
        "nft flush chain ip ipvsctl nat-PREROUTING",
        rf"{_DIFFERENT}\+ nat PREROUTING: jump KUBE-SERVICES",
    ),
    kernel(
        "FORWARD DROP of another agent",
        "iptables -I FORWARD 1 -j DROP",
        r"answer .* dropped in FORWARD: filter FORWARD 1: drop",
    ),
    kernel(
        "INPUT REJECT of another agent",
        """iptables -N OTHER-AGENT
           iptables -A OTHER-AGENT -j REJECT --reject-with icmp-port-unreachable
           iptables -I INPUT 1 -j OTHER-AGENT""",
        r"dropped in INPUT: filter OTHER-AGENT 1: reject",
    ),
    kernel(
        "FORWARD policy DROP, rules gone",
        """iptables -P FORWARD DROP
           nft flush chain ip ipvsctl filter-FORWARD""",
        rf"{_DIFFERENT}\+ filter FORWARD",
    ),
    # Those that only nftables has.
    kernel(
        "FORWARD policy DROP, rules there",
        "iptables -P FORWARD DROP",
        r"answer .* dropped in FORWARD: policy DROP",
    ),
    kernel(
        "table put to sleep",
        "nft add table ip ipvsctl { flags dormant; }",
        rf"{_DIFFERENT}the table is dormant",
    ),
    kernel(
        "table deleted",
        "nft delete table ip ipvsctl",
        rf"{_DIFFERENT}\+ filter FORWARD",
    ),
)
"""In the place of those of the same name, when that is the node's firewall."""


def kernel_faults(firewall: FirewallKind) -> tuple[Fault, ...]:
    """The faults of a kernel whose firewall it is."""
    found = {fault.name: fault for fault in _IPTABLES_FAULTS}
    if firewall is FirewallKind.NFTABLES:
        found |= {fault.name: fault for fault in _NFTABLES_FAULTS}
    return tuple(found.values())


KERNEL_FAULTS: Final = kernel_faults(firewall_of_run())
PAGES_FAULTS: Final = kernel_faults(FirewallKind.IPTABLES)
"""Those of docs/faults.md."""

HUNG: Final = of_object("daemon hung", r"hangs: no answer within 3 s", WEB)
WRONG_NAME: Final = of_object("wrong node name", r"no Node node-9 is known", WEB)

OBJECT_FAULTS: tuple[Fault, ...] = (
    of_object("endpoint not ready", r"none of 1 endpoint is ready", "shop/unready"),
    of_object(
        "port name mismatch",
        r"no endpoint has a port http TCP; there are web TCP",
        "shop/misnamed",
    ),
    of_object("no slice", r"no IPv4 EndpointSlice", "shop/sliceless"),
    of_object(
        "internal policy Local, no local endpoint",
        r"policy Local, and none of 1 ready endpoint is on this node",
        "shop/inner",
    ),
    of_object(
        "external policy Local, no local endpoint: VIP",
        r"policy Local, and none of 1 ready endpoint is on this node",
        "198.51.100.7:80",
    ),
    of_object(
        "external policy Local, no local endpoint: node port",
        r"policy Local, and none of 1 ready endpoint is on this node",
        "10.0.0.10:30081",
    ),
    of_object(
        "source range excludes the client",
        r"203\.0\.113\.9 is in none of the source ranges 192\.0\.2\.0/24",
        *("198.51.100.8:80", "--from", "203.0.113.9"),
    ),
    of_object(
        "VIP is a node's",
        r"spec\.externalIPs: 10\.0\.0\.11: is the address of a Node",
        "shop/greedy",
    ),
    of_object(
        "two Services, one VIP",
        r"203\.0\.113\.60:80: already taken by Service shop/first",
        "shop/second",
    ),
    of_object(
        "foreign virtual server on the VIP",
        r"203\.0\.113\.70:80: already taken by a foreign virtual server",
        "shop/late",
    ),
    of_object("unknown scheduler", r"scheduler.*nosuch", "shop/odd"),
    Fault(
        name="pod dead behind a ready endpoint",
        asked=("shop/dead",),
        told=r"172\.16\.0\.99:8080 answers no SYN",
        knocks="10.96.0.31",
    ),
    of_object("headless", r"is headless", "shop/headless"),
    of_object("another proxy's", r"another proxy's", "shop/others"),
    of_object("no such Service", r"there is one in shop", "default/web"),
    of_object("wrong cluster IP", r"no Service.* has 10\.96\.0\.99", "10.96.0.99"),
    of_object("wrong port", r"there are 80", "10.96.0.10:8080"),
)
