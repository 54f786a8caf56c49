"""Random clusters: ipvsctl plans what the model of kube-proxy says, or has a reason."""

import json
import re
from collections import Counter
from dataclasses import dataclass

import pytest

from ipvsctl.cluster.manifests.manifest import Manifests, changes, merge, parse_manifest
from ipvsctl.cluster.store import Store
from ipvsctl.controller.compiler import Compiler
from ipvsctl.model.capabilities import Capabilities
from ipvsctl.model.config import Compatibility, NodePortAddresses, ProxyConfig
from ipvsctl.model.host import HostNetwork
from ipvsctl.model.net import IPFamily, parse_address, parse_network
from ipvsctl.model.state import NodeState
from ipvsctl.wire.ipset.save_text import render_ipset
from ipvsctl.wire.iptables.ruleset import render_save
from ipvsctl.wire.ipvs.save_text import render_ipvsadm
from ipvsctl.wire.route.show_text import render_addresses
from tests.peer.differences import (
    Difference,
    as_hashed,
    as_one_node_port_set,
    rule_differences,
)
from tests.peer.kube_proxy import SET_TYPES, Kernel, Settings, kube_proxy
from tests.peer.kube_proxy_endpoints import Raw, of_kind
from tests.peer.kube_proxy_net import address_of
from tests.peer.kube_proxy_rules import rules
from tests.peer.random_cluster import random_cluster

SEEDS = range(400)


@dataclass(frozen=True)
class Both:
    """One cluster, twice."""

    ours: NodeState
    theirs: Kernel
    settings: Settings


def both(seed: int) -> Both:
    """What ipvsctl and the model make of the cluster of a seed."""
    objects, settings = random_cluster(seed)
    return Both(
        ours=planned(objects, settings),
        theirs=kube_proxy(objects, settings),
        settings=settings,
    )


def planned(
    objects: list[Raw],
    settings: Settings,
    compatibility: Compatibility = Compatibility.KUBE_PROXY,
) -> NodeState:
    """What ipvsctl makes of these objects."""
    networks = settings.node_port_addresses
    is_primary = networks == ("primary",)
    config = ProxyConfig(
        scheduler=settings.scheduler,
        cluster_cidrs=tuple(map(parse_network, settings.cluster_cidrs)),
        masquerade_all=settings.masquerade_all,
        node_port_addresses=NodePortAddresses(
            primary=is_primary,
            networks=() if is_primary else tuple(map(parse_network, networks)),
        ),
        compatibility=compatibility,
    )
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    found = merge({"all.json": parse_manifest(text.encode(), "all.json")})
    store = Store(settings.node_name)
    for event in changes(Manifests(), found):
        store.apply(event)
    compiler = Compiler(config=config, store=store, capabilities=Capabilities())
    compiler.compile_all(store.take())
    hosts = frozenset(map(parse_address, settings.host_addresses))
    compiler.set_host(HostNetwork(addresses=hosts))
    return compiler.desired.state()


@pytest.mark.parametrize("seed", SEEDS)
def test_everything_is_equal(seed: int) -> None:
    """IPVS, addresses and set entries are equal; each other rule has a reason."""
    pair = both(seed)
    assert render_ipvsadm(pair.ours) == [as_hashed(li) for li in pair.theirs.ipvsadm]
    assert render_addresses(pair.ours) == pair.theirs.addresses
    added = [line for line in render_ipset(pair.ours) if line.startswith("add")]
    assert added == entries(pair.theirs)
    assert [d for d in differences(pair) if not d.reason] == []


@pytest.mark.parametrize("seed", SEEDS[::8])
def test_floating_vips_are_served_unbound(seed: int) -> None:
    """By ipvsctl's own defaults too, at the same ports as by kube-proxy."""
    objects, settings = random_cluster(seed)
    ours = planned(objects, settings, Compatibility.NONE)
    theirs = kube_proxy(objects, settings)
    for vip in FLOATING:
        if vip in settings.host_addresses:
            assert servers_at(vip, render_ipvsadm(ours)) == (
                servers_at(vip, theirs.ipvsadm)
            )
            assert vip not in " ".join(render_addresses(ours))


FLOATING = ("203.0.113.50", "2001:db8:203::50")
"""On links of some nodes, and no Node's."""


def servers_at(vip: str, lines: list[str]) -> list[str]:
    """The virtual servers of an address: protocol and port."""
    found = [line.split()[1:3] for line in lines if line.startswith("-A")]
    shown = f"[{vip}]:" if ":" in vip else f"{vip}:"
    return sorted(" ".join(words) for words in found if words[1].startswith(shown))


def entries(kernel: Kernel) -> list[str]:
    """The model's entries, with the node ports as I1 has them."""
    v4, v6 = kernel.families
    addresses = {"KUBE": v4.node_ips, "KUBE-6": v6.node_ips}
    return sorted(
        {
            line
            for entry in kernel.entries
            for line in as_one_node_port_set(entry, addresses)
        }
    )


def differences(pair: Both) -> list[Difference]:
    """Of the rules, in both families."""
    found = []
    for family, name in zip(pair.theirs.families, IPFamily, strict=True):
        used = {family.set_name(name) for name, held in family.sets.items() if held}
        chains = pair.ours.chains[name]
        found += rule_differences(render_save(chains), rules(family), used)
    return found


IN_THE_FIELD = {
    "leading zeros": r'"0\d\d\.\d{3}\.',
    "a mapped address": r'"::ffff:\d+\.\d+\.\d+\.\d+"',
    "class E": r'"240\.96\.0\.\d+".*"240\.16\.0\.\d+"',
    "a link-local VIP": r'"ip": "169\.254\.20\.10"',
    "a link-local cluster IP": r'"clusterIP": "169\.254\.48\.',
    "serving unset": r'\{"ready": false, "terminating": true\}',
    "a mapped range": r'"::ffff:[\d.]+/104"',
    "ranges without a load balancer": r'"type": "(NodePort|ClusterIP)".*SourceRanges',
}
"""What objects looked like of which kube-proxy was right and ipvsctl was not."""


def test_the_clusters_have_what_is_in_the_field() -> None:
    """Each of it is often there, so are floating VIPs and addresses in use again."""
    used: Counter[str] = Counter()
    for seed in SEEDS:
        objects, settings = random_cluster(seed)
        lines = [json.dumps(obj) for obj in objects]
        used.update(
            what
            for what, pattern in IN_THE_FIELD.items()
            if re.search(pattern, "\n".join(lines), re.DOTALL | re.IGNORECASE)
        )
        # One that is served and not bound, though no Node has it.
        theirs = kube_proxy(objects, settings)
        served = {line.split()[2] for line in theirs.ipvsadm if "203.0.113.50" in line}
        is_bound = "inet 203.0.113.50/32" in theirs.addresses
        used["floating"] += bool(served) and not is_bound
        used["ghost"] += any(map(has_ghost, of_kind(objects, "EndpointSlice")))
    wanted = (*IN_THE_FIELD, "floating", "ghost")
    assert {what for what in wanted if used[what] < 10} == set()


def has_ghost(piece: Raw) -> bool:
    """Whether a slice has an address twice, and one of them terminates."""
    endings: dict[str, set[bool]] = {}
    for entry in piece["endpoints"]:
        if piece["addressType"] == "FQDN":
            continue
        address = str(address_of(entry["addresses"][0]))
        is_ending = bool(entry["conditions"].get("terminating"))
        endings.setdefault(address, set()).add(is_ending)
    return {True, False} in endings.values()


def test_the_clusters_have_everything() -> None:
    """Every set of kube-proxy's is used often, and every reason for a difference."""
    used: Counter[str] = Counter()
    for seed in SEEDS:
        pair = both(seed)
        used.update(
            f"{family.version} {name}"
            for family in pair.theirs.families
            for name, held in family.sets.items()
            if held
        )
        used.update(d.reason for d in differences(pair))
        used.update(line.split()[1] for line in pair.theirs.ipvsadm)
    wanted = {f"{version} {name}" for version in (4, 6) for name in SET_TYPES}
    wanted |= {"I1", "I2", "I11", "-t", "-u", "--sctp-service"}
    assert {name for name in wanted if used[name] < 10} == set()
