"""The part of a status that somebody asked for, and how much there is in all."""

import msgspec

from ipvsctl.cluster.taken import Objects
from ipvsctl.model.problem import Kind, ObjectRef
from ipvsctl.model.status import (
    Counts,
    NodeStatus,
    Only,
    Selection,
    ServiceStatus,
    Standing,
    VirtualServerStatus,
)
from ipvsctl.model.target import NamedTarget
from ipvsctl.plan.report.explain_target import NotThere, find_named


def selected(status: NodeStatus, selection: Selection, objects: Objects) -> NodeStatus:
    """What was chosen of a node.

    Args:
        status: of the Services that are chosen by name; all the rest is whole.
        selection: what was asked for.
        objects: say why nothing is there.
    """
    if not selection:
        return msgspec.structs.replace(
            status,
            services=tuple(s for s in status.services if s.virtual_servers),
            counts=counts_of(status) if status.summary.source else None,
        )
    troubled = {p.ref for p in status.problems if p.kind is Kind.SERVICE}
    services = tuple(
        kept
        for service in status.services
        if (kept := _kept(service, selection, troubled)) is not None
    )
    unclaimed: tuple[VirtualServerStatus, ...] = ()
    foreign: tuple[VirtualServerStatus, ...] = ()
    if selection.address:
        unclaimed = tuple(filter(selection.keeps, status.unclaimed))
        foreign = tuple(filter(selection.keeps, status.foreign))
    chosen = {ObjectRef(s.namespace, s.name) for s in services}
    problems = tuple(
        p
        for p in status.problems
        if selection.has(p.ref) and (not selection.address or p.ref in chosen)
    )
    is_there = bool(services or unclaimed or foreign)
    is_whole = not (selection.name or selection.namespace)
    return msgspec.structs.replace(
        status,
        services=services,
        unclaimed=unclaimed,
        foreign=foreign,
        problems=problems if selection.only in {None, Only.PROBLEMS} else (),
        counts=counts_of(status) if is_whole and status.summary.source else None,
        not_there="" if is_there else _not_there(selection, objects),
    )


def counts_of(status: NodeStatus) -> Counts:
    """How many there are on a whole node."""
    ours = [v for s in status.services for v in s.virtual_servers]
    return Counts(
        services=sum(1 for s in status.services if s.virtual_servers),
        virtual_servers=len(ours),
        without_real_servers=sum(1 for v in ours if not v.real_servers),
        draining=sum(
            1
            for v in ours
            for real in v.real_servers
            if real.standing is Standing.DRAINING
        ),
        foreign=len(status.foreign),
        problems=sum(p.count for p in status.problems),
    )


def _kept(
    service: ServiceStatus, selection: Selection, troubled: set[ObjectRef]
) -> ServiceStatus | None:
    if not (selection.address or selection.only):
        return service
    is_troubled = ObjectRef(service.namespace, service.name) in troubled
    if selection.only is Only.PROBLEMS and is_troubled and not selection.address:
        return service
    servers: tuple[VirtualServerStatus, ...] = tuple(
        filter(selection.keeps, service.virtual_servers)
    )
    listeners = tuple(filter(selection.keeps, service.localhost_ports))
    if not (servers or listeners):
        return None
    return msgspec.structs.replace(
        service, virtual_servers=servers, localhost_ports=listeners
    )


def _not_there(selection: Selection, objects: Objects) -> str:
    """Why nothing is shown; "" if that is an answer."""
    if selection.address:
        port = f" with port {selection.port}" if selection.port else ""
        return f"no virtual or real server has {selection.address}{port}"
    if not selection.name:
        return ""
    namespace, _, name = selection.name.rpartition("/")
    target = NamedTarget(namespace=namespace or selection.namespace, name=name)
    found = find_named(objects, target, several=True)
    return found.reason if isinstance(found, NotThere) else ""
