"""Facts about how YAML is read."""

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ipvsctl.cluster.yamltext import YamlError, yaml_documents

SCENARIOS = Path(__file__).parent.parent / "golden" / "scenarios"


def read(text: str) -> list[object]:
    """The values of all documents."""
    return [document.value for document in yaml_documents(text.encode())]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("80", 80),
        ("-1", -1),
        ("0x50", 80),
        ("0o17", 15),
        ("017", "017"),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("'80'", "80"),
        ('"true"', "true"),
        ("true", True),
        ("False", False),
        ("on", "on"),
        ("no", "no"),
        ("~", None),
        ("null", None),
        ("''", ""),
        ("2026-11-22T16:53:43Z", "2026-11-22T16:53:43Z"),
        ("2001:10:20:30:40:50:1:2", "2001:10:20:30:40:50:1:2"),
        ("10.96.0.1", "10.96.0.1"),
        ("1_000", "1_000"),
        ("007.5", "007.5"),
        (".", "."),
        ("!!str 80", "80"),
        ("!!int '80'", 80),
        ("9" * 41, "9" * 41),
        ("[a, [1, {b: c}]]", ["a", [1, {"b": "c"}]]),
        ("{a: {}, b: []}", {"a": {}, "b": []}),
        ("{8080: a, true: b, ~: c}", {"8080": "a", "true": "b", "null": "c"}),
        ("|\n  a\n  b", "a\nb\n"),
    ],
)
def test_values(text: str, value: object) -> None:
    """A value is what JSON would have, and nothing is guessed from its looks."""
    (found,) = read(f"x: {text}\n")
    assert found == {"x": value}
    assert isinstance(found, dict)
    assert type(found["x"]) is type(value)


def test_documents() -> None:
    """Documents are numbered from 1, empty ones too."""
    found = [(d.number, d.value) for d in yaml_documents(b"---\n---\na: 1\n---\n- 2\n")]
    assert found == [(1, None), (2, {"a": 1}), (3, [2])]
    assert read("") == []
    assert read("# only this\n") == []


def test_aliases_and_merges() -> None:
    """An alias is what it names; a merge gives what the mapping does not."""
    text = """
    base: &base {a: 1, b: 2}
    other: &other {b: 3, c: 4}
    again: *base
    one: {<<: *base, b: 9}
    both: {<<: [*base, *other]}
    """
    (found,) = read(text)
    assert found == {
        "base": {"a": 1, "b": 2},
        "other": {"b": 3, "c": 4},
        "again": {"a": 1, "b": 2},
        "one": {"a": 1, "b": 9},
        "both": {"a": 1, "b": 2, "c": 4},
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"<<": {a: 1}, b: 2}', {"<<": {"a": 1}, "b": 2}),
        ("'<<': 1", {"<<": 1}),
        ("!!str <<: 1", {"<<": 1}),
        ("a: <<", {"a": "<<"}),
    ],
)
def test_only_a_plain_key_merges(text: str, value: object) -> None:
    """Quoted, tagged or as a value, `<<` is text."""
    assert read(text) == [value]


def test_anchors_end_with_their_document() -> None:
    """An alias cannot reach into another document."""
    with pytest.raises(YamlError, match="document 2"):
        read("a: &a 1\n---\nb: *a\n")


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: [", "line 2"),
        ("a: 1\n b: 2\n", "line 2"),
        ("a: 1\na: 2\n", "key 'a' twice"),
        ("a: &a [*a]\n", "alias 'a' of nothing yet"),
        ("a: *b\n", "alias 'b'"),
        ("a: !Ref b\n", "'b' tagged !Ref"),
        ("a: !!int b\n", "'b' tagged"),
        ("a: !!binary aGk=\n", "tagged"),
        ("{[a]: b}\n", "collection"),
        ("a: {<<: 1}\n", "<<"),
        ("a: \x00\n", "."),
        (BOMB, "stand for too much"),
    ],
)
def test_what_is_refused(text: str, reason: str) -> None:
    """What is not YAML, or has no meaning in JSON, is refused with its place."""
    with pytest.raises(YamlError, match=reason) as caught:
        read(text)
    assert caught.value.document == 1


def test_documents_before_an_error_are_had() -> None:
    """Reading stops at the error, not before it."""
    documents = yaml_documents(b"a: 1\n---\nb: [\n")
    assert next(documents).value == {"a": 1}
    with pytest.raises(YamlError) as caught:
        next(documents)
    assert caught.value.document == 2


def test_depth_is_no_crash() -> None:
    """Nesting costs no stack and no time: it is read, or refused early."""
    assert read("[" * 200 + "]" * 200)
    with pytest.raises(YamlError, match="nested too deep"):
        read("[" * 100_000)


@pytest.mark.parametrize("path", sorted(SCENARIOS.glob("*/cluster.yaml")), ids=str)
def test_as_pyyaml(path: Path) -> None:
    """What kubectl prints is read as PyYAML reads it."""
    text = path.read_text()
    assert read(text) == list(yaml.safe_load_all(text))


# Without what PyYAML's own emitter gets wrong: line breaks of Unicode and its mark, and
# without text like `0E0` and `0o7`, which it does not quote since those are numbers in
# YAML 1.2 and Go only.
_NUMBER = re.compile(r"[-+.]*[0-9]")
TEXT = st.text(
    st.characters(
        exclude_categories=["Cc", "Cs", "Zl", "Zp"], exclude_characters="\ufeff"
    )
).filter(lambda text: not _NUMBER.match(text))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=10,
)


@settings(deadline=None)
@given(JSON)
def test_what_yaml_writes_is_read_back(value: object) -> None:
    """Any JSON value survives being written as YAML, aliases and all."""
    (found,) = read(yaml.safe_dump([value, value], allow_unicode=True))
    assert found == [value, value]


@settings(deadline=None)
@given(st.text() | st.binary())
def test_garbage(garbage: str | bytes) -> None:
    """Text is YAML or a YamlError."""
    raw = garbage.encode(errors="ignore") if isinstance(garbage, str) else garbage
    try:
        numbers = [document.number for document in yaml_documents(raw)]
    except YamlError:
        return
    assert numbers == list(range(1, len(numbers) + 1))
