"""What every kernel does with ops about sets."""

import errno
from ipaddress import IPv4Network, IPv6Network
from typing import Final

import msgspec

from ipvsctl.model.net import IPFamily, IPv4Address, IPv6Address, Protocol
from ipvsctl.model.sets import (
    Leftover,
    SetCondition,
    SetEntry,
    SetKey,
    SetRole,
    set_key,
)
from ipvsctl.model.state import NodeState
from ipvsctl.plan.diff.ops import (
    AddEntry,
    CreateSet,
    DeleteEntry,
    DestroySet,
    RebuildSet,
)
from ipvsctl.wire.nftables.sets import ROOM
from tests.kernel.contract import Outcome, Row

IPSET_ERR_PROTOCOL: Final = 4097
IPSET_ERR_EXIST_SETNAME2: Final = 4101
IPSET_ERR_INVALID_CIDR: Final = 4104
IPSET_ERR_SKBINFO: Final = 4114
IPSET_ERR_HASH_FULL: Final = 4352

VIP: Final = IPv4Address("10.96.0.10")
VIP6: Final = IPv6Address("fd00:96::10")


def spec(
    role: SetRole = SetRole.CLUSTER_IP,
    family: IPFamily = IPFamily.IPV4,
    room: int = 262144,
) -> CreateSet:
    """A set is made."""
    return CreateSet(set_key(role, family), room)


def keys(*made: CreateSet) -> set[SetKey]:
    """What is to be seen of sets that were made."""
    return {op.key for op in made}


def entry(
    address: IPv4Address | IPv6Address = VIP,
    protocol: Protocol = Protocol.TCP,
    port: int = 443,
) -> SetEntry:
    """A `hash:ip,port` entry."""
    return SetEntry(address=address, protocol=protocol, port=port)


def with_network(network: IPv4Network | IPv6Network) -> SetEntry:
    """A `hash:ip,port,net` entry."""
    return SetEntry(
        address=VIP if network.version == 4 else VIP6,
        protocol=Protocol.TCP,
        port=443,
        network=network,
    )


SPEC: Final = spec()
SPEC6: Final = spec(family=IPFamily.IPV6)
SMALL: Final = spec(room=1)
BITMAP: Final = spec(SetRole.HEALTH_CHECK_NODE_PORT, room=65536)
IPS: Final = spec(SetRole.IPVS_IPS)
IPS6: Final = spec(SetRole.IPVS_IPS, IPFamily.IPV6)
LOOP_BACK: Final = spec(SetRole.LOOP_BACK)
LOOP_BACK6: Final = spec(SetRole.LOOP_BACK, IPFamily.IPV6)
SOURCE: Final = spec(SetRole.LOAD_BALANCER_SOURCE_CIDR)
SOURCE6: Final = spec(SetRole.LOAD_BALANCER_SOURCE_CIDR, IPFamily.IPV6)
MARKING: Final = spec(SetRole.SHORT_CIRCUIT, room=1)
MARKING6: Final = spec(SetRole.SHORT_CIRCUIT, IPFamily.IPV6)

WIDE: Final = with_network(IPv4Network("192.0.2.0/24"))
NARROW: Final = with_network(IPv4Network("192.0.2.0/25"))
APART: Final = with_network(IPv4Network("192.0.3.0/24"))
EVERYBODY: Final = IPv4Network("0.0.0.0/0")

LOOP: Final = SetEntry(address=VIP, protocol=Protocol.UDP, port=53, second_address=VIP)
LOOP6: Final = SetEntry(
    address=VIP6, protocol=Protocol.SCTP, port=53, second_address=VIP6
)


MANY: Final = frozenset(entry(port=port) for port in range(1, 1200))


def marked(
    mark: int,
    address: IPv4Address | IPv6Address = VIP,
    protocol: Protocol = Protocol.TCP,
) -> SetEntry:
    """An entry with a mark."""
    return msgspec.structs.replace(entry(address, protocol), mark=mark)


def sets(state: NodeState) -> object:
    """Look at all sets and entries."""
    assert not state.leftovers
    assert all(s.condition is SetCondition.SOUND for s in state.sets.values())
    return set(state.sets), {
        key: set(entries) for key, entries in state.entries.items() if entries
    }


def rooms(state: NodeState) -> object:
    """Look at how many entries sets take."""
    return {key: shape.room for key, shape in state.sets.items()}


def _taken(what: str, given: CreateSet, added: SetEntry) -> Row:
    return Row(
        fact=f"a set takes {what}",
        given=(given,),
        op=AddEntry(given.key, added),
        look=sets,
        then=(keys(given), {given.key: {added}}),
    )


SET_ROWS: Final = (
    *(
        Row(
            fact=f"a set is created: {made.key}",
            op=made,
            look=sets,
            then=(keys(made), {}),
        )
        for made in (
            *(SPEC, SPEC6, BITMAP, IPS, IPS6),
            *(LOOP_BACK, LOOP_BACK6, SOURCE, SOURCE6),
            *(MARKING, MARKING6),
        )
    ),
    Row(
        fact="a set that is there is not created, though it be the same",
        given=(SPEC,),
        op=SPEC,
        code=errno.EEXIST,
    ),
    Row(
        fact="a set is rebuilt with more room and other entries",
        given=(SMALL, AddEntry(SMALL.key, entry())),
        op=RebuildSet(SMALL.key, 4, frozenset({entry(port=80), entry(port=81)})),
        look=sets,
        then=(keys(SMALL), {SMALL.key: {entry(port=80), entry(port=81)}}),
    ),
    Row(
        fact="a set is created with the room that it is to have",
        op=SMALL,
        look=rooms,
        then={SMALL.key: 1},
        nftables=Outcome(then={SMALL.key: ROOM}),
    ),
    Row(
        fact="a set that is rebuilt has the room that it is to have",
        given=(SMALL,),
        op=RebuildSet(SMALL.key, 4, frozenset()),
        look=rooms,
        then={SMALL.key: 4},
        nftables=Outcome(then={SMALL.key: ROOM}),
    ),
    Row(
        fact="a set of marks is rebuilt with its marks",
        given=(MARKING,),
        op=RebuildSet(MARKING.key, 4, frozenset({marked(7)})),
        look=sets,
        then=(keys(MARKING), {MARKING.key: {marked(7)}}),
    ),
    Row(
        fact="a set is rebuilt with more entries than fit into one message",
        given=(SPEC,),
        op=RebuildSet(SPEC.key, 4096, MANY),
        look=sets,
        then=(keys(SPEC), {SPEC.key: set(MANY)}),
    ),
    Row(
        fact="a set stays as it was if what is to be in it does not fit",
        given=(SPEC, AddEntry(SPEC.key, entry())),
        op=RebuildSet(SPEC.key, 1, frozenset({entry(port=80), entry(port=81)})),
        code=IPSET_ERR_HASH_FULL,
        look=sets,
        nftables=Outcome(
            then=(keys(SPEC), {SPEC.key: {entry(port=80), entry(port=81)}})
        ),
    ),
    Row(
        fact="a set that is not there is not rebuilt",
        op=RebuildSet(SPEC.key, 4, frozenset({entry()})),
        code=IPSET_ERR_EXIST_SETNAME2,
        nftables=Outcome(code=errno.ENOENT),
    ),
    Row(
        fact="a set that was left and is gone is destroyed already",
        op=DestroySet(Leftover(name="ip ipvsctl nonesuch", is_half_built=True)),
        look=sets,
        then=(set(), {}),
    ),
    Row(
        fact="a set is destroyed with its entries",
        given=(SPEC, IPS, AddEntry(SPEC.key, entry())),
        op=DestroySet(SPEC.key),
        look=sets,
        then=(keys(IPS), {}),
    ),
    Row(
        fact="a set that is not there is destroyed already",
        op=DestroySet(SPEC.key),
        look=sets,
        then=(set(), {}),
    ),
)

ENTRY_ROWS: Final = (
    _taken("an IPv4 address", IPS, SetEntry(address=VIP)),
    _taken("an IPv6 address", IPS6, SetEntry(address=VIP6)),
    _taken("an IPv4 address and port", SPEC, entry()),
    _taken("an IPv6 address and SCTP port", SPEC6, entry(VIP6, Protocol.SCTP, 65535)),
    _taken("an IPv4 address, port and address", LOOP_BACK, LOOP),
    _taken("an IPv6 address, port and address", LOOP_BACK6, LOOP6),
    _taken("an IPv4 network", SOURCE, with_network(IPv4Network("192.0.2.0/25"))),
    _taken("a single IPv4 client", SOURCE, with_network(IPv4Network("192.0.2.1/32"))),
    _taken("an IPv6 network", SOURCE6, with_network(IPv6Network("2001:db8::/33"))),
    _taken("the lowest port", BITMAP, SetEntry(port=0)),
    _taken("the highest port", BITMAP, SetEntry(port=65535)),
    _taken("a mark", MARKING, marked(0x20001)),
    _taken("every bit as a mark", MARKING6, marked(0xFFFFFFFF, VIP6, Protocol.SCTP)),
    Row(
        fact="a set takes no mark where there may be one",
        given=(MARKING,),
        op=AddEntry(MARKING.key, entry()),
        look=sets,
        then=(keys(MARKING), {MARKING.key: {entry()}}),
        nftables=Outcome(code=errno.EINVAL),
    ),
    Row(
        fact="an entry that is there gets another mark though the set is full",
        given=(MARKING, AddEntry(MARKING.key, marked(0x20001))),
        op=AddEntry(MARKING.key, marked(0x20002)),
        look=sets,
        then=(keys(MARKING), {MARKING.key: {marked(0x20002)}}),
    ),
    Row(
        fact="an entry is deleted whatever its mark",
        given=(MARKING, AddEntry(MARKING.key, marked(0x20001))),
        op=DeleteEntry(MARKING.key, marked(0x20002)),
        look=sets,
        then=(keys(MARKING), {}),
    ),
    Row(
        fact="a set without marks takes no entry with one",
        given=(SPEC,),
        op=AddEntry(SPEC.key, marked(0x20001)),
        code=IPSET_ERR_SKBINFO,
        nftables=Outcome(code=errno.EINVAL),
    ),
    Row(
        fact="an entry that is there is added already",
        given=(SPEC, AddEntry(SPEC.key, entry())),
        op=AddEntry(SPEC.key, entry()),
        look=sets,
        then=(keys(SPEC), {SPEC.key: {entry()}}),
    ),
    Row(
        fact="a full set takes no more",
        given=(SMALL, AddEntry(SMALL.key, entry())),
        op=AddEntry(SMALL.key, entry(port=80)),
        code=IPSET_ERR_HASH_FULL,
        look=sets,
        nftables=Outcome(then=(keys(SMALL), {SMALL.key: {entry(), entry(port=80)}})),
    ),
    Row(
        fact="a full set takes what it has",
        given=(SMALL, AddEntry(SMALL.key, entry())),
        op=AddEntry(SMALL.key, entry()),
        look=sets,
        then=(keys(SMALL), {SMALL.key: {entry()}}),
    ),
    Row(
        fact="a set that is not there takes no entry",
        op=AddEntry(SPEC.key, entry()),
        code=errno.ENOENT,
    ),
    Row(
        fact="a set takes no address of the other family",
        given=(SPEC,),
        op=AddEntry(SPEC.key, entry(VIP6)),
        code=IPSET_ERR_PROTOCOL,
        nftables=Outcome(code=errno.EINVAL),
    ),
    Row(
        fact="a set of addresses and ports takes no bare port",
        given=(SPEC,),
        op=AddEntry(SPEC.key, SetEntry(port=80)),
        code=IPSET_ERR_PROTOCOL,
        nftables=Outcome(code=errno.EINVAL),
    ),
    Row(
        fact="the network of every client is no entry",
        given=(SOURCE,),
        op=AddEntry(SOURCE.key, with_network(EVERYBODY)),
        code=IPSET_ERR_INVALID_CIDR,
        look=sets,
        nftables=Outcome(then=(keys(SOURCE), {SOURCE.key: {with_network(EVERYBODY)}})),
    ),
    Row(
        fact="a network stands beside one that lies in it",
        given=(SOURCE, AddEntry(SOURCE.key, NARROW), AddEntry(SOURCE.key, APART)),
        op=AddEntry(SOURCE.key, WIDE),
        look=sets,
        then=(keys(SOURCE), {SOURCE.key: {NARROW, WIDE, APART}}),
        # There it takes its place, which is as good.
        nftables=Outcome(then=(keys(SOURCE), {SOURCE.key: {WIDE, APART}})),
    ),
    Row(
        fact="a network stands beside one that it lies in",
        given=(SOURCE, AddEntry(SOURCE.key, WIDE), AddEntry(SOURCE.key, APART)),
        op=AddEntry(SOURCE.key, NARROW),
        look=sets,
        then=(keys(SOURCE), {SOURCE.key: {NARROW, WIDE, APART}}),
        # No plan has both; of two the later is the wanted one.
        nftables=Outcome(then=(keys(SOURCE), {SOURCE.key: {NARROW, APART}})),
    ),
    Row(
        fact="an entry is deleted",
        given=(
            SPEC,
            AddEntry(SPEC.key, entry()),
            AddEntry(SPEC.key, entry(port=80)),
        ),
        op=DeleteEntry(SPEC.key, entry()),
        look=sets,
        then=(keys(SPEC), {SPEC.key: {entry(port=80)}}),
    ),
    Row(
        fact="an entry that is not there is deleted already",
        given=(SPEC,),
        op=DeleteEntry(SPEC.key, entry()),
        look=sets,
        then=(keys(SPEC), {}),
    ),
    Row(
        fact="a set that is not there has no entry to delete",
        op=DeleteEntry(SPEC.key, entry()),
        code=errno.ENOENT,
    ),
)
