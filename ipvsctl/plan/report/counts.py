"""Counts of the things a node has, for metrics."""

from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping
from typing import Final

import msgspec

from ipvsctl.cluster.taken import Objects
from ipvsctl.model.ipvs import VirtualServerKey
from ipvsctl.model.net import IPFamily
from ipvsctl.model.objects import Service, ServicePortName, TrafficPolicy
from ipvsctl.model.problem import Kind, Problem
from ipvsctl.model.state import Observed
from ipvsctl.model.steps import parts
from ipvsctl.plan.diff.plan import owned_keys
from ipvsctl.plan.service.program import WayIn
from ipvsctl.plan.service.refusals import is_refusal
from ipvsctl.plan.union.frozen import DesiredLookups

_STEP_KEYS: Final = 1000


class ServerCounts(msgspec.Struct, frozen=True, kw_only=True):
    """The virtual servers that are desired.

    Attributes:
        without_real_servers: virtual servers that refuse their clients.
        without_local_endpoints: service ports with a Local policy among these, by
            family and by which policy it is, `internal` or `external`.
    """

    virtual_servers: int
    real_servers: int
    without_real_servers: int
    without_local_endpoints: Mapping[tuple[IPFamily, str], int]


def count_servers_in_steps(
    desired: DesiredLookups, objects: Objects
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
    for keys in parts(empty, _STEP_KEYS):
        yield
        local.update(_without_local(keys, desired, objects))
    return ServerCounts(
        virtual_servers=len(held),
        real_servers=real_servers,
        without_real_servers=len(empty),
        without_local_endpoints=Counter((family, side) for _, family, side in local),
    )


def _without_local(
    keys: Iterable[VirtualServerKey], desired: DesiredLookups, objects: Objects
) -> Iterator[tuple[ServicePortName, IPFamily, str]]:
    for key in keys:
        program = desired.server(key)
        if program is None:
            continue
        service = objects.service(program.port_name.service)
        if service is None:
            continue
        side = "internal" if program.way is WayIn.CLUSTER_IP else "external"
        if _policy(service, side) is TrafficPolicy.LOCAL:
            yield program.port_name, key.family, side


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


def _policy(service: Service, side: str) -> TrafficPolicy:
    if side == "internal":
        return service.internal_traffic_policy
    return service.external_traffic_policy
