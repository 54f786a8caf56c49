"""Counts of the things a node has, for metrics."""

from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping
from typing import Final, NamedTuple

import msgspec

from ipvsctl.cluster.taken import Objects
from ipvsctl.model.ipvs import VirtualServerKey
from ipvsctl.model.net import IPFamily
from ipvsctl.model.objects import (
    NodeContext,
    ServicePortName,
    TrafficPolicy,
)
from ipvsctl.model.problem import Kind, Problem
from ipvsctl.model.state import Observed
from ipvsctl.model.steps import parts
from ipvsctl.plan.diff.plan import owned_keys
from ipvsctl.plan.report.why import Lack, endpoints_of, port_of
from ipvsctl.plan.service.program import WayIn
from ipvsctl.plan.service.refusals import is_refusal
from ipvsctl.plan.union.frozen import DesiredLookups

_STEP_KEYS: Final = 1000
_STEP_PORTS: Final = 50


class ServerCounts(msgspec.Struct, frozen=True, kw_only=True):
    """The virtual servers that are desired.

    Attributes:
        without_real_servers: virtual servers that refuse their clients.
        without_local_endpoints: service ports with a Local policy among these, by
            family and by which policy it is, `internal` or `external`.
        ports_without_endpoints: service ports with a virtual server among these, by
            family and by why there is no endpoint; one that a change is about to fill
            counts as NONE.
    """

    virtual_servers: int
    real_servers: int
    without_real_servers: int
    without_local_endpoints: Mapping[tuple[IPFamily, str], int]
    ports_without_endpoints: Mapping[tuple[IPFamily, Lack], int]


def count_servers_in_steps(
    desired: DesiredLookups, objects: Objects, node: NodeContext
) -> Generator[None, None, ServerCounts]:
    """Count what is desired, in steps of some milliseconds.

    Some 100 ns for each virtual server; those without real servers take more.
    """
    held = dict(desired.real_servers)
    real_servers = 0
    empty: list[VirtualServerKey] = []
    for keys in parts(held, _STEP_KEYS):
        yield
        real_servers += sum(len(held[key]) for key in keys)
        empty += (key for key in keys if not held[key])
    local: set[tuple[ServicePortName, IPFamily, str]] = set()
    lacks: set[tuple[ServicePortName, IPFamily, Lack]] = set()
    for keys in parts(empty, _STEP_PORTS):
        yield
        for found in _empty_ports(keys, desired, objects, node):
            if found.policy is TrafficPolicy.LOCAL:
                local.add((found.name, found.family, found.side))
            lacks.add((found.name, found.family, found.lack))
    return ServerCounts(
        virtual_servers=len(held),
        real_servers=real_servers,
        without_real_servers=len(empty),
        without_local_endpoints=Counter((family, side) for _, family, side in local),
        ports_without_endpoints=Counter((family, lack) for _, family, lack in lacks),
    )


class _EmptyPort(NamedTuple):
    """A port of a Service whose virtual server has no real server."""

    name: ServicePortName
    family: IPFamily
    side: str
    policy: TrafficPolicy
    lack: Lack


def _empty_ports(
    keys: Iterable[VirtualServerKey],
    desired: DesiredLookups,
    objects: Objects,
    node: NodeContext,
) -> Iterator[_EmptyPort]:
    for key in keys:
        program = desired.server(key)
        if program is None:
            continue
        name = program.port_name
        service = objects.service(name.service)
        port = port_of(service, name)
        if service is None or port is None:
            continue
        side = "internal" if program.way is WayIn.CLUSTER_IP else "external"
        policy = program.policy
        slices = objects.slices_of(name.service)
        found = endpoints_of(service, port, key.family, slices, node)
        yield _EmptyPort(name, key.family, side, policy, found.lack(policy))


def count_foreign(observed: Observed, desired: DesiredLookups) -> int:
    """How many virtual servers are others'.

    One that is desired is ours, with its entry or without.
    """
    wanted = desired.real_servers
    unwanted = {
        key: server
        for key, server in observed.state.virtual_servers.items()
        if key not in wanted
    }
    if not unwanted:
        return 0
    state = msgspec.structs.replace(observed.state, virtual_servers=unwanted)
    return len(unwanted) - len(owned_keys(state, observed.host_addresses))


def count_problems(problems: Iterable[Problem]) -> tuple[Mapping[Kind, int], int]:
    """Kind of object -> its number of problems; and how many are refused VIPs."""
    by_kind = dict.fromkeys(Kind, 0)
    refused = {}
    for problem in problems:
        by_kind[problem.kind] += problem.count
        if is_refusal(problem):
            refused[problem.ref, problem.value] = problem.count
    return by_kind, sum(refused.values())
