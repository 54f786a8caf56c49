"""Who asks, and what they may do."""

from collections.abc import Mapping
from typing import Any

from tests.fakes.apiserver.kinds import Target
from tests.fakes.apiserver.status import forbidden, unauthorized

ANONYMOUS = "system:anonymous"


class Access:
    """Bearer tokens, client certificates, and verbs that are denied.

    Attributes:
        users: user by token; a token that is taken out is refused from then on.
        denied: (verb, plural) that nobody may.
    """

    def __init__(self, users: dict[str, str]) -> None:
        self.users = users
        self.denied: set[tuple[str, str]] = set()

    def user(self, headers: Mapping[str, str], certificate: Mapping[str, Any]) -> str:
        """Who asks.

        Args:
            headers: of the request.
            certificate: of the client, as `ssl` tells it, or empty.

        Raises:
            Refusal: 401, an unknown token.
        """
        for part in certificate.get("subject", ()):
            for key, value in part:
                if key == "commonName":
                    return str(value)
        kind, _, token = headers.get("Authorization", "").partition(" ")
        if not kind:
            return ANONYMOUS
        if kind.lower() != "bearer" or token not in self.users:
            raise unauthorized()
        return self.users[token]

    def check(self, user: str, verb: str, target: Target) -> None:
        """Let pass who may.

        Raises:
            Refusal: 403.
        """
        if user == ANONYMOUS or (verb, target.resource.plural) in self.denied:
            raise forbidden(user, verb, target)
