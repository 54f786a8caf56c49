"""The fields of API objects that are read, as they are on the wire.

Only shapes: every field may be missing or null, as Go's JSON allows, and no value is
checked here. Fields nobody reads are left out and cost nothing to skip.
"""

import msgspec

Labels = dict[str, str]


class ObjectMeta(msgspec.Struct, rename="camel", gc=False):
    """`metadata` of a namespaced object.

    Attributes:
        resource_version: only text is one; a manifest may have anything here, since
            nothing reads it there.
    """

    name: str | None = None
    namespace: str | None = None
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    labels: Labels | None = None
    annotations: Labels | None = None
    resource_version: object = None


class ApiServicePort(msgspec.Struct, rename="camel", gc=False):
    """`spec.ports[]` of a Service."""

    name: str | None = None
    protocol: str | None = None
    port: int | None = None
    node_port: int | None = None


class ClientIPConfig(msgspec.Struct, rename="camel", gc=False):
    """`spec.sessionAffinityConfig.clientIP`."""

    timeout_seconds: int | None = None


class SessionAffinityConfig(msgspec.Struct, gc=False):
    """`spec.sessionAffinityConfig`."""

    client_ip: ClientIPConfig | None = msgspec.field(name="clientIP", default=None)


class ServiceSpec(msgspec.Struct, rename="camel", gc=False):
    """`spec` of a Service."""

    type: str | None = None
    ports: list[ApiServicePort] | None = None
    selector: Labels | None = None
    cluster_ip: str | None = msgspec.field(name="clusterIP", default=None)
    cluster_ips: list[str] | None = msgspec.field(name="clusterIPs", default=None)
    external_ips: list[str] | None = msgspec.field(name="externalIPs", default=None)
    load_balancer_source_ranges: list[str] | None = None
    internal_traffic_policy: str | None = None
    external_traffic_policy: str | None = None
    session_affinity: str | None = None
    session_affinity_config: SessionAffinityConfig | None = None
    allocate_load_balancer_node_ports: bool | None = None
    health_check_node_port: int | None = None


class Ingress(msgspec.Struct, rename="camel", gc=False):
    """`status.loadBalancer.ingress[]`."""

    ip: str | None = None
    ip_mode: str | None = None


class LoadBalancerStatus(msgspec.Struct, gc=False):
    """`status.loadBalancer`."""

    ingress: list[Ingress] | None = None


class ServiceStatus(msgspec.Struct, rename="camel", gc=False):
    """`status` of a Service."""

    load_balancer: LoadBalancerStatus | None = None


class ApiService(msgspec.Struct, gc=False):
    """A Service (v1)."""

    metadata: ObjectMeta | None = None
    spec: ServiceSpec | None = None
    status: ServiceStatus | None = None


class ApiEndpointPort(msgspec.Struct, gc=False):
    """`ports[]` of an EndpointSlice, and of a subset of an Endpoints object."""

    name: str | None = None
    protocol: str | None = None
    port: int | None = None


class Conditions(msgspec.Struct, gc=False):
    """`endpoints[].conditions`."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class Hint(msgspec.Struct, gc=False):
    """`endpoints[].hints.forZones[]` and `forNodes[]`."""

    name: str | None = None


class Hints(msgspec.Struct, rename="camel", gc=False):
    """`endpoints[].hints`."""

    for_zones: list[Hint] | None = None
    for_nodes: list[Hint] | None = None


class ApiEndpoint(msgspec.Struct, rename="camel", gc=False):
    """`endpoints[]` of an EndpointSlice."""

    addresses: list[str] | None = None
    conditions: Conditions | None = None
    hints: Hints | None = None
    node_name: str | None = None


class ApiEndpointSlice(msgspec.Struct, rename="camel", gc=False):
    """An EndpointSlice (discovery.k8s.io/v1)."""

    metadata: ObjectMeta | None = None
    address_type: str | None = None
    ports: list[ApiEndpointPort] | None = None
    endpoints: list[ApiEndpoint] | None = None


class EndpointAddress(msgspec.Struct, rename="camel", gc=False):
    """`subsets[].addresses[]` and `notReadyAddresses[]` of an Endpoints object."""

    ip: str | None = None
    node_name: str | None = None


class Subset(msgspec.Struct, rename="camel", gc=False):
    """`subsets[]` of an Endpoints object."""

    addresses: list[EndpointAddress] | None = None
    not_ready_addresses: list[EndpointAddress] | None = None
    ports: list[ApiEndpointPort] | None = None


class ApiEndpoints(msgspec.Struct, gc=False):
    """An Endpoints object (v1)."""

    metadata: ObjectMeta | None = None
    subsets: list[Subset] | None = None


class NodeAddress(msgspec.Struct, gc=False):
    """`status.addresses[]` of a Node."""

    type: str | None = None
    address: str | None = None


class Taint(msgspec.Struct, gc=False):
    """`spec.taints[]` of a Node."""

    key: str | None = None


class NodeSpec(msgspec.Struct, gc=False):
    """`spec` of a Node."""

    pod_cidr: str | None = msgspec.field(name="podCIDR", default=None)
    pod_cidrs: list[str] | None = msgspec.field(name="podCIDRs", default=None)
    taints: list[Taint] | None = None


class NodeStatus(msgspec.Struct, gc=False):
    """`status` of a Node."""

    addresses: list[NodeAddress] | None = None


class ApiNode(msgspec.Struct, gc=False):
    """A Node (v1)."""

    metadata: ObjectMeta | None = None
    spec: NodeSpec | None = None
    status: NodeStatus | None = None


class LeaseSpec(msgspec.Struct, rename="camel", gc=False):
    """`spec` of a Lease."""

    holder_identity: str | None = None


class ApiLease(msgspec.Struct, gc=False):
    """A Lease (coordination.k8s.io/v1)."""

    metadata: ObjectMeta | None = None
    spec: LeaseSpec | None = None


class ListMeta(msgspec.Struct, rename="camel", gc=False):
    """`metadata` of a list."""

    resource_version: str | None = None
    # `continue` is a Python keyword.
    continue_token: str | None = msgspec.field(name="continue", default=None)
    remaining_item_count: int | None = None


class ObjectList(msgspec.Struct, gc=False):
    """A list whose items are still bytes, so that a broken one spoils no other."""

    metadata: ListMeta | None = None
    items: list[msgspec.Raw] | None = None


class TypeMeta(msgspec.Struct, rename="camel", gc=False):
    """Version and kind, by which the rest of an object is read."""

    kind: str | None = None
    api_version: str | None = None
