"""Whether a list that lacks many known objects is believed.

An API server may list nothing although all is there: its etcd was restored from
somewhere, the load balancer before it leads elsewhere, it serves an aggregated API
whose backend is gone. Taken at its word, every node would be empty a second later.
"""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Final

from ipvsctl.cluster.events import Deleted, Event, Invalid, Upserted
from ipvsctl.kube.resources import Resource
from ipvsctl.model.problem import ObjectRef

CONFIRM_S: Final = (40.0, 60.0)
"""Seconds after which a list that is in doubt is asked for again, by chance within: on
a new connection, so as a rule of another member behind the load balancer."""

LEAST_S: Final = 30.0
"""A list sooner after the first one confirms nothing."""

UNPROVEN_S: Final = 300.0
"""Seconds for which Services without default/kubernetes are in doubt. An API server
makes that one itself, when it starts and then every 10 s (controlplane/controller/
kubernetesservice), so there is no cluster without it, even an empty one."""

_KUBERNETES: Final = ObjectRef("default", "kubernetes")
_ITS_OWN: Final = frozenset({_KUBERNETES})


class Belief:
    """Judges the lists of one resource.

    A list is in doubt if it has nothing but what an API server makes itself, the very
    first one too, or if two objects or more, and half or more of those known before or
    since, are not in it any more. It is believed when another list, half a minute later
    or more, says the same.

    Args:
        resource: what is listed.
        clock: seconds on any steady clock.
    """

    def __init__(self, resource: Resource, clock: Callable[[], float]) -> None:
        self._resource = resource
        self._clock = clock
        self._known: set[ObjectRef] = set()
        self._is_first = True
        self._doubted_at_s: float | None = None

    @property
    def is_in_doubt(self) -> bool:
        """Whether the last list was not believed."""
        return self._doubted_at_s is not None

    def note(self, event: Event) -> None:
        """Take note of one object, that of a list or a change."""
        match event:
            case Upserted(ref=ref) | Invalid(ref=ref):
                self._known.add(ref)
            case Deleted(ref=ref):
                self._known.discard(ref)

    def judge(self, listed: AbstractSet[ObjectRef]) -> str:
        """Judge a complete list, whose objects were noted.

        Returns:
            Why it is not believed; "" if it is.
        """
        gone = self._known - listed
        if self._lacks_much(gone, listed) and not self._is_confirmed(listed):
            return self._reason(gone, listed)
        self._known -= gone
        self._is_first = False
        self._doubted_at_s = None
        return ""

    def _lacks_much(
        self, gone: AbstractSet[ObjectRef], listed: AbstractSet[ObjectRef]
    ) -> bool:
        if not self._resource.is_confirmed:
            return False
        if not listed - _ITS_OWN:
            return bool(gone) or self._is_first
        return len(gone) >= 2 and 2 * len(gone) >= len(self._known)

    def _is_confirmed(self, listed: AbstractSet[ObjectRef]) -> bool:
        now_s = self._clock()
        if self._doubted_at_s is None:
            self._doubted_at_s = now_s
        doubted_s = now_s - self._doubted_at_s
        is_proven = not self._resource.has_kubernetes or _KUBERNETES in listed
        return doubted_s >= (LEAST_S if is_proven else UNPROVEN_S)

    def _reason(
        self, gone: AbstractSet[ObjectRef], listed: AbstractSet[ObjectRef]
    ) -> str:
        plural = f"{self._resource.kind}s"
        found = f"lacks {len(gone)} of {len(self._known)} that were known"
        if not listed - _ITS_OWN:
            found = "is empty"
        if self._resource.has_kubernetes and _KUBERNETES not in listed:
            found += " and without default/kubernetes, which every API server has"
        return (
            f"the list of {plural} {found}: nothing is deleted until another list,"
            " in a minute, says the same"
        )
