"""Which settings can be given on the command line and in the environment.

Apart from `fields`, which says how they are read: `--help` needs no more than this,
and imports no more.
"""

import re
from dataclasses import dataclass
from typing import Final

OWN_KEY: Final = "ipvsctl"
"""Where settings of ours are in a KubeProxyConfiguration."""


@dataclass(frozen=True, slots=True)
class Flag:
    """A setting that has a flag and an environment variable.

    Attributes:
        path: its path in the configuration file.
        metavar: form of a value; words are separated by `|`.
        help: for `--help`.
    """

    path: str
    metavar: str
    help: str

    @property
    def name(self) -> str:
        """The flag, `--drain-timeout` for `ipvsctl.drainTimeout`."""
        key = self.path.rpartition(".")[2]
        return "--" + re.sub(r"(?<=[a-z])(?=[A-Z])", "-", key).lower()

    @property
    def variable(self) -> str:
        """The environment variable, `IPVSCTL_DRAIN_TIMEOUT`."""
        return "IPVSCTL_" + self.name.removeprefix("--").replace("-", "_").upper()

    @property
    def words(self) -> tuple[str, ...]:
        """The values there are, if they can be listed."""
        return tuple(self.metavar.split("|")) if "|" in self.metavar else ()


FLAGS: Final = (
    Flag(
        "clientConnection.kubeconfig",
        "FILE",
        "Where the API server is.  [default: the cluster of this pod]",
    ),
    Flag("clusterCIDR", "A,B", "Where pods are, one network a family."),
    Flag(
        f"{OWN_KEY}.allowedExternalIPs",
        "A,B",
        "Networks that external IPs must be in; none: there are none.  [default: all]",
    ),
    Flag(
        f"{OWN_KEY}.allowedIngressVIPs",
        "A,B",
        "Networks that load-balancer VIPs must be in; none: there are none."
        "  [default: all]",
    ),
    Flag(
        f"{OWN_KEY}.compatibility",
        "none|kube-proxy",
        "kube-proxy: send every packet where kube-proxy would.",
    ),
    Flag(
        f"{OWN_KEY}.drainTimeout",
        "DURATION",
        "How long connections to an endpoint that is gone may go on.",
    ),
    Flag(
        f"{OWN_KEY}.driftWatch",
        "true|false",
        "Look for what others change, and do not wait for the next audit.",
    ),
    Flag(
        f"{OWN_KEY}.externalForwarding",
        "masquerade|tunnel",
        "How outside clients reach endpoints on other nodes, see --tunnel-port.",
    ),
    Flag(
        f"{OWN_KEY}.firewall",
        "auto|iptables|nftables",
        "What has the fixed rules and their sets; auto: iptables where it works.",
    ),
    Flag(
        f"{OWN_KEY}.localFallback",
        "none|cluster",
        "What a Local address leads to on a node without endpoints of its own.",
    ),
    Flag(
        f"{OWN_KEY}.markRange",
        "VALUE/MASK",
        "Packet marks for clients inside the cluster, see --short-circuit.",
    ),
    Flag(
        f"{OWN_KEY}.maxConnections",
        "COUNT",
        "Connections an endpoint may have at one address; 0: any number.",
    ),
    Flag(
        f"{OWN_KEY}.minSyncPeriod",
        "DURATION",
        "Least time between two syncs; 0s syncs at once.",
    ),
    Flag(
        f"{OWN_KEY}.namespaceHealthChecks",
        "COUNT",
        "Health-check node ports that one namespace may have; 0: any number.",
    ),
    Flag(
        f"{OWN_KEY}.namespaceMarks",
        "COUNT",
        "Packet marks that one namespace may have, see --mark-range; 0: any number.",
    ),
    Flag(
        f"{OWN_KEY}.namespaceRealServers",
        "COUNT",
        "Real servers that one namespace may have; 0: any number.",
    ),
    Flag(
        f"{OWN_KEY}.namespaceVirtualServers",
        "COUNT",
        "Virtual servers that one namespace may have; 0: any number.",
    ),
    Flag(
        f"{OWN_KEY}.reservedNodePorts",
        "A,B",
        "Ports that are no Service's node ports; none: only the daemon's own."
        "  [default: 22,10250]",
    ),
    Flag(
        f"{OWN_KEY}.persistenceNetmask",
        "IPV4,IPV6",
        "Prefix lengths within which clients are one to session affinity.",
    ),
    Flag(f"{OWN_KEY}.procSys", "DIR", "Where sysctls are read and written."),
    Flag(
        f"{OWN_KEY}.serviceMarks",
        "COUNT",
        "Packet marks that one Service may have, see --mark-range; 0: any number.",
    ),
    Flag(
        f"{OWN_KEY}.serviceProxyName",
        "NAME",
        "Serve only Services given to the proxy of this name, by their label.",
    ),
    Flag(
        f"{OWN_KEY}.serviceMetrics",
        "COUNT",
        "How many Services have traffic metrics of their own; 0: no traffic metrics.",
    ),
    Flag(
        f"{OWN_KEY}.serviceRealServers",
        "COUNT",
        "Real servers that one Service may have; 0: any number.",
    ),
    Flag(
        f"{OWN_KEY}.serviceVirtualServers",
        "COUNT",
        "Virtual servers that one Service may have; 0: any number.",
    ),
    Flag(
        f"{OWN_KEY}.shortCircuit",
        "true|false",
        "Clients inside the cluster reach all endpoints of a Local address.",
    ),
    Flag(
        f"{OWN_KEY}.slowStart",
        "DURATION",
        "How long an endpoint that comes takes to get its whole weight; 0s: none.",
    ),
    Flag(
        f"{OWN_KEY}.strictARP",
        "true|false",
        "Answer ARP only for addresses of the link that was asked.",
    ),
    Flag(
        f"{OWN_KEY}.tunnelPort",
        "PORT",
        "UDP port of tunnels between nodes, the same on all of them; 0: none.",
    ),
    Flag(
        f"{OWN_KEY}.vipBinding",
        "address|route|auto",
        "How VIPs become the host's own.",
    ),
    Flag(f"{OWN_KEY}.vipLink", "NAME", "The dummy link that VIPs are bound to."),
)
