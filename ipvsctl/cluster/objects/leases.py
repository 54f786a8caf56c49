"""A Lease in which a node says where it takes packets in tunnels, to a value.

The object is a Lease since a node can write one with the least rights, in a namespace
of its own. Nothing renews it: every node would be told of every renewal.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from ipvsctl.cluster.events import Upserted
from ipvsctl.cluster.objects.api import ApiLease, LeaseSpec, ObjectMeta
from ipvsctl.cluster.objects.decode import ShapeDecoder, object_ref
from ipvsctl.cluster.objects.findings import Findings
from ipvsctl.model.net import IPAddress, IPFamily, family_of
from ipvsctl.model.objects import TunnelOffer
from ipvsctl.model.problem import Kind

TUNNEL_LABEL: Final = "ipvsctl.io/tunnel"
"""Every other Lease is somebody else's."""

ADDRESSES: Final = "ipvsctl.io/tunnel-addresses"
PORT: Final = "ipvsctl.io/tunnel-port"
SENDS: Final = "ipvsctl.io/tunnel-sends"

LEASES: Final = ShapeDecoder("Lease", ApiLease)


def read_lease(api: ApiLease) -> Upserted:
    """Read a Lease that was decoded.

    Returns:
        One offer, or none: of a Lease without the label, or without what an offer
        needs.

    Raises:
        BadObject: it has no name.
    """
    ref = object_ref(Kind.LEASE, api.metadata)
    meta, spec = api.metadata or ObjectMeta(), api.spec or LeaseSpec()
    if TUNNEL_LABEL not in (meta.labels or {}):
        return Upserted(kind=Kind.LEASE, ref=ref, values=())
    found = Findings(Kind.LEASE, ref)
    said = meta.annotations or {}
    addresses = tuple(_addresses(said.get(ADDRESSES, ""), found))
    port = _port(said, found)
    if not spec.holder_identity:
        found.add("spec.holderIdentity", "", "is missing")
    values: tuple[TunnelOffer, ...] = ()
    if addresses and port is not None and spec.holder_identity:
        offer = TunnelOffer(
            node=spec.holder_identity,
            addresses=addresses,
            port=port,
            is_sending=said.get(SENDS) == "true",
        )
        values = (offer,)
    return Upserted(kind=Kind.LEASE, ref=ref, values=values, problems=found.problems)


def _addresses(text: str, found: Findings) -> Iterator[IPAddress]:
    field = f"metadata.annotations.{ADDRESSES}"
    families: set[IPFamily] = set()
    for part in text.split(","):
        address = found.address(field, part.strip())
        if address is None:
            continue
        family = family_of(address)
        if family in families:
            found.add(field, part, f"is not the first {family.label} address")
            continue
        families.add(family)
        yield address


def _port(said: Mapping[str, str], found: Findings) -> int | None:
    text = said.get(PORT, "")
    is_number = text.isascii() and text.isdigit() and len(text) <= 5
    field = f"metadata.annotations.{PORT}"
    if text and not is_number:
        found.add(field, text, "not a port number (1-65535)")
        return None
    return found.port(field, int(text) if text else None)
