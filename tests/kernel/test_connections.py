"""IPVS' connections and rates, read while there are some."""

import time

import pytest

from ipvsctl.kernel.connections import read_connections
from ipvsctl.kernel.ipvs_rates import IpvsRates
from ipvsctl.model.ipvs import RealServerKey, VirtualServerKey
from ipvsctl.model.net import IPFamily, Protocol, parse_address
from ipvsctl.model.objects import Service, ServicePort
from ipvsctl.model.problem import ObjectRef
from ipvsctl.model.rates import Rates
from tests.kernel.node import has, has_nodes, proxied, slices
from tests.lab.netns import inside
from tests.lab.topology import Cluster
from tests.lab.traffic import Servers, connect

pytestmark = pytest.mark.kernel

VIPS = {IPFamily.IPV4: "10.96.0.10", IPFamily.IPV6: "fd00:10:96::10"}


def test_a_connection_of_each_family_and_protocol(
    cluster: Cluster, servers: Servers
) -> None:
    """Client, VIP, endpoint and state are what was done; nothing else is there."""
    pod, node = cluster.pods["pod-0-0"], cluster.nodes[0]
    service = Service(
        ref=ObjectRef("default", "web"),
        cluster_ips=tuple(map(parse_address, VIPS.values())),
        ports=tuple(ServicePort(name=p.label, protocol=p, port=80) for p in Protocol),
    )
    for address in (pod.ipv4, pod.ipv6):
        for protocol in Protocol:
            servers.add(pod.netns, address, 8080, protocol=protocol)
    ports = dict.fromkeys((p.label for p in Protocol), 8080)
    with proxied(node.netns) as proxy:
        proxy.take(*has_nodes(cluster.nodes), has(service))
        proxy.take(*slices(service, (pod,), ports))
        proxy.audit()
        client = cluster.pods["pod-0-1"]
        for family, vip in VIPS.items():
            for protocol in Protocol:
                with connect(
                    client.netns, parse_address(vip), 80, protocol=protocol
                ) as made:
                    source = made.ask().source_port
                    with inside(node.netns):
                        found = [
                            row
                            for row in read_connections()
                            if row.client.port == source
                            and row.virtual_server.protocol is protocol
                        ]
                (row,) = found
                assert row.client.address == client.address(family)
                assert row.virtual_server.address == parse_address(vip)
                assert row.real_server == RealServerKey(pod.address(family), 8080)
                assert row.state in {"ESTABLISHED", "UDP"}
                assert row.expires_s > 0


@pytest.mark.parametrize("family", IPFamily)
def test_rates(cluster: Cluster, servers: Servers, family: IPFamily) -> None:
    """Of a virtual server and of its real server, while a client asks."""
    pod, node = cluster.pods["pod-0-0"], cluster.nodes[0]
    service = Service(
        ref=ObjectRef("default", "web"),
        cluster_ips=(parse_address(VIPS[family]),),
        ports=(ServicePort(name="http", protocol=Protocol.TCP, port=80),),
    )
    servers.add(pod.netns, pod.address(family), 8080)
    key = VirtualServerKey(
        family=family,
        protocol=Protocol.TCP,
        address=parse_address(VIPS[family]),
        port=80,
    )
    real = RealServerKey(pod.address(family), 8080)
    absent = VirtualServerKey(family=family, fwmark=77)
    with proxied(node.netns) as proxy:
        proxy.take(*has_nodes(cluster.nodes), has(service))
        proxy.take(*slices(service, (pod,), {"http": 8080}))
        proxy.audit()
        client = cluster.pods["pod-0-1"]
        with inside(node.netns):
            rates = IpvsRates()
            assert rates.is_estimating()
            assert rates.virtual_servers()[key] == Rates()
        # Estimates come every two seconds.
        end_s = time.monotonic() + 60
        found = Rates()
        while not (found.connections and found.bytes_out):
            assert time.monotonic() < end_s
            for _ in range(20):
                with connect(client.netns, parse_address(VIPS[family]), 80) as made:
                    made.ask()
            with inside(node.netns):
                found = rates.virtual_servers()[key]
                servers_found = rates.real_servers([key, absent])
    assert found.packets_in > found.connections
    assert found.bytes_in > found.packets_in
    assert servers_found[absent] == {}
    assert servers_found[key][real].weight == 1
    assert servers_found[key][real].rates.packets > 0
