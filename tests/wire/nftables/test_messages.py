"""nftables' messages: byte for byte those of nft, and the kernel's back to values."""

import sys
from collections.abc import Iterator
from struct import Struct

import pytest

from ipvsctl.model.errors import WireError
from ipvsctl.model.net import IPFamily
from ipvsctl.model.rules import Rule, UnknownRule
from ipvsctl.model.sets import SetCondition, SetKey
from ipvsctl.wire.netlink.attributes import iter_attributes
from ipvsctl.wire.nftables import replies
from ipvsctl.wire.nftables.attributes import (
    ChainAttr,
    ElementListAttr,
    NftMessage,
    RuleAttr,
    SetAttr,
)
from ipvsctl.wire.nftables.chains import BASE_CHAINS, chain_name, ref_of
from ipvsctl.wire.nftables.requests import (
    BEGIN,
    END,
    add_entries,
    add_rule,
    create_set,
    make_chain,
)
from ipvsctl.wire.nftables.sets import ROOM, key_of, set_name, shape_of
from tests.wire.golden import GOLDEN, payloads
from tests.wire.nftables.samples import chains, entries, keys

KERNEL = "linux-6.12.117"
HEADER = Struct("=IHHII")
BODY = HEADER.size + 4
TYPES = {
    "begin": 0x10,
    "end": 0x11,
    **{message.name.lower(): 10 << 8 | message for message in NftMessage},
}

each_family = pytest.mark.parametrize("family", IPFamily, ids=lambda f: f.label)


def by_nft(family: IPFamily, kind: str) -> list[bytes]:
    """The messages of a kind that nft has sent for the samples."""
    lines = (GOLDEN / f"nft-1.0.6-{family.label}.hex").read_text("ascii").split()
    sent = map(bytes.fromhex, lines)
    return [some for some in sent if HEADER.unpack_from(some)[1] == TYPES[kind]]


def attributes(message: bytes) -> dict[int, bytes]:
    """The attributes of a message."""
    found = iter_attributes(message, BODY, len(message))
    return {kind: message[start:end] for kind, start, end in found}


def known(family: IPFamily) -> Iterator[tuple[str, Rule]]:
    """The samples' rules, with the names of their chains, as they are written."""
    found = chains(family)
    for ref in sorted(found, key=lambda ref: (ref.is_builtin, ref)):
        for rule in found[ref]:
            assert isinstance(rule, Rule)
            yield chain_name(ref), rule


def test_a_batch_begins_and_ends_as_nfts() -> None:
    """The subsystem is in the header, in network order."""
    for ours, kind in ((BEGIN, "begin"), (END, "end")):
        (theirs,) = by_nft(IPFamily.IPV4, kind)
        assert ours[HEADER.size :] == theirs[HEADER.size :]
        assert HEADER.unpack_from(ours)[:2] == HEADER.unpack_from(theirs)[:2]


@each_family
def test_rules_are_nfts(family: IPFamily) -> None:
    """Each expression, byte for byte, and the comment beside them."""
    sent = list(map(attributes, by_nft(family, "newrule")))
    wanted = [*known(family)]
    assert len(sent) == len(wanted)
    for theirs, (name, rule) in zip(sent, wanted, strict=True):
        ours = attributes(add_rule(family, ref_of(name), rule))
        assert ours[RuleAttr.CHAIN] == theirs[RuleAttr.CHAIN] == f"{name}\0".encode()
        both = (ours, theirs)
        mine, nfts = (named(some[RuleAttr.EXPRESSIONS]) for some in both)
        assert mine == nfts, rule
        assert ours.get(RuleAttr.USERDATA) == theirs.get(RuleAttr.USERDATA)


SET_ID = b"\x08\x00\x04\x00"


BOOL_OP = b"\x08\x00\x06\x00" + bytes(4)


def named(expressions: bytes) -> list[bytes]:
    """Expressions one by one, without what nft sometimes adds that means nothing.

    That is the number of a set in its batch, beside its name, and of bitwise that it is
    the plain one.
    """
    parts = []
    for _, start, end in iter_attributes(expressions, 0, len(expressions)):
        part = expressions[start:end]
        if b"lookup\0" in part and part[-8:-4] == SET_ID:
            part = shortened(part, part[-8:])
        if b"bitwise\0" in part and BOOL_OP in part:
            part = shortened(part, BOOL_OP)
        parts.append(part)
    return parts


def shortened(part: bytes, attribute: bytes) -> bytes:
    """An expression without one of its attributes."""
    name_size = int.from_bytes(part[:2], sys.byteorder) + 3 & ~3
    size = int.from_bytes(part[name_size : name_size + 2], sys.byteorder)
    rest = part.replace(attribute, b"", 1)[name_size + 2 :]
    return part[:name_size] + (size - len(attribute)).to_bytes(2, sys.byteorder) + rest


@each_family
def test_chains_are_nfts(family: IPFamily) -> None:
    """Where they begin, with which priority, policy and type."""
    sent = {
        some[ChainAttr.NAME]: some
        for some in map(attributes, by_nft(family, "newchain"))
    }
    for ref in chains(family):
        ours = attributes(make_chain(family, ref))
        assert ours == sent.pop(ours[ChainAttr.NAME])
    assert not sent


@each_family
def test_sets_are_nfts(family: IPFamily) -> None:
    """Flags, types and lengths, and the fields of those with intervals."""
    sent = {
        some[SetAttr.NAME]: some for some in map(attributes, by_nft(family, "newset"))
    }
    # A number in its batch, and notes that nft writes for itself.
    own = {SetAttr.ID, SetAttr.USERDATA}
    for key in keys(family):
        ours = attributes(create_set(key))
        theirs = sent.pop(ours[SetAttr.NAME])
        assert {k: v for k, v in ours.items() if k not in own} == {
            k: v for k, v in theirs.items() if k not in own
        }
    assert not sent


@each_family
def test_entries_are_nfts(family: IPFamily) -> None:
    """Keys, ends of intervals and marks, in whatever order."""
    sent: dict[bytes, set[bytes]] = {}
    for message in map(attributes, by_nft(family, "newsetelem")):
        name = message[ElementListAttr.SET]
        sent.setdefault(name, set()).update(elements(message))
    for key, held in entries(family).items():
        ours = attributes(add_entries(key, held))
        assert set(elements(ours)) == sent.pop(ours[ElementListAttr.SET])
    assert not sent


def elements(message: dict[int, bytes]) -> list[bytes]:
    """The elements of a message, one by one."""
    found = message[ElementListAttr.ELEMENTS]
    return [found[b:e] for _, b, e in iter_attributes(found, 0, len(found))]


@each_family
def test_the_kernels_rules_are_the_samples(family: IPFamily) -> None:
    """What was written is read, in order."""
    read = [replies.rule(*one) for one in payloads(KERNEL, f"nft-rules-{family.label}")]
    found: dict[str, list[Rule | UnknownRule]] = {}
    for some in read:
        assert some is not None
        ref, rule = some
        found.setdefault(chain_name(ref), []).append(rule)
    wanted: dict[str, list[Rule]] = {}
    for name, rule in known(family):
        wanted.setdefault(name, []).append(rule)
    assert found == wanted


@each_family
def test_the_kernels_chains_are_the_samples(family: IPFamily) -> None:
    """Each begins where it should."""
    read = [replies.chain(*o) for o in payloads(KERNEL, f"nft-chains-{family.label}")]
    found = {chain.ref: chain for chain in read if chain is not None}
    assert found.keys() == chains(family).keys()
    assert {chain.fault for chain in found.values()} == {""}
    assert {r: c.base for r, c in found.items() if c.base} == dict(BASE_CHAINS)


@each_family
def test_the_kernels_sets_are_the_samples(family: IPFamily) -> None:
    """Sound, and without a limit."""
    read = [
        replies.set_header(*o) for o in payloads(KERNEL, f"nft-sets-{family.label}")
    ]
    shapes = {}
    for name, spec in read:
        key = key_of(name, family)
        assert key is not None
        shapes[key] = shape_of(key, spec)
    assert shapes.keys() == set(keys(family))
    for shape in shapes.values():
        assert (shape.room, shape.condition) == (ROOM, SetCondition.SOUND)


@each_family
def test_the_kernels_entries_are_the_samples(family: IPFamily) -> None:
    """Of every set."""
    found: dict[SetKey, set[object]] = {}
    for buffer, start, end in payloads(KERNEL, f"nft-entries-{family.label}"):
        name = attributes(buffer[start - HEADER.size : end])[ElementListAttr.SET]
        key = key_of(name.rstrip(b"\0").decode(), family)
        assert key is not None
        read, others = replies.entries(buffer, start, end, key)
        assert not others
        found.setdefault(key, set()).update(read)
    assert found == {key: set(held) for key, held in entries(family).items()}


@each_family
@pytest.mark.parametrize("what", ["rules", "chains", "sets"])
def test_a_message_that_is_cut_is_no_value(family: IPFamily, what: str) -> None:
    """Wherever: it raises, and says so."""
    read = {"rules": replies.rule, "chains": replies.chain, "sets": replies.set_header}
    buffer, start, end = payloads(KERNEL, f"nft-{what}-{family.label}")[0]
    # Behind a whole attribute, and in its padding, there may be no other.
    whole = {start + 4}
    for _, _, stop in iter_attributes(buffer, start + 4, end):
        whole.update(range(stop, ((stop + 3) & ~3) + 1))
    for stop in range(start, end):
        cut = buffer[:stop]
        try:
            read[what](cut, start, stop)
        except WireError:
            continue
        assert stop in whole


@each_family
def test_names(family: IPFamily) -> None:
    """Every set and chain is found by its name, and no other is ours."""
    for key in keys(family):
        assert key_of(set_name(key), family) == key
    assert key_of("nonesuch", family) is None
    for ref in chains(family):
        assert ref_of(chain_name(ref)) == ref
    for name in ("x", "nat-FORWARD", "x-y", "nat-", "filter-:x", "filter-PREROUTING"):
        assert chain_name(ref_of(name)) == name
        assert ref_of(name) not in BASE_CHAINS
