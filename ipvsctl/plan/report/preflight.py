"""Findings about a node before it is served: what is missing, or in the way.

Every finding says what was found, and what to do about it; one that could not be made
since something could not be read says so.
"""

from collections.abc import Iterator
from typing import Final

from ipvsctl.model.api_facts import ApiFacts
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.net import IPFamily
from ipvsctl.model.node_facts import NodeFacts
from ipvsctl.plan.report.check_firewall import check_filters, check_firewall
from ipvsctl.plan.report.findings import Finding, Severity

BRIDGE_SYSCTL: Final = "net/bridge/bridge-nf-call-iptables"
LOCAL_PORTS_SYSCTL: Final = "net/ipv4/ip_local_port_range"
RESERVED_PORTS_SYSCTL: Final = "net/ipv4/ip_local_reserved_ports"
_FORWARDING: Final = {
    IPFamily.IPV4: "net/ipv4/ip_forward",
    IPFamily.IPV6: "net/ipv6/conf/all/forwarding",
}
ESTIMATION_SYSCTL: Final = "net/ipv4/vs/run_estimation"
ESTIMATOR_SYSCTL: Final = "net/ipv4/vs/est_nice"
"""There from 6.2 on, where threads estimate instead of one timer."""

PREFLIGHT_SYSCTLS: Final = (
    ESTIMATION_SYSCTL,
    ESTIMATOR_SYSCTL,
    BRIDGE_SYSCTL,
    LOCAL_PORTS_SYSCTL,
    RESERVED_PORTS_SYSCTL,
    *_FORWARDING.values(),
)

NODE_PORTS: Final = (30000, 32767)
"""The API server's range, unless `--service-node-port-range` says otherwise."""

MANY_ESTIMATORS: Final = 20_000

_MOST_SKEW_S: Final = 5
_KUBE_ROUTER: Final = "kube-router's service proxy"
_OTHER_CHAINS: Final = {
    "KUBE-SVC-": "kube-proxy's iptables mode",
    "KUBE-SEP-": "kube-proxy's iptables mode",
    "KUBE-ROUTER-SERVICES": _KUBE_ROUTER,
    "KUBE-ROUTER-HAIRPIN": _KUBE_ROUTER,
    "CILIUM_": "Cilium",
}
_OTHER_TABLES: Final = {"kube-proxy": "kube-proxy's nftables mode"}
_OTHER_LINKS: Final = {"kube-dummy-if": _KUBE_ROUTER, "kube-tunnel-if": _KUBE_ROUTER}
_ADVICE: Final = {
    "Cilium": "it must leave Services alone (kubeProxyReplacement: false)",
    _KUBE_ROUTER: "its virtual servers and addresses are in the way: stop it, then"
    " kube-router --cleanup-config, or restart the node (docs/migrate-kube-router.md)",
}
_OLDEST_RELEASE: Final = (4, 19)


def check_before(
    facts: NodeFacts, config: ProxyConfig, *, has_daemon: bool = False
) -> tuple[Finding, ...]:
    """Look at a node that may have no IPVS yet.

    Args:
        facts: what it is like.
        config: the settings it is to be served with.
        has_daemon: ipvsctl runs here already, so that its ports are its own.

    Returns:
        Problems, notes and what is in order, in the same order always.
    """
    return (
        *check_firewall(facts, config),
        *_modules(facts),
        *_forwarding(facts),
        *_other_proxies(facts, is_trial=bool(config.service_proxy_name)),
        *check_filters(facts, config),
        *_conntrack(facts),
        *check_bridges(facts),
        *_estimation(facts),
        *([] if has_daemon else _ports(facts, config)),
        *_node_ports(facts),
        *(
            Finding(severity=Severity.NOTE, subject="not known", found=line)
            for line in facts.unread
        ),
    )


def check_api(api: ApiFacts, node_name: str) -> Iterator[Finding]:
    """What an API server said of serving this node.

    Args:
        api: what it said.
        node_name: of this node.
    """
    if api.error:
        yield _problem(
            "API server",
            f"{api.description}: {api.error}",
            "give an address that works without Services (docs/install.md), and look at"
            " routes and firewalls",
        )
        return
    yield _ok("API server", f"{api.description} answers")
    for line in api.refused:
        yield _problem(
            "permissions", line, "install the chart's ClusterRole for this account"
        )
    if api.has_node is False:
        yield _problem(
            "node name",
            f"there is no Node {node_name}",
            "--node-name, or spec.nodeName of the pod, must be the name of its Node",
        )
    if api.skew_s is not None and abs(api.skew_s) > _MOST_SKEW_S:
        way = "ahead of" if api.skew_s > 0 else "behind"
        yield Finding(
            severity=Severity.NOTE,
            subject="clock",
            found=f"{abs(api.skew_s):,.0f} s {way} the API server's",
            advice="certificates and tokens may not be valid yet, or any more, and"
            " latencies in metrics are wrong: see to NTP",
        )


def _modules(facts: NodeFacts) -> Iterator[Finding]:
    if facts.release and facts.release < _OLDEST_RELEASE:
        release = ".".join(map(str, facts.release))
        yield _problem("kernel release", release, "run Linux 4.19 or newer")
    if facts.modules is None:
        return
    missing = sorted(n for n, is_there in facts.modules.items() if is_there is False)
    unknown = sorted(n for n, is_there in facts.modules.items() if is_there is None)
    if unknown:
        yield Finding(
            severity=Severity.NOTE,
            subject="modules",
            found=f"not loaded: {', '.join(unknown)}",
            advice="whether the kernel has them cannot be seen from here; as a rule it"
            " loads them when they are first used",
        )
    if missing:
        yield _problem(
            "modules",
            f"missing: {', '.join(missing)}",
            "install the package with the kernel's modules (linux-modules-extra,"
            " kernel-modules-extra) and load them at boot",
        )
    elif not unknown:
        yield _ok("modules", f"all {len(facts.modules)} are there")


def _forwarding(facts: NodeFacts) -> Iterator[Finding]:
    for family, name in _FORWARDING.items():
        if facts.sysctls.get(name, "1") == "0":
            yield Finding(
                severity=Severity.NOTE,
                subject=f"{family.label} forwarding",
                found="off",
                advice="ipvsctl run turns it on; whatever turns it off again"
                f" (sysctl.d, a firewall) stops packets to pods: {name}",
            )


def _other_proxies(facts: NodeFacts, *, is_trial: bool) -> Iterator[Finding]:
    """With a name of its own it serves what is given to it, beside kube-proxy."""
    if is_trial:
        return
    if facts.processes is not None and "kube-proxy" in facts.processes:
        yield _problem(
            "other proxies",
            "kube-proxy runs",
            "two proxies undo each other's work: take it off this node first"
            " (docs/migrate.md)",
        )
    found: dict[str, list[str]] = {}
    for whose, thing in _leftovers(facts):
        found.setdefault(whose, []).append(thing)
    for whose, what in found.items():
        first = f"{what[0]} and {len(what) - 1:,} more" if len(what) > 1 else what[0]
        yield Finding(
            severity=Severity.NOTE if whose == "Cilium" else Severity.PROBLEM,
            subject="leftovers",
            found=f"of {whose}: {first}",
            advice=_ADVICE.get(
                whose,
                "they take packets to Services before IPVS does: kube-proxy --cleanup,"
                " or restart the node",
            ),
        )


def _leftovers(facts: NodeFacts) -> Iterator[tuple[str, str]]:
    """Whose something is that another proxy made, and what it is."""
    for chain in sorted(facts.chains or ()):
        for prefix, whose in _OTHER_CHAINS.items():
            if chain.startswith(prefix):
                yield whose, chain
    for table in facts.neighbours.nft_tables or ():
        name = table.partition(" ")[2]
        if name in _OTHER_TABLES:
            yield _OTHER_TABLES[name], f"nft table {table}"
    for link in facts.links or ():
        if link in _OTHER_LINKS:
            yield _OTHER_LINKS[link], f"link {link}"


def _conntrack(facts: NodeFacts) -> Iterator[Finding]:
    fill = facts.neighbours.conntrack
    if fill is None or not fill.limit:
        return
    if not fill.is_filling:
        yield _ok("conntrack", str(fill))
    else:
        yield _problem(
            "conntrack",
            str(fill),
            "when it is full new connections are dropped: raise conntrack.min",
        )


def check_estimators(facts: NodeFacts, count: int) -> Iterator[Finding]:
    """What it costs to estimate rates.

    Args:
        facts: about the node.
        count: of virtual and real servers, each with an estimator.
    """
    is_threaded = ESTIMATOR_SYSCTL in facts.sysctls
    if is_threaded or count < MANY_ESTIMATORS or _is_off(facts):
        return
    yield Finding(
        severity=Severity.NOTE,
        subject="estimators",
        found=f"{count:,}, all in one timer",
        advice="every 2 s packets wait for it; kernels from 6.2 on have threads for it,"
        f" and {ESTIMATION_SYSCTL} = 0 ends it, with rates and traffic metrics",
    )


def _estimation(facts: NodeFacts) -> Iterator[Finding]:
    if _is_off(facts):
        yield Finding(
            severity=Severity.NOTE,
            subject="estimators",
            found=f"off: {ESTIMATION_SYSCTL} is 0",
            advice="IPVS counts no traffic: top and the traffic metrics stand still",
        )


def _is_off(facts: NodeFacts) -> bool:
    return facts.sysctls.get(ESTIMATION_SYSCTL) == "0"


def check_bridges(facts: NodeFacts) -> Iterator[Finding]:
    """Whether packets between the ports of a bridge meet the rules of a cluster IP."""
    if not facts.bridges:
        return
    value = facts.sysctls.get(BRIDGE_SYSCTL)
    names = ", ".join(facts.bridges[:3])
    if value == "1":
        yield _ok("bridges", f"{names}: {BRIDGE_SYSCTL} is 1")
        return
    found = "0" if value == "0" else "not there (br_netfilter is not loaded)"
    yield Finding(
        severity=Severity.NOTE,
        subject="bridges",
        found=f"{names}: {BRIDGE_SYSCTL} is {found}",
        advice="if pods hang on it, pods of this node get no answer from each other"
        " through a cluster IP: load br_netfilter and set it to 1",
    )


def _ports(facts: NodeFacts, config: ProxyConfig) -> Iterator[Finding]:
    taken = {socket.port for socket in facts.sockets or ()}
    for name, listener in (
        ("healthzBindAddress", config.serve.healthz),
        ("metricsBindAddress", config.serve.metrics),
    ):
        if listener.port and listener.port in taken:
            yield _problem(
                "ports",
                f"{listener.port} ({name}) is taken",
                "another proxy runs, or choose another port",
            )


def _node_ports(facts: NodeFacts) -> Iterator[Finding]:
    text = facts.sysctls.get(LOCAL_PORTS_SYSCTL, "")
    try:
        low, high = map(int, text.split())
    except ValueError:
        return
    first, last = NODE_PORTS
    shared = range(max(low, first), min(high, last) + 1)
    if not shared or facts.sysctls.get(RESERVED_PORTS_SYSCTL):
        return
    yield Finding(
        severity=Severity.NOTE,
        subject="node ports",
        found=f"{shared[0]}-{shared[-1]} are also this host's own",
        advice="a connection of the host may have a node port as its own port and get"
        f" no answer: set {RESERVED_PORTS_SYSCTL} to {first}-{last}",
    )


def _ok(subject: str, found: str) -> Finding:
    return Finding(severity=Severity.OK, subject=subject, found=found)


def _problem(subject: str, found: str, advice: str) -> Finding:
    return Finding(
        severity=Severity.PROBLEM, subject=subject, found=found, advice=advice
    )
