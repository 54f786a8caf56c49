"""Continue tokens: where a paged list goes on, and at which resource version."""

import base64
import re

import msgspec

from tests.fakes.apiserver.status import bad_request

_VERSION = "meta.k8s.io/v1"
_ILLEGAL = re.compile(r"[^A-Za-z0-9_-]")


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """The rest of a list.

    Attributes:
        revision: of the state that is listed; -1 for the state as it is by then.
        start: the first key that may be in it.
    """

    revision: int = msgspec.field(name="rv")
    start: str


class _Body(msgspec.Struct, frozen=True):
    v: str
    rv: int
    start: str


def encode_token(token: Token, *, is_rooted: bool = True) -> str:
    """The token as clients see it.

    Args:
        token: what it says.
        is_rooted: begin the key with a slash: pages served from the server's cache do,
            those from its storage do not.
    """
    slash = "/" if is_rooted else ""
    start = slash + token.start
    text = msgspec.json.encode(_Body(_VERSION, token.revision, start))
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def decode_token(text: str) -> Token:
    """What a token says.

    Raises:
        Refusal: 400, it is none.
    """
    wrong = _ILLEGAL.search(text)
    at = wrong.start() if wrong else len(text) - 1 if len(text) % 4 == 1 else None
    if at is not None:
        raise bad_request(
            "invalid continue token: continue key is not valid: illegal base64 data at "
            f"input byte {at}"
        )
    try:
        padded = text + "=" * (-len(text) % 4)
        body = msgspec.json.decode(base64.urlsafe_b64decode(padded), type=_Body)
    except (ValueError, msgspec.DecodeError) as error:
        raise bad_request(
            f"invalid continue token: continue key is not valid: {error}"
        ) from error
    if body.v != _VERSION or body.rv == 0:
        raise bad_request(
            "invalid continue token: continue key is not valid: incorrect encoded "
            "start resourceVersion (version meta.k8s.io/v1)"
        )
    return Token(revision=body.rv, start=body.start.removeprefix("/"))
