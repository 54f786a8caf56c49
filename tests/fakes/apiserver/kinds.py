"""The resources served, and which of them a path means."""

import msgspec


class Resource(msgspec.Struct, frozen=True):
    """One kind of object."""

    group: str
    version: str
    plural: str
    kind: str
    is_namespaced: bool = True

    @property
    def api_version(self) -> str:
        """As objects name it: `v1`, `discovery.k8s.io/v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def root(self) -> str:
        """Where its paths begin."""
        return f"/apis/{self.api_version}" if self.group else f"/api/{self.version}"

    @property
    def qualified(self) -> str:
        """As error messages name it: `services`, `endpointslices.discovery.k8s.io`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


SERVICES = Resource("", "v1", "services", "Service")
SLICES = Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")
NODES = Resource("", "v1", "nodes", "Node", is_namespaced=False)
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", is_namespaced=False)
PODS = Resource("", "v1", "pods", "Pod")
EVENTS = Resource("events.k8s.io", "v1", "events", "Event")
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")
SERVICE_CIDRS = Resource(
    "networking.k8s.io", "v1", "servicecidrs", "ServiceCIDR", is_namespaced=False
)

RESOURCES = (SERVICES, SLICES, NODES, NAMESPACES, PODS, EVENTS, LEASES, SERVICE_CIDRS)


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """What a path means: a collection, or one object of it."""

    resource: Resource
    namespace: str | None = None
    name: str | None = None
    subresource: str | None = None


def resource_of(kind: str) -> Resource:
    """The resource whose objects are of that kind.

    Raises:
        KeyError: none is.
    """
    return {resource.kind: resource for resource in RESOURCES}[kind]


def parse_path(path: str) -> Target | None:
    """What the path means, or None: nothing that is served."""
    for resource in RESOURCES:
        target = _target(resource, path)
        if target is not None:
            return target
    return None


def _target(resource: Resource, path: str) -> Target | None:
    if not path.startswith(resource.root + "/"):
        return None
    namespace: str | None = None
    parts = path.removeprefix(resource.root).strip("/").split("/")
    if resource.is_namespaced and parts[0] == "namespaces" and len(parts) > 2:
        namespace = parts[1]
        parts = parts[2:]
    # One object of a namespace is found only inside of it.
    is_whole = resource.is_namespaced and namespace is None
    match parts:
        case [resource.plural]:
            return Target(resource=resource, namespace=namespace)
        case [resource.plural, name] if not is_whole:
            return Target(resource=resource, namespace=namespace, name=name)
        case [resource.plural, name, "status" | "exec" as part] if not is_whole:
            return Target(
                resource=resource,
                namespace=namespace,
                name=name,
                subresource=part,
            )
    return None
