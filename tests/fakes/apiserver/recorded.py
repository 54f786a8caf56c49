"""What the server remembers of each request."""

import msgspec


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """One request.

    Attributes:
        at_s: when, on the server's clock.
        user: who asked; empty when that could not be made out.
        verb: `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`.
        resource: the plural; empty for paths that are none.
        headers: with their names in lower case.
    """

    at_s: float
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    verb: str
    resource: str
    user: str = ""
