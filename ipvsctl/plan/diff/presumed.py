"""Parts of the kernel that could not be read are presumed to be as they should be.

Then a plan has nothing about them, and is as right about the rest. One of the parts may
be what says whose things are; then nothing is known to be of no use, and what is there
without being desired is presumed not to be there: nobody takes it away.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

import msgspec

from ipvsctl.model.parts import EVIDENCE, RULES, Part
from ipvsctl.model.sets import SetCondition, SetEntry, SetKey, SetShape
from ipvsctl.model.state import NodeState, Observed


def presumed(observed: Observed, desired: NodeState) -> Observed:
    """What was read, and the rest as it is desired.

    Args:
        observed: with parts that were not read, or without.
        desired: what the answer may share, and then follows as it changes.
    """
    blind = observed.blind
    if not blind:
        return observed
    state = observed.state
    if blind & EVIDENCE:
        state = _without_surplus(state, desired)
    for part in blind:
        state = msgspec.structs.replace(state, **_as_desired(part, state, desired))
    flows = None if blind & {Part.CONNTRACK, Part.IPVS} else observed.flows
    return msgspec.structs.replace(observed, state=state, flows=flows)


def _as_desired(
    part: Part, state: NodeState, desired: NodeState
) -> Mapping[str, object]:
    """The attributes of a state that a part has read."""
    match part:
        case Part.RULES_IPV4 | Part.RULES_IPV6:
            family = next(family for family, rules in RULES.items() if rules is part)
            chains = desired.chains.get(family, {})
            return {"chains": {**state.chains, family: chains}}
        case Part.SETS:
            return {
                "sets": desired.sets,
                "entries": desired.entries,
                "leftovers": desired.leftovers,
                "former": desired.former,
            }
        case Part.NETWORK:
            return {
                "vip_link_up": desired.vip_link_up,
                "addresses": desired.addresses,
                "routes": desired.routes,
                "stand_ins": frozenset(),
                "tunnel_ends": desired.tunnel_ends,
            }
        case Part.IPVS:
            return {
                "timeouts": desired.timeouts,
                "virtual_servers": desired.virtual_servers,
                "real_servers": desired.real_servers,
            }
        case Part.SOCKETS | Part.CONNTRACK:
            return {}


def _without_surplus(state: NodeState, desired: NodeState) -> NodeState:
    """Nothing that is not desired, but the real servers of what is.

    A set that is not as it should be stays so, too: its entries may be what says whose
    a virtual server is, and building it anew would leave them out.
    """
    return msgspec.structs.replace(
        state,
        sets={
            key: _kept_shape(shape, desired.sets[key])
            for key, shape in state.sets.items()
            if key in desired.sets
        },
        entries=_kept_entries(state.entries, desired.entries),
        leftovers=state.leftovers & desired.leftovers,
        former=desired.former,
        virtual_servers=_kept(state.virtual_servers, desired.virtual_servers),
        addresses=state.addresses & desired.addresses,
        routes=_kept(state.routes, desired.routes),
        stand_ins=frozenset(),
    )


def _kept_shape(found: SetShape, wanted: SetShape) -> SetShape:
    # One of another kind has no entries that say anything.
    return found if found.condition is SetCondition.ALIEN else wanted


def _kept_entries(
    found: Mapping[SetKey, AbstractSet[SetEntry]],
    wanted: Mapping[SetKey, AbstractSet[SetEntry]],
) -> Mapping[SetKey, AbstractSet[SetEntry]]:
    return {
        key: entries & wanted[key] for key, entries in found.items() if key in wanted
    }


def _kept(found: Mapping[Any, Any], wanted: Mapping[Any, Any]) -> Mapping[Any, Any]:
    return {key: value for key, value in found.items() if key in wanted}
