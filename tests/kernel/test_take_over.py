"""A node is taken over from kube-proxy under load, and given back.

node-0 is as kube-proxy left it: virtual servers, addresses, sets and rules, a Service
that nobody wants any more, a real server forgotten at weight 0, and a real keepalived
beside it. Everybody asks by every way in all the time, and holds connections open.
"""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import ip_interface
from pathlib import Path

import msgspec
import pytest

from ipvsctl.cli.plan_view import describe
from ipvsctl.controller.look import see
from ipvsctl.model.config import Compatibility
from ipvsctl.model.net import Protocol
from ipvsctl.model.state import NodeState
from ipvsctl.plan.diff.ops import Plan
from ipvsctl.plan.diff.plan import DiffOptions, diff
from ipvsctl.wire.ipset.sets import KUBE_PROXY_SET_NAMES
from tests.kernel.keepalived import Balanced, keepalived
from tests.kernel.kube_proxys_node import (
    GONE,
    GUARDED,
    KEEPALIVEDS,
    SERVICES,
    SETTINGS,
    TARGET_PORTS,
    adopt,
    events,
    install,
    objects,
    run,
    ways_into,
)
from tests.kernel.load import Held, Load
from tests.kernel.node import CONFIG, ProxiedNode, proxied
from tests.kernel.tools import Seen, look
from tests.lab.netns import inside
from tests.lab.topology import Cluster, Host, cluster
from tests.lab.traffic import Servers, ask
from tests.peer.differences import as_one_node_port_set, rule_differences
from tests.peer.kube_proxy import Kernel, kube_proxy
from tests.peer.kube_proxy_rules import rules

pytestmark = pytest.mark.kernel

COMPATIBLE = msgspec.structs.replace(CONFIG, compatibility=Compatibility.KUBE_PROXY)
FORGOTTEN = ("-t 10.96.0.10:80", "172.16.0.10:8080")
KEEPALIVED = Balanced(
    vip=str(KEEPALIVEDS), port=80, server="172.16.0.10", server_port=8080
)


@dataclass(frozen=True, kw_only=True)
class Story:
    """What happened on the node.

    Attributes:
        theirs: what kube-proxy would have made of the cluster as it is now.
        report: the first plan, as `ipvsctl diff` shows it.
        first, second: the plans of the first two audits.
        before, taken, returned: what the tools saw: kube-proxy's node, ours, and
            kube-proxy's again.
        broken: connections that were cut, in each of the last two states.
        failures: requests that failed, during all of it.
        asked: requests that were answered meanwhile.
    """

    theirs: Kernel
    report: list[str]
    first: Plan
    second: Plan
    before: Seen
    taken: Seen
    returned: Seen
    broken: list[dict[str, str]]
    failures: dict[str, int]
    asked: int


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """Take the node over, and give it back."""
    with ExitStack() as stack:
        world = stack.enter_context(kube_proxys_world(tmp_path_factory.mktemp("k")))
        netns = world.nodes[0].netns
        found = objects(world, (*SERVICES, *GUARDED))
        theirs = kube_proxy(found, SETTINGS)
        before = look(netns)
        clients = clients_of(world)
        held = stack.enter_context(Held())
        held.open(clients, ways_into())
        load = stack.enter_context(Load(clients, ways_into()))
        node = stack.enter_context(proxied(netns, config=COMPATIBLE))
        node.take(*events(found))
        report = migration_report(node)
        first = node.audit().plan
        load.go_round()
        second = node.audit().plan
        taken = look(netns)
        broken = [held.broken()]
        adopt(netns, theirs)
        load.go_round()
        returned = look(netns)
        broken.append(held.broken())
        yield Story(
            theirs=theirs,
            report=report,
            first=first,
            second=second,
            before=before,
            taken=taken,
            returned=returned,
            broken=broken,
            failures=dict(load.failures),
            asked=load.asked,
        )


def clients_of(world: Cluster) -> dict[str, Host]:
    """Who asks."""
    return {
        "client": world.client,
        "host": world.nodes[0],
        "pod": world.pods["pod-0-0"],
    }


@contextmanager
def kube_proxys_world(directory: Path) -> Iterator[Cluster]:
    """A cluster whose node-0 has kube-proxy's state and a working keepalived."""
    with cluster(pods=(2, 1)) as world, Servers() as servers:
        for pod in world.pods.values():
            for address in (pod.ipv4, pod.ipv6):
                servers.add(pod.netns, address, TARGET_PORTS["http"])
                dns = TARGET_PORTS["dns"]
                servers.add(pod.netns, address, dns, protocol=Protocol.UDP)
        netns = world.nodes[0].netns
        netns.add_address("lo", ip_interface(f"{KEEPALIVEDS}/32"))
        install(netns, objects(world, (*SERVICES, *GUARDED, GONE)))
        server, real = FORGOTTEN
        run(netns, "ipvsadm", "-e", *server.split(), "-r", real, "-m", "-w", "0")
        with keepalived(netns, KEEPALIVED, directory):
            yield world


def keepaliveds(seen: Seen) -> list[str]:
    """Its virtual server and real server."""
    return [line for line in seen.ipvsadm if f" {KEEPALIVEDS}:80 " in line]


def migration_report(node: ProxiedNode) -> list[str]:
    """What `ipvsctl diff` says before anything is changed."""
    with inside(node.netns):
        observed = node.reconciler.survey()
        seen = see(node.reconciler, observed)
    view = describe(seen.plan(), observed.state, seen.desired, firewall=seen.words)
    return [f"{change.action} {change.text}" for change in view.changes]


def without_keepalived(lines: list[str]) -> list[str]:
    """Lines about everything but keepalived's virtual server."""
    return [line for line in lines if f" {KEEPALIVEDS}:80 " not in line]


def test_no_request_fails(story: Story) -> None:
    """From outside, the host and a pod, by every way in, TCP and UDP, all the time."""
    assert story.failures == {}
    assert story.asked > 300


def test_no_connection_is_cut(story: Story) -> None:
    """Every connection is answered by the pod that it met before, there and back."""
    assert story.broken == [{}, {}]


def test_kube_proxys_state_is_complete(story: Story) -> None:
    """What was taken over was a node of kube-proxy's, with everything it has."""
    names = {line.split()[1] for line in story.before.creates}
    assert len(names) == 34
    assert "-A -t 10.96.0.60:80 -s rr" in story.before.ipvsadm
    assert any("-m ipvs" in line for line in story.before.rules["iptables"])


def test_the_node_is_as_if_it_had_always_been_ours(story: Story) -> None:
    """Virtual servers, addresses, entries are kube-proxy's for the cluster as it is."""
    assert without_keepalived(story.taken.ipvsadm) == story.theirs.ipvsadm
    assert story.taken.addresses == story.theirs.addresses
    v4, v6 = story.theirs.families
    addresses = {"KUBE": v4.node_ips, "KUBE-6": v6.node_ips}
    assert story.taken.entries == sorted(
        {
            line
            for entry in story.theirs.entries
            for line in as_one_node_port_set(entry, addresses)
        }
    )
    for family, tool in ((v4, "iptables"), (v6, "ip6tables")):
        used = {family.set_name(name) for name, held in family.sets.items() if held}
        found = rule_differences(story.taken.rules[tool], rules(family), used)
        assert [difference for difference in found if not difference.reason] == []


def test_one_audit_is_enough(story: Story) -> None:
    """The second one finds nothing to do."""
    assert len(story.first) > 50
    assert story.second == ()


def test_leftovers_are_gone(story: Story) -> None:
    """The deleted Service, node ports and all, and the sets only kube-proxy has."""
    assert [line for line in story.taken.ipvsadm if "0.60:" in line] == []
    assert [line for line in story.taken.ipvsadm if ":30060 " in line] == []
    names = {line.split()[1] for line in story.taken.creates}
    assert names & KUBE_PROXY_SET_NAMES == set()


def test_a_forgotten_weight_is_restored(story: Story) -> None:
    """The real server that was left at weight 0 gets new connections again."""
    server, real = FORGOTTEN
    line = f"-a {server} -r {real} -m -w"
    assert f"{line} 0" in story.before.ipvsadm
    assert f"{line} 1" in story.taken.ipvsadm


def test_keepalived_keeps_its_virtual_server(story: Story) -> None:
    """Through the take-over, an audit and the way back."""
    for seen in (story.before, story.taken, story.returned):
        assert keepaliveds(seen) == KEEPALIVED.lines()


def test_the_report_says_what_will_be_done(story: Story) -> None:
    """`ipvsctl diff` before: no virtual server that is wanted is touched."""
    about_servers = [line for line in story.report if "virtual server" in line]
    assert about_servers
    assert {line.split()[0] for line in about_servers} == {"delete"}
    assert all(re.search(r"[.:]60\]?:|:30060$", line) for line in about_servers)
    server, real = FORGOTTEN
    restored = f"change real server tcp {server.split()[1]} -> {real} masquerade"
    found = [line for line in story.report if "real server" in line]
    assert found == [f"{restored} weight 1 (was masquerade weight 0)"]
    assert [line for line in story.report if "bind" in line] == []


def test_kube_proxy_finds_all_it_would_make(story: Story) -> None:
    """What is left is a superset: each of its sets fits, each of its jumps is there."""
    ours = set(story.taken.creates)
    missing = {line.split()[1] for line in story.theirs.creates if line not in ours}
    assert missing <= KUBE_PROXY_SET_NAMES
    names = {line.split()[1] for line in story.taken.creates}
    assert names.isdisjoint(missing), "a set of its name that it cannot use"
    for family, tool in zip(
        story.theirs.families, ("iptables", "ip6tables"), strict=True
    ):
        jumps = [line for line in rules(family) if line.startswith("-A ")]
        jumps = [line for line in jumps if not line.startswith("-A KUBE-")]
        assert set(jumps) <= set(story.taken.rules[tool])


def test_kube_proxy_adopts_the_node(story: Story) -> None:
    """Its own start leaves its own state; of ours stay a set and the mangle rules."""
    assert without_keepalived(story.returned.ipvsadm) == story.theirs.ipvsadm
    assert set(story.theirs.entries) <= set(story.returned.entries)
    for family, tool in zip(
        story.theirs.families, ("iptables", "ip6tables"), strict=True
    ):
        left = story.returned.rules[tool]
        assert set(rules(family)) <= set(left)


def test_there_and_back_with_every_improvement(tmp_path: Path) -> None:
    """Without the compatibility setting; the way back begins with setting it.

    Nothing fails and nothing is cut, all along.
    """
    with kube_proxys_world(tmp_path) as world, Held() as held:
        netns, clients = world.nodes[0].netns, clients_of(world)
        found = objects(world, (*SERVICES, *GUARDED))
        theirs = kube_proxy(found, SETTINGS)
        held.open(clients, ways_into())
        with Load(clients, ways_into()) as load:
            with proxied(netns, config=CONFIG) as node:
                node.take(*events(found))
                assert node.audit().plan
                load.go_round()
                assert node.audit().plan == ()
                assert held.broken() == {}
            with proxied(netns, config=COMPATIBLE) as node:
                node.take(*events(found))
                assert node.audit().plan
                assert node.audit().plan == ()
            left = without_keepalived(look(netns).ipvsadm)
            # Inside clients have connections that are not to be cut.
            closing = [line for line in left if " -f " in line]
            assert [line for line in left if line not in closing] == theirs.ipvsadm
            adopt(netns, theirs)
            load.go_round()
            assert held.broken() == {}
        assert load.failures == {}
        assert keepaliveds(look(netns)) == KEEPALIVED.lines()


def test_cleanup_leaves_keepalived_alone(tmp_path: Path) -> None:
    """From kube-proxy's node at once, node ports and all; keepalived still balances."""
    with kube_proxys_world(tmp_path) as world:
        netns = world.nodes[0].netns
        with proxied(netns, config=COMPATIBLE) as node:
            plan = diff(node.observe(), NodeState(), DiffOptions(vip_link="kube-ipvs0"))
            assert node.apply(plan).failed == ()
        seen = look(netns)
        assert seen.ipvsadm == KEEPALIVED.lines()
        assert (seen.creates, seen.addresses) == ([], [])
        left = [*seen.rules["iptables"], *seen.rules["ip6tables"]]
        assert [line for line in left if "KUBE" in line] == []
        assert ask(world.client.netns, KEEPALIVEDS, 80).server == "pod-0-0"
