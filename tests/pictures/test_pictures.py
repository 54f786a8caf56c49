"""The pictures are of this code, and their drawings of their texts."""

import re

import pytest

from ipvsctl.model.net import IPFamily
from ipvsctl.model.objects import NodeContext, TrafficPolicy
from ipvsctl.model.rules import Chains
from ipvsctl.plan.rules.filter_mangle import desired_chains
from ipvsctl.plan.trace.outcome import Fate
from tests.clusters import PLAIN
from tests.pictures import hooks, journeys, ways
from tests.pictures.__main__ import PICTURES
from tests.pictures.drawing import DOCS, HEAD, Picture
from tests.pictures.journeys import FAR, NEAR, RANGED, WAYS, Lane, Way, branches

_NAME = re.compile(r"KUBE-[-A-Z]+")

each_picture = pytest.mark.parametrize(
    "picture", PICTURES, ids=lambda picture: picture.name
)


@each_picture
def test_text(picture: Picture) -> None:
    """Nobody changed the code, or the text, alone (`python -m tests.pictures`)."""
    assert picture.text_path.read_text(encoding="utf-8") == picture.text


@each_picture
def test_drawing(picture: Picture) -> None:
    """The drawing has the words and the arrows of the text, and no other."""
    assert picture.drawn_words() == picture.words()
    assert picture.drawn("edge") == picture.arrows() != frozenset()


def test_no_picture_is_left_over() -> None:
    """What is in the folder is what is made."""
    made = {path for p in PICTURES for path in (p.text_path, p.drawing_path)}
    assert set(DOCS.glob("ways/*")) == {p for p in made if p.parent.name == "ways"}


def planned() -> Chains:
    """The rules of a node."""
    return desired_chains(
        IPFamily.IPV4, PLAIN, NodeContext(name="node-0"), random_fully=True
    )


def names(chains: Chains) -> set[str]:
    """Chains of ours, and the sets that they ask."""
    ours = {ref.name for ref in chains if not ref.is_builtin}
    return ours | {name for ref in chains for name in hooks.sets(chains, ref)}


def test_the_map_is_complete() -> None:
    """Every chain and every set of the planned rules is on it, and nothing else."""
    assert set(_NAME.findall(hooks.picture().text)) == names(planned())


@pytest.mark.parametrize("way", [*WAYS, RANGED], ids=lambda way: way.name)
def test_names(way: Way) -> None:
    """A chain or set in a picture is one of the planned rules."""
    assert set(_NAME.findall(ways.picture(way).text)) <= names(planned())


@pytest.mark.parametrize("way", [*WAYS, RANGED], ids=lambda way: way.name)
def test_what_is_bound(way: Way) -> None:
    """An address is said to be bound to the VIP link if it is."""
    (lane, *_) = journeys.lanes(way)
    is_bound = way.address in journeys.node_state(way, lane).addresses
    assert is_bound is ("bound to kube-ipvs0" in ways.picture(way).text)


_LABELS = {
    journeys.CLUSTER_IP: "cluster IP",
    journeys.EXTERNAL_IP: "external IP",
    journeys.INGRESS_VIP: "ingress VIP",
    journeys.NODE: "node port",
}
_COLUMNS = ("outside client", "this node itself", "pod of this node")


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_what_endpoints_see(way: Way) -> None:
    """It is what docs/ways-in.md says, which a real kernel was asked for."""
    page = (DOCS / "ways-in.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if "|" in line]
    (row,) = (r for r in rows if r[:2] == [_LABELS[way.address], way.policy.value])
    lanes = {lane.title: lane for lane in journeys.lanes(way)}
    assert [seen(way, lanes[title]) for title in _COLUMNS] == row[2:5]


def seen(way: Way, lane: Lane) -> str:
    """What becomes of a client's requests, in the words of that page."""
    found = tuple(branches(way, lane))
    assert {branch.fate for branch in found} == {Fate.BALANCED}
    reached = {endpoint for branch in found for endpoint in branch.endpoints}
    (masqueraded,) = {branch.is_masqueraded for branch in found}
    who = {frozenset({NEAR, FAR}): "all three", frozenset({NEAR}): "this node's two"}
    source = "the node" if masqueraded or lane.is_host else "itself"
    return f"{who[frozenset(reached)]}, as {source}"


def test_clients_without_an_endpoint_here() -> None:
    """They are dropped wherever the policy is Local."""
    local = [way for way in WAYS if way.policy is TrafficPolicy.LOCAL]
    for way in local:
        (lane,) = (lane for lane in journeys.lanes(way) if lane.endpoints == (FAR,))
        (branch,) = branches(way, lane)
        assert branch.fate is Fate.DROPPED


def test_clients_in_no_range() -> None:
    """They are dropped, and those in one are not."""
    fates = [
        branch.fate
        for lane in journeys.lanes(RANGED)
        for branch in branches(RANGED, lane)
    ]
    assert fates == [Fate.BALANCED, Fate.BALANCED, Fate.DROPPED, Fate.DROPPED]


def test_a_drawing_of_another_text_is_noticed() -> None:
    """The test of drawings can fail."""
    text = ways.picture(WAYS[0]).text.replace("KUBE-SERVICES", "KUBE-ELSEWHERE")
    changed = Picture(name=f"ways/{WAYS[0].name}", text=text)
    assert text.startswith(HEAD)
    assert changed.drawn_words() != changed.words()
