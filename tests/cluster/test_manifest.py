"""Facts about manifest files: what is in one, in several, and what changed."""

from pathlib import Path

import msgspec
import pytest
import yaml

from ipvsctl.cluster.events import Deleted, Event, Invalid, Upserted
from ipvsctl.cluster.manifest import (
    ManifestFile,
    Manifests,
    changes,
    keep_last_good,
    merge,
    parse_manifest,
)
from ipvsctl.model.objects import Service
from ipvsctl.model.problem import Kind, ObjectRef
from tests.builders import (
    Raw,
    raw_endpoints,
    raw_node,
    raw_service,
    raw_slice,
    ref,
    to_json,
)

SCENARIOS = Path(__file__).parent.parent / "golden" / "scenarios"


def as_yaml(*documents: object) -> bytes:
    """A file of these documents."""
    return yaml.safe_dump_all(documents).encode()


def names(file: ManifestFile | Manifests) -> list[str]:
    """`Kind name` of every object."""
    return [f"{kind} {name.name}" for kind, name in file.objects]


def listed(kind: str, version: str, *items: object) -> Raw:
    """A list of any kind."""
    return {"kind": kind, "apiVersion": version, "items": list(items)}


def bare(raw: Raw) -> Raw:
    """An item of a typed list, which says neither kind nor version."""
    return {k: v for k, v in raw.items() if k not in {"kind", "apiVersion"}}


OBJECTS = (raw_node("n"), raw_service("web"), raw_slice("s"), raw_endpoints("web"))
NAMES = ["Node n", "Service web", "EndpointSlice s", "Endpoints web"]


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (as_yaml(*OBJECTS), "a.yaml"),
        (as_yaml(None, *OBJECTS, None), "a.yml"),
        (as_yaml(listed("List", "v1", *OBJECTS)), "a.yaml"),
        (to_json(listed("List", "v1", *OBJECTS)), "a.json"),
        (to_json(listed("List", "v1", *OBJECTS)), "a.yaml"),
        (
            to_json(
                listed(
                    "List",
                    "v1",
                    listed("NodeList", "v1", bare(OBJECTS[0])),
                    listed("ServiceList", "v1", bare(OBJECTS[1])),
                    listed(
                        "EndpointSliceList", "discovery.k8s.io/v1", bare(OBJECTS[2])
                    ),
                    listed("EndpointsList", "v1", bare(OBJECTS[3])),
                )
            ),
            "a.json",
        ),
    ],
)
def test_all_shapes(raw: bytes, path: str) -> None:
    """Documents, lists, typed lists and lists of lists hold the same objects."""
    file = parse_manifest(raw, path)
    assert names(file) == NAMES
    assert file.problems == ()
    assert file.skipped == {}


@pytest.mark.parametrize("path", sorted(SCENARIOS.glob("*/cluster.yaml")), ids=str)
def test_what_kubectl_prints(path: Path) -> None:
    """Whole clusters are read without a problem."""
    file = parse_manifest(path.read_bytes(), str(path))
    assert {kind for kind, _ in file.objects} >= {Kind.NODE, Kind.SERVICE}
    assert (file.problems, file.skipped) == ((), {})
    assert [found.problems for found in file.objects.values() if found.problems] == []


def test_json_and_yaml_are_one() -> None:
    """The same objects in JSON and in YAML are equal."""
    both = [
        parse_manifest(to_json(listed("List", "v1", *OBJECTS)), "a.json"),
        parse_manifest(as_yaml(*OBJECTS), "a.yaml"),
    ]
    assert both[0].objects == both[1].objects


def test_other_kinds_are_counted() -> None:
    """Kinds nobody reads are skipped, also those that only have a name in common."""
    file = parse_manifest(
        as_yaml(
            {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {}},
            {"apiVersion": "serving.knative.dev/v1", "kind": "Service"},
            listed("PodList", "v1", {}, {}),
            listed("List", "v1", {"apiVersion": "apps/v1", "kind": "Deployment"}),
        ),
        "a.yaml",
    )
    assert file.skipped == {
        "apps/v1 Deployment": 2,
        "serving.knative.dev/v1 Service": 1,
        "v1 PodList": 1,
    }
    assert (names(file), file.problems) == ([], ())


DEEP: Raw = listed("List", "v1")
for _ in range(10):
    DEEP = listed("List", "v1", DEEP)


@pytest.mark.parametrize(
    ("bad", "field", "reason"),
    [
        ("text", "document 2", "not an object"),
        (["a"], "document 2", "not an object"),
        ({"apiVersion": "v1"}, "document 2: kind", "Object: is missing"),
        (
            bare(raw_service("x")),
            "document 2: kind",
            "Object: is missing",
        ),
        (
            {"kind": "Service"},
            "document 2: apiVersion",
            "Object: is missing",
        ),
        (
            {"apiVersion": "v1", "kind": "Service"},
            "document 2: metadata.name",
            "Service without a name: is missing",
        ),
        (
            raw_service("x", ports=[{"port": "80"}]),
            "document 2: spec.ports[0].port",
            "Service default/x: ",
        ),
        (
            listed("List", "v1", raw_service("y", ports=5)),
            "document 2 items[0]: spec.ports",
            "Service default/y: ",
        ),
        (listed("List", "v1", 5), "document 2 items[0]", "not an object"),
        (
            {"kind": "List", "apiVersion": "v1", "items": {"a": 1}},
            "document 2: items",
            "List: not a list",
        ),
        (
            DEEP,
            "document 2" + " items[0]" * 8 + ": items",
            "List: nested too deep",
        ),
    ],
)
def test_broken_document(bad: object, field: str, reason: str) -> None:
    """A broken document is a problem with its place, and stops no other."""
    file = parse_manifest(as_yaml(raw_service("a"), bad, raw_service("b")), "f.yaml")
    assert names(file) == ["Service a", "Service b"]
    (problem,) = file.problems
    assert (problem.kind, problem.ref) == (Kind.MANIFEST, ObjectRef("", "f.yaml"))
    assert problem.field == field
    # What is behind a colon and a blank is the decoder's to say.
    assert problem.reason == reason or (
        reason.endswith(": ") and problem.reason.startswith(reason)
    )


def test_broken_item_in_json() -> None:
    """A broken item of a JSON list stops no other."""
    raw = to_json(listed("List", "v1", raw_service("a"), 5, raw_service("b", ports=5)))
    file = parse_manifest(raw, "f.json")
    assert names(file) == ["Service a"]
    assert [p.field for p in file.problems] == ["items[1]", "items[2]: spec.ports"]


@pytest.mark.parametrize(
    ("raw", "path", "field"),
    [
        (b"", "a.yaml", ""),
        (b" \n", "a.json", ""),
        (b"a: [", "a.yaml", "document 1"),
        (b"{", "a.json", ""),
        (b"[]", "a.json", ""),
    ],
)
def test_broken_file(raw: bytes, path: str, field: str) -> None:
    """A file without text, or with other text, is one problem."""
    file = parse_manifest(raw, path)
    assert [p.field for p in file.problems] == [field]


def test_bad_value_is_the_objects_problem() -> None:
    """A bad value inside an object is that object's problem, not the file's."""
    file = parse_manifest(as_yaml(raw_service(externalIPs=["x"])), "a.yaml")
    assert file.problems == ()
    (found,) = file.objects.values()
    assert [p.field for p in found.problems] == ["spec.externalIPs[0]"]


def test_twice_in_a_file() -> None:
    """Of an object that a file has twice the first is used, and says so."""
    file = parse_manifest(
        as_yaml(raw_service("a"), raw_service("a", clusterIP="10.96.0.99")), "f.yaml"
    )
    (found,) = file.objects.values()
    (value,) = found.values
    assert isinstance(value, Service)
    assert str(value.cluster_ips[0]) == "10.96.0.10"
    assert [(p.field, p.value) for p in found.problems] == [
        ("metadata.name", "document 2")
    ]


def file_of(*raws: Raw, path: str = "f.yaml") -> ManifestFile:
    """A file of these objects."""
    return parse_manifest(as_yaml(*raws), path)


def test_twice_in_two_files() -> None:
    """Of an object that two files have the first by path is used, and names both."""
    first = file_of(raw_service("a"))
    second = file_of(raw_service("a", clusterIP="10.96.0.99"), raw_service("b"))
    merged = merge({"b.yaml": second, "a.yaml": first})
    assert names(merged) == ["Service a", "Service b"]
    found = merged.objects[Kind.SERVICE, ref("a")]
    assert found.values == first.objects[Kind.SERVICE, ref("a")].values
    (problem,) = found.problems
    assert (problem.value, problem.reason) == (
        "b.yaml",
        "also in a.yaml, which is used",
    )


def test_last_good_state() -> None:
    """A file with a problem withdraws nothing, and what it does say counts."""
    before = file_of(raw_service("a"), raw_service("b"))
    broken = parse_manifest(
        as_yaml(raw_service("a", clusterIP="10.96.0.99"), "b?"), "f.yaml"
    )
    now = keep_last_good(broken, before)
    assert sorted(names(now)) == ["Service a", "Service b"]
    key = (Kind.SERVICE, ref("a"))
    assert now.objects[key] == broken.objects[key]
    assert now.problems == broken.problems
    assert keep_last_good(broken, None) == broken


def test_good_file_withdraws() -> None:
    """A file without problems says all there is in it."""
    before = file_of(raw_service("a"), raw_service("b"))
    now = file_of(raw_service("b"))
    assert keep_last_good(now, before) == now


def merged_of(*raws: Raw, invalid: bytes | None = None) -> Manifests:
    """One good file, and perhaps a broken one."""
    files = {"a.yaml": file_of(*raws)}
    if invalid is not None:
        files["z.yaml"] = parse_manifest(invalid, "z.yaml")
    return merge(files)


def summary(events: list[Event]) -> list[str]:
    """Type, kind and name of each event."""
    words = []
    for event in events:
        assert isinstance(event, Upserted | Deleted | Invalid)
        words.append(f"{type(event).__name__} {event.kind} {event.ref}")
    return words


def test_changes() -> None:
    """Only what differs is an event: Nodes first, then by kind and name."""
    before = merged_of(raw_service("a"), raw_service("b"), raw_service("c"))
    after = merged_of(
        raw_slice("s"),
        raw_service("d"),
        raw_service("c", clusterIP="10.96.0.99"),
        raw_service("b"),
        raw_node("n"),
        invalid=b"x: [",
    )
    assert summary(list(changes(before, after))) == [
        "Upserted Node n",
        "Upserted Service default/c",
        "Upserted Service default/d",
        "Upserted EndpointSlice default/s",
        "Deleted Service default/a",
        "Invalid Manifest z.yaml",
    ]
    assert list(changes(after, after)) == []


def test_repaired_file() -> None:
    """A file that is repaired, or goes, takes its problems with it."""
    broken = merged_of(raw_service("a"), invalid=b"x: [")
    other = merged_of(raw_service("a"), invalid=b"\n\nx: [")
    fixed = merged_of(raw_service("a"))
    assert summary(list(changes(broken, other))) == ["Invalid Manifest z.yaml"]
    assert summary(list(changes(broken, fixed))) == ["Deleted Manifest z.yaml"]


def test_changes_repeat_nothing_they_can_avoid() -> None:
    """The events lead from one state to the other."""
    before = merged_of(raw_service("a"), raw_node("n"))
    after = merged_of(raw_service("b"))
    objects = dict(before.objects)
    for event in changes(before, after):
        if isinstance(event, Upserted):
            objects[event.kind, event.ref] = event
        elif isinstance(event, Deleted):
            del objects[event.kind, event.ref]
    assert objects == msgspec.structs.asdict(after)["objects"]
