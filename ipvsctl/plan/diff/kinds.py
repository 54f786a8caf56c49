"""Words for what an op is about and what it does, for metrics, plans and the kernel."""

from enum import StrEnum


class ObjectKind(StrEnum):
    """The kind of kernel object an op changes; the value is a metric's label."""

    SYSCTL = "sysctl"
    TIMEOUTS = "timeouts"
    LINK = "link"
    TUNNEL = "tunnel"
    SET = "set"
    RULES = "rules"
    ENTRY = "entry"
    FIREWALL = "firewall"
    VIRTUAL_SERVER = "virtual_server"
    REAL_SERVER = "real_server"
    FLOWS = "flows"
    ADDRESS = "address"
    ROUTE = "route"


class Verb(StrEnum):
    """What an op does to what is there."""

    ADD = "add"
    CHANGE = "change"
    DELETE = "delete"
