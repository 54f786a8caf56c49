"""Refusals in the API server's words.

Source: responses of kube-apiserver 1.36 (tests/golden/apiserver-1.36), and for what is
not recorded there, k8s.io/apimachinery `pkg/api/errors` and `pkg/apis/meta/v1`.
"""

from typing import Any

from tests.fakes.apiserver.kinds import Resource, Target

Raw = dict[str, Any]


class Refusal(Exception):
    """A request is answered with a Status.

    Attributes:
        code: of HTTP.
        body: the Status.
        headers: besides those of every answer.
    """

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        details: Raw | None = None,
        metadata: Raw | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.headers = headers or {}
        self.body = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": metadata or {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            **({} if details is None else {"details": details}),
            "code": code,
        }


def bad_request(message: str) -> Refusal:
    """The request makes no sense."""
    return Refusal(400, "BadRequest", message)


def unauthorized() -> Refusal:
    """Whoever asks could not be made out."""
    return Refusal(401, "Unauthorized", "Unauthorized")


def forbidden(user: str, verb: str, target: Target) -> Refusal:
    """The user may not do that."""
    resource = target.resource
    scope = (
        "at the cluster scope"
        if target.namespace is None
        else f'in the namespace "{target.namespace}"'
    )
    one = f'"{target.name}" ' if target.name else ""
    message = (
        f'{resource.qualified} {one}is forbidden: User "{user}" cannot {verb} resource '
        f'"{resource.plural}" in API group "{resource.group}" {scope}'
    )
    return Refusal(
        403,
        "Forbidden",
        message,
        details=_details(resource, target.name, resource.plural),
        headers={"X-Content-Type-Options": "nosniff"},
    )


def no_such_path() -> Refusal:
    """Nothing is served there."""
    message = "the server could not find the requested resource"
    return Refusal(404, "NotFound", message, details={})


def not_found(resource: Resource, name: str) -> Refusal:
    """There is no such object."""
    details = _details(resource, name, resource.plural)
    message = f'{resource.qualified} "{name}" not found'
    return Refusal(404, "NotFound", message, details=details)


def already_exists(resource: Resource, name: str) -> Refusal:
    """There is such an object."""
    details = _details(resource, name, resource.plural)
    message = f'{resource.qualified} "{name}" already exists'
    return Refusal(409, "AlreadyExists", message, details=details)


def conflict(resource: Resource, name: str) -> Refusal:
    """Someone else changed the object since it was read."""
    details = _details(resource, name, resource.plural)
    message = (
        f'Operation cannot be fulfilled on {resource.qualified} "{name}": the object '
        "has been modified; please apply your changes to the latest version and try "
        "again"
    )
    return Refusal(409, "Conflict", message, details=details)


def expired_continue(fresh_token: str) -> Refusal:
    """The state that a continue token belongs to is forgotten."""
    message = (
        "The provided continue parameter is too old to display a consistent list "
        "result. You can start a new list without the continue parameter, or use the "
        "continue token in this response to retrieve the remainder of the results. "
        "Continuing with the provided token results in an inconsistent list - objects "
        "that were created, modified, or deleted between the time the first chunk was "
        "returned and now may show up in the list."
    )
    return Refusal(410, "Expired", message, metadata={"continue": fresh_token})


def expired_list() -> Refusal:
    """The state at exactly that resource version is forgotten."""
    message = "The resourceVersion for the provided list is too old."
    return Refusal(410, "Expired", message)


def expired_watch(since: int, oldest: int) -> Refusal:
    """The changes since that resource version are forgotten."""
    return Refusal(410, "Expired", f"too old resource version: {since} ({oldest})")


def too_large(asked: int, current: int) -> Refusal:
    """That resource version is still to come."""
    details = {
        "causes": [
            {
                "reason": "ResourceVersionTooLarge",
                "message": "Too large resource version",
            }
        ],
        "retryAfterSeconds": 1,
    }
    message = f"Too large resource version: {asked}, current: {current}"
    headers = {"Retry-After": "1"}
    return Refusal(504, "Timeout", message, details=details, headers=headers)


def not_acceptable(offered: tuple[str, ...]) -> Refusal:
    """None of the formats that the client reads is written here."""
    message = f"only the following media types are accepted: {', '.join(offered)}"
    return Refusal(406, "NotAcceptable", message)


def unsupported_media_type(accepted: tuple[str, ...]) -> Refusal:
    """A body in a format that is not read."""
    message = (
        "the body of the request was in an unknown format - accepted media types "
        f"include: {', '.join(accepted)}"
    )
    return Refusal(415, "UnsupportedMediaType", message)


def invalid(kind: str, group: str, name: str, causes: list[Raw]) -> Refusal:
    """Fields have values that they may not have.

    Args:
        kind: of the object.
        group: of the API the object belongs to.
        name: of the object.
        causes: `reason`, `message` and `field` of each.
    """
    told = [f"{cause['field']}: {cause['message']}" for cause in causes]
    problems = told[0] if len(told) == 1 else f"[{', '.join(told)}]"
    qualified = f"{kind}.{group}" if group else kind
    found = {"name": name, "group": group, "kind": kind}
    details: Raw = {key: value for key, value in found.items() if value}
    return Refusal(
        422,
        "Invalid",
        f'{qualified} "{name}" is invalid: {problems}',
        details={**details, "causes": causes},
    )


def invalid_options(causes: list[tuple[str, str]]) -> Refusal:
    """Query parameters that exclude each other.

    Args:
        causes: field and why it is forbidden.
    """
    told: list[Raw] = [
        {
            "reason": "FieldValueForbidden",
            "message": f"Forbidden: {why}",
            "field": field,
        }
        for field, why in causes
    ]
    return invalid("ListOptions", "meta.k8s.io", "", told)


def _details(resource: Resource, name: str | None, kind: str) -> Raw:
    found = {"name": name, "group": resource.group, "kind": kind}
    return {key: value for key, value in found.items() if value}
