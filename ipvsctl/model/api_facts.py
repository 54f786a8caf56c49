"""What an API server said when it was asked whether this node may be served from it."""

import msgspec


class ApiFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What was found.

    Attributes:
        description: which server.
        error: why it does not answer, a clause; "" if it does.
        refused: what this node may not read, and the server's reason, a line each.
        has_node: this node's Node is there; None if that was not found out.
        skew_s: how far this host's clock is ahead of the server's, in seconds, which
            the server tells in whole ones; None if it did not.
    """

    description: str
    error: str = ""
    refused: tuple[str, ...] = ()
    has_node: bool | None = None
    skew_s: float | None = None
