"""Whole answers: headers, spelling and compression of a body."""

import gzip
import uuid

import msgspec
from aiohttp import web

from tests.fakes.apiserver.faults import Refuse
from tests.fakes.apiserver.status import Refusal

# Smaller bodies are never compressed, and large ones only lightly.
_GZIP_FROM_BYTES = 128 * 1024
_GZIP_LEVEL = 1

_FOR_READERS = ("curl", "Wget", "Mozilla/5.0")


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """An answer that is no stream."""

    code: int = 200
    body: bytes
    headers: dict[str, str] = {}
    content_type: str = "application/json"


def refused(refusal: Refusal) -> Reply:
    """A Status."""
    body = msgspec.json.encode(refusal.body)
    return Reply(code=refusal.code, body=body, headers=refusal.headers)


def failed(fault: Refuse) -> Reply:
    """An answer of a server that is not well."""
    later = fault.retry_after_s
    headers = {} if later is None else {"Retry-After": str(later)}
    if fault.code == 429:
        # Priority and fairness writes no Status.
        text = b"Too many requests, please try again later.\n"
        plain = "text/plain; charset=utf-8"
        return Reply(code=429, body=text, headers=headers, content_type=plain)
    reason, message = {
        500: ("InternalError", "Internal error occurred: etcdserver: no leader"),
        503: (
            "ServiceUnavailable",
            "the server is currently unable to handle the request",
        ),
    }.get(fault.code, ("", "an error on the server has prevented the request"))
    return refused(Refusal(fault.code, reason, message, headers=headers))


def spell(reply: Reply, request: web.BaseRequest) -> Reply:
    """The body as the client wants it: for people, or compressed."""
    body, headers = reply.body, dict(reply.headers)
    if reply.content_type == "application/json":
        body = msgspec.json.format(body) if _is_for_readers(request) else body + b"\n"
    accepted = request.headers.get("Accept-Encoding", "")
    if "gzip" in accepted and len(body) > _GZIP_FROM_BYTES:
        body = gzip.compress(body, compresslevel=_GZIP_LEVEL)
        headers["Content-Encoding"] = "gzip"
    return msgspec.structs.replace(reply, body=body, headers=headers)


def common_headers(*, is_known: bool) -> dict[str, str]:
    """The headers of every answer.

    Args:
        is_known: whether the server made out who asks.
    """
    fair = ("Flowschema", "Prioritylevel") if is_known else ()
    return {
        "Audit-Id": str(uuid.uuid4()),
        "Cache-Control": "no-cache, private",
        **{f"X-Kubernetes-Pf-{name}-Uid": str(uuid.uuid4()) for name in fair},
    }


def _is_for_readers(request: web.BaseRequest) -> bool:
    asked = request.query.get("pretty")
    if asked is not None:
        return asked in {"1", "true"}
    return request.headers.get("User-Agent", "").startswith(_FOR_READERS)
