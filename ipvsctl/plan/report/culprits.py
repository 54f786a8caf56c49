"""A guess at who changes what ipvsctl repairs: by what is known to program such things.

The kernel does not say who has changed anything, so this is never more than a guess,
and is worded as one.
"""

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Final

from ipvsctl.model.config import FirewallKind
from ipvsctl.model.processes import Process, Processes
from ipvsctl.plan.diff.kinds import ObjectKind

_IPVS: Final = frozenset(
    {ObjectKind.TIMEOUTS, ObjectKind.VIRTUAL_SERVER, ObjectKind.REAL_SERVER}
)
_RULES: Final = frozenset({ObjectKind.RULES})
_SETS: Final = frozenset({ObjectKind.SET, ObjectKind.ENTRY})
_NETWORK: Final = frozenset(
    {ObjectKind.LINK, ObjectKind.TUNNEL, ObjectKind.ADDRESS, ObjectKind.ROUTE}
)
_SYSCTLS: Final = frozenset({ObjectKind.SYSCTL})
_EVERYTHING: Final = frozenset(ObjectKind)

PROGRAMS: Final[Mapping[str, AbstractSet[ObjectKind]]] = {
    "kube-proxy": _EVERYTHING,
    "ipvsctl": _EVERYTHING,
    "kube-router": _EVERYTHING,
    "keepalived": _IPVS | _NETWORK,
    "kube-vip": _IPVS | _NETWORK,
    "ldirectord": _IPVS,
    "lvscare": _IPVS,
    "ipvsadm": _IPVS,
    "firewalld": _RULES | _SETS,
    "ufw": _RULES | _SYSCTLS,
    "iptables-restore": _RULES,
    "ip6tables-restore": _RULES,
    "iptables": _RULES,
    "ip6tables": _RULES,
    "nft": _RULES | _SETS,
    "netfilter-persistent": _RULES,
    "ipset": _SETS,
    "calico-node": _RULES | _SETS,
    "cilium-agent": _RULES,
    "dockerd": _RULES,
    "NetworkManager": _NETWORK,
    "systemd-networkd": _NETWORK | _SYSCTLS,
    "wickedd": _NETWORK,
    "connmand": _NETWORK,
    "systemd-sysctl": _SYSCTLS,
    "sysctl": _SYSCTLS,
    "tuned": _SYSCTLS,
    "puppet": _EVERYTHING,
    "chef-client": _EVERYTHING,
    "salt-minion": _EVERYTHING,
    "cf-agent": _EVERYTHING,
}
"""What each program is known to change in the kernel, the likeliest culprits first.

Those that run on every node and never change what ipvsctl needs (kubelet, containerd)
are left out: to name them would be no guess.
"""

_NEVER_NFTABLES: Final = frozenset(
    {"iptables-restore", "ip6tables-restore", "iptables", "ip6tables", "ipset"}
)
"""Programs that touch no table of nftables but those with iptables' names."""

UNSEEN: Final = (
    "who that is cannot be guessed: without hostPID the node's processes are not seen"
)

_MOST_NAMED: Final = 3
_CHANGING: Final = frozenset({"run", "apply", "cleanup"})
"""The commands of ipvsctl that change the kernel."""


def guess(kind: ObjectKind, seen: Processes, firewall: FirewallKind) -> str:
    """Who may be changing a kind of object, as a clause; "" if nobody is known.

    Args:
        kind: what is changed.
        seen: the processes that run.
        firewall: the one whose rules and sets may be changed.
    """
    named = tuple(_suspects(kind, seen, firewall))
    clauses = []
    is_locked = kind in _RULES and firewall is FirewallKind.IPTABLES
    holder = seen.lock_holder if is_locked else None
    if holder is not None:
        clauses.append(f"{holder}, which held the lock of iptables just then")
    if named:
        others = " and ".join(map(str, named))
        runs, changes = ("runs", "changes") if len(named) == 1 else ("run", "change")
        clauses.append(f"{others}, which {runs} on this node and {changes} such things")
    if clauses:
        return f"a guess at who that is: {'; or '.join(clauses)}"
    return "" if seen.are_nodes else UNSEEN


def _suspects(
    kind: ObjectKind, seen: Processes, firewall: FirewallKind
) -> Iterator[Process]:
    """One process of each program, the likeliest first; not all of them."""
    by_name: dict[str, Process] = {}
    for process in seen.running:
        if process.name != "ipvsctl" or process.arguments & _CHANGING:
            by_name.setdefault(process.name, process)
    likely = [n for n in PROGRAMS if n in by_name and _changes(n, kind, firewall)]
    yield from (by_name[name] for name in likely[:_MOST_NAMED])


def _changes(name: str, kind: ObjectKind, firewall: FirewallKind) -> bool:
    """Whether a program is known to change a kind of object, in this firewall."""
    if firewall is FirewallKind.NFTABLES and name in _NEVER_NFTABLES:
        return False
    if firewall is FirewallKind.IPTABLES and name == "nft" and kind in _SETS:
        return False
    return kind in PROGRAMS[name]
