"""What every kernel does with ops about sets."""

import errno
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

import msgspec

from ipvsctl.model.ipset import SetEntry, SetSpec, SetType
from ipvsctl.model.net import IPFamily, Protocol
from ipvsctl.model.state import NodeState
from ipvsctl.plan.diff.ops import AddEntry, CreateSet, DeleteEntry, DestroySet, SwapSets
from tests.kernel.contract import Row

IPSET_ERR_PROTOCOL: Final = 4097
IPSET_ERR_EXIST_SETNAME2: Final = 4101
IPSET_ERR_TYPE_MISMATCH: Final = 4102
IPSET_ERR_INVALID_CIDR: Final = 4104
IPSET_ERR_SKBINFO: Final = 4114
IPSET_ERR_HASH_FULL: Final = 4352

VIP: Final = IPv4Address("10.96.0.10")
VIP6: Final = IPv6Address("fd00:96::10")
CLUSTER_IP: Final = "KUBE-CLUSTER-IP"


def spec(
    name: str = CLUSTER_IP,
    kind: SetType = SetType.HASH_IP_PORT,
    family: IPFamily | None = IPFamily.IPV4,
    maxelem: int = 262144,
) -> SetSpec:
    """A set."""
    return SetSpec(name=name, type=kind, family=family, maxelem=maxelem)


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
SPEC6: Final = spec("KUBE-6-CLUSTER-IP", family=IPFamily.IPV6)
TEMPORARY: Final = spec("KTMP-CLUSTER-IP", maxelem=4)
SMALL: Final = spec(maxelem=1)
BITMAP: Final = SetSpec(name="KUBE-HEALTH-CHECK-NODE-PORT", type=SetType.BITMAP_PORT)
IPS: Final = spec("KUBE-IPVS-IPS", SetType.HASH_IP)
IPS6: Final = spec("KUBE-6-IPVS-IPS", SetType.HASH_IP, IPFamily.IPV6)
LOOP_BACK: Final = spec("KUBE-LOOP-BACK", SetType.HASH_IP_PORT_IP)
LOOP_BACK6: Final = spec("KUBE-6-LOOP-BACK", SetType.HASH_IP_PORT_IP, IPFamily.IPV6)
SOURCE: Final = spec("KUBE-LOAD-BALANCER-SOURCE-CIDR", SetType.HASH_IP_PORT_NET)
SOURCE6: Final = spec(
    "KUBE-6-LOAD-BALANCER-SOURCE-CID", SetType.HASH_IP_PORT_NET, IPFamily.IPV6
)

MARKING: Final = SetSpec(
    name="KUBE-SHORT-CIRCUIT",
    type=SetType.HASH_IP_PORT,
    family=IPFamily.IPV4,
    maxelem=1,
    skbinfo=True,
)
MARKING6: Final = SetSpec(
    name="KUBE-6-SHORT-CIRCUIT",
    type=SetType.HASH_IP_PORT,
    family=IPFamily.IPV6,
    maxelem=262144,
    skbinfo=True,
)
PLAIN: Final = msgspec.structs.replace(MARKING, skbinfo=False)
ASIDE: Final = msgspec.structs.replace(MARKING, name="KTMP-SHORT-CIRCUIT")

LOOP: Final = SetEntry(address=VIP, protocol=Protocol.UDP, port=53, second_address=VIP)
LOOP6: Final = SetEntry(
    address=VIP6, protocol=Protocol.SCTP, port=53, second_address=VIP6
)


def marked(
    mark: int,
    address: IPv4Address | IPv6Address = VIP,
    protocol: Protocol = Protocol.TCP,
) -> SetEntry:
    """An entry with a mark."""
    return msgspec.structs.replace(entry(address, protocol), mark=mark)


def sets(state: NodeState) -> object:
    """Look at all sets and entries."""
    return dict(state.sets), {
        name: set(entries) for name, entries in state.entries.items() if entries
    }


def _taken(what: str, given: SetSpec, added: SetEntry) -> Row:
    return Row(
        fact=f"a set takes {what}",
        given=(CreateSet(given),),
        op=AddEntry(given.name, added),
        look=sets,
        then=({given.name: given}, {given.name: {added}}),
    )


SET_ROWS: Final = (
    *(
        Row(
            fact=f"a set is created: {made.type} {made.family}",
            op=CreateSet(made),
            look=sets,
            then=({made.name: made}, {}),
        )
        for made in (
            *(SPEC, SPEC6, BITMAP, IPS, IPS6),
            *(LOOP_BACK, LOOP_BACK6, SOURCE, SOURCE6),
            *(MARKING, MARKING6),
        )
    ),
    Row(
        fact="a set that is there is not created, though it be the same",
        given=(CreateSet(SPEC),),
        op=CreateSet(SPEC),
        code=errno.EEXIST,
    ),
    Row(
        fact="a swap exchanges sizes and entries, and names stay",
        given=(
            CreateSet(SPEC),
            CreateSet(TEMPORARY),
            AddEntry(SPEC.name, entry()),
            AddEntry(TEMPORARY.name, entry(port=80)),
        ),
        op=SwapSets(TEMPORARY.name, SPEC.name),
        look=sets,
        then=(
            {
                SPEC.name: spec(SPEC.name, maxelem=TEMPORARY.maxelem),
                TEMPORARY.name: spec(TEMPORARY.name, maxelem=SPEC.maxelem),
            },
            {SPEC.name: {entry(port=80)}, TEMPORARY.name: {entry()}},
        ),
    ),
    Row(
        fact="a swap needs its first set",
        given=(CreateSet(SPEC),),
        op=SwapSets(TEMPORARY.name, SPEC.name),
        code=errno.ENOENT,
    ),
    Row(
        fact="a swap needs its second set",
        given=(CreateSet(TEMPORARY),),
        op=SwapSets(TEMPORARY.name, SPEC.name),
        code=IPSET_ERR_EXIST_SETNAME2,
    ),
    Row(
        fact="a set with marks takes the place of one without",
        given=(CreateSet(PLAIN), CreateSet(ASIDE), AddEntry(ASIDE.name, marked(7))),
        op=SwapSets(ASIDE.name, PLAIN.name),
        look=sets,
        then=(
            {
                MARKING.name: MARKING,
                ASIDE.name: msgspec.structs.replace(PLAIN, name=ASIDE.name),
            },
            {MARKING.name: {marked(7)}},
        ),
    ),
    Row(
        fact="types do not swap",
        given=(CreateSet(SPEC), CreateSet(IPS)),
        op=SwapSets(SPEC.name, IPS.name),
        code=IPSET_ERR_TYPE_MISMATCH,
    ),
    Row(
        fact="families do not swap",
        given=(CreateSet(SPEC), CreateSet(SPEC6)),
        op=SwapSets(SPEC.name, SPEC6.name),
        code=IPSET_ERR_TYPE_MISMATCH,
    ),
    Row(
        fact="a set is destroyed with its entries",
        given=(CreateSet(SPEC), CreateSet(IPS), AddEntry(SPEC.name, entry())),
        op=DestroySet(SPEC.name),
        look=sets,
        then=({IPS.name: IPS}, {}),
    ),
    Row(
        fact="a set that is not there is destroyed already",
        op=DestroySet(SPEC.name),
        look=sets,
        then=({}, {}),
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
    _taken("no mark where there may be one", MARKING, entry()),
    Row(
        fact="an entry that is there gets another mark though the set is full",
        given=(CreateSet(MARKING), AddEntry(MARKING.name, marked(0x20001))),
        op=AddEntry(MARKING.name, marked(0x20002)),
        look=sets,
        then=({MARKING.name: MARKING}, {MARKING.name: {marked(0x20002)}}),
    ),
    Row(
        fact="an entry is deleted whatever its mark",
        given=(CreateSet(MARKING), AddEntry(MARKING.name, marked(0x20001))),
        op=DeleteEntry(MARKING.name, marked(0x20002)),
        look=sets,
        then=({MARKING.name: MARKING}, {}),
    ),
    Row(
        fact="a set without marks takes no entry with one",
        given=(CreateSet(SPEC),),
        op=AddEntry(SPEC.name, marked(0x20001)),
        code=IPSET_ERR_SKBINFO,
    ),
    Row(
        fact="an entry that is there is added already",
        given=(CreateSet(SPEC), AddEntry(SPEC.name, entry())),
        op=AddEntry(SPEC.name, entry()),
        look=sets,
        then=({SPEC.name: SPEC}, {SPEC.name: {entry()}}),
    ),
    Row(
        fact="a full set takes no more",
        given=(CreateSet(SMALL), AddEntry(SMALL.name, entry())),
        op=AddEntry(SMALL.name, entry(port=80)),
        code=IPSET_ERR_HASH_FULL,
    ),
    Row(
        fact="a full set takes what it has",
        given=(CreateSet(SMALL), AddEntry(SMALL.name, entry())),
        op=AddEntry(SMALL.name, entry()),
        look=sets,
        then=({SMALL.name: SMALL}, {SMALL.name: {entry()}}),
    ),
    Row(
        fact="a set that is not there takes no entry",
        op=AddEntry(SPEC.name, entry()),
        code=errno.ENOENT,
    ),
    Row(
        fact="a set takes no address of the other family",
        given=(CreateSet(SPEC),),
        op=AddEntry(SPEC.name, entry(VIP6)),
        code=IPSET_ERR_PROTOCOL,
    ),
    Row(
        fact="a set of addresses and ports takes no bare port",
        given=(CreateSet(SPEC),),
        op=AddEntry(SPEC.name, SetEntry(port=80)),
        code=IPSET_ERR_PROTOCOL,
    ),
    Row(
        fact="the network of every client is no entry",
        given=(CreateSet(SOURCE),),
        op=AddEntry(SOURCE.name, with_network(IPv4Network("0.0.0.0/0"))),
        code=IPSET_ERR_INVALID_CIDR,
    ),
    Row(
        fact="an entry is deleted",
        given=(
            CreateSet(SPEC),
            AddEntry(SPEC.name, entry()),
            AddEntry(SPEC.name, entry(port=80)),
        ),
        op=DeleteEntry(SPEC.name, entry()),
        look=sets,
        then=({SPEC.name: SPEC}, {SPEC.name: {entry(port=80)}}),
    ),
    Row(
        fact="an entry that is not there is deleted already",
        given=(CreateSet(SPEC),),
        op=DeleteEntry(SPEC.name, entry()),
        look=sets,
        then=({SPEC.name: SPEC}, {}),
    ),
    Row(
        fact="a set that is not there has no entry to delete",
        op=DeleteEntry(SPEC.name, entry()),
        code=errno.ENOENT,
    ),
)
