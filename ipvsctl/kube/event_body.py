"""Problems as Events of `events.k8s.io/v1`, which `kubectl describe` shows."""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from ipvsctl.model.problem import Kind, ObjectRef, Problem

CONTROLLER: Final = "ipvsctl"

NOTE_MAX_BYTES: Final = 1024
"""apis/events/validation/validation.go:NoteLengthLimit."""

_NAME_MAX: Final = 253
_INSTANCE_MAX: Final = 128

API_VERSIONS: Mapping[Kind, str] = MappingProxyType(
    {
        Kind.SERVICE: "v1",
        Kind.ENDPOINT_SLICE: "discovery.k8s.io/v1",
        Kind.NODE: "v1",
    }
)
"""The kinds that Events are told about."""

# The beginning of the field that has the problem, and the reason it stands for; the
# first that fits. kube-proxy's own word where it has one (service_health.go).
_REASONS: Final = (
    ("spec.healthCheckNodePort", "FailedToStartServiceHealthcheck"),
    ("spec.clusterIP", "VIPRefused"),
    ("spec.externalIPs", "VIPRefused"),
    ("status.loadBalancer", "VIPRefused"),
    ("spec.ports", "PortRefused"),
    ("metadata.annotations", "AnnotationNotHonoured"),
)
_SCHEDULER: Final = "SchedulerNotAvailable"
_OTHER: Final = "FieldNotHonoured"


def reason_of(problem: Problem) -> str:
    """A word for the kind of problem, in CamelCase."""
    if problem.field.startswith("metadata.annotations") and problem.field.endswith(
        "scheduler"
    ):
        return _SCHEDULER
    return next(
        (word for field, word in _REASONS if problem.field.startswith(field)), _OTHER
    )


def event_of(
    problem: Problem, *, uid: str, node_name: str, unique: str, now: datetime
) -> dict[str, Any]:
    """The Event that tells of a problem.

    Args:
        problem: of one of the kinds in `API_VERSIONS`.
        uid: of the object; `kubectl describe` looks for it.
        node_name: of this node.
        unique: makes the Event's name its own, lower case letters and digits.
        now: in UTC.
    """
    regarding = {
        "apiVersion": API_VERSIONS[problem.kind],
        "kind": problem.kind.value,
        "name": problem.ref.name,
        "uid": uid,
    }
    if problem.ref.namespace:
        regarding["namespace"] = problem.ref.namespace
    tail = f".{unique}"
    said = (problem.field, problem.value, problem.reason)
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {
            "name": problem.ref.name[: _NAME_MAX - len(tail)].rstrip(".-") + tail,
            "namespace": event_namespace(problem.ref),
        },
        "eventTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "reportingController": CONTROLLER,
        "reportingInstance": node_name[:_INSTANCE_MAX],
        "action": "Proxy",
        "reason": reason_of(problem),
        "regarding": regarding,
        "note": _cut(f"node {node_name}: " + ": ".join(filter(None, said))),
        "type": "Warning",
    }


def event_namespace(ref: ObjectRef) -> str:
    """Where an object's Events are; those of a Node are in `default`."""
    return ref.namespace or "default"


def _cut(text: str) -> str:
    raw = text.encode()
    if len(raw) <= NOTE_MAX_BYTES:
        return text
    return raw[: NOTE_MAX_BYTES - 3].decode(errors="ignore") + "..."
