"""A node of the lab's cluster as kube-proxy left it, with Services of every kind.

The state comes from the model in `tests.peer` and is put in place by the tools that
print it: ipvsadm, ipset, iptables.
"""

import json
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_interface
from typing import Any

from ipvsctl.cluster.events import Event
from ipvsctl.cluster.manifests.manifest import Manifests, changes, merge, parse_manifest
from ipvsctl.model.net import IPFamily, Protocol, parse_address
from tests.builders import raw_endpoint, raw_node, raw_service, raw_slice
from tests.kernel.load import Way
from tests.kernel.tools import Seen
from tests.lab.netns import Netns, inside
from tests.lab.topology import Cluster, Host
from tests.peer.kube_proxy import Kernel, Settings, kube_proxy
from tests.peer.kube_proxy_endpoints import Raw
from tests.peer.kube_proxy_rules import rules

TARGET_PORTS = {"http": 8080, "dns": 5353}

KEEPALIVEDS = parse_address("10.99.0.1")
"""Bound to lo of node-0, for a program that balances a port of its own."""

SETTINGS = Settings(
    host_addresses=(
        "10.0.0.10",
        "172.16.0.1",
        str(KEEPALIVEDS),
        "fd00:10::10",
        "fd00:172:16::1",
    )
)

_SYSCTLS = {
    "net/ipv4/vs/conntrack": "1",
    "net/ipv4/vs/expire_nodest_conn": "1",
    "net/ipv4/vs/expire_quiescent_template": "1",
    "net/ipv4/ip_forward": "1",
    "net/ipv6/conf/all/forwarding": "1",
}


def load_balancer(name: str, number: int, **spec: Any) -> Raw:
    """A dual-stack Service with all ways in; addresses end in `number`.

    Its node ports are 30000 + number for TCP and UDP.
    """
    ports = [
        {"name": "http", "protocol": "TCP", "port": 80, "nodePort": 30000 + number},
        {"name": "dns", "protocol": "UDP", "port": 53, "nodePort": 30000 + number},
    ]
    ends = [f"10.96.0.{number}", f"fd00:10:96::{number}"]
    fields = {
        "type": "LoadBalancer",
        "ports": ports,
        "ipFamilies": ["IPv4", "IPv6"],
        "clusterIP": ends[0],
        "clusterIPs": ends,
        "externalIPs": [f"203.0.113.{number}", f"2001:db8:203::{number}"],
        "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10800}},
        **spec,
    }
    ingress = [{"ip": f"198.51.100.{number}"}, {"ip": f"2001:db8:198::{number}"}]
    return raw_service(name, ingress=ingress, **fields)


SERVICES = (
    load_balancer("web", 10),
    load_balancer(
        "local", 20, externalTrafficPolicy="Local", healthCheckNodePort=32020
    ),
    load_balancer("sticky", 30, sessionAffinity="ClientIP")
    | {"status": {"loadBalancer": {}}},
)
"""What everyone can use."""

GUARDED = (
    load_balancer("guarded", 40, loadBalancerSourceRanges=["10.0.0.0/24"]),
    load_balancer("closed", 50, loadBalancerSourceRanges=["192.0.2.0/24"]),
)
"""For some only: the second for nobody here, which is a rule of kube-proxy's own."""

GONE = load_balancer("gone", 60)
"""Deleted while nobody proxied."""


def ways_into(services: Iterable[Raw] = SERVICES) -> Iterator[Way]:
    """Every address and port of some Services, node ports too."""
    for service in services:
        spec = service["spec"]
        ingress = service["status"]["loadBalancer"].get("ingress") or ()
        addresses = [*spec["clusterIPs"], *spec["externalIPs"]]
        addresses += [entry["ip"] for entry in ingress]
        for port in spec["ports"]:
            protocol = Protocol[port["protocol"]]
            ends = [(address, port["port"]) for address in addresses]
            ends += [("10.0.0.10", port["nodePort"]), ("fd00:10::10", port["nodePort"])]
            for address, number in ends:
                name = f"{service['metadata']['name']} {protocol.label} {address}"
                yield Way(name, parse_address(address), number, protocol)


def objects(world: Cluster, services: Sequence[Raw]) -> list[Raw]:
    """The cluster with these Services, each on all pods."""
    found: list[Raw] = [
        raw_node(host.name, str(host.ipv4), str(host.ipv6)) for host in world.nodes
    ]
    for service in services:
        found.append(service)
        found += [_slice(service, family, world.pods.values()) for family in IPFamily]
    return found


def events(found: Sequence[Raw]) -> Iterable[Event]:
    """What ipvsctl hears of objects."""
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(found)})
    file = parse_manifest(text.encode(), "cluster.json")
    return changes(Manifests(), merge({"cluster.json": file}))


def install(netns: Netns, found: list[Raw]) -> None:
    """Leave in the namespace what kube-proxy would have made of these objects."""
    kernel = kube_proxy(found, SETTINGS)
    v4, v6 = kernel.families
    restore(
        netns,
        Seen(
            ipvsadm=kernel.ipvsadm,
            creates=kernel.creates,
            entries=kernel.entries,
            rules={"iptables": rules(v4), "ip6tables": rules(v6)},
            addresses=kernel.addresses,
        ),
    )


def restore(netns: Netns, seen: Seen) -> None:
    """Put into the namespace what the tools have seen on a node of kube-proxy's."""
    for path, value in _SYSCTLS.items():
        netns.sysctl(path, value)
    # kube-proxy leaves it down.
    netns.add_dummy("kube-ipvs0")
    for line in seen.addresses:
        netns.add_address("kube-ipvs0", ip_interface(line.split()[1]))
    feed(netns, ["ipset", "restore"], [*seen.creates, *seen.entries])
    for tool, lines in seen.rules.items():
        feed(netns, [f"{tool}-restore", "--noflush"], lines)
    feed(netns, ["ipvsadm", "--restore"], seen.ipvsadm)


def adopt(netns: Netns, kernel: Kernel) -> None:
    """Do what kube-proxy does to a node when it starts.

    It makes its sets, which must not be there made differently, brings their entries
    up to date, and writes its own chains; jumps it finds it leaves.
    Source: kube-proxy pkg/proxy/ipvs/proxier.go (`ensureIPSet`, `syncIPSetEntries`,
        `createAndLinkKubeChain`).
    """
    feed(netns, ["ipset", "-exist", "restore"], [*kernel.creates, *kernel.entries])
    for tool, family in zip(
        ("iptables-restore", "ip6tables-restore"), kernel.families, strict=True
    ):
        own_chains = ("*", ":KUBE-", "-A KUBE-", "COMMIT")
        own = [line for line in rules(family) if line.startswith(own_chains)]
        feed(netns, [tool, "--noflush"], own)


def run(netns: Netns, *command: str) -> None:
    """Run a tool on the node."""
    feed(netns, command, ())


def feed(netns: Netns, command: Sequence[str], lines: Iterable[str]) -> None:
    """Run a tool on the node that reads lines."""
    text = "".join(f"{line}\n" for line in lines)
    with inside(netns):
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (0, ""), command


def _slice(service: Raw, family: IPFamily, pods: Iterable[Host]) -> Raw:
    name = service["metadata"]["name"]
    return raw_slice(
        f"{name}-{family.label.lower()}",
        *(
            raw_endpoint(
                str(pod.address(family)),
                # pod-<node>-<number>
                nodeName=f"node-{pod.name.split('-')[1]}",
            )
            for pod in pods
        ),
        service=name,
        addressType=family.label,
        ports=[
            {
                "name": port["name"],
                "protocol": port["protocol"],
                "port": TARGET_PORTS[port["name"]],
            }
            for port in service["spec"]["ports"]
        ],
    )
