"""The desired state follows the store."""

import msgspec
import pytest

from ipvsctl.cluster.events import ApiServersFound, Deleted, Upserted
from ipvsctl.cluster.store import Store
from ipvsctl.controller.compiler import Compiler
from ipvsctl.model.capabilities import Capabilities
from ipvsctl.model.config import Compatibility, NodePortAddresses, ProxyConfig
from ipvsctl.model.host import API_SERVICE, ApiServer, HostNetwork
from ipvsctl.model.ipvs import ForwardingMethod
from ipvsctl.model.net import IPAddress, Protocol, parse_address, parse_network
from ipvsctl.model.objects import (
    Endpoint,
    Node,
    Service,
    ServicePort,
    ServiceType,
    TunnelOffer,
)
from ipvsctl.model.problem import Kind, ObjectRef
from tests.builders import endpoint_slice, node, ref, service

VIP = parse_address("203.0.113.50")


def put(store: Store, value: Node | Service) -> None:
    """Have an object."""
    if isinstance(value, Node):
        ref = ObjectRef("", value.name)
        store.apply(Upserted(kind=Kind.NODE, ref=ref, values=(value,)))
    else:
        store.apply(Upserted(kind=Kind.SERVICE, ref=value.ref, values=(value,)))


def on(*addresses: IPAddress) -> HostNetwork:
    """A host with these addresses on its links."""
    return HostNetwork(addresses=frozenset(addresses))


def networks(*texts: str) -> NodePortAddresses:
    """Node ports on addresses in these networks."""
    return NodePortAddresses(networks=tuple(map(parse_network, texts)))


def compiler(store: Store) -> Compiler:
    """A compiler that has seen what is in the store."""
    made = Compiler(config=ProxyConfig(), store=store, capabilities=Capabilities())
    made.compile_all(store.take())
    return made


def test_a_peer_that_takes_a_vip_as_its_address_has_it_refused() -> None:
    """Only the Services that claim the address are compiled, with the new peers."""
    store = Store("node-0")
    put(store, node("node-0"))
    put(store, service(external_ips=(VIP,)))
    made = compiler(store)
    assert VIP in made.desired.state().addresses
    put(store, node("node-1", str(VIP)))
    made.compile_all(store.take())
    assert VIP not in made.desired.state().addresses
    assert [problem.value for problem in made.problems()] == [str(VIP)]
    store.apply(Deleted(kind=Kind.NODE, ref=ObjectRef("", "node-1")))
    made.compile_all(store.take())
    assert VIP in made.desired.state().addresses
    assert made.problems() == ()


def test_peers_are_known_even_if_the_own_node_is_not() -> None:
    """A node without a Node object of its own serves no peer's address either."""
    store = Store("node-0")
    put(store, node("node-1", str(VIP)))
    put(store, service(external_ips=(VIP,)))
    assert VIP not in compiler(store).desired.state().addresses


def test_host_addresses_are_sorted_and_kept() -> None:
    """They come from the kernel, so objects do not change them."""
    store = Store("node-0")
    made = compiler(store)
    hosts = [parse_address(a) for a in ("fd00:10::10", "10.0.0.10", "10.0.0.9")]
    made.set_host(on(*hosts))
    put(store, node("node-0", "10.0.0.10", zone="zone-a"))
    made.compile_all(store.take())
    assert made.context.host_addresses == tuple(reversed(hosts))
    assert made.context.zone == "zone-a"


def test_the_configured_address_stands_for_the_node() -> None:
    """It comes before the Node's own, and is no VIP for anyone."""
    store = Store("node-0")
    put(store, node("node-0", "10.0.0.10", "fd00:10::10"))
    put(store, service(external_ips=(VIP,)))
    config = ProxyConfig(node_address=VIP)
    made = Compiler(config=config, store=store, capabilities=Capabilities())
    made.compile_all(store.take())
    assert [str(a) for a in made.context.node_addresses] == [
        str(VIP),
        "10.0.0.10",
        "fd00:10::10",
    ]
    assert [problem.value for problem in made.problems()] == [str(VIP)]


def test_a_scheduler_the_kernel_lacks_is_not_used() -> None:
    """What the kernel has is known before anything is asked of it."""
    store = Store("node-0")
    put(store, service(annotations=(("ipvsctl.io/scheduler", "mh"),)))
    capabilities = Capabilities(schedulers=frozenset({"rr", "wlc"}))
    made = Compiler(config=ProxyConfig(), store=store, capabilities=capabilities)
    made.compile_all(store.take())
    servers = made.desired.state().virtual_servers.values()
    assert {server.scheduler for server in servers} == {"rr"}
    assert [problem.reason for problem in made.problems()] == [
        "this node's kernel has no module ip_vs_mh; rr is used"
    ]


def test_host_addresses_can_be_known_when_all_is_compiled_first() -> None:
    """A VIP that is one of them is refused; others have everything compiled again."""
    store = Store("node-0")
    put(store, node("node-0"))
    put(store, service(external_ips=(VIP,)))
    made = Compiler(config=ProxyConfig(), store=store, capabilities=Capabilities())
    made.compile_all(store.take(), on(VIP))
    assert VIP not in made.desired.state().addresses
    assert made.compile_all(store.take(), on(VIP)).keys == frozenset()
    assert made.compile_all(store.take(), on()).keys
    assert VIP in made.desired.state().addresses


@pytest.mark.parametrize(
    ("nodes", "hosts", "refused"),
    [
        ((), ["10.0.0.10", "203.0.113.50"], "10.0.0.10"),
        (("node-1",), ["10.0.0.10", "203.0.113.50"], "10.0.0.10"),
        (("node-0",), ["10.0.0.10", "203.0.113.50"], "10.0.0.10"),
        ((), ["203.0.113.50"], "203.0.113.50"),
    ],
)
def test_something_stands_for_a_node_without_addresses(
    nodes: tuple[str, ...], hosts: list[str], refused: str
) -> None:
    """With no Node object, or one that lists none, the host's primary address does.

    Every other address of the host may be a VIP that somebody else moves.
    """
    store = Store("node-0")
    for name in nodes:
        put(store, Node(name=name))
    claimed = tuple(map(parse_address, ("10.0.0.10", "203.0.113.50")))
    put(store, service(external_ips=claimed))
    made = Compiler(config=ProxyConfig(), store=store, capabilities=Capabilities())
    made.compile_all(store.take(), on(*map(parse_address, hosts)))
    assert [problem.value for problem in made.problems()] == [refused]


def test_only_claimants_of_a_guarded_address_are_compiled() -> None:
    """A gateway, name server or API server that moves costs those that ask for it."""
    store = Store("node-0")
    put(store, node("node-0", "10.0.0.10"))
    put(store, service(external_ips=(VIP,)))
    put(store, service("other", cluster_ips=(parse_address("10.96.0.11"),)))
    made = compiler(store)
    hosts = frozenset({parse_address("10.0.0.10")})
    made.compile_all(store.take(), HostNetwork(addresses=hosts))
    untouched = made.desired.programs[ref("other")]
    for host in (
        HostNetwork(addresses=hosts, gateways=frozenset({VIP})),
        HostNetwork(addresses=hosts, resolvers=frozenset({VIP})),
    ):
        made.compile_all(store.take(), host)
        assert [problem.value for problem in made.problems()] == [str(VIP)]
        made.compile_all(store.take(), HostNetwork(addresses=hosts))
        assert made.problems() == ()
    store.apply(ApiServersFound(frozenset({ApiServer(VIP, 6443)})))
    assert store.take_dirty().services == {ref("web")}
    assert made.desired.programs[ref("other")] is untouched


def test_the_api_servers_addresses_are_those_in_use_and_its_own_services() -> None:
    """Both are guarded from the event on, and neither longer than it is so."""
    store = Store("node-0")
    put(store, service(external_ips=(VIP,)))
    made = compiler(store)
    found = ApiServersFound(frozenset({ApiServer(VIP, 6443)}))
    piece = msgspec.structs.replace(
        endpoint_slice("kubernetes-1", str(VIP)), service=API_SERVICE
    )
    for there, gone in (
        (found, ApiServersFound(frozenset())),
        (
            Upserted(kind=Kind.ENDPOINT_SLICE, ref=piece.ref, values=(piece,)),
            Deleted(kind=Kind.ENDPOINT_SLICE, ref=piece.ref),
        ),
    ):
        store.apply(there)
        assert made.compile_all(store.take()).keys
        assert [problem.value for problem in made.problems()] == [str(VIP)]
        store.apply(gone)
        made.compile_all(store.take())
        assert made.problems() == ()
        assert VIP in made.desired.state().addresses


def test_a_node_port_that_becomes_the_api_servers_is_given_up() -> None:
    """Its Service does not ask for the address, but for the port."""
    store = Store("node-0")
    own = parse_address("10.0.0.10")
    port = ServicePort(name="http", protocol=Protocol.TCP, port=80, node_port=6443)
    put(store, service(type=ServiceType.NODE_PORT, ports=(port,)))
    made = compiler(store)
    made.compile_all(store.take(), on(own))
    store.apply(ApiServersFound(frozenset({ApiServer(own, 6443)})))
    made.compile_all(store.take())
    assert [problem.value for problem in made.problems()] == ["10.0.0.10:6443"]


def test_another_primary_address_stands_for_a_nameless_node() -> None:
    """What the host's own connections go out from, not just any of its addresses."""
    store = Store("node-0")
    put(store, service(external_ips=(VIP,)))
    made = compiler(store)
    hosts = frozenset({VIP, parse_address("203.0.113.60")})
    made.compile_all(store.take(), HostNetwork(addresses=hosts))
    assert [problem.value for problem in made.problems()] == [str(VIP)]
    main = (parse_address("203.0.113.60"),)
    made.compile_all(store.take(), HostNetwork(addresses=hosts, primary=main))
    assert made.problems() == ()


@pytest.mark.parametrize(
    ("choice", "hosts", "lost"),
    [
        (NodePortAddresses(), ["10.0.0.10"], []),
        (networks("10.0.0.0/8"), ["10.0.0.10"], []),
        (networks("10.0.0.0/8", "192.168.0.0/16"), ["10.0.0.10"], []),
        (networks("192.168.0.0/16"), ["10.0.0.10"], ["IPv4"]),
        # The daemon has those of TCP on localhost.
        (networks("127.0.0.0/8"), ["10.0.0.10"], []),
        (networks("127.0.0.2/32"), ["10.0.0.10"], ["IPv4"]),
        (NodePortAddresses(localhost=True), ["10.0.0.10"], []),
        (NodePortAddresses(primary=True, localhost=True), ["10.0.0.10"], []),
        (networks("10.0.0.0/8", "fd00::/8"), ["10.0.0.10"], ["IPv6"]),
        (networks("fd00::/8"), ["10.0.0.10"], ["IPv6"]),
        (NodePortAddresses(primary=True), ["10.0.0.10"], ["IPv6"]),
        (NodePortAddresses(primary=True), ["10.0.0.10", "fd00:10::10"], []),
    ],
)
def test_node_ports_that_no_address_serves(
    choice: NodePortAddresses, hosts: list[str], lost: list[str]
) -> None:
    """One problem a family names the setting, whatever the number of Services.

    The rest of each Service is served; without a Service that has node ports there is
    nothing to say.
    """
    store = Store("node-0")
    config = ProxyConfig(node_port_addresses=choice)
    made = Compiler(config=config, store=store, capabilities=Capabilities())
    both = (parse_address("10.96.0.10"), parse_address("fd00:96::10"))
    put(store, service("plain", cluster_ips=both))
    made.compile_all(store.take(), on(*map(parse_address, hosts)))
    assert made.problems() == ()
    for number in range(12):
        port = ServicePort(
            name="http", protocol=Protocol.TCP, port=8000 + number, node_port=30000
        )
        put(
            store,
            service(
                f"s{number}",
                type=ServiceType.NODE_PORT,
                cluster_ips=both,
                ports=(msgspec.structs.replace(port, node_port=30000 + number),),
            ),
        )
    made.compile_all(store.take())
    found = made.problems()
    assert [p.kind for p in found] == [Kind.NODE] * len(lost)
    assert [str(p) for p in found] == [
        f"Node node-0: nodePortAddresses: {choice}: matches no {family} address of"
        " this node; node ports of 10 or more Services are not served here"
        for family in lost
    ]
    for number in range(12):
        store.apply(Deleted(kind=Kind.SERVICE, ref=ref(f"s{number}")))
    made.compile_all(store.take())
    assert made.problems() == ()


def test_where_nodes_take_packets_concerns_services_that_ask() -> None:
    """The others, nearly all, are not compiled again."""
    config = ProxyConfig(
        cluster_cidrs=(parse_network("172.16.0.0/12"),), tunnel_port=6080
    )
    wish = (("ipvsctl.io/external-forwarding", "tunnel"),)
    store = Store("node-0")
    for number, name in enumerate(("node-0", "node-1")):
        put(store, node(name, f"10.0.0.1{number}"))
    asking = service("asking", external_ips=(VIP,), annotations=wish)
    put(store, asking)
    put(store, service("other", cluster_ips=(parse_address("10.96.0.11"),)))
    for name in ("asking", "other"):
        elsewhere = Endpoint(address=parse_address("172.16.1.1"), node_name="node-1")
        there = endpoint_slice(name, service_name=name, endpoints=(elsewhere,))
        store.apply(Upserted(kind=Kind.ENDPOINT_SLICE, ref=there.ref, values=(there,)))
    made = Compiler(config=config, store=store, capabilities=Capabilities())
    made.compile_all(store.take(), on(parse_address("10.0.0.10")))
    other = made.desired.programs[ref("other")]
    key = next(
        server.server.key
        for server in made.desired.programs[ref("asking")].servers
        if server.server.key.address == VIP
    )

    def ways() -> set[ForwardingMethod]:
        made.compile_all(store.take())
        behind = made.desired.state().real_servers[key].values()
        return {real_server.forwarding for real_server in behind}

    assert ways() == {ForwardingMethod.MASQUERADE}
    for number, name in enumerate(("node-0", "node-1")):
        offer = TunnelOffer(
            node=name,
            addresses=(parse_address(f"10.0.0.1{number}"),),
            port=6080,
            is_sending=True,
        )
        lease = ObjectRef("ipvsctl-tunnels", name)
        store.apply(Upserted(kind=Kind.LEASE, ref=lease, values=(offer,)))
    assert ways() == {ForwardingMethod.TUNNEL}
    assert made.desired.programs[ref("other")] is other
    store.apply(Deleted(kind=Kind.LEASE, ref=lease))
    assert ways() == {ForwardingMethod.MASQUERADE}
    assert made.desired.programs[ref("other")] is other


def test_node_ports_that_localhost_does_not_serve() -> None:
    """Of UDP, where no other address is left; once for the node, and not for each.

    With kube-proxy's behaviour localhost serves none of TCP either.
    """
    said: list[str] = []
    for compatibility in (Compatibility.NONE, Compatibility.KUBE_PROXY):
        store = Store("node-0")
        for name, protocol in (("dns", Protocol.UDP), ("web", Protocol.TCP)):
            number = 30000 + len(name) + protocol
            port = ServicePort(name=name, protocol=protocol, port=80, node_port=number)
            put(store, service(name, type=ServiceType.NODE_PORT, ports=(port,)))
        config = ProxyConfig(
            node_port_addresses=networks("127.0.0.0/8"), compatibility=compatibility
        )
        made = Compiler(config=config, store=store, capabilities=Capabilities())
        made.compile_all(store.take(), on(parse_address("10.0.0.10")))
        said += map(str, made.problems())
    first = "Node node-0: nodePortAddresses: 127.0.0.0/8: matches no IPv4 address of"
    lost = (
        "this node but localhost; node ports for UDP and SCTP of 1 or more Services",
        "this node; node ports of 1 or more Services",
    )
    assert said == [f"{first} {some} are not served here" for some in lost]
