"""The query parameters of lists and watches."""

from collections.abc import Callable, Mapping

import msgspec

from tests.fakes.apiserver.entries import Entry
from tests.fakes.apiserver.kinds import Target
from tests.fakes.apiserver.selection import Matches, selector
from tests.fakes.apiserver.status import bad_request, invalid_options

_NOT_OLDER = "NotOlderThan"
_EXACT = "Exact"
_TRUE = {"true", "1", ""}

Forbid = Callable[[str, str], None]


class ListOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a list or watch asks for; texts are empty and numbers None when not given.

    Attributes:
        revision: `resourceVersion` as given.
        match: `resourceVersionMatch`.
        is_streamed: `sendInitialEvents`, None when not given.
        has_bookmarks: `allowWatchBookmarks`.
    """

    labels: str = ""
    fields: str = ""
    limit: int = 0
    continue_token: str = ""
    revision: str = ""
    match: str = ""
    is_watch: bool = False
    is_streamed: bool | None = None
    has_bookmarks: bool = False
    timeout_s: int | None = None

    def since(self) -> int:
        """`resourceVersion` as a number; 0 when not given."""
        return int(self.revision or 0)

    def matches(self, target: Target) -> Matches:
        """Whether an object is asked for, by name, namespace and selectors."""
        selected = selector(target.resource, self.labels, self.fields)
        namespace, name = target.namespace, target.name

        def wanted(entry: Entry) -> bool:
            is_here = namespace in {None, entry.namespace}
            return is_here and name in {None, entry.name} and selected(entry)

        return wanted


def parse_options(
    query: Mapping[str, str], *, is_streaming_known: bool = True
) -> ListOptions:
    """Read the query parameters; unknown ones are ignored, as servers do.

    Args:
        query: what follows the question mark.
        is_streaming_known: whether `sendInitialEvents` is one of the known ones.

    Raises:
        Refusal: 400, a value of the wrong type.
    """
    streamed = query.get("sendInitialEvents") if is_streaming_known else None
    match = query.get("resourceVersionMatch", "")
    timeout = _number(query, "timeoutSeconds")
    _number(query, "resourceVersion")
    is_watch = "watch" in query and query["watch"] in _TRUE
    return ListOptions(
        labels=query.get("labelSelector", ""),
        fields=query.get("fieldSelector", ""),
        limit=_number(query, "limit") or 0,
        continue_token=query.get("continue", ""),
        revision=query.get("resourceVersion", ""),
        match=match,
        is_watch=is_watch,
        is_streamed=None if streamed is None else streamed in _TRUE,
        has_bookmarks=query.get("allowWatchBookmarks", "false") in _TRUE,
        timeout_s=timeout or None,
    )


def check_options(options: ListOptions, *, is_streaming_on: bool) -> None:
    """Refuse parameters that do not go together.

    Args:
        options: what was asked.
        is_streaming_on: whether the feature gate WatchList is.

    Raises:
        Refusal: 422.
    Source: k8s.io/apimachinery `pkg/apis/meta/internalversion/validation`.
    """
    causes: list[tuple[str, str]] = []

    def forbid(field: str, why: str) -> None:
        causes.append((field, why))

    if options.is_watch:
        _check_watch(options, forbid, is_streaming_on=is_streaming_on)
    else:
        _check_list(options, forbid)
    if causes:
        raise invalid_options(causes)


def _check_watch(
    options: ListOptions, forbid: Forbid, *, is_streaming_on: bool
) -> None:
    match = "resourceVersionMatch"
    if options.is_streamed is not None:
        if options.match != _NOT_OLDER:
            forbid(
                match,
                f"sendInitialEvents requires setting resourceVersionMatch to "
                f"{_NOT_OLDER}",
            )
        if not is_streaming_on:
            forbid(
                "sendInitialEvents",
                "sendInitialEvents is forbidden for watch unless the WatchList feature "
                "gate is enabled",
            )
    elif options.match:
        forbid(
            match,
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is "
            "provided",
        )


def _check_list(options: ListOptions, forbid: Forbid) -> None:
    match = "resourceVersionMatch"
    if options.match:
        if not options.revision:
            why = "resourceVersionMatch is forbidden unless resourceVersion is provided"
            forbid(match, why)
        if options.continue_token:
            why = "resourceVersionMatch is forbidden when continue is provided"
            forbid(match, why)
        if options.match == _EXACT and options.revision == "0":
            forbid(
                match,
                'resourceVersionMatch "exact" is forbidden for resourceVersion "0"',
            )
    if options.is_streamed is not None:
        forbid("sendInitialEvents", "sendInitialEvents is forbidden for list")


def _number(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name, "")
    if text and not text.isdecimal():
        raise bad_request(
            f'strconv.ParseInt: parsing "{text}": invalid syntax, in parameter {name}'
        )
    return int(text) if text else None
