"""Which formats a client reads and writes: here, JSON and nothing else.

kube-proxy asks for protobuf "or anything". Whoever asks for protobuf alone is refused,
as a server refuses it that has none: JSON would not be read there.
"""

from typing import Final

from tests.fakes.apiserver.status import not_acceptable, unsupported_media_type

JSON: Final = "application/json"
_READ: Final = frozenset({JSON, "application/*", "*/*"})


def check_accept(header: str) -> None:
    """Let pass who reads JSON.

    Args:
        header: `Accept`; empty for anything.

    Raises:
        Refusal: 406.
    Source: k8s.io/apiserver `pkg/endpoints/handlers/negotiation`.
    """
    clauses = [clause.split(";") for clause in header.split(",") if clause.strip()]
    if clauses and not any(_is_json(*map(str.strip, words)) for words in clauses):
        raise not_acceptable((JSON,))


def check_body(header: str) -> None:
    """Let pass what is JSON.

    Args:
        header: `Content-Type`; servers take empty for JSON.

    Raises:
        Refusal: 415.
    """
    if header.partition(";")[0].strip() not in {"", JSON}:
        raise unsupported_media_type((JSON,))


def _is_json(media_type: str, *parameters: str) -> bool:
    # Tables and lists of metadata alone are asked for by `as`: other objects.
    is_other = any(parameter.startswith("as=") for parameter in parameters)
    return media_type in _READ and not is_other
