"""The order that the ops of a plan run in."""

from collections import defaultdict
from collections.abc import Mapping
from enum import IntEnum, auto

from ipvsctl.model.net import IPAddress
from ipvsctl.plan.diff.ops import Op, Plan


class Stage(IntEnum):
    """The order ops run in; a process may die after any of them.

    First what all packets need, then what comes, urgent addresses (the API server's
    and DNS's own) before the rest, then what goes, in reverse.

    An entry is there before its virtual server and after it, because it says whose
    that is; and before rules are written that may be the first to refer to its set: on
    a node taken over from kube-proxy, node ports must not be without their masquerade
    rule for a moment. An address is bound last and unbound first, and so is a
    route: without its virtual server, it would make this node answer for a Service it
    cannot serve. Routes that the kernel takes away with the last address come back at
    once, and others stand in for them meanwhile. UDP flows end after their real server:
    before, they would only begin again. A virtual server whose mark another entry is to
    have goes first of all: it would be nobody's without its own entry, and inside
    clients have the virtual server of the address meanwhile.
    """

    SYSCTLS = auto()
    LINK = auto()
    MOVED_MARKS = auto()
    SETS = auto()
    ENTRIES = auto()
    RULES = auto()
    URGENT_VIRTUAL_SERVERS = auto()
    URGENT_REAL_SERVERS = auto()
    URGENT_ADDRESSES = auto()
    URGENT_ROUTES = auto()
    VIRTUAL_SERVERS = auto()
    REAL_SERVERS = auto()
    ADDRESSES = auto()
    ROUTES = auto()
    UNBIND_ADDRESSES = auto()
    REMOVE_ROUTES = auto()
    RESTORE_ROUTES = auto()
    REMOVE_STAND_INS = auto()
    REMOVE_REAL_SERVERS = auto()
    STALE_FLOWS = auto()
    REMOVE_VIRTUAL_SERVERS = auto()
    REMOVE_RULES = auto()
    REMOVE_ENTRIES = auto()
    REMOVE_SETS = auto()


class PlanBuilder:
    """Collects ops by stage."""

    _URGENT: Mapping[Stage, Stage] = {
        Stage.VIRTUAL_SERVERS: Stage.URGENT_VIRTUAL_SERVERS,
        Stage.REAL_SERVERS: Stage.URGENT_REAL_SERVERS,
        Stage.ADDRESSES: Stage.URGENT_ADDRESSES,
        Stage.ROUTES: Stage.URGENT_ROUTES,
    }

    def __init__(self, urgent: frozenset[IPAddress]) -> None:
        self._urgent_addresses = urgent
        self._ops: defaultdict[Stage, list[Op]] = defaultdict(list)

    def add(self, stage: Stage, op: Op, address: IPAddress | None = None) -> None:
        """Add an op behind those of its stage.

        Args:
            stage: of an op that is not urgent.
            op: the op.
            address: urgent or not, in a stage that has an urgent one.
        """
        if address in self._urgent_addresses:
            stage = self._URGENT[stage]
        self._ops[stage].append(op)

    def build(self) -> Plan:
        """The ops, in the order of stages."""
        return tuple(op for stage in Stage for op in self._ops.get(stage, ()))
