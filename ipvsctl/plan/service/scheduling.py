"""Which scheduler a Service's virtual servers have, and with which flags."""

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.ipvs import SCHEDULERS, ServiceFlags
from ipvsctl.model.objects import NodeContext, Service
from ipvsctl.model.problem import Kind, Problem
from ipvsctl.plan.service.wishes import (
    MAX_CONNECTIONS,
    SLOW_START,
    Wishes,
    read_wishes,
)

# Flags that keep a hashing scheduler from dropping packets: without fallback, `sh` and
# `mh` keep choosing a real server of weight 0 and drop the packet (ip_vs_sh.c,
# ip_vs_mh.c). The kernel has none for `dh`.
_FALLBACK: Final[Mapping[str, ServiceFlags]] = {
    "sh": ServiceFlags.SCHED1,
    "mh": ServiceFlags.SCHED1,
}

SOURCE_HASH: Final = ("sh", _FALLBACK["sh"])
"""A scheduler that sends a client to one real server for as long as they are the same;
every kernel with IPVS in the shape kube-proxy needs has it."""

# What else a scheduler has unless the Service says; `mh` hashes the port as well, as
# kube-proxy has it.
_USUAL: Final[Mapping[str, ServiceFlags]] = {"mh": ServiceFlags.SCHED2}

# ipvsadm(8); a word means something to one scheduler, a number what each makes of it.
_NUMBERED: Final[Mapping[str, ServiceFlags]] = {
    "flag-1": ServiceFlags.SCHED1,
    "flag-2": ServiceFlags.SCHED2,
    "flag-3": ServiceFlags.SCHED3,
}
_NAMED: Final[Mapping[str, Mapping[str, ServiceFlags]]] = {
    "sh": {"sh-fallback": ServiceFlags.SCHED1, "sh-port": ServiceFlags.SCHED2},
    "mh": {"mh-fallback": ServiceFlags.SCHED1, "mh-port": ServiceFlags.SCHED2},
}

# Those that look at weights, and for those that do not the one that is alike and does.
_WEIGHTED: Final = {"rr": "wrr", "lc": "wlc", "wrr": "wrr", "wlc": "wlc", "sed": "sed"}

# It keeps to the real server that it had for an address (ip_vs_lblc.c).
_UNLIMITED: Final = frozenset({"lblc"})

# Ours wins over the alias.
SCHEDULER_ANNOTATIONS: Final = (
    "ipvsctl.io/scheduler",
    "kube-router.io/service.scheduler",
)
FLAGS_ANNOTATIONS: Final = (
    "ipvsctl.io/scheduler-flags",
    "kube-router.io/service.schedflags",
)


class Scheduling(msgspec.Struct, frozen=True, kw_only=True):
    """How the virtual servers of a Service choose among their real servers.

    Attributes:
        wishes: what else it asks of them.
        problems: annotations that cannot be honoured.
    """

    scheduler: str
    flags: ServiceFlags
    wishes: Wishes
    problems: tuple[Problem, ...] = ()


def choose_scheduling(
    service: Service, node: NodeContext, config: ProxyConfig
) -> Scheduling:
    """The scheduler a Service asks for, else the configured one.

    A scheduler that does not exist, or that this kernel lacks, is a problem, and the
    configured one is used: another order of connections is better than none.
    """
    wishes = read_wishes(service, config)
    if config.is_kube_proxy:
        return Scheduling(
            scheduler=config.scheduler,
            flags=_flags(config.scheduler, None),
            wishes=wishes,
        )
    annotations = dict(service.annotations)
    problems: list[Problem] = []
    scheduler = config.scheduler
    name, wanted = _first(annotations, SCHEDULER_ANNOTATIONS)
    if wanted:
        reason = _why_not(wanted, node)
        if reason:
            said = f"{reason}; {scheduler} is used"
            problems.append(_problem(service, name, wanted, said))
        else:
            scheduler = wanted
    scheduler, wishes, slow = _slow_start(service, scheduler, wishes)
    problems += slow
    if wishes.max_connections and scheduler in _UNLIMITED:
        said = f"has no effect: {scheduler} looks at no limit"
        limit = str(wishes.max_connections)
        problems.append(_problem(service, MAX_CONNECTIONS, limit, said))
    name, text = _first(annotations, FLAGS_ANNOTATIONS)
    flags = None
    if text:
        flags = ServiceFlags.NONE
        known = {**_NUMBERED, **_NAMED.get(scheduler, {})}
        for word in _words(text):
            if word in known:
                flags |= known[word]
            else:
                said = f"not one of {', '.join(known)}, which {scheduler} knows"
                problems.append(_problem(service, name, word, said))
    return Scheduling(
        scheduler=scheduler,
        flags=_flags(scheduler, flags),
        wishes=wishes,
        problems=(*problems, *wishes.problems),
    )


def weighted(scheduler: str) -> str:
    """The scheduler that is alike and looks at weights; others stay as they are."""
    return _WEIGHTED.get(scheduler, scheduler)


def _slow_start(
    service: Service, scheduler: str, wishes: Wishes
) -> tuple[str, Wishes, tuple[Problem, ...]]:
    """The scheduler with which endpoints can start slowly, and whether they do."""
    if not wishes.slow_start_s:
        return scheduler, wishes, ()
    if scheduler in _WEIGHTED:
        return weighted(scheduler), wishes, ()
    known = ", ".join(_WEIGHTED)
    reason = f"has no effect with scheduler {scheduler}, only with {known}"
    told = _problem(service, SLOW_START, f"{wishes.slow_start_s:g}s", reason)
    return scheduler, msgspec.structs.replace(wishes, slow_start_s=0.0), (told,)


def _flags(scheduler: str, chosen: ServiceFlags | None) -> ServiceFlags:
    if chosen is None:
        chosen = _USUAL.get(scheduler, ServiceFlags.NONE)
    return chosen | _FALLBACK.get(scheduler, ServiceFlags.NONE)


def _why_not(scheduler: str, node: NodeContext) -> str:
    """Why a scheduler cannot be used; "" if it can."""
    if scheduler not in SCHEDULERS:
        return f"not one of {' '.join(sorted(SCHEDULERS))}"
    if scheduler not in node.schedulers:
        return f"this node's kernel has no module ip_vs_{scheduler}"
    return ""


def _first(annotations: Mapping[str, str], names: tuple[str, ...]) -> tuple[str, str]:
    """The first of these annotations that says something, with its text."""
    for name in names:
        text = annotations.get(name, "").strip()
        if text:
            return name, text
    return names[0], ""


def _words(text: str) -> Iterator[str]:
    return (word for word in map(str.strip, text.split(",")) if word)


def _problem(service: Service, annotation: str, value: str, reason: str) -> Problem:
    return Problem(
        kind=Kind.SERVICE,
        ref=service.ref,
        field=f"metadata.annotations.{annotation}",
        value=value,
        reason=reason,
    )
