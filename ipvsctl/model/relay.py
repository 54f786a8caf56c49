"""What the relay of node ports on localhost does at one moment."""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from ipvsctl.model.config import Listener
from ipvsctl.model.ipvs import RealServerKey


class Refusal(StrEnum):
    """Why a client on localhost was refused."""

    LIMIT = "limit"
    """There are as many connections as there may be, of all Services or of this one."""
    FULL = "full"
    """Each endpoint has as many connections as it may have (`maxConnections`)."""
    UNREACHABLE = "unreachable"
    """No endpoint took the connection."""


class ListenerState(msgspec.Struct, frozen=True, kw_only=True):
    """One listener.

    Attributes:
        refused: why it does not listen although it should; "" if it does.
        connections: to each endpoint that has any, those that have gone included.
    """

    refused: str = ""
    connections: Mapping[RealServerKey, int] = {}


ListenerStates = Mapping[Listener, ListenerState]
"""Every listener that there is to be, as it is now."""


class RelayFigures(msgspec.Struct, frozen=True, kw_only=True):
    """How much has been relayed since the start.

    Attributes:
        connections: open now.
        relayed: connections that an endpoint took.
        refused: connections that were refused.
        bytes_in: from clients.
        bytes_out: to clients.
    """

    connections: int = 0
    relayed: int = 0
    refused: Mapping[Refusal, int] = {}
    bytes_in: int = 0
    bytes_out: int = 0
