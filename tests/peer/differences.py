"""Where ipvsctl differs from kube-proxy on purpose, line by line, with the reason.

With `compatibility: kube-proxy` nothing else may differ. The reasons are numbered as in
docs/improvements.md.
"""

import re
from collections.abc import Container, Iterable
from dataclasses import dataclass

_SET = re.compile(r"--match-set (\S+) ")

_KUBE_PROXY_NODE_PORT = re.compile(
    r"add (KUBE(?:-6)?)-NODE-PORT(-LOCAL)?-(TCP|UDP|SCTP)\S* (?:\S+,sctp:)?(\d+)"
)

_ONLY_THEIRS = (
    ("I1", re.compile(r"-A KUBE-NODE-PORT -p \S+ .* KUBE(-6)?-NODE-PORT-\S+ dst\S* ")),
    ("I2", re.compile(r"-A KUBE-IPVS-OUT-FILTER -s \S+ -m ipvs .* -j DROP")),
)
_ONLY_OURS = (
    ("I1", re.compile(r"-A KUBE-NODE-PORT .* KUBE(-6)?-NODE-PORT(-LOCAL)? dst,dst ")),
    ("I2", re.compile(r"-A KUBE-IPVS-FILTER .* RELATED,ESTABLISHED -j RETURN")),
    ("I11", re.compile(r"-A KUBE-IPVS-FILTER -p (icmp|ipv6-icmp) .* -j RETURN")),
)


@dataclass(frozen=True)
class Difference:
    """A rule that only one of both has.

    Attributes:
        reason: the number of the improvement; "" when it is a mistake.
    """

    reason: str
    who: str
    table: str
    rule: str


def rule_differences(
    ours: Iterable[str], theirs: Iterable[str], used_sets: Container[str]
) -> list[Difference]:
    """Compare two texts of `iptables-save`.

    The order of rules counts among those that both have.

    Args:
        ours: ipvsctl's.
        theirs: kube-proxy's.
        used_sets: names of the sets in which kube-proxy has an entry.
    """
    mine, peers = _by_table(ours), _by_table(theirs)
    found = [
        Difference(_reason(rule, _ONLY_THEIRS), "kube-proxy", table, rule)
        for table, rule in peers
        if (table, rule) not in mine
    ]
    found += [
        Difference(_ours_reason(table, rule, used_sets), "ipvsctl", table, rule)
        for table, rule in mine
        if (table, rule) not in peers
    ]
    for chain in {(table, rule.split()[1]) for table, rule in peers}:
        order = [
            [pair for pair in one if _chain(pair) == chain and pair in other]
            for one, other in ((mine, peers), (peers, mine))
        ]
        if order[0] != order[1]:
            found.append(Difference("", "both", *chain))
    return found


def as_one_node_port_set(line: str, addresses: dict[str, list[str]]) -> list[str]:
    """An `add` line of kube-proxy as ipvsctl has it: I1.

    kube-proxy has a bitmap of ports for TCP and UDP each, so that a cluster IP with
    port 31000 is taken for node port 31000 (k/k#132068), and addresses for SCTP.

    Args:
        line: of a node port, or any other, which stays as it is.
        addresses: those that node ports are served on, by `KUBE` and `KUBE-6`.

    Returns:
        One line for each address; of SCTP's the several are the same.
    """
    found = _KUBE_PROXY_NODE_PORT.fullmatch(line)
    if found is None:
        return [line]
    prefix, local, protocol, port = found.groups()
    name = f"{prefix}-NODE-PORT{local or ''}"
    return [
        f"add {name} {address},{protocol.lower()}:{port}"
        for address in addresses[prefix]
    ]


def as_hashed(line: str) -> str:
    """A virtual server of kube-proxy with the flags of I5.

    kube-proxy sets none that keeps a hashing scheduler from choosing weight 0.
    """
    if not line.startswith("-A"):
        return line
    if " -s mh" in line:
        return line.replace("-b mh-port", "-b mh-fallback,mh-port")
    return f"{line} -b sh-fallback" if " -s sh" in line else line


def _by_table(lines: Iterable[str]) -> list[tuple[str, str]]:
    table, found = "", []
    for line in lines:
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith("-A"):
            found.append((table, line))
    return found


def _chain(pair: tuple[str, str]) -> tuple[str, str]:
    return pair[0], pair[1].split()[1]


def _ours_reason(table: str, rule: str, used_sets: Container[str]) -> str:
    if table == "mangle":
        # Source ranges as seen from the node itself.
        return "I2"
    found = _reason(rule, _ONLY_OURS)
    named = _SET.findall(rule)
    if not found and named and not any(name in used_sets for name in named):
        # Always there; matches nothing.
        return "I2"
    return found


def _reason(rule: str, table: Iterable[tuple[str, re.Pattern[str]]]) -> str:
    return next((reason for reason, known in table if known.match(rule)), "")
