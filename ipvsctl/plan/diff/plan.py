"""What must change: the difference of two states, as ops in a safe order."""

from collections.abc import Generator
from collections.abc import Set as AbstractSet
from typing import Final

import msgspec

from ipvsctl.model.net import IPFamily
from ipvsctl.model.parts import RULES, Part
from ipvsctl.model.state import NodeState, Observed
from ipvsctl.model.steps import finish, parts
from ipvsctl.plan.diff.hold import Hold, Known, with_held
from ipvsctl.plan.diff.ops import (
    ChangeRules,
    DeleteVipLink,
    DeleteVirtualServer,
    EnsureVipLink,
    MakeTunnelEnd,
    Plan,
    RaiseVipLink,
    RemoveTunnelEnd,
    SetSysctl,
    SetTimeouts,
)
from ipvsctl.plan.diff.plan_builder import PlanBuilder
from ipvsctl.plan.diff.presumed import presumed
from ipvsctl.plan.diff.ramp import with_ramps
from ipvsctl.plan.diff.rules import plan_rules
from ipvsctl.plan.diff.servers import (
    DiffOptions,
    Drain,
    diff_virtual_server,
    drains,
    without_moved,
)
from ipvsctl.plan.diff.sets import NOTHING, add_entries, diff_sets, remove_entries
from ipvsctl.plan.diff.stages import Stage
from ipvsctl.plan.diff.stale_flows import beside, plan_stale_flows
from ipvsctl.plan.diff.vips import plan_vips
from ipvsctl.plan.union.node import is_enough
from ipvsctl.plan.union.ownership import OwningEntries, owned_keys

# What else a caller needs to state its wishes and to understand a plan.
__all__ = [
    "DiffOptions",
    "Drain",
    "Hold",
    "Known",
    "Stage",
    "diff",
    "diff_in_steps",
    "diff_vips",
    "drains",
    "owned_keys",
    "with_held",
]

STEP_KEYS: Final = 250
"""Virtual servers that are compared in one step: a few milliseconds."""


def diff(observed: Observed, desired: NodeState, options: DiffOptions) -> Plan:
    """The ops that turn the observed state into the desired one.

    Both states may be restricted to the same keys. Real servers that are to drain
    stay at weight 0 for as long as they have connections, so only a later plan makes
    the states equal; nor does one that holds something. Foreign virtual servers are
    left alone, and so is what could not be read (see `presumed`).

    Returns:
        Ops in the order of `Stage`; empty if nothing is to change.
    """
    return finish(diff_in_steps(observed, desired, options))


def diff_in_steps(
    observed: Observed, desired: NodeState, options: DiffOptions
) -> Generator[None, None, Plan]:
    """See `diff`; between two steps the desired state may change.

    What changes meanwhile may be in the plan as it was or as it is.
    """
    plan = PlanBuilder(options.urgent)
    blind = observed.blind
    observed = presumed(observed, desired)
    # What is only held is as it is: nothing to compare.
    keys = tuple(desired.virtual_servers)
    observed = without_moved(plan, observed, desired, options)
    desired = _for_now(observed, desired, options)
    state = observed.state
    _diff_settings(plan, state, desired)
    if desired.vip_link_up and not state.vip_link_up:
        make = RaiseVipLink if observed.vip_link_down else EnsureVipLink
        plan.add(make(options.vip_link))
    _diff_tunnel_ends(plan, state, desired, blind)
    holds = diff_sets(plan, state, desired)
    _diff_rules(plan, state, desired)
    inside = beside(options.short_circuits, desired)
    whole = _whole(desired, options)
    for key in tuple(desired.entries):
        yield
        add_entries(plan, key, holds.get(key, NOTHING), desired)
    for key, held in holds.items():
        yield
        remove_entries(plan, key, held, desired)
    for some in parts(keys, STEP_KEYS):
        yield
        for server in some:
            if server in desired.virtual_servers:
                diff_virtual_server(plan, server, observed, desired, options)
        for op in plan_stale_flows(observed, whole, inside, some):
            plan.add(op)
    yield
    _remove_virtual_servers(plan, observed, desired, options)
    yield
    has_addresses = state.addresses == desired.addresses
    yield
    if not (has_addresses and _has_routes(state, desired)):
        diff_vips(plan, state, desired, options)
    return plan.build()


def _for_now(observed: Observed, desired: NodeState, options: DiffOptions) -> NodeState:
    """What is desired until real servers have their weight, and the input is whole."""
    if options.ramps is not None:
        desired = with_ramps(observed, desired, options.ramps, options.whole.keys())
    if options.hold is not None:
        desired = with_held(observed, desired, options.hold, options.foreign)
    return desired


def _whole(desired: NodeState, options: DiffOptions) -> NodeState:
    """What is desired, with all real servers: a flow may lead to any of them."""
    if not options.whole:
        return desired
    every = {**desired.real_servers, **options.whole}
    return msgspec.structs.replace(desired, real_servers=every)


def _has_routes(state: NodeState, desired: NodeState) -> bool:
    return (
        state.routes == desired.routes
        and not state.stand_ins
        and state.vip_link_up == desired.vip_link_up
    )


def _remove_virtual_servers(
    plan: PlanBuilder, observed: Observed, desired: NodeState, options: DiffOptions
) -> None:
    surplus = [
        key
        for key in observed.state.virtual_servers
        if key not in desired.virtual_servers and not options.excludes(key)
    ]
    if not surplus:
        return
    owning = OwningEntries(observed.state, observed.host_addresses)
    for key in surplus:
        if key in owning:
            plan.add(DeleteVirtualServer(key))


def _diff_settings(plan: PlanBuilder, observed: NodeState, desired: NodeState) -> None:
    # In most changes they are the same values.
    if observed.sysctls != desired.sysctls:
        for name, value in desired.sysctls.items():
            if not is_enough(name, observed.sysctls.get(name), value):
                plan.add(SetSysctl(name, value))
    if observed.timeouts == desired.timeouts:
        return
    known = msgspec.structs.astuple(observed.timeouts)
    wanted = msgspec.structs.astuple(desired.timeouts)
    # 0 is no wish.
    if any(new not in {0, old} for old, new in zip(known, wanted, strict=True)):
        plan.add(SetTimeouts(desired.timeouts))


def _diff_tunnel_ends(
    plan: PlanBuilder,
    observed: NodeState,
    desired: NodeState,
    blind: AbstractSet[Part],
) -> None:
    """Plan the ends of tunnels; none is made while nothing is known of its rules."""
    if not (observed.tunnel_ends or desired.tunnel_ends):
        return
    for family in IPFamily:
        held = observed.tunnel_ends.get(family)
        wanted = desired.tunnel_ends.get(family)
        if wanted is not None and held != wanted:
            if RULES[family] not in blind:
                plan.add(MakeTunnelEnd(wanted))
        elif wanted is None and held is not None:
            plan.add(RemoveTunnelEnd(held))


def _diff_rules(plan: PlanBuilder, observed: NodeState, desired: NodeState) -> None:
    if not (observed.chains or desired.chains):
        # A change has none.
        return
    for family in IPFamily:
        wanted = desired.chains.get(family, {})
        change = plan_rules(family, observed.chains.get(family, {}), wanted)
        if change is not None:
            if wanted:
                plan.add(ChangeRules(change))
            else:
                plan.place(Stage.REMOVE_RULES, ChangeRules(change))


def diff_vips(
    plan: PlanBuilder, state: NodeState, desired: NodeState, options: DiffOptions
) -> None:
    """Plan the steps from the observed addresses and routes to the desired ones."""
    steps = plan_vips(state, desired)
    for bind in steps.bind:
        plan.place(Stage.ADDRESSES, bind, bind.address)
    for route in steps.routes:
        plan.place(Stage.ROUTES, route, route.address)
    if state.vip_link_up and not desired.vip_link_up:
        # Its addresses and routes go with it, in one step.
        plan.add(DeleteVipLink(options.vip_link))
    else:
        for unbind in steps.unbind:
            plan.add(unbind)
        for unroute in steps.delete_routes:
            plan.add(unroute)
    for lost in steps.restore_routes:
        plan.place(Stage.RESTORE_ROUTES, lost)
    for stand_in in steps.delete_stand_ins:
        plan.place(Stage.REMOVE_STAND_INS, stand_in)
