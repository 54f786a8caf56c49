"""Two Services that want 20,000 virtual servers each, the same ones, and all others.

Each is an object of some 32 KB: 1,000 ports, 20 external IPs. They come, one endpoint
of theirs changes, and they go, while endpoints of other Services change all the time
and `/livez` is asked from another process.
"""

from ipvsctl.cluster.events import Deleted
from ipvsctl.cluster.objects.parse import parse_object
from ipvsctl.model.problem import Kind, ObjectRef
from tests import builders
from tests.bench.others import at_once, measure_others
from tests.bench.sizes import Figures, Size

PORTS = 1000
ADDRESSES = 20
ENDPOINTS = 3
NAMES = ("mallory-a", "mallory-b")


def raw_pair(number: int) -> bytes:
    """One of the two Services."""
    ports = [
        {"name": f"p{port}", "port": port, "targetPort": port}
        for port in range(1000, 1000 + PORTS)
    ]
    return builders.to_json(
        builders.raw_service(
            NAMES[number],
            namespace="mallory",
            clusterIP=f"10.111.0.{number + 1}",
            externalIPs=[f"203.0.113.{place + 1}" for place in range(ADDRESSES)],
            ports=ports,
        )
    )


def raw_pair_slice(number: int, endpoints: int = ENDPOINTS) -> bytes:
    """Its endpoints, each with all ports."""
    found = [
        builders.raw_endpoint(f"10.120.{number}.{place + 1}", nodeName="node-1")
        for place in range(endpoints)
    ]
    ports = [
        {"name": f"p{port}", "port": port, "protocol": "TCP"}
        for port in range(1000, 1000 + PORTS)
    ]
    return builders.to_json(
        builders.raw_slice(
            f"{NAMES[number]}-abcde",
            *found,
            service=NAMES[number],
            namespace="mallory",
            ports=ports,
        )
    )


def measure(size: Size, seconds: float) -> Figures:
    """Latencies in seconds."""
    gone = [
        Deleted(kind=kind, ref=ObjectRef("mallory", f"{name}{suffix}"))
        for name in NAMES
        for kind, suffix in ((Kind.SERVICE, ""), (Kind.ENDPOINT_SLICE, "-abcde"))
    ]
    come = [
        parse_object(kind, raw)
        for number in range(2)
        for kind, raw in (
            (Kind.SERVICE, raw_pair(number)),
            (Kind.ENDPOINT_SLICE, raw_pair_slice(number)),
        )
    ]
    one_more = raw_pair_slice(0, ENDPOINTS + 1)
    return measure_others(
        "hostile",
        size,
        seconds,
        {
            "alone": (),
            "they come": (at_once(*come),),
            "one endpoint": (at_once(parse_object(Kind.ENDPOINT_SLICE, one_more)),),
            "they are there": (),
            "they go": (at_once(*gone),),
        },
    )
