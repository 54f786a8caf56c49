"""ipset messages: byte for byte those of another encoder, and back to values."""

from ipaddress import IPv4Network, IPv6Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink import NLA_F_NET_BYTEORDER
from pyroute2.netlink.nfnetlink.ipset import ipset_msg

from ipvsctl.model.errors import WireError
from ipvsctl.model.net import (
    IPAddress,
    IPFamily,
    IPv4Address,
    IPv6Address,
    Protocol,
    first_of,
)
from ipvsctl.model.sets import SetEntry
from ipvsctl.wire.ipset.attributes import IpsetCmd
from ipvsctl.wire.ipset.errors import describe_ipset_error
from ipvsctl.wire.ipset.replies import IpsetReplies, SetHeader
from ipvsctl.wire.ipset.requests import (
    REVISIONS,
    add_entries,
    create_set,
    delete_entries,
    destroy_set,
    list_headers,
    list_set,
    swap_sets,
)
from ipvsctl.wire.ipset.sets import SetSpec, SetType
from tests.wire.golden import each_kernel, payloads
from tests.wire.samples import SETS, STRANGE_SET, VIP

each_set = pytest.mark.parametrize("spec", SETS, ids=lambda spec: spec.name)

FAMILIES = {IPFamily.IPV4: IPv4Address, IPFamily.IPV6: IPv6Address}


class PlainBytesMessage(ipset_msg):  # type: ignore[misc]  # pyroute2 has no types
    """As pyroute2, but a single byte is in no byte order.

    ipset and the kernel send PROTO and CIDR2 without the flag, and pyroute2 with it.
    """

    class ipset_generic(ipset_msg.ipset_generic):  # type: ignore[misc]  # noqa: N801
        """Entries."""

        class adt_data(ipset_msg.ipset_generic.adt_data):  # type: ignore[misc]  # noqa: N801
            """One entry."""

            nla_map = tuple(
                row[:3] if len(row) > 3 and row[2] == "be8" else row
                for row in ipset_msg.ipset_generic.adt_data.nla_map
            )

    class attr_adt(ipset_generic):  # noqa: N801
        """Entries."""

        nla_flags = ipset_msg.attr_adt.nla_flags
        nla_map = ipset_msg.attr_adt.nla_map


def by_pyroute2(command: IpsetCmd, *attributes: Any, flags: int = 5) -> bytes:
    """The request as pyroute2 encodes it."""
    message = PlainBytesMessage()
    message["header"].update(type=6 << 8 | command, flags=flags)
    message["attrs"] = [("IPSET_ATTR_PROTOCOL", 6), *attributes]
    message.encode()
    return bytes(message.data)


def nested(kind: str, address: IPAddress) -> Any:
    """An address in pyroute2's words."""
    word = f"IPSET_ATTR_IPADDR_IPV{address.version}"
    return (kind, {"attrs": [(word, str(address))]})


def entry_in_words(entry: SetEntry) -> Any:
    """An entry in pyroute2's words."""
    attrs: list[Any] = []
    if entry.address is not None:
        attrs.append(nested("IPSET_ATTR_IP", entry.address))
    if entry.port is not None:
        attrs.append(("IPSET_ATTR_PORT", entry.port))
    if entry.protocol is not None:
        attrs.append(("IPSET_ATTR_PROTO", int(entry.protocol)))
    if entry.second_address is not None:
        attrs.append(nested("IPSET_ATTR_IP2", entry.second_address))
    if entry.network is not None:
        attrs.append(nested("IPSET_ATTR_IP2", first_of(entry.network)))
        attrs.append(("IPSET_ATTR_CIDR2", entry.network.prefixlen))
    if entry.mark:
        attrs.append(("IPSET_ATTR_SKBMARK", (entry.mark, 0xFFFFFFFF)))
    return ("IPSET_ATTR_DATA", {"attrs": attrs})


@each_set
def test_creating_a_set(spec: SetSpec) -> None:
    """The request is the bytes that pyroute2 would send."""
    if spec.type is SetType.BITMAP_PORT:
        size = [("IPSET_ATTR_PORT_FROM", 0), ("IPSET_ATTR_PORT_TO", 65535)]
    else:
        size = [("IPSET_ATTR_HASHSIZE", 1024), ("IPSET_ATTR_MAXELEM", spec.maxelem)]
    if spec.skbinfo:
        size.append(("IPSET_ATTR_CADT_FLAGS", 1 << 6))
    assert create_set(spec) == by_pyroute2(
        IpsetCmd.CREATE,
        ("IPSET_ATTR_SETNAME", spec.name),
        ("IPSET_ATTR_TYPENAME", str(spec.type)),
        ("IPSET_ATTR_REVISION", REVISIONS[spec.type]),
        ("IPSET_ATTR_FAMILY", spec.family or 0),
        ("IPSET_ATTR_DATA", {"attrs": size}),
        flags=0x605,
    )


def test_every_set_type_has_a_sample_of_each_family() -> None:
    """The samples leave no type and no family out."""
    assert {(spec.type, spec.family) for spec in SETS} == {
        *((kind, family) for kind in SetType for family in IPFamily),
        (SetType.BITMAP_PORT, None),
    } - {(SetType.BITMAP_PORT, family) for family in IPFamily}
    assert set(REVISIONS) == set(SetType)


@each_set
def test_changing_entries(spec: SetSpec) -> None:
    """All entries of a set go in one request, as pyroute2 would encode it.

    Without NLM_F_EXCL an entry that is there already, or is not there, is fine.
    """
    entries = SETS[spec]
    expected: list[Any] = [
        ("IPSET_ATTR_SETNAME", spec.name),
        ("IPSET_ATTR_LINENO", 0),
        ("IPSET_ATTR_ADT", {"attrs": [entry_in_words(entry) for entry in entries]}),
    ]
    assert add_entries(spec.name, entries) == by_pyroute2(IpsetCmd.ADD, *expected)
    assert delete_entries(spec.name, entries) == by_pyroute2(IpsetCmd.DEL, *expected)


def test_other_requests() -> None:
    """They are the bytes that pyroute2 would send."""
    name = ("IPSET_ATTR_SETNAME", "KUBE-A")
    assert destroy_set("KUBE-A") == by_pyroute2(IpsetCmd.DESTROY, name)
    assert swap_sets("KUBE-A", "KUBE-B") == by_pyroute2(
        IpsetCmd.SWAP, name, ("IPSET_ATTR_TYPENAME", "KUBE-B")
    )
    assert list_set("KUBE-A") == by_pyroute2(IpsetCmd.LIST, name, flags=0x301)


def test_listing_headers() -> None:
    """The flags of a listing are in network order and say so."""
    message = by_pyroute2(IpsetCmd.LIST, ("IPSET_ATTR_FLAGS", 1 << 2), flags=0x301)
    flagged = bytearray(message)
    assert flagged[31] == 0
    flagged[31] = NLA_F_NET_BYTEORDER >> 8
    assert list_headers() == bytes(flagged)


@st.composite
def sets_with_entries(draw: st.DrawFn) -> tuple[SetSpec, list[SetEntry]]:
    """Any set with any entries."""
    kind = draw(st.sampled_from(SetType))
    family = draw(st.sampled_from(IPFamily))
    addresses = st.integers(0, 2**family.bits - 1).map(FAMILIES[family])
    networks = st.tuples(addresses, st.integers(0, family.bits)).map(
        lambda pair: (
            IPv4Network(pair, strict=False)
            if family is IPFamily.IPV4
            else IPv6Network(pair, strict=False)
        )
    )
    fields: dict[str, Any] = {}
    if kind is not SetType.BITMAP_PORT:
        fields["address"] = addresses
        fields["mark"] = st.integers(0, 2**32 - 1)
    if kind is not SetType.HASH_IP:
        fields["port"] = st.integers(0, 65535)
    if "port" in fields and "address" in fields:
        fields["protocol"] = st.sampled_from(Protocol)
    if kind is SetType.HASH_IP_PORT_IP:
        fields["second_address"] = addresses
    if kind is SetType.HASH_IP_PORT_NET:
        fields["network"] = networks
    is_bitmap = kind is SetType.BITMAP_PORT
    spec = SetSpec(
        name=draw(st.text("ABC-", min_size=1, max_size=31)),
        type=kind,
        family=None if is_bitmap else family,
        maxelem=0 if is_bitmap else draw(st.integers(0, 2**32 - 1)),
        skbinfo=draw(st.booleans()),
    )
    return spec, draw(st.lists(st.builds(SetEntry, **fields), max_size=10))


@given(sets_with_entries())
def test_sets_survive_the_wire(given_set: tuple[SetSpec, list[SetEntry]]) -> None:
    """Requests read as what they ask for: the kernel answers in the same words."""
    spec, entries = given_set
    replies = IpsetReplies()
    created = create_set(spec)
    assert replies.header(created, 16, len(created)) == SetHeader(spec.name, spec)
    added = add_entries(spec.name, entries)
    assert replies.entries(added, 16, len(added)) == (entries, 0)


@each_kernel
def test_headers_of_a_kernel(kernel: str) -> None:
    """Types, families and sizes come back; a type that is not in use has no value."""
    replies = IpsetReplies()
    read = {
        header.name: header.spec
        for header in (
            replies.header(*found) for found in payloads(kernel, "set-headers")
        )
    }
    strange = {
        STRANGE_SET: SetSpec(
            name=STRANGE_SET,
            type=SetType.HASH_IP_PORT,
            family=IPFamily.IPV4,
            maxelem=65536,
            skbinfo=True,
        ),
        "KUBE-EXTERNAL-IP-LOCAL": SetSpec(
            name="KUBE-EXTERNAL-IP-LOCAL",
            type=SetType.HASH_IP_PORT_NET,
            family=IPFamily.IPV4,
            maxelem=77,
        ),
        "KUBE-NODE-PORT-TCP": SetSpec(
            name="KUBE-NODE-PORT-TCP", type=SetType.BITMAP_PORT, maxelem=2768
        ),
        "KUBE-NODE-PORT": None,
    }
    assert read == {spec.name: spec for spec in SETS} | strange


@each_kernel
@each_set
def test_entries_of_a_kernel(kernel: str, spec: SetSpec) -> None:
    """Entries come back as they were given, also through their header's message."""
    replies = IpsetReplies()
    found = payloads(kernel, f"set-{spec.name}")
    assert replies.header(*found[0]) == SetHeader(spec.name, spec)
    parts = [replies.entries(*part) for part in found]
    assert {entry for entries, _ in parts for entry in entries} == set(SETS[spec])
    assert not sum(others for _, others in parts)


@each_kernel
def test_strange_entries_of_a_kernel(kernel: str) -> None:
    """Extensions are passed over; entries that cannot be ours are only counted.

    A mark that changes only some bits of the packet's is none of ours.
    """
    ours = SetEntry(address=VIP, protocol=Protocol.TCP, port=443)
    (found,) = payloads(kernel, f"set-{STRANGE_SET}")
    assert IpsetReplies().entries(*found) == ([ours], 1)
    (found,) = payloads(kernel, "set-KUBE-EXTERNAL-IP-LOCAL")
    assert IpsetReplies().entries(*found) == ([], 1)


@each_kernel
@each_set
def test_truncated_replies(kernel: str, spec: SetSpec) -> None:
    """A prefix of a reply is an error, or has fewer entries at its end."""
    learned = IpsetReplies()
    for buffer, start, end in payloads(kernel, f"set-{spec.name}"):
        whole, _ = learned.entries(buffer, start, end)
        for stop in range(start, end):
            for replies in (learned, IpsetReplies()):
                try:
                    entries, _ = replies.entries(buffer[:stop], start, stop)
                except WireError:
                    continue
                assert entries == [] != whole


@each_kernel
@each_set
def test_truncated_headers(kernel: str, spec: SetSpec) -> None:
    """A prefix of a header is an error, or the header is all in it."""
    buffer, start, end = payloads(kernel, f"set-{spec.name}")[0]
    outcomes: list[SetHeader | None] = []
    for stop in range(start, end):
        try:
            outcomes.append(IpsetReplies().header(buffer[:stop], start, stop))
        except WireError:
            outcomes.append(None)
    assert set(outcomes) == {None, SetHeader(spec.name, spec)}
    assert outcomes.index(SetHeader(spec.name, spec)) > 60


def test_a_prefix_length_beyond_the_family_is_an_error() -> None:
    """An IPv4 network is at most /32."""
    network = IPv4Network("192.0.2.0/25")
    entry = SetEntry(address=VIP, protocol=Protocol.TCP, port=1, network=network)
    message = add_entries("A", [entry])
    bad = message[:-4] + b"\x21" + message[-3:]
    with pytest.raises(WireError, match="prefix length 33"):
        IpsetReplies().entries(bad, 16, len(bad))


def test_its_own_errors_are_put_into_words() -> None:
    """They are beyond the errno range; what is within it is not ipset's to say."""
    full = "ipset error 4352 (set is full (maxelem), or port out of range)"
    assert describe_ipset_error(4352) == full
    assert describe_ipset_error(2) == ""
