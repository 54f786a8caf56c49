"""Facts about how a file is taken apart into documents.

What kubectl does with each text was seen in the decoder of k8s.io/apimachinery (v0.36)
with sigs.k8s.io/yaml (v1.6); where its answer is an error, or less than the text says,
the table says so.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import yaml

from ipvsctl.cluster.text.documents import (
    EVENTS_AT_LEAST,
    EVENTS_PER_BYTE,
    MAX_BROKEN,
    Broken,
    Document,
    Documents,
)
from ipvsctl.cluster.text.yamltext import Allowance, yaml_values
from tests.work import calls_of

SCENARIOS = Path(__file__).parents[2] / "golden" / "scenarios"

MARK = "\ufeff"


def values(text: str | bytes) -> list[object]:
    """The value of each document that has one; `...` for one that is broken."""
    found: list[object] = []
    for part in Documents(text.encode() if isinstance(text, str) else text):
        if isinstance(part, Broken):
            found.append(...)
        elif isinstance(part.value, bytes):
            found.append(msgspec.json.decode(part.value))
        elif part.value is not None:
            found.append(part.value)
    return found


A, B, C = {"a": 1}, {"b": 2}, {"c": 3}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        # YAML
        ("", []),
        ("  \n\n", []),
        ("# nothing\n", []),
        ("---\n---\n---\na: 1\n", [A]),
        ("a: 1\n---\nb: 2\n", [A, B]),
        ("a: 1\r\n---\r\nb: 2\r\n", [A, B]),
        ("a: 1\r\n--- \t\r\nb: 2\r\n", [A, B]),
        ("a: 1\rb: 2\r", [{**A, **B}]),
        ("--- # note\na: 1\n--- # note\nb: 2", [A, B]),
        ("a: |\n  x\n---\nb: 2\n", [{"a": "x\n"}, B]),
        ("a: 1\n ---\nb: 2\n", [{"a": "1 ---", "b": 2}]),
        ("~\n---\nb: 2\n", [B]),
        ("a: 1\n...\n---\nb: 2\n", [A, B]),
        ("a: 1\n...\n%YAML 1.1\n---\nb: 2\n", [A, B]),
        ("- 1\n", [[1]]),
        ("word\n", ["word"]),
        ("a:\t1\t# note\n", [A]),
        ("a:\n\tb: 1\n", [...]),
        ("a: 1\n\tb: 2\n", [...]),
        # kubectl refuses directives and content beside the separator
        ("%YAML 1.1\n---\na: 1\n", [A]),
        ("# note\n%TAG !e! tag:e,2000:\n---\na: !e!x y\n", [{"a": "y"}]),
        ("--- {a: 1}\n", [A]),
        ("--- {a: 1}\n--- {b: 2}\n", [A, B]),
        # kubectl reads no further than `...` and the first value, and does not say so
        ("a: 1\n...\nb: 2\n", [A, B]),
        ('# note\n{"a": 1}\n{"b": 2}\n', [A, ...]),
        # JSON
        ('{"a": 1}', [A]),
        ('\n\t {"a": 1}\n', [A]),
        ('{"a": 1}\n{"b": 2}\n{"c": 3}\n', [A, B, C]),
        ('{"a": 1}{"b": 2}', [A, B]),
        ('{\n\t"a": 1\n}\n', [A]),
        ('{"a": "}{\\"]"}\n{"b": 2}', [{"a": '}{"]'}, B]),
        ('{"a": 1, "a": 2}', [{"a": 2}]),
        ('{"a": "\\ud83d\\ude00 \\/"}', [{"a": "\U0001f600 /"}]),
        ("[1]", [[1]]),
        # YAML after JSON, and what only looks like JSON
        ('{"a": 1}\n---\nb: 2\n', [A, B]),
        ('{"a": 1}\r\n---\r\n{"b": 2}\r\n', [A, B]),
        ('---\n{"a": 1}\n---\n{"b": 2}\n', [A, B]),
        ('{"a": 1,}\n', [A]),
        ("{a: 1}\n---\n{b: 2}", [A, B]),
        ('{"a": 1}\nword\n', [A, "word"]),
        ('{"a": 1},\n{"b": 2}', [A, ...]),
        ('{"a": 1', [...]),
        ('{"a": "1', [...]),
        # kubectl gives up after the second
        ('{"a": 1}\n{"b": 2}\n---\nc: 3\n', [A, B, C]),
        # the mark of the byte order, where a file began that is a part of this one
        (f"{MARK}a: 1\n", [A]),
        (f'{MARK}{{"a": 1}}', [A]),
        (f"{MARK}---\na: 1\n", [A]),
        (f"{MARK}{MARK}a: 1\n", [A]),
        (f"a: 1\n---\n{MARK}b: 2\n", [A, B]),
        # kubectl refuses these, or has a key that begins with the mark
        (f"a: 1\n{MARK}---\nb: 2\n", [A, B]),
        (f"---{MARK}\na: 1\n", [A]),
        (f"a: 1\n---\n# note\n\n{MARK}b: 2\n", [A, B]),
        (f'{{"a": 1}}\n---\n{MARK}{{"b": 2}}\n', [A, B]),
        (f"a: 1\n{MARK}b: 2\n", [...]),
        (f"a: 1\n{MARK}b: 2\n---\nc: 3\n", [..., C]),
        (f"a: x{MARK}y\n", [{"a": f"x{MARK}y"}]),
    ],
)
def test_documents(text: str, found: list[object]) -> None:
    """A file's text tells whether it is YAML or JSON, and where documents end."""
    assert values(text) == found


@pytest.mark.parametrize(
    "encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
def test_encodings(encoding: str) -> None:
    """YAML and JSON are read in every encoding of Unicode."""
    for text in ('{"a": 1}\n{"b": 2}', "a: 1\n---\nb: 2\n"):
        assert values(text.encode(encoding)) == [A, B]


def test_bytes_that_are_no_text() -> None:
    """They cost their own character, as for kubectl, and the line is known."""
    found = Documents(b"# caf\xe9\na: \xff\n")
    assert found.bad_line == 1
    assert [d.value for d in found if isinstance(d, Document)] == [{"a": "\ufffd"}]


def test_numbers() -> None:
    """Documents are numbered from 1, empty ones too; JSON alone has no number."""
    found = list(Documents(b"---\n---\na: 1\n---\n- 2\n"))
    assert [(d.number, d.where) for d in found] == [
        (1, "document 1"),
        (2, "document 2"),
        (3, "document 3"),
    ]
    (alone,) = Documents(b'{"a": 1}')
    assert (alone.number, alone.where) == (0, "")
    assert [d.number for d in Documents(b"{}{}\n---\na\n")] == [1, 2, 3]


@pytest.mark.parametrize(
    "bad",
    [
        "a: [",
        "a: b: c",
        "\tx: 1",
        "a: \x01",
        "a: *nothing",
        "a: 'b",
        "a: .inf",
        "%OTHER",
        "? [a]\n: b",
        f"x: 1\n{MARK}y: 2",
        "%A\n" * 20,
        "[" * 1000,
        "- " * 1000,
    ],
)
def test_a_broken_document_costs_no_other(bad: str) -> None:
    """Documents before and after one that is not YAML are had."""
    text = f"a: 1\n---\n{bad}\n---\nc: 3\n"
    assert values(text) == [A, ..., C]
    (broken,) = (d for d in Documents(text.encode()) if isinstance(d, Broken))
    assert broken.number == 2
    assert int(re.findall(r"line (\d+)", broken.reason)[0]) >= 3


def test_place() -> None:
    """An error has its line and column in the file, not in the document."""
    (broken,) = (
        d for d in Documents(b"a: 1\n---\nb: 1\nc: d: e\n") if isinstance(d, Broken)
    )
    assert re.match(r"document 2: line 4, column \d+: not YAML", str(broken))
    (control,) = Documents(b"a: 1\nb: \x07\n")
    assert str(control) == "document 1: line 2: control character U+0007"


def test_many_broken_documents() -> None:
    """After many documents that are not YAML the rest of a file is not read."""
    found = list(Documents(b"--- [\n" * 1000))
    assert len(found) == MAX_BROKEN + 1
    assert all(isinstance(d, Broken) for d in found)


SIZE = 15_000

# Each of them, a megabyte long, took from seconds to minutes in a reader without
# limits, or takes them in one that goes about them another way.
HOSTILE: dict[str, Callable[[int], str]] = {
    "many values": lambda n: "[" + "1," * (n // 2) + "]",
    "many keys": lambda n: "{" + "a," * (n // 2) + "}",
    "keys twice": lambda n: "".join(f"k{i}: 1\n" for i in range(n // 12)) * 2,
    "mappings": lambda n: "[" + "{a}," * (n // 4) + "]",
    "brackets": lambda n: "[" * n,
    "braces": lambda n: "{" * n,
    "dashes": lambda n: "- " * (n // 2),
    "questions": lambda n: "? a\n" * (n // 4),
    "documents": lambda n: "--- a\n" * (n // 6),
    "empty documents": lambda n: "---\n" * (n // 4),
    "ends": lambda n: "a\n...\n" * (n // 6),
    "broken documents": lambda n: "--- [\n" * (n // 6),
    "directives": lambda n: "".join(f"%TAG !a{i}! b\n" for i in range(n // 15)),
    "marks": lambda n: MARK * (n // 3),
    "marked documents": lambda n: f"---{MARK}\na\n" * (n // 9),
    "comments": lambda n: "#\n" * (n // 2) + "---\n" + "\n" * (n // 2),
    "anchors": lambda n: "- &a x\n" * (n // 7),
    "aliases": lambda n: "- &a [x, x, x, x, x]\n" + "- *a\n" * (n // 5),
    "merges": lambda n: (
        "- &a {" + ",".join(f"a{i}" for i in range(n // 10)) + "}\n"
        "- {<<: *a}\n" * (n // 22)
    ),
    "bomb": lambda _: (
        "a0: &a0 [x, x, x, x]\n"
        + "".join(f"a{i}: &a{i} [{f'*a{i - 1},' * 9}]\n" for i in range(1, 40))
    ),
    "deep aliases": lambda _: "".join(
        f"- &a{i} {'[' * 150}{f'*a{i - 1}' if i else 1}{']' * 150}\n"
        for i in range(100)
    ),
    "JSON values": lambda n: "{}" * (n // 2),
    "JSON strings": lambda n: '{"' + '\\"' * (n // 2),
    "JSON depth": lambda n: '{"a":' * (n // 5),
    "JSON that is none": lambda n: '{"a": [' + "1," * (n // 2) + "]",
    "digits": lambda n: "a: " + "1" * n,
    "one word": lambda n: "a: " + "x" * n,
    "escapes": lambda n: 'a: "' + "\\x41" * (n // 4) + '"',
    "lines": lambda n: "a: >\n" + "  x\n\n" * (n // 5),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_work_is_bounded(name: str) -> None:
    """What a file costs goes with its size, whatever is in it."""
    once = HOSTILE[name](SIZE).encode()
    twice = HOSTILE[name](2 * SIZE).encode()
    work = calls_of(lambda: list(Documents(once)))
    assert work <= 30 * SIZE
    assert calls_of(lambda: list(Documents(twice))) <= 2.5 * work + 1000


def test_depth() -> None:
    """Nesting is read, or refused early, and costs no stack."""
    assert values("[" * 200 + "]" * 200) != [...]
    assert values("[" * 201 + "]" * 201) == [...]
    inner = "- &a " + "[" * 150 + "]" * 150 + "\n"
    assert values(inner + "- " + "[" * 40 + "*a" + "]" * 40) != [...]
    assert values(inner + "- " + "[" * 60 + "*a" + "]" * 60) == [...]


def test_more_values_than_a_file_may_have() -> None:
    """Reading ends there; what came before is had."""
    text = "a: 1\n---\n[" + "1," * EVENTS_AT_LEAST + "]\n---\nb: 2\n"
    found = list(Documents(text.encode()))
    assert values(text) == [A, ...]
    assert isinstance(found[-1], Broken)
    assert "more values" in found[-1].reason


@pytest.mark.parametrize("path", sorted(SCENARIOS.glob("*/cluster.yaml")), ids=str)
def test_what_kubectl_writes_has_few_values(path: Path) -> None:
    """A large file may have more values than there are in dense JSON of objects."""
    text = path.read_text()
    dense = "\n---\n".join(
        json.dumps(value, separators=(",", ":")) for value in yaml.safe_load_all(text)
    )
    for form, times in ((text, 1.5), (dense, 1.2)):
        allowance = Allowance(10**9)
        for piece in form.split("\n---\n"):
            list(yaml_values(piece.encode(), 1, allowance))
        assert (10**9 - allowance.left) * times < EVENTS_PER_BYTE * len(form)
