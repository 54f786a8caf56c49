"""The order that the ops of a plan run in."""

from enum import IntEnum, auto


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
    before, they would only begin again. A virtual server whose fwmark is reassigned is
    deleted first: without its entry it would look foreign. Inside clients have the
    virtual server of the address meanwhile; one of their own would refuse them while it
    is empty, so its real servers follow at once. The end of tunnels comes after the
    rules that say who may use it, and goes before them. Another firewall goes last,
    when the one in use has all that it had, and says whose everything is.
    """

    SYSCTLS = auto()
    LINK = auto()
    MOVED_MARKS = auto()
    SETS = auto()
    ENTRIES = auto()
    RULES = auto()
    TUNNEL = auto()
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
    REMOVE_TUNNEL = auto()
    REMOVE_RULES = auto()
    REMOVE_ENTRIES = auto()
    REMOVE_SETS = auto()
    REMOVE_FORMER = auto()
