"""Facts about what a scalar of YAML stands for, as kubectl's reader has them.

Each was seen in the JSON that go.yaml.in/yaml/v2 (v2.4.3) makes through
sigs.k8s.io/yaml (v1.6) of `x: SCALAR`; the tables in resolve.go say why. The letters
are the exception, see `Letter`.
"""

import pytest
from msgspec import inspect

from ipvsctl.cluster.objects.lenient import as_stored
from ipvsctl.cluster.text.documents import Broken, Document, Documents
from ipvsctl.cluster.text.scalars import Letter

TRUE = ["true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"]
FALSE = ["false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"]
NULL = ["", "~", "null", "Null", "NULL"]
NUMBERS = {
    # resolve.go removes underscores and leaves the base to strconv.ParseInt.
    "80": 80,
    "+80": 80,
    "-1": -1,
    "-0": 0,
    "1_000": 1000,
    "1_": 1,
    "0_": 0,
    "014": 12,
    "0o14": 12,
    "0O14": 12,
    "-0o14": -12,
    "0x50": 80,
    "0X50": 80,
    "-0x50": -80,
    "0x_50": 80,
    "0b11": 3,
    "18446744073709551615": 2**64 - 1,
    # What is no integer to strconv may be a number with a fraction.
    "08": 8,
    "09": 9,
    "08.5": 8.5,
    "1_0.5": 10.5,
    "1.5": 1.5,
    ".5": 0.5,
    "-.5": -0.5,
    "+.5": 0.5,
    "1e-7": 1e-7,
    "1.10": 1.1,
    # Without a fraction, encoding/json writes it as an integer, up to 1e21.
    "80.0": 80,
    "1.": 1,
    "1e3": 1000,
    "1.e3": 1000,
    ".5e3": 500,
    "-0.0": 0,
    "1e20": 10**20,
    "1e21": 1e21,
    "9" * 23: 1e23,
    "1" * 41: 1.111111111111111e40,
}
TEXTS = [
    # strconv.ParseFloat finds these too large.
    "1e400",
    "1" * 400,
    "1" * 5000,
    # Base 60 is left out on purpose.
    "1:30",
    "190:20:30",
    "2001:10:20:30:40:50:1:2",
    # Dates stay what they were written as.
    "2001-12-14",
    "2026-11-22T16:53:43Z",
    "2001-12-14t21:59:43.10-05:00",
    "tRue",
    "nULL",
    "yess",
    "none",
    "10.96.0.1",
    "0x",
    "0b2",
    "0xg",
    ".",
    "+",
    "-.",
    "1.2.3",
    "e3",
    "_1",
    "NaN",
    "Infinity",
    "<<",
    "007.5.1",
]
TAGGED = {
    "!!str 80": "80",
    "!!str yes": "yes",
    "!!str ~": "~",
    "!!str": "",
    "!<tag:yaml.org,2002:str> 80": "80",
    "!!int '80'": 80,
    "!!int 0x50": 80,
    "!!float 80": 80,
    "!!float '1.5'": 1.5,
    "!!bool yes": True,
    "!!bool n": False,
    "!!bool 'true'": True,
    "!!null ''": None,
    "!!null null": None,
    "!!timestamp 2020-01-01": "2020-01-01",
    "!!binary aGk=": "hi",
    "!!binary /w==": "\ufffd",
    # A tag that is nobody's changes nothing but that the scalar is text.
    "!Ref b": "b",
    "!mine 80": "80",
    "!!mine 80": "80",
    "!!set {a, b}": {"a": None, "b": None},
    "!mine {a: 1}": {"a": 1},
    "!!omap [a: 1]": [{"a": 1}],
}
QUOTED = {
    "'80'": "80",
    '"yes"': "yes",
    "''": "",
    "'~'": "~",
    '"\\x41\\u00e9"': "Aé",
    "|\n  80": "80\n",
    "|-\n  yes": "yes",
    ">\n  a\n  b": "a b\n",
}
REFUSED = [
    *(sign + word for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")),
    ".nan",
    ".NaN",
    ".NAN",
    "!!int b",
    "!!int yes",
    "!!int ''",
    "!!bool 1",
    "!!null x",
    "!!binary x",
    "!!int |\n  80",
]


def read(scalar: str) -> object:
    """What `x: scalar` has at `x`; what could not be read as it is."""
    (found,) = Documents(f"x: {scalar}\n".encode())
    if isinstance(found, Broken):
        return found
    assert isinstance(found.value, dict)
    return found.value["x"]


VALUES: dict[str, object] = {
    **dict.fromkeys(TRUE, True),
    **dict.fromkeys(FALSE, False),
    **dict.fromkeys(NULL),
    **NUMBERS,
    **{text: text for text in TEXTS},
    **TAGGED,
    **QUOTED,
}


@pytest.mark.parametrize(
    ("scalar", "value"), VALUES.items(), ids=lambda v: repr(v)[:20]
)
def test_values(scalar: str, value: object) -> None:
    """A scalar is what kubectl's reader makes of it, in type and value."""
    found = read(scalar)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("scalar", REFUSED)
def test_refused(scalar: str) -> None:
    """What JSON has no word for, or is not what its tag says, breaks its document."""
    found = read(scalar)
    assert isinstance(found, Broken)
    assert found.reason.startswith("line 1, column 4: ")


@pytest.mark.parametrize(
    ("letter", "boolean"), [("y", 1), ("Y", 1), ("n", 0), ("N", 0)]
)
def test_letters(letter: str, boolean: int) -> None:
    """A letter is a boolean where one is expected, and text elsewhere."""
    found = read(letter)
    assert isinstance(found, Letter)
    assert as_stored(found, inspect.BoolType()) is bool(boolean)
    assert as_stored(found, inspect.StrType()) == letter
    assert as_stored(read(f"'{letter}'"), inspect.BoolType()) == letter


KEYS = {
    "80": "80",
    "0x50": "80",
    "014": "12",
    "80.0": "80",
    "1.5": "1.5",
    "1e6": "1000000",
    "true": "true",
    "yes": "true",
    "off": "false",
    "2001-01-01": "2001-01-01",
    "!!binary aGk=": "hi",
    "'80'": "80",
}


@pytest.mark.parametrize(("key", "text"), list(KEYS.items()))
def test_keys(key: str, text: str) -> None:
    """A key is text, as in JSON."""
    (found,) = Documents(f"{key} : a\n".encode())
    assert isinstance(found, Document)
    assert found.value == {text: "a"}


@pytest.mark.parametrize("key", ["~", "null", "[a]", "{a: b}", "? [a]\n", ".inf"])
def test_keys_that_are_none(key: str) -> None:
    """Null and collections are no keys in JSON."""
    (found,) = Documents(f"--- \n{key} : b\n".encode())
    assert isinstance(found, Broken)
