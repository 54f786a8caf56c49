"""Lists: whole, in pages, and as they were."""

from collections.abc import Callable

import msgspec

from tests.fakes.apiserver.entries import Entry, type_prefix
from tests.fakes.apiserver.kinds import Target
from tests.fakes.apiserver.options import ListOptions
from tests.fakes.apiserver.status import (
    bad_request,
    expired_continue,
    expired_list,
    too_large,
)
from tests.fakes.apiserver.store import Store
from tests.fakes.apiserver.tokens import Token, decode_token, encode_token

Shown = Callable[[Entry], bytes]


class _Page(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a list.

    Attributes:
        revision: of the list.
        entries: all that match from where the page begins.
        limit: how many of them it may hold; 0 for all.
    """

    revision: int
    entries: list[Entry]
    limit: int


def list_body(
    store: Store, target: Target, options: ListOptions, shown: Shown
) -> bytes:
    """The objects asked for, as JSON.

    Args:
        store: where they are.
        target: which resource, and namespace.
        options: checked already.
        shown: the bytes of one item.

    Raises:
        Refusal: 400, 410, 504.
    """
    page = _page(store, target, options)
    kept = page.entries[: page.limit] if page.limit else page.entries
    left = len(page.entries) - len(kept)
    metadata: dict[str, object] = {"resourceVersion": str(page.revision)}
    if left:
        token = Token(revision=page.revision, start=kept[-1].key + "\0")
        metadata["continue"] = encode_token(token)
        if not options.labels and not options.fields:
            metadata["remainingItemCount"] = left
    return b'%b,"metadata":%b,"items":[%b]}' % (
        type_prefix(target.resource, "List"),
        msgspec.json.encode(metadata),
        b",".join(map(shown, kept)),
    )


def expire_token(text: str) -> Exception:
    """The refusal of a token whose state is forgotten, with one for the state now."""
    start = decode_token(text).start
    return expired_continue(
        encode_token(Token(revision=-1, start=start), is_rooted=False)
    )


def _page(store: Store, target: Target, options: ListOptions) -> _Page:
    if options.continue_token:
        return _next_page(store, target, options)
    asked, revision = options.since(), store.revision
    if asked > revision:
        raise too_large(asked, revision)
    shelf = store.shelf(target.resource)
    limit = options.limit
    if options.match == "Exact":
        revision = asked
        found = shelf.entries_at(revision)
        if found is None:
            raise expired_list()
    else:
        found = shelf.entries()
        # From the cache, which ignores the limit.
        limit = 0 if options.revision == "0" else limit
    matches = options.matches(target)
    return _Page(
        revision=revision, entries=[e for e in found if matches(e)], limit=limit
    )


def _next_page(store: Store, target: Target, options: ListOptions) -> _Page:
    token = decode_token(options.continue_token)
    if options.revision not in {"", "0"}:
        raise bad_request(
            "specifying resource version is not allowed when using continue"
        )
    revision = store.revision if token.revision < 0 else token.revision
    found = store.shelf(target.resource).entries_at(revision)
    if found is None:
        raise expire_token(options.continue_token)
    matches = options.matches(target)
    return _Page(
        revision=revision,
        entries=[e for e in found if e.key >= token.start and matches(e)],
        limit=options.limit,
    )
