"""Which Services somebody asks about, and why there is none."""

from collections.abc import Generator, Iterable, Iterator
from typing import Final

import msgspec

from ipvsctl.cluster.taken import Objects
from ipvsctl.model.config import LOCALHOST, Listener
from ipvsctl.model.ipvs import VirtualServerKey
from ipvsctl.model.net import IPAddress
from ipvsctl.model.objects import Service
from ipvsctl.model.problem import ObjectRef
from ipvsctl.model.steps import parts
from ipvsctl.model.target import AddressTarget, NamedTarget, Target
from ipvsctl.plan.report.explain_inputs import ExplainInputs
from ipvsctl.plan.report.explain_localhost import why_not_on_localhost
from ipvsctl.plan.service.program import ServerProgram

_STEP_SERVICES: Final = 200
"""Services whose slices are looked through in one step."""

MOST_SERVICES: Final = 5
"""Services that one pod or address is explained for."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A Service that is asked about.

    Attributes:
        port: name or number of its port, "" for all.
        address: only ways in with this address; None for all.
        number: only ways in with this port; 0 for all.
        endpoint: the pod that was asked about; None if none was.
    """

    service: Service
    port: str = ""
    address: IPAddress | None = None
    number: int = 0
    endpoint: IPAddress | None = None

    def has(self, server: ServerProgram) -> bool:
        """Whether a virtual server of the Service is asked about."""
        key = server.server.key
        return self.address in {None, key.address} and self.number in {0, key.port}

    def has_listener(self, listener: Listener) -> bool:
        """Whether a listener of the Service is asked about."""
        is_address = self.address in {None, listener.address}
        return is_address and self.number in {0, listener.port}


class NotThere(msgspec.Struct, frozen=True):
    """Nothing of this node is asked about.

    Attributes:
        reason: why, a clause.
    """

    reason: str


def resolve(
    inputs: ExplainInputs, target: Target
) -> Generator[None, None, tuple[Asked, ...] | NotThere]:
    """Find what is asked about, in steps.

    Args:
        inputs: what is known.
        target: what somebody typed.
    """
    if isinstance(target, NamedTarget):
        return find_named(inputs.objects, target)
    return (yield from _addressed(inputs, target))


def find_named(
    objects: Objects, target: NamedTarget, *, several: bool = False
) -> tuple[Asked, ...] | NotThere:
    """The Service of a name, or why there is none; `several` may have it, or not."""
    refs = sorted(ref for ref in objects.refs() if ref.name == target.name)
    found = [r for r in refs if target.namespace in {"", r.namespace}]
    if not found:
        elsewhere = ", ".join(ref.namespace for ref in refs[:MOST_SERVICES])
        where = f" in namespace {target.namespace}" if target.namespace else ""
        hint = f"; there is one in {elsewhere}" if refs else ""
        return NotThere(f"no Service {target.name}{where} is known{hint}")
    if len(found) > 1 and not several:
        names = ", ".join(map(str, found[:MOST_SERVICES]))
        return NotThere(f"there are several: {names}")
    service = objects.service(found[0])
    if service is None:
        return NotThere(f"no Service {found[0]} is known")
    if not service.proxied:
        reason = f"{service.left_alone}; this proxy does not serve it"
        return NotThere(f"Service {service.ref} {reason}")
    if target.port and not any(
        target.port in {port.name, str(port.port), str(port.node_port)}
        for port in service.ports
    ):
        names = ", ".join(
            f"{port.name or '(unnamed)'} ({port.port}/{port.protocol.name})"
            for port in service.ports
        )
        return NotThere(
            f"Service {service.ref} has no port {target.port}; it has {names or 'none'}"
        )
    return (Asked(service=service, port=target.port),)


def _addressed(
    inputs: ExplainInputs, target: AddressTarget
) -> Generator[None, None, tuple[Asked, ...] | NotThere]:
    refs = sorted({*_served_at(inputs, target), *_claimants(inputs.objects, target)})
    found = [
        Asked(service=service, address=target.address, number=target.port)
        for service in _proxied(inputs.objects, refs)
    ]
    if not found:
        refs = yield from _with_endpoint(inputs.objects, target.address)
        found = [
            Asked(service=service, endpoint=target.address)
            for service in _proxied(inputs.objects, refs)
        ]
    if not found:
        return NotThere(_no_one(inputs, target))
    return tuple(found[:MOST_SERVICES])


def _proxied(objects: Objects, refs: Iterable[ObjectRef]) -> Iterator[Service]:
    for ref in refs:
        service = objects.service(ref)
        if service is not None and service.proxied:
            yield service


def _served_at(inputs: ExplainInputs, target: AddressTarget) -> Iterator[ObjectRef]:
    for key, server in inputs.desired.served.items():
        if key.address == target.address and target.port in {0, key.port}:
            yield server.port_name.service
    for listener, port in inputs.desired.localhost_ports.items():
        if listener.address == target.address and target.port in {0, listener.port}:
            yield port.port_name.service


def _claimants(objects: Objects, target: AddressTarget) -> Iterator[ObjectRef]:
    """The Services that ask for an address, whether they get it or not."""
    for ref in objects.claimants([target.address]):
        service = objects.service(ref)
        numbers = {0, *(port.port for port in service.ports)} if service else ()
        if target.port in numbers:
            yield ref


def _with_endpoint(
    objects: Objects, address: IPAddress
) -> Generator[None, None, list[ObjectRef]]:
    """The Services with an endpoint of an address, ready or not."""
    found: list[ObjectRef] = []
    for refs in parts(sorted(objects.refs()), _STEP_SERVICES):
        yield
        found += [ref for ref in refs if _has_endpoint(objects, ref, address)]
    return found


def _has_endpoint(objects: Objects, ref: ObjectRef, address: IPAddress) -> bool:
    return any(
        endpoint.address == address
        for piece in objects.slices_of(ref)
        for endpoint in piece.endpoints
    )


def _no_one(inputs: ExplainInputs, target: AddressTarget) -> str:
    def is_meant(key: VirtualServerKey) -> bool:
        return key.address == target.address and target.port in {0, key.port}

    others = [key for key in inputs.observed.state.virtual_servers if is_meant(key)]
    if others:
        return f"virtual server {others[0]} is of no Service: another program has it"
    ports = sorted(
        {k.port for k in inputs.desired.served if k.address == target.address}
    )
    if ports:
        some = ", ".join(map(str, ports[:MOST_SERVICES]))
        where = f"port {target.port} at {target.address}"
        return f"no Service has {where}; there are {some}"
    if target.address in LOCALHOST.values():
        return why_not_on_localhost(inputs, target)
    if target.address in inputs.observed.host_addresses:
        which = f"node port {target.port}" if target.port else "node port there"
        return f"{target.address} is this node's, and no Service has {which}"
    return f"no Service, endpoint or virtual server has {target}"
