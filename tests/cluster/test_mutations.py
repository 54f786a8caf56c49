"""Facts about files that are damaged: any byte may be another, or missing."""

import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from ipvsctl.cluster.config.config_file import parse_config
from ipvsctl.cluster.manifests.manifest import Manifests, changes, merge, parse_manifest
from ipvsctl.cluster.store import Store
from ipvsctl.model.errors import ConfigError
from tests.work import calls_of

ROOT = Path(__file__).parent.parent.parent
FILES = sorted(
    (
        *(ROOT / "examples").glob("*.yaml"),
        *(ROOT / "tests" / "golden" / "scenarios").glob("*/cluster.yaml"),
    )
)
SEEDS = [raw for raw in (path.read_bytes() for path in FILES) if len(raw) < 10_000]

PIECES = [
    *(b"---\n", b"...\n", b"\xef\xbb\xbf", b"%YAML 1.1\n", b"\t", b"\r", b"\n\n"),
    *(b"&a ", b"*a", b"<<: ", b"{", b"}", b"[", b"]", b"'", b'"', b"|\n", b"? ", b": "),
    *(b"!!binary ", b"!!int ", b"!x ", b"null", b"~", b"yes", b"n", b".inf", b"80.0"),
    *(b"1" * 500, b"-1", b"1e999", b"0x", b"99999999999999999999", b'"\\ud800"'),
    *(b"\x00", b"\xff", b"\xc2\x85", b"\xe2\x80\xa8", b"\xf0\x9f\x98\x80", b"\x1b[2J"),
    *(b"kind: Sevice\n", b"apiVersion: 5\n", b"items: 5\n", b"metadata: []\n", b"{}"),
]
ENCODINGS = ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]


def flip(rng: random.Random, raw: bytes) -> bytes:
    """One bit is another."""
    damaged = bytearray(raw)
    damaged[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def truncate(rng: random.Random, raw: bytes) -> bytes:
    """The end is missing."""
    return raw[: rng.randrange(len(raw))]


def cut(rng: random.Random, raw: bytes) -> bytes:
    """Some of it is missing."""
    start = rng.randrange(len(raw))
    return raw[:start] + raw[start + rng.randrange(100) :]


def repeat(rng: random.Random, raw: bytes) -> bytes:
    """A line is there twice."""
    lines = raw.split(b"\n")
    lines.insert(rng.randrange(len(lines)), rng.choice(lines))
    return b"\n".join(lines)


def splice(rng: random.Random, raw: bytes) -> bytes:
    """Some of another file is in it."""
    other = rng.choice(SEEDS)
    start, place = rng.randrange(len(other)), rng.randrange(len(raw))
    return raw[:place] + other[start : start + 300] + raw[place:]


def insert(rng: random.Random, raw: bytes) -> bytes:
    """Something is in it that may have a meaning there."""
    place = rng.randrange(len(raw))
    return raw[:place] + rng.choice(PIECES) + raw[place:]


def replace(rng: random.Random, raw: bytes) -> bytes:
    """A value is another."""
    lines = raw.split(b"\n")
    number = rng.randrange(len(lines))
    key, colon, _ = lines[number].partition(b":")
    lines[number] = key + colon + b" " + rng.choice(PIECES)
    return b"\n".join(lines)


def transcode(rng: random.Random, raw: bytes) -> bytes:
    """It is in another encoding."""
    return raw.decode(errors="replace").encode(rng.choice(ENCODINGS))


DAMAGES: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    *(flip, truncate, cut, repeat, splice, insert, replace, transcode),
)


@pytest.mark.parametrize("seed", range(300))
def test_damaged_file(seed: int) -> None:
    """A damaged file is read as far as it goes; the work is as for one that is whole.

    All that is said of it can be written anywhere, and as a configuration it is one or
    a `ConfigError`.
    """
    rng = random.Random(seed)
    raw = rng.choice(SEEDS)
    for damage in rng.choices(DAMAGES, k=rng.randint(1, 4)):
        raw = damage(rng, raw) or b"\n"

    def read() -> None:
        merged = merge({"a.yaml": parse_manifest(raw, "a.yaml")})
        store = Store("node-0")
        for event in changes(Manifests(), merged):
            store.apply(event)
        msgspec.json.encode(store.problems())
        msgspec.json.encode([merged.invalid, merged.notes, dict(merged.skipped)])

    assert calls_of(read) < 20_000 + 20 * len(raw)
    with suppress(ConfigError):
        parse_config(raw, "kube-proxy.conf")
