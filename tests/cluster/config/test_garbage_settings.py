"""Whatever a setting is given, it is taken or refused in one short sentence."""

import contextlib
import math

import pytest

from ipvsctl.cluster.config.config_file import GivenText, with_given
from ipvsctl.cluster.config.fields import FIELDS, Field
from ipvsctl.cluster.config.flags import FLAGS, Flag
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.errors import ConfigError

LONG = "9" * 10_000_000
TEXTS = {
    "empty": "",
    "a space": " ",
    "10 MB": LONG,
    "10 MB, spelt out": "x" * 10_000_000,
    "a byte that is no text": "\udcff",
    "NUL": "a\0b",
    "a new line": "a\nb",
    "a terminal's escape": "\x1b[2J",
    "negative": "-1",
    "negative time": "-1s",
    "huge": "1e400",
    "digits": "9" * 5000,
    "hexadecimal": "0x" + "f" * 4000,
    "a long time": "99999999999999999999h",
    "a longer one": "9" * 400 + "h",
    "nan": "nan",
    "inf": "inf",
    "infs": "infs",
    "other digits": "\u0661\u0662",
    "a pattern": "%d",
    "slashes": "a/b",
    "a list": "a,b",
    "commas": ",,,",
    "brackets": "[]",
    "colons": ":::",
    "a port": ":99999999999999999999",
    "the loopback link": "lo",
}
VALUES: dict[str, object] = {
    **TEXTS,
    "true": True,
    "negative number": -1,
    "huge number": 10**400,
    "number of too many digits": 10**5000,
    "fraction": 0.5,
    "inf as a number": math.inf,
    "nan as a number": math.nan,
    "list": ["\udcff"],
    "list of lists": [[[]]],
    "list of numbers": [1],
    "mapping": {"a": {"b": 1}},
    "bytes": b"\xff",
}
READ = [field for field in FIELDS if field.read is not None]


@pytest.mark.parametrize("what", VALUES)
@pytest.mark.parametrize("field", READ, ids=lambda field: field.path)
def test_a_field(field: Field, what: str) -> None:
    """An error names the field and shows no more of the value than can be read."""
    assert field.read is not None
    taken: object = ""
    refused = field.path
    try:
        taken = field.read(field.path, VALUES[what])
    except ConfigError as error:
        refused = str(error)
    assert refused.startswith(field.path)
    assert len(refused) < 600
    # What is taken can be written, at least.
    str(taken).encode()
    assert taken != math.inf


@pytest.mark.parametrize("what", TEXTS)
@pytest.mark.parametrize("flag", FLAGS, ids=lambda flag: flag.path)
def test_a_flag_or_variable(flag: Flag, what: str) -> None:
    """Likewise, with its own name."""
    for name in (flag.name, flag.variable):
        given = GivenText(path=flag.path, name=name, text=TEXTS[what])
        with contextlib.suppress(ConfigError):
            assert isinstance(with_given(ProxyConfig(), [given]), ProxyConfig)


@pytest.mark.parametrize("text", ["lo", "all", "default", "%d", "a%d", "\udcff", "a b"])
def test_no_dummy_link_can_have_that_name(text: str) -> None:
    """The loopback link, names that mean all links, and patterns."""
    (field,) = (f for f in FIELDS if f.attribute == "vip_link")
    assert field.read is not None
    with pytest.raises(ConfigError, match="vipLink"):
        field.read(field.path, text)
