"""What a status is made from."""

from collections.abc import Mapping

import msgspec

from ipvsctl.cluster.taken import Objects
from ipvsctl.model.objects import NodeContext
from ipvsctl.model.problem import Problem
from ipvsctl.model.relay import ListenerStates
from ipvsctl.model.state import EMPTY, Observed
from ipvsctl.model.status import Summary
from ipvsctl.plan.diff.plan import Drain
from ipvsctl.plan.diff.words import FirewallWords
from ipvsctl.plan.union.frozen import FrozenDesired


class StatusInputs(msgspec.Struct, frozen=True, kw_only=True):
    """The values a status is made from.

    Attributes:
        desired: compiled from `objects`.
        observed: the complete kernel state.
        context: what is known of this node.
        words: what operators call the things of the firewall.
        drain_ages_s: drain -> for how long it has been seen.
        problems: of all objects.
        listeners: the daemon's on localhost; None without a daemon.
    """

    summary: Summary
    desired: FrozenDesired
    observed: Observed
    objects: Objects
    context: NodeContext
    words: FirewallWords
    drain_ages_s: Mapping[Drain, float] = EMPTY
    problems: tuple[Problem, ...] = ()
    listeners: ListenerStates | None = None
