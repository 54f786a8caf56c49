"""A VIP that keepalived or kube-vip moves onto a link of this node, and off again."""

from contextlib import ExitStack
from ipaddress import ip_interface

import msgspec
import pytest

from ipvsctl.model.config import VipBinding
from ipvsctl.model.net import IPFamily, parse_address
from tests.kernel.node import BINDINGS, CONFIG, has, slices
from tests.kernel.test_vip_binding import (
    PORTS,
    WEB,
    Asker,
    Stream,
    serving,
    vip,
)
from tests.kernel.test_vip_binding import world as world  # noqa: PLC0414  # a fixture
from tests.lab.netns import Netns
from tests.lab.topology import Cluster
from tests.lab.traffic import Servers, ask

pytestmark = pytest.mark.kernel

NODE_PORT = 30080
FLOATING = msgspec.structs.replace(
    WEB,
    ports=tuple(
        msgspec.structs.replace(port, node_port=NODE_PORT) for port in WEB.ports
    ),
)


def put_on(netns: Netns, link: str, family: IPFamily) -> None:
    """What keepalived does as it becomes master."""
    netns.add_address(link, ip_interface(f"{vip('external IP', family)}/{family.bits}"))


def take_off(netns: Netns, link: str, family: IPFamily) -> None:
    """What it does as it becomes backup."""
    address = str(vip("external IP", family))
    netns.ip.addr(
        "del", index=netns.index(link), address=address, prefixlen=family.bits
    )


@pytest.mark.parametrize("binding", BINDINGS)
@pytest.mark.parametrize("link", ["eth0", "lo", "vrrp0"])
def test_a_vip_comes_and_goes(world: Cluster, link: str, binding: VipBinding) -> None:
    """It is bound where nobody has it, and nothing is lost as that changes.

    While a link has it, the node ports are served on it, and what listens on the host
    answers there, as on any address of the host.
    """
    netns = world.nodes[0].netns
    netns.add_dummy("vrrp0")
    netns.link_up("vrrp0")
    config = msgspec.structs.replace(CONFIG, vip_binding=binding)
    vips = {vip("external IP", family) for family in IPFamily}
    with ExitStack() as stack:
        own = stack.enter_context(Servers())
        node = stack.enter_context(serving(world, config))
        own.add(netns, parse_address("::"), 8443)
        pods = [world.pods["pod-0-1"], world.pods["pod-1-0"]]
        node.take(has(FLOATING), *slices(FLOATING, pods, PORTS))
        node.audit()
        clients = [
            stack.enter_context(Asker(host, address))
            for host in (world.client, world.nodes[0], world.pods["pod-0-0"])
            for address in vips
        ]
        with Stream(clients) as stream:
            while len(stream.asked) < len(clients) and not stream.failed:
                stream.until_all(1)
            for family in IPFamily:
                put_on(netns, link, family)
            stream.until_all(2)
            node.audit()
            stream.until_all(2)
            assert stream.failed == []
        assert node.audit().plan == ()
        state = node.observe().state
        assert not vips & (state.addresses | state.routes.keys())
        for address in vips:
            assert ask(world.client.netns, address, NODE_PORT).server in {
                "pod-0-1",
                "pod-1-0",
            }
            assert ask(world.client.netns, address, 8443).server == "node-0"
        for family in IPFamily:
            take_off(netns, link, family)
        node.audit()
        assert vips <= set(node.observe().state.routes)
        for client in clients:
            client.ask()
        for address in vips:
            with pytest.raises(ConnectionRefusedError):
                ask(world.client.netns, address, 8443)
            with pytest.raises(ConnectionRefusedError):
                ask(world.client.netns, address, NODE_PORT)
