"""A node's firewall is switched under load: from kube-proxy's, there and back.

Everybody asks by every way in all the time, and holds connections open.
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
import pytest

from ipvsctl.controller.look import see
from ipvsctl.model.config import Compatibility, FirewallKind, ProxyConfig
from ipvsctl.model.state import NodeState
from ipvsctl.plan.diff.ops import Plan, RemoveFormer
from ipvsctl.plan.diff.plan import DiffOptions, diff
from tests.builders import Raw
from tests.kernel.firewalls import require
from tests.kernel.kube_proxys_node import (
    GUARDED,
    KEEPALIVEDS,
    SERVICES,
    SETTINGS,
    adopt,
    events,
    objects,
    run,
    ways_into,
)
from tests.kernel.load import Held, Load
from tests.kernel.node import CONFIG, ProxiedNode, proxied
from tests.kernel.test_take_over import (
    KEEPALIVED,
    clients_of,
    keepaliveds,
    kube_proxys_world,
)
from tests.kernel.tools import look
from tests.lab.netns import Netns, inside
from tests.lab.topology import Cluster
from tests.lab.traffic import ask
from tests.peer.kube_proxy import kube_proxy

pytestmark = pytest.mark.kernel

IPTABLES: Final = msgspec.structs.replace(CONFIG, firewall=FirewallKind.IPTABLES)
NFTABLES: Final = msgspec.structs.replace(CONFIG, firewall=FirewallKind.NFTABLES)
COMPATIBLE: Final = msgspec.structs.replace(
    CONFIG, compatibility=Compatibility.KUBE_PROXY
)
OPTIONS: Final = DiffOptions(vip_link=CONFIG.vip_link)


@pytest.fixture(name="world")
def _world(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster whose node-0 has kube-proxy's state and a working keepalived."""
    require(FirewallKind.NFTABLES)
    with kube_proxys_world(tmp_path) as world:
        yield world


@contextmanager
def serving(
    netns: Netns, config: ProxyConfig, found: list[Raw]
) -> Iterator[ProxiedNode]:
    """The proxy with the whole cluster known, before its first audit."""
    with proxied(netns, config=config) as node:
        node.take(*events(found))
        yield node


def planned(node: ProxiedNode) -> Plan:
    """What an audit would do."""
    with inside(node.netns):
        return see(node.reconciler, node.reconciler.survey()).plan()


def left_in(netns: Netns) -> dict[FirewallKind, list[str]]:
    """What there is of ours in each firewall."""
    seen = look(netns)
    lines = [*seen.creates, *seen.rules["iptables"], *seen.rules["ip6tables"]]
    with inside(netns):
        tables = subprocess.run(
            ["nft", "list", "tables"], capture_output=True, text=True, check=True
        ).stdout
    return {
        FirewallKind.IPTABLES: [line for line in lines if "KUBE-" in line],
        FirewallKind.NFTABLES: [t for t in tables.splitlines() if "ipvsctl" in t],
    }


def is_only_in(netns: Netns, kind: FirewallKind) -> bool:
    """Whether one firewall has what there is, and the other nothing."""
    left = left_in(netns)
    (other,) = left.keys() - {kind}
    return bool(left[kind]) and not left[other]


def test_there_and_back(world: Cluster) -> None:
    """From kube-proxy to nftables, to iptables, to nftables again, to kube-proxy.

    No request fails, no connection is cut, and nothing is left behind.
    """
    netns, clients = world.nodes[0].netns, clients_of(world)
    found = objects(world, (*SERVICES, *GUARDED))
    with Held() as held:
        held.open(clients, ways_into())
        with Load(clients, ways_into()) as load:
            for config in (NFTABLES, IPTABLES, NFTABLES, COMPATIBLE):
                with serving(netns, config, found) as node:
                    plan = node.audit().plan
                    assert isinstance(plan[-1], RemoveFormer)
                    assert node.audit().plan == ()
                load.go_round()
                kind = config.wanted_firewall
                assert is_only_in(netns, kind), left_in(netns)
                assert held.broken() == {}
            adopt(netns, kube_proxy(found, SETTINGS))
            load.go_round()
            assert held.broken() == {}
        assert load.failures == {}
        assert load.asked > 300
    assert keepaliveds(look(netns)) == KEEPALIVED.lines()


@pytest.mark.parametrize(
    ("first", "then"),
    [(IPTABLES, NFTABLES), (NFTABLES, IPTABLES)],
    ids=["to nftables", "to iptables"],
)
def test_a_switch_that_ends_early(
    world: Cluster, first: ProxyConfig, then: ProxyConfig
) -> None:
    """Wherever the process ends: all are served, and the next one finishes."""
    netns, clients = world.nodes[0].netns, clients_of(world)
    found = objects(world, (*SERVICES, *GUARDED))
    with serving(netns, first, found) as node:
        node.audit()
    with Load(clients, ways_into()) as load:
        cut = 0
        while True:
            with serving(netns, then, found) as node:
                plan = planned(node)
                assert not node.apply(plan[:cut]).failed
            load.go_round()
            with serving(netns, then, found) as node:
                node.audit()
                assert node.audit().plan == ()
            assert is_only_in(netns, then.firewall), left_in(netns)
            if cut >= len(plan):
                break
            cut += max(1, len(plan) // 6)
            with serving(netns, first, found) as node:
                node.audit()
    assert load.failures == {}


def test_cleanup_removes_both(world: Cluster) -> None:
    """What nftables has in use, and what is left in iptables; keepalived stays."""
    netns = world.nodes[0].netns
    found = objects(world, (*SERVICES, *GUARDED))
    with serving(netns, NFTABLES, found) as node:
        plan = planned(node)
        node.apply(plan[:-1])
        assert all(left_in(netns).values())
        plan = diff(node.observe(), NodeState(), OPTIONS)
        assert node.apply(plan).failed == ()
    assert not any(left_in(netns).values())
    seen = look(netns)
    assert seen.ipvsadm == KEEPALIVED.lines()
    assert seen.addresses == []
    assert ask(world.client.netns, KEEPALIVEDS, 80).server == "pod-0-0"


def test_what_nobody_can_remove_is_told(world: Cluster) -> None:
    """Another's rule that leads to a chain of ours keeps it, and its name is said."""
    netns = world.nodes[0].netns
    found = objects(world, (*SERVICES, *GUARDED))
    run(netns, "iptables", "-N", "THEIRS")
    run(netns, "iptables", "-A", "THEIRS", "-j", "KUBE-FORWARD")
    with serving(netns, NFTABLES, found) as node:
        with inside(netns):
            report = node.reconciler.audit().report
        (failed,) = report.failed
        assert isinstance(failed.op, RemoveFormer)
        assert "KUBE-FORWARD" in failed.reason
        run(netns, "iptables", "-F", "THEIRS")
        assert node.audit().plan == (RemoveFormer(FirewallKind.IPTABLES),)
    assert is_only_in(netns, FirewallKind.NFTABLES)
