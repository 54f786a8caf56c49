"""A Node of the API to a value."""

from typing import Final

from ipvsctl.cluster.events import Upserted
from ipvsctl.cluster.objects.api import ApiNode, NodeSpec
from ipvsctl.cluster.objects.decode import RawObject, ShapeDecoder
from ipvsctl.cluster.objects.findings import Findings
from ipvsctl.model.errors import BadObject
from ipvsctl.model.net import IPAddress
from ipvsctl.model.objects import Node
from ipvsctl.model.problem import Kind, ObjectRef

ZONE_LABEL = "topology.kubernetes.io/zone"
# Cluster autoscaler, utils/taints: put on a node before it is drained and deleted.
TO_BE_DELETED_TAINT = "ToBeDeletedByClusterAutoscaler"

NODES: Final = ShapeDecoder("Node", ApiNode)


def parse_node(raw: RawObject) -> Upserted:
    """Read one Node.

    Returns:
        Exactly one value.

    Raises:
        BadObject: not a Node, or without a name.
    """
    return read_node(NODES.decode(raw))


def read_node(api: ApiNode) -> Upserted:
    """Read a Node that was decoded."""
    meta = api.metadata
    if meta is None or not meta.name:
        raise BadObject(
            ref="Node without a name",
            field="metadata.name",
            value=None,
            reason="is missing",
        )
    ref = ObjectRef("", meta.name)
    found = Findings(Kind.NODE, ref)
    spec = api.spec or NodeSpec()
    cidrs = spec.pod_cidrs or ([spec.pod_cidr] if spec.pod_cidr else [])
    node = Node(
        name=meta.name,
        addresses=_addresses(api, found),
        pod_cidrs=found.networks("spec.podCIDRs", cidrs),
        zone=(meta.labels or {}).get(ZONE_LABEL, ""),
        is_leaving=meta.deletion_timestamp is not None
        or any(taint.key == TO_BE_DELETED_TAINT for taint in spec.taints or ()),
    )
    return Upserted(kind=Kind.NODE, ref=ref, values=(node,), problems=found.problems)


def _addresses(api: ApiNode, found: Findings) -> tuple[IPAddress, ...]:
    listed = (api.status.addresses if api.status else None) or ()
    addresses: dict[IPAddress, None] = {}
    for index, entry in enumerate(listed):
        if entry.type not in {"InternalIP", "ExternalIP"}:
            continue
        field = f"status.addresses[{index}].address"
        address = found.any_address(field, entry.address or "")
        if address is not None:
            addresses[address] = None
    return tuple(addresses)
