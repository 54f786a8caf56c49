"""Facts about manifest files: what is in one, in several, and what changed."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from ipvsctl.cluster.events import Deleted, Event, Invalid, Upserted
from ipvsctl.cluster.manifests.manifest import (
    ManifestFile,
    Manifests,
    changes,
    keep_last_good,
    merge,
    parse_manifest,
)
from ipvsctl.model.objects import EndpointSlice, Service
from ipvsctl.model.problem import Kind, ObjectRef
from tests.builders import (
    Raw,
    raw_endpoint,
    raw_endpoints,
    raw_node,
    raw_service,
    raw_slice,
    ref,
    to_json,
)
from tests.work import calls_of

SCENARIOS = Path(__file__).parents[2] / "golden" / "scenarios"


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
        (as_yaml(listed("List", "v1", *OBJECTS)), "a.json"),
        (b"\n".join(map(to_json, OBJECTS)), "a.json"),
        (to_json(listed("List", "v1", *OBJECTS)).decode().encode("utf-16"), "a.json"),
        (b"\xef\xbb\xbf" + to_json(listed("List", "v1", *OBJECTS)), "a.json"),
        (b"\n---\n\xef\xbb\xbf".join(map(as_yaml, OBJECTS)), "a.yaml"),
        (as_yaml(*OBJECTS).replace(b"\n", b"\r\n"), "a.yaml"),
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
            "Service default/x: is text, not a whole number",
        ),
        (
            listed("List", "v1", raw_service("y", ports=5)),
            "document 2 items[0]: spec.ports",
            "Service default/y: is a whole number, not a list",
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
        (b"{", "a.json", "document 1"),
        (b"[]", "a.json", "document 1"),
        ("\ufeff\n".encode("utf-16"), "a.yaml", ""),
        (b"null", "a.json", ""),
        (b"--- # nothing\n---\n~\n", "a.yaml", ""),
    ],
)
def test_broken_file(raw: bytes, path: str, field: str) -> None:
    """A file without text, or with other text, is one problem."""
    file = parse_manifest(raw, path)
    assert [p.field for p in file.problems] == [field]


@pytest.mark.parametrize(
    "raw", [b"# off\n", b"---\n---\n# off\n", b'{"apiVersion":"v1","kind":"List"}']
)
def test_file_that_says_there_is_nothing(raw: bytes) -> None:
    """A file with comments alone, or an empty list, is whole and has no objects."""
    assert parse_manifest(raw, "a.yaml") == ManifestFile(objects={})


def test_null_among_objects() -> None:
    """A document that is null, as a chart leaves it, is none, as for kubectl."""
    text = b"null\n---\n" + as_yaml(raw_service("a")) + b"---\n~\n"
    file = parse_manifest(text, "a.yaml")
    assert (names(file), file.problems) == (["Service a"], ())


def test_bad_value_is_the_objects_problem() -> None:
    """A bad value inside an object is that object's problem, not the file's."""
    file = parse_manifest(as_yaml(raw_service(externalIPs=["x"])), "a.yaml")
    assert file.problems == ()
    (found,) = file.objects.values()
    assert [p.field for p in found.problems] == ["spec.externalIPs[0]"]


@pytest.mark.parametrize(
    ("text", "ready"),
    [
        ("yes", True),
        ("On", True),
        ("y", True),
        ("true", True),
        ("no", False),
        ("off", False),
        ("N", False),
        ("!!bool n", False),
        ("", True),
        ("~", True),
    ],
)
def test_words_of_yaml(text: str, ready: bool) -> None:  # noqa: FBT001  # of the table
    """A word that YAML 1.1 takes for a boolean is one where the API has a boolean."""
    raw = raw_slice("s", raw_endpoint(conditions={"ready": "READY"}))
    (found,) = parse_manifest(
        as_yaml(raw).replace(b"READY", text.encode()), "a.yaml"
    ).objects.values()
    (value,) = found.values
    assert isinstance(value, EndpointSlice)
    assert value.endpoints[0].ready is ready


@pytest.mark.parametrize(
    "text", ["80", "80.0", "8e1", "0x50", "0o120", "0120", "0b1010000", "8_0", "+80"]
)
def test_numbers_of_yaml(text: str) -> None:
    """However YAML spells a port, it is that port; and 80.0 in JSON is 80, too."""
    raw = raw_service(ports=[{"port": "PORT"}])
    yaml_text = as_yaml(raw).replace(b"PORT", text.encode())
    files = [parse_manifest(yaml_text, "a.yaml")]
    if text in {"80", "80.0", "8e1"}:
        json_text = to_json(raw).replace(b'"PORT"', text.encode())
        files.append(parse_manifest(json_text, "a.json"))
    for file in files:
        (found,) = file.objects.values()
        (value,) = found.values
        assert isinstance(value, Service)
        assert value.ports[0].port == 80
        assert (file.problems, found.problems) == ((), ())


LETTERS = b"""
apiVersion: v1
kind: Service
metadata: {name: y, namespace: n, labels: {app: n}, annotations: {ipvsctl.io/x: y}}
spec: {clusterIP: 10.96.0.10, selector: {app: n}, ports: [{name: n, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
addressType: IPv4
metadata: {name: y, namespace: n, labels: {kubernetes.io/service-name: y}}
ports: [{name: n, port: 8080}]
endpoints:
- addresses: [172.16.0.1]
  nodeName: n
  zone: y
  conditions: {ready: n, serving: y, terminating: N}
  hints: {forZones: [{name: y}], forNodes: [{name: n}]}
---
apiVersion: v1
kind: Node
metadata: {name: n, labels: {topology.kubernetes.io/zone: y}}
spec: {podCIDR: n}
"""


def test_letters_as_names() -> None:
    """`y` and `n` are text where there is text, and booleans where there are those."""
    file = parse_manifest(LETTERS, "a.yaml")
    assert file.problems == ()
    quoted = re.sub(rb"\b([yn])\b", rb"'\1'", LETTERS).replace(b"/'n'", b"/n")
    for letter, word in ((b"n", b"false"), (b"y", b"true")):
        for condition in (b"ready", b"serving"):
            plain = condition + b": '" + letter + b"'"
            quoted = quoted.replace(plain, condition + b": " + word)
    assert file == parse_manifest(quoted, "a.yaml")
    assert msgspec.json.encode(list(file.objects))


@pytest.mark.parametrize(
    ("text", "shown", "reason"),
    [
        ("yes", "true", "is true or false, not text; quote it"),
        ("off", "false", "is true or false, not text; quote it"),
        ("1", "1", "is a whole number, not text; quote it"),
        ("1.5", "1.5", "is a number with a fraction, not text; quote it"),
        ("1.0", "1", "is a whole number, not text; quote it"),
        ("[a]", "['a']", "is a list, not text"),
        ("{a: b}", "{'a': 'b'}", "is a mapping, not text"),
    ],
)
@pytest.mark.parametrize("part", ["labels", "annotations"])
def test_label_that_is_not_text(part: str, text: str, shown: str, reason: str) -> None:
    """A label or annotation without quotes is named with its key; the rest is kept."""
    raw = raw_service("bad")
    raw["metadata"][part] = {"a": "b", "app.io/x": "VALUE"}
    bad = as_yaml(raw)
    file = parse_manifest(
        bad.replace(b"VALUE", text.encode()) + b"---\n" + as_yaml(raw_service("good")),
        "a.yaml",
    )
    assert names(file) == ["Service good"]
    (problem,) = file.problems
    assert problem.field == f"document 1: metadata.{part}.app.io/x"
    assert problem.value == shown
    assert problem.reason == f"Service default/bad: {reason}"


def test_selector_that_is_not_text() -> None:
    """So is a selector's value."""
    raw = raw_service(selector={"app": 1})
    (problem,) = parse_manifest(as_yaml(raw), "a.yaml").problems
    assert (problem.field, problem.value) == ("document 1: spec.selector.app", "1")


def test_document_that_says_something_twice() -> None:
    """The last one counts, and the file is not whole: perhaps a `---` is missing."""
    text = as_yaml(raw_service("a")) + as_yaml(raw_service("b"))
    file = parse_manifest(text + b"---\n" + as_yaml(raw_service("c")), "a.yaml")
    assert names(file) == ["Service b", "Service c"]
    assert [problem.field for problem in file.problems] == ["document 1"]
    label_twice = b"  labels: {app: x, app: x}\n"
    harmless = as_yaml(raw_service("a")).replace(b"  name: a\n", b"  name: a\n", 1)
    harmless = harmless.replace(b"  labels: null\n", label_twice)
    assert label_twice in harmless
    assert parse_manifest(harmless, "a.yaml").problems == ()


def test_bytes_that_are_no_text() -> None:
    """Bytes that are not UTF-8 are replaced, as by kubectl, and said."""
    text = "# caf\u00e9\n".encode("latin-1") + as_yaml(raw_service("a"))
    file = parse_manifest(text, "a.yaml")
    assert (names(file), file.problems) == (["Service a"], ())
    assert [note.field for note in file.notes] == ["line 1"]


def kind(version: str, name: str, **fields: Any) -> Raw:
    """Some object."""
    return {"apiVersion": version, "kind": name, "metadata": {"name": "x"}, **fields}


SLICE = "discovery.k8s.io/v1 EndpointSlice"


@pytest.mark.parametrize(
    ("version", "name", "meant"),
    [
        (
            "discovery.k8s.io/v1beta1",
            "EndpointSlice",
            "discovery.k8s.io/v1 EndpointSlice",
        ),
        ("discovery.k8s.io/v1", "Endpointslice", "discovery.k8s.io/v1 EndpointSlice"),
        ("discovery.k8s.io/v1", "EndpointSlices", "discovery.k8s.io/v1 EndpointSlice"),
        (
            "discovery.k8s.io/v1beta1",
            "EndpointSliceList",
            "discovery.k8s.io/v1 EndpointSlice",
        ),
        ("v1", "EndpointSlice", "discovery.k8s.io/v1 EndpointSlice"),
        ("core/v1", "Service", "v1 Service"),
        ("V1", "Service", "v1 Service"),
        ("v2", "Service", "v1 Service"),
        ("apps/v1", "Service", "v1 Service"),
        ("discovery.k8s.io/v1", "Service", "v1 Service"),
        ("v1", "service", "v1 Service"),
        ("v1", "Sevice", "v1 Service"),
        ("v1", "Services", "v1 Service"),
        ("v1", "Endpoint", "v1 Endpoints"),
        ("v1", "node", "v1 Node"),
        ("v1beta1", "List", "v1 List"),
        ("core/v1", "ServiceList", "v1 Service"),
    ],
)
def test_nearly_ours(version: str, name: str, meant: str) -> None:
    """A version or kind that is nearly ours is a problem, once, and counted."""
    file = parse_manifest(
        as_yaml(raw_service("a"), *[kind(version, name)] * 3), "a.yaml"
    )
    (problem,) = file.problems
    assert problem.value == f"{version} {name}"
    assert problem.field == "document 2"
    assert problem.reason == f"is not read, only {meant} is (3 in this file)"
    assert (names(file), file.skipped) == (["Service a"], {})


@pytest.mark.parametrize(
    ("version", "name"),
    [
        ("serving.knative.dev/v1", "Service"),
        ("multicluster.x-k8s.io/v1alpha1", "ServiceImport"),
        ("networking.k8s.io/v1", "ServiceCIDR"),
        ("networking.k8s.io/v1", "Ingress"),
        ("v1", "ServiceAccount"),
        ("v1", "Pod"),
        ("v1", "PodList"),
        ("v1", "Secret"),
        ("v1", "Event"),
        ("v1", "Namespace"),
        ("metrics.k8s.io/v1beta1", "NodeMetrics"),
        ("monitoring.coreos.com/v1", "ServiceMonitor"),
        ("resource.k8s.io/v1", "ResourceSlice"),
        ("apps/v1", "Deployment"),
    ],
)
def test_not_ours(version: str, name: str) -> None:
    """Other kinds are nobody's business here, however alike they are."""
    file = parse_manifest(as_yaml(kind(version, name)), "a.yaml")
    assert (file.problems, file.notes) == ((), ())
    assert file.skipped == {f"{version} {name}": 1}


def test_slices_of_no_service() -> None:
    """Slices without the label are a note, counted; the file is whole."""
    file = parse_manifest(
        as_yaml(
            raw_slice("a"),
            raw_slice("b", service=None),
            raw_slice("c", service=None, labels={"app": "x"}),
            raw_slice("d", service=""),
            raw_slice("e", addressType="FQDN", endpoints=[]),
        ),
        "a.yaml",
    )
    assert file.problems == ()
    (note,) = file.notes
    assert (note.field, note.ref.name) == ("document 2", "a.yaml")
    assert "kubernetes.io/service-name" in note.reason
    assert "3 in this file" in note.reason


def test_notes_are_told() -> None:
    """A note is told once, as no `Invalid`, until the file has it no more."""
    quiet = merge({"a.yaml": file_of(raw_service("a"))})
    noted = merge({"a.yaml": file_of(raw_service("a"), raw_slice("s", service=None))})
    slice_and_note = list(changes(quiet, noted))
    assert summary(slice_and_note) == [
        "Upserted EndpointSlice default/s",
        "Upserted Manifest a.yaml",
    ]
    told = slice_and_note[1]
    assert isinstance(told, Upserted)
    assert len(told.problems) == 1
    assert list(changes(noted, noted)) == []
    assert summary(list(changes(noted, quiet)))[1:] == ["Deleted Manifest a.yaml"]


def test_many_copies() -> None:
    """An object that is there thousands of times is one, with few problems."""
    copies = b"- &a " + to_json(raw_service("a")) + b"\n" + b"- *a\n" * 5000
    text = b"apiVersion: v1\nkind: List\nitems:\n" + copies
    (found,) = parse_manifest(text, "a.yaml").objects.values()
    assert len(found.problems) == 17
    assert found.problems[-1].value == "and 4984 more"
    files = {f"{n:05}.yaml": file_of(raw_service("a")) for n in range(2000)}
    (found,) = merge(files).objects.values()
    assert [p.value for p in found.problems[-2:]] == ["00016.yaml", "and 1983 more"]


def test_more_objects_than_a_file_may_have() -> None:
    """Objects beyond what its size excuses are one problem of the file."""
    text = b'{"apiVersion":"v1","kind":"List","items":[' + b"0," * 50_000 + b"0]}"
    file = parse_manifest(text, "a.json")
    assert file.problems[-1].reason == "too many objects for a file of this size"
    assert file.problems[-1].field == "items[9999]"


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


def many_items(item: Callable[[int], Raw], count: int) -> Raw:
    """A list of so many."""
    return listed("List", "v1", *map(item, range(count)))


HOSTILE: dict[str, Callable[[int], object]] = {
    "ports": lambda n: raw_service(
        ports=[{"name": f"p{i}", "port": i % 65535 + 1} for i in range(n)]
    ),
    "ports twice": lambda n: raw_service(ports=[{"port": 80}] * n),
    "endpoints": lambda n: raw_slice(
        "s", *(raw_endpoint(f"10.{n // 250}.{i >> 8}.{i & 255}") for i in range(n))
    ),
    "broken endpoints": lambda n: raw_slice("s", *[{}] * n),
    "external IPs": lambda n: raw_service(
        externalIPs=[f"203.{n // 250}.{i >> 8}.{i & 255}" for i in range(n)]
    ),
    "labels": lambda n: raw_service(labels={f"l{i}": str(i) for i in range(n)}),
    "numbers in a list": lambda n: listed("List", "v1", *[0] * n),
    "lists in a list": lambda n: listed("List", "v1", *[listed("List", "v1")] * n),
    "copies": lambda n: listed("List", "v1", *[raw_service()] * n),
    "broken Services": lambda n: listed("List", "v1", *[raw_service(ports=1)] * n),
    "other kinds": lambda n: many_items(lambda i: kind("v1", f"Service{i}"), n),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_work_is_bounded(name: str) -> None:
    """What a file costs goes with its size, whatever objects are in it."""

    def work(count: int) -> int:
        raw = to_json({"a": HOSTILE[name](count)})[6:-1]
        return calls_of(lambda: merge({"a": parse_manifest(raw, "a.json")}))

    assert work(2000) <= 2.5 * work(1000) + 1000
    assert work(1000) <= 1000 * 600
