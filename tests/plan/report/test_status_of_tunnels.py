"""What `status` and `explain` say of addresses whose packets go in tunnels."""

from typing import Final

import msgspec
import pytest

from ipvsctl.cluster.events import Upserted
from ipvsctl.cluster.store import Store
from ipvsctl.model.capabilities import Capabilities
from ipvsctl.model.explanation import Step, Verdict
from ipvsctl.model.neighbours import Neighbours
from ipvsctl.model.objects import Node, NodeContext
from ipvsctl.model.problem import Kind, ObjectRef
from ipvsctl.model.state import Observed
from ipvsctl.model.status import Selection
from ipvsctl.model.steps import finish
from ipvsctl.model.target import parse_target
from ipvsctl.plan.diff.plan import DiffOptions
from ipvsctl.plan.report.explain import explain
from ipvsctl.plan.report.explain_inputs import ExplainInputs
from ipvsctl.plan.report.status import node_status
from ipvsctl.plan.report.status_inputs import StatusInputs
from ipvsctl.plan.service.compile import compile_service
from ipvsctl.plan.union.desired import Desired
from ipvsctl.plan.union.fwmark_allocator import BesideKind
from ipvsctl.plan.union.node import compile_node
from ipvsctl.wire.iptables.words import IptablesWords
from tests.plan.report.test_status import SUMMARY
from tests.plan.service.test_compile import HERE, THERE, service, slices
from tests.plan.service.test_tunnels import ABLE, CONFIG, EXTERNAL

WEB: Final = service(external_ips=(EXTERNAL,))


def known(context: NodeContext = ABLE) -> tuple[Store, Desired]:
    """A cluster with one Service that is tunnelled, and what is desired."""
    store = Store("node-0")
    for name in ("node-0", "node-1"):
        value = Node(name=name, addresses=ABLE.tunnel_offers[name].addresses)
        ref = ObjectRef("", name)
        store.apply(Upserted(kind=Kind.NODE, ref=ref, values=(value,)))
    store.apply(Upserted(kind=Kind.SERVICE, ref=WEB.ref, values=(WEB,)))
    found = slices(HERE, THERE)
    for piece in found:
        store.apply(Upserted(kind=Kind.ENDPOINT_SLICE, ref=piece.ref, values=(piece,)))
    desired = Desired(compile_node(context, CONFIG, Capabilities()))
    desired.put(compile_service(WEB, found, context, CONFIG))
    return store, desired


def test_status_names_the_node_and_what_other_nodes_send() -> None:
    """And counts no short circuit for the latter."""
    store, desired = known()
    status = node_status(
        StatusInputs(
            summary=SUMMARY,
            desired=desired.frozen(),
            observed=Observed(state=desired.state()),
            objects=store,
            context=ABLE,
            words=IptablesWords(),
        ),
        Selection(),
    )
    (web,) = status.services
    ways = {server.way: server for server in web.virtual_servers}
    outside = ways["external IP"]
    assert [
        (real.address, real.node, real.is_tunnelled) for real in outside.real_servers
    ] == [("10.0.0.11", "node-1", True), ("172.16.0.5", "node-0", False)]
    inside = ways["external IP, from inside"]
    assert len(inside.real_servers) == 2
    assert inside.sets == ("KUBE-SHORT-CIRCUIT",)
    arrivals = ways["external IP, from other nodes"]
    assert [real.address for real in arrivals.real_servers] == ["172.16.0.5"]
    assert arrivals.sets == ("KUBE-TUNNEL-ARRIVAL",)


def explained(context: NodeContext = ABLE) -> list[Step]:
    """The steps about the external IP."""
    store, desired = known(context)
    frozen = desired.frozen()
    inputs = ExplainInputs(
        objects=store,
        desired=frozen,
        observed=Observed(state=desired.state()),
        neighbours=Neighbours(),
        context=context,
        config=CONFIG,
        options=DiffOptions(vip_link="kube-ipvs0"),
        words=IptablesWords(),
        insides=frozen.beside(BesideKind.INSIDE),
        arrivals=frozen.beside(BesideKind.ARRIVAL),
    )
    found = finish(explain(inputs, parse_target("203.0.113.50:80")))
    every = [step for part in found.parts for step in part.steps]
    assert not [step for step in every if step.verdict is Verdict.BROKEN], every
    return every


def test_explain_follows_packets_into_the_tunnel() -> None:
    """Nothing is broken, and every client's packets are followed."""
    every = explained()
    (outside,) = (step for step in every if step.subject == "packet from outside")
    assert outside.found == (
        "sent to 2 real servers, 1 of them a node by a tunnel,"
        " with the client's address"
    )
    (tunnels,) = (step for step in every if step.subject == "tunnels")
    assert tunnels.verdict is Verdict.OK
    (real,) = (step for step in every if step.subject == "real servers")
    assert real.details[0].startswith("10.0.0.11:80 (node-1, in a tunnel) weight 1")


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (
            ("node-1",),
            "the others have not heard yet that this node sends packets in tunnels",
        ),
        (
            ("node-0",),
            "endpoint 172.16.1.5:8080 is on node node-1, which takes none",
        ),
    ],
)
def test_explain_says_why_all_is_masqueraded(
    names: tuple[str, ...], reason: str
) -> None:
    """It is served all the same."""
    offers = {name: ABLE.tunnel_offers[name] for name in names}
    every = explained(msgspec.structs.replace(ABLE, tunnel_offers=offers))
    (tunnels,) = (step for step in every if step.subject == "tunnels")
    assert tunnels.verdict is Verdict.NOTE
    assert tunnels.found == f"masqueraded: {reason}"
