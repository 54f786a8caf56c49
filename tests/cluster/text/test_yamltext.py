"""Facts about how YAML is read; what scalars stand for is in `test_scalars`."""

import re
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ipvsctl.cluster.text.yamltext import (
    MAX_DEPTH,
    Allowance,
    TooMuch,
    YamlError,
    YamlValue,
    yaml_values,
)

SCENARIOS = Path(__file__).parents[2] / "golden" / "scenarios"


def found(text: str | bytes, events: int = 10**6) -> list[YamlValue]:
    """What all documents say."""
    raw = text.encode() if isinstance(text, str) else text
    return list(yaml_values(raw, 1, Allowance(events)))


def read(text: str | bytes) -> list[object]:
    """The values of all documents."""
    return [document.value for document in found(text)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[a, [1, {b: c}]]", ["a", [1, {"b": "c"}]]),
        ("{a: {}, b: []}", {"a": {}, "b": []}),
        ("{a, b: }", {"a": None, "b": None}),
        ("- - 1\n  - 2\n- 3\n", [[1, 2], 3]),
        ("a:\n- 1\n- 2\n", {"a": [1, 2]}),
        ("? a\n: b\n", {"a": "b"}),
        ("a: b\n  c\n", {"a": "b c"}),
        ("a: http://x:80/y\n", {"a": "http://x:80/y"}),
    ],
)
def test_collections(text: str, value: object) -> None:
    """Collections in both styles, inside each other."""
    assert read(text) == [value]


def test_aliases_and_merges() -> None:
    """An alias is what it names; a merge gives what the mapping does not."""
    text = """
    base: &base {a: 1, b: 2}
    other: &other {b: 3, c: 4}
    again: *base
    one: {<<: *base, b: 9}
    both: {<<: [*base, *other]}
    """
    assert read(text) == [
        {
            "base": {"a": 1, "b": 2},
            "other": {"b": 3, "c": 4},
            "again": {"a": 1, "b": 2},
            "one": {"a": 1, "b": 9},
            "both": {"a": 1, "b": 2, "c": 4},
        }
    ]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{<<: {a: 1, b: 2}, b: 9}", {"a": 1, "b": 9}),
        ("{b: 9, <<: {a: 1, b: 2}}", {"a": 1, "b": 2}),
        ("{<<: {a: 1, b: 2}, <<: {b: 3}}", {"a": 1, "b": 3}),
        ("{<<: [{b: 3}, {a: 1, b: 2}]}", {"a": 1, "b": 3}),
        ("{<<: [], b: 1}", {"b": 1}),
    ],
)
def test_merges_take_their_turn(text: str, value: object) -> None:
    """As for kubectl, what comes later replaces what was taken over, and is replaced.

    Source: go.yaml.in/yaml/v2 decode.go:mapping and merge.
    """
    assert read(text) == [value]
    assert found(text)[0].flaws == ()


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


@pytest.mark.parametrize(
    ("text", "value", "twice"),
    [
        ("a: 1\na: 2\n", {"a": 2}, "a"),
        ("{a: {b: 1}, a: {c: 2}}", {"a": {"c": 2}}, "a"),
        ("{a: {b: 1}, a: {b: 1}}", {"a": {"b": 1}}, "a"),
        ("{1: a, '1': b}", {"1": "b"}, "1"),
        ("{yes: 1, true: 2}", {"true": 2}, "true"),
        ("{a: 1, <<: {b: 2}, a: 3}", {"a": 3, "b": 2}, "a"),
        ("{x: 1, a: 1, b: 2, b: 3, a: 1}", {"x": 1, "a": 1, "b": 3}, "b"),
        ("{a: 1, a: '1'}", {"a": "1"}, "a"),
        ("{a: 1, a: 1, a: 1}", {"a": 1}, None),
        ("{a: x, b: 2, a: x}", {"a": "x", "b": 2}, None),
    ],
)
def test_key_that_is_there_twice(text: str, value: object, twice: str | None) -> None:
    """The last one counts, as for kubectl; that is said unless both say the same."""
    (document,) = found(text)
    assert document.value == value
    assert [re.findall(r"key '(.*?)'", flaw) for flaw in document.flaws] == (
        [] if twice is None else [[twice]]
    )


def test_many_keys_that_are_there_twice() -> None:
    """A hundred thousand of them are one flaw, at once."""
    keys = "".join(f"k{i}: 1\n" for i in range(100_000))
    (document,) = found(keys + keys + "k9: 2\n")
    assert document.value == {f"k{i}": 2 if i == 9 else 1 for i in range(100_000)}
    assert len(document.flaws) == 1
    (document,) = found("[" + "{a: 1, a: 2}," * 100 + "]")
    assert len(document.flaws) == 10


def test_anchors_end_with_their_document() -> None:
    """An alias cannot reach into another document."""
    documents = yaml_values(b"a: &a 1\n---\nb: *a\n", 1, Allowance(100))
    assert next(documents).value == {"a": 1}
    with pytest.raises(YamlError, match="line 3, column 4"):
        next(documents)


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: [", r"line 2, column \d+: not YAML"),
        ("a: 1\n b: 2\n", r"line 2, column \d+: not YAML"),
        ("a: &a [*a]\n", r"line 1, column 8: \*a stands for nothing yet"),
        ("a: &a {b: *a}\n", r"\*a stands for nothing yet"),
        ("a: *b\n", r"\*b stands for nothing yet"),
        ("{[a]: b}\n", "a key before this is a collection"),
        ("a: {<<: 1}\n", "<< of something"),
        ("a: {<<: }\n", "<< of something"),
        ("a: {<<: [[{b: 1}]]}\n", "<< of something"),
        ("a: 1\nb: \x00\n", r"line 2: control character U\+0000"),
        ("# \x7f\n", r"line 1: control character U\+007F"),
        ("a: \x9f\n", r"line 1: control character U\+009F"),
        (BOMB, "more values, aliases written out"),
    ],
)
def test_what_is_refused(text: str, reason: str) -> None:
    """What is not YAML, or has no meaning in JSON, is refused with its place."""
    with pytest.raises(YamlError, match=reason):
        read(text)


def test_first_line() -> None:
    """Lines count from the first that is given."""
    with pytest.raises(YamlError, match=r"^line 43, column \d+: "):
        list(yaml_values(b"a: 1\n]", 42, Allowance(100)))


def test_documents_before_an_error_are_had() -> None:
    """Reading stops at the error, not before it."""
    documents = yaml_values(b"a: 1\n---\nb: [\n", 1, Allowance(100))
    assert next(documents).value == {"a": 1}
    with pytest.raises(YamlError):
        next(documents)


def test_allowance() -> None:
    """Every document takes of the same allowance, also one that is broken."""
    allowance = Allowance(20)
    list(yaml_values(b"[a, b]", 1, allowance))
    after_one = allowance.left
    with pytest.raises(YamlError):
        list(yaml_values(b"[a, b", 1, allowance))
    assert 20 > after_one > allowance.left
    with pytest.raises(TooMuch):
        list(yaml_values(b"[" + b"a," * 20 + b"]", 1, allowance))


def test_aliases_are_written_out() -> None:
    """An alias costs what it stands for."""
    text = "- &a [x, x, x, x, x, x, x, x]\n" + "- *a\n" * 5
    assert len(found(text, 80)) == 1
    with pytest.raises(TooMuch):
        found(text, 50)


def test_depth_is_no_crash() -> None:
    """Nesting costs no stack and no time: it is read, or refused early."""
    assert read("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    with pytest.raises(YamlError):
        read("[" * 100_000)
    with pytest.raises(YamlError, match="nested too deep"):
        read("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))


def test_depth_of_aliases() -> None:
    """What an alias stands for is as deep as if it were written out."""
    deep = "- &a " + "[" * 100 + "]" * 100 + "\n- "
    assert read(deep + "[" * 99 + "*a" + "]" * 99)
    with pytest.raises(YamlError, match="nested too deep"):
        read(deep + "[" * 100 + "*a" + "]" * 100)


@pytest.mark.parametrize("path", sorted(SCENARIOS.glob("*/cluster.yaml")), ids=str)
def test_as_pyyaml(path: Path) -> None:
    """What kubectl prints is read as PyYAML reads it."""
    text = path.read_text()
    assert read(text) == list(yaml.safe_load_all(text))


# Without what PyYAML's own emitter gets wrong: line breaks of Unicode and its mark, and
# without text like `0E0`, `0o7` and `y`, which it does not quote since those are text
# to itself.
_NUMBER = re.compile(r"[-+.]*[0-9]|[yYnN]$")
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
    (document,) = found(yaml.safe_dump([value, value], allow_unicode=True))
    assert document.value == [value, value]


@settings(deadline=None)
@given(st.text() | st.binary())
def test_garbage(garbage: str | bytes) -> None:
    """Text is YAML or a YamlError."""
    raw = garbage.encode(errors="ignore") if isinstance(garbage, str) else garbage
    with suppress(YamlError):
        read(raw)
