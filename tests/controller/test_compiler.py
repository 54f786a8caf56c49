"""The desired state follows the store."""

import pytest

from ipvsctl.cluster.events import Deleted, Upserted
from ipvsctl.cluster.store import Store
from ipvsctl.controller.compiler import Compiler
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.facts import KernelFacts
from ipvsctl.model.host import HostNetwork
from ipvsctl.model.net import IPAddress, parse_address
from ipvsctl.model.objects import Node, Service
from ipvsctl.model.problem import Kind, ObjectRef
from tests.builders import node, service

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


def compiler(store: Store) -> Compiler:
    """A compiler that has seen what is in the store."""
    made = Compiler(config=ProxyConfig(), store=store, facts=KernelFacts())
    made.compile_dirty()
    return made


def test_a_peer_that_takes_a_vip_as_its_address_has_it_refused() -> None:
    """Only the Services that claim the address are compiled, with the new peers."""
    store = Store("node-0")
    put(store, node("node-0"))
    put(store, service(external_ips=(VIP,)))
    made = compiler(store)
    assert VIP in made.desired.state().addresses
    put(store, node("node-1", str(VIP)))
    made.compile_dirty()
    assert VIP not in made.desired.state().addresses
    assert [problem.value for problem in made.problems()] == [str(VIP)]
    store.apply(Deleted(kind=Kind.NODE, ref=ObjectRef("", "node-1")))
    made.compile_dirty()
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
    made.compile_dirty()
    assert made.context.host_addresses == tuple(reversed(hosts))
    assert made.context.zone == "zone-a"


def test_the_configured_address_stands_for_the_node() -> None:
    """It comes before the Node's own, and is no VIP for anyone."""
    store = Store("node-0")
    put(store, node("node-0", "10.0.0.10", "fd00:10::10"))
    put(store, service(external_ips=(VIP,)))
    config = ProxyConfig(node_address=VIP)
    made = Compiler(config=config, store=store, facts=KernelFacts())
    made.compile_dirty()
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
    facts = KernelFacts(schedulers=frozenset({"rr", "wlc"}))
    made = Compiler(config=ProxyConfig(), store=store, facts=facts)
    made.compile_dirty()
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
    made = Compiler(config=ProxyConfig(), store=store, facts=KernelFacts())
    made.compile_dirty(on(VIP))
    assert VIP not in made.desired.state().addresses
    assert made.compile_dirty(on(VIP)).keys == frozenset()
    assert made.compile_dirty(on()).keys
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
    made = Compiler(config=ProxyConfig(), store=store, facts=KernelFacts())
    made.compile_dirty(on(*map(parse_address, hosts)))
    assert [problem.value for problem in made.problems()] == [refused]
