"""Packets to and from addresses that look special and are in use."""

from collections.abc import Iterator
from contextlib import closing
from ipaddress import IPv4Interface, IPv4Network

import msgspec
import pytest

from ipvsctl.kernel.iptables_firewall import IptablesFirewall
from ipvsctl.kernel.linux import LinuxKernel
from ipvsctl.model.errors import Exists
from ipvsctl.model.net import IPAddress, IPFamily, Protocol, parse_address
from ipvsctl.model.objects import (
    Endpoint,
    EndpointSlice,
    Service,
    ServicePort,
    ServiceType,
    SlicePort,
)
from ipvsctl.model.problem import ObjectRef
from tests.kernel.node import BINDINGS, CONFIG, has, has_nodes, proxied
from tests.lab.netns import Netns
from tests.lab.topology import Cluster
from tests.lab.traffic import Servers, ask

pytestmark = pytest.mark.kernel

CLUSTER_IPS = ("240.96.0.77", "169.254.48.7", "0.1.2.3")
INGRESS_VIP = "169.254.20.10"
POD = "240.16.0.10"


def service(address: str) -> Service:
    """A Service with this cluster IP, and a load balancer beside it."""
    return Service(
        ref=ObjectRef("default", f"at-{address.replace('.', '-')}"),
        type=ServiceType.LOAD_BALANCER,
        cluster_ips=(parse_address(address),),
        ingress_vips=(parse_address(INGRESS_VIP),) if address == CLUSTER_IPS[0] else (),
        ports=(ServicePort(name="http", protocol=Protocol.TCP, port=80),),
    )


def slice_of(owner: Service, *pods: Endpoint) -> EndpointSlice:
    """Its endpoints."""
    return EndpointSlice(
        ref=ObjectRef("default", f"{owner.ref.name}-1"),
        service=owner.ref,
        family=IPFamily.IPV4,
        ports=(SlicePort(name="http", protocol=Protocol.TCP, port=8080),),
        endpoints=pods,
    )


@pytest.fixture(params=BINDINGS)
def world(
    request: pytest.FixtureRequest, cluster: Cluster, servers: Servers
) -> Iterator[Cluster]:
    """Node-0 serves them all, on a pod in 240.0.0.0/4."""
    node, pod = cluster.nodes[0].netns, cluster.pods["pod-0-0"].netns
    pod.add_address("eth0", IPv4Interface(f"{POD}/32"))
    node.add_route(IPv4Network(f"{POD}/32"), link="cbr0")
    servers.add(pod, parse_address(POD), 8080)
    for vip in (*CLUSTER_IPS, INGRESS_VIP):
        network = IPv4Network(f"{vip}/32")
        cluster.client.netns.add_route(network, via=cluster.nodes[0].ipv4)
    config = msgspec.structs.replace(CONFIG, vip_binding=request.param)
    with proxied(node, config=config) as proxy:
        proxy.take(*has_nodes(cluster.nodes))
        for address in CLUSTER_IPS:
            owner = service(address)
            endpoint = Endpoint(address=parse_address(POD), node_name="node-0")
            proxy.take(has(owner), has(slice_of(owner, endpoint)))
        proxy.audit()
        assert proxy.audit().plan == ()
        yield cluster


@pytest.mark.parametrize("vip", [*CLUSTER_IPS, INGRESS_VIP])
def test_class_e_and_link_local_addresses_are_served(world: Cluster, vip: str) -> None:
    """From outside, from the host and from a pod, whichever way VIPs are bound."""
    address: IPAddress = parse_address(vip)
    for client in (world.client, world.nodes[0], world.pods["pod-0-1"]):
        assert ask(client.netns, address, 80).server == "pod-0-0"


def test_a_pod_with_an_address_in_use_again_is_reached(
    cluster: Cluster, servers: Servers
) -> None:
    """The old pod's node sends to the new pod, and not to the void (k/k#135266)."""
    new = cluster.pods["pod-1-0"]
    servers.add(new.netns, new.ipv4, 8080)
    owner = service("10.96.0.10")
    old = Endpoint(
        address=new.ipv4,
        ready=False,
        serving=False,
        terminating=True,
        node_name="node-0",
    )
    ready = Endpoint(address=new.ipv4, node_name="node-1")
    with proxied(cluster.nodes[0].netns) as proxy:
        proxy.take(*has_nodes(cluster.nodes), has(owner))
        for both in ((old, ready), (ready, old)):
            proxy.take(has(slice_of(owner, *both)))
            proxy.audit()
            answer = ask(cluster.client.netns, parse_address("10.96.0.10"), 80)
            assert answer.server == "pod-1-0"


@pytest.mark.parametrize("link", ["lo", "br0", "veth0"])
def test_no_link_but_a_dummy_becomes_the_vip_link(netns: Netns, link: str) -> None:
    """Its addresses are somebody's: it is named, and nothing is changed."""
    netns.add_bridge("br0")
    netns.ip.link("add", ifname="veth0", kind="veth", peer="veth1")
    netns.add_address("br0", IPv4Interface("10.9.9.9/24"))
    with pytest.raises(Exists, match=link):
        LinuxKernel(vip_link=link, sysctl_names=(), firewall=IptablesFirewall({}))
    netns.add_dummy("kube-ipvs0")
    with closing(
        LinuxKernel(
            vip_link="kube-ipvs0", sysctl_names=(), firewall=IptablesFirewall({})
        )
    ) as own:
        assert parse_address("10.9.9.9") in own.read_host().addresses
