"""Sets and entries as `ipset save` prints them.

What a kernel chooses itself (hash sizes, bucket sizes) is left out.
"""

from ipvsctl.model.net import IPFamily
from ipvsctl.model.state import NodeState
from ipvsctl.wire.ipset.sets import SetSpec, set_name, set_spec


def render_ipset(state: NodeState) -> list[str]:
    """Sets and entries as `ipset save` prints them, `create` lines first, sorted."""
    creates = sorted(
        _create(set_spec(key, shape.room)) for key, shape in state.sets.items()
    )
    adds = sorted(
        f"add {set_name(key)} {entry}"
        for key, entries in state.entries.items()
        for entry in entries
    )
    return creates + adds


def _create(spec: SetSpec) -> str:
    if spec.family is None:
        return f"create {spec.name} {spec.type} range 0-65535"
    family = "inet" if spec.family is IPFamily.IPV4 else "inet6"
    text = f"create {spec.name} {spec.type} family {family} maxelem {spec.maxelem}"
    return f"{text} skbinfo" if spec.skbinfo else text
