"""Facts about how EndpointSlices and plain Endpoints are read."""

import pytest

from ipvsctl.cluster.objects.slices import parse_endpoint_slice, parse_endpoints
from ipvsctl.model.errors import BadObject
from ipvsctl.model.net import IPFamily, Protocol, parse_address
from ipvsctl.model.objects import Endpoint, EndpointSlice, SlicePort
from ipvsctl.model.problem import Kind, ObjectRef
from tests.builders import Raw, raw_endpoint, raw_endpoints, raw_slice, to_json

WEIGHT = "ipvsctl.io/weight"
TRIGGER = "endpoints.kubernetes.io/last-change-trigger-time"


def read(raw: Raw) -> tuple[EndpointSlice, list[str]]:
    """The slice and the fields with problems."""
    found = parse_endpoint_slice(to_json(raw))
    (value,) = found.values
    assert isinstance(value, EndpointSlice)
    return value, [problem.field for problem in found.problems]


def test_all_fields() -> None:
    """A slice that uses every field there is becomes all of its value."""
    raw = raw_slice(
        "web-1",
        raw_endpoint(
            "fd00:172::1",
            conditions={"ready": False, "serving": True, "terminating": True},
            hints={
                "forZones": [{"name": "a"}, {"name": "b"}],
                "forNodes": [{"name": "n"}],
            },
            nodeName="node-1",
        ),
        addressType="IPv6",
        ports=[{"name": "http", "port": 8080, "protocol": "SCTP"}],
        annotations={TRIGGER: "2026-01-01T00:00:00Z"},
    )
    value, problems = read(raw)
    assert problems == []
    assert value == EndpointSlice(
        ref=ObjectRef("default", "web-1"),
        service=ObjectRef("default", "web"),
        family=IPFamily.IPV6,
        ports=(SlicePort(name="http", protocol=Protocol.SCTP, port=8080),),
        endpoints=(
            Endpoint(
                address=parse_address("fd00:172::1"),
                ready=False,
                serving=True,
                terminating=True,
                node_name="node-1",
                hint_zones=frozenset({"a", "b"}),
                hint_nodes=frozenset({"n"}),
            ),
        ),
        trigger_time="2026-01-01T00:00:00Z",
    )


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        (None, (True, True, False)),
        ({}, (True, True, False)),
        ({"ready": None, "serving": None, "terminating": None}, (True, True, False)),
        ({"ready": False}, (False, True, False)),
        ({"ready": False, "terminating": True}, (False, True, True)),
        ({"serving": False}, (True, False, False)),
        (
            {"ready": False, "serving": True, "terminating": True},
            (False, True, True),
        ),
    ],
)
def test_conditions(conditions: Raw | None, expected: tuple[bool, bool, bool]) -> None:
    """Unset: ready and serving are true, each for itself, terminating is false."""
    value, _ = read(raw_slice("a", raw_endpoint(conditions=conditions)))
    (endpoint,) = value.endpoints
    assert (endpoint.ready, endpoint.serving, endpoint.terminating) == expected


@pytest.mark.parametrize(
    "raw",
    [
        raw_slice(service=None),
        raw_slice(service=""),
        raw_slice(addressType="FQDN"),
        raw_slice(labels={"service.kubernetes.io/headless": ""}),
        raw_slice(labels={"service.kubernetes.io/service-proxy-name": "other"}),
    ],
)
def test_ignored(raw: Raw) -> None:
    """A slice that is no Service's, another proxy's, or of names has no value."""
    found = parse_endpoint_slice(raw)
    assert found.ref == ObjectRef("default", "web-abcde")
    assert found.values == ()
    assert found.problems == ()


def test_only_first_address() -> None:
    """Addresses after an endpoint's first are not endpoints."""
    addresses = ["172.16.0.1", "172.16.0.2", "nonsense"]
    value, problems = read(raw_slice("a", {"addresses": addresses}))
    assert [e.address for e in value.endpoints] == [parse_address("172.16.0.1")]
    assert problems == []


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("999.1.1.1", "IPv4"),
        ("fd00:172::1", "IPv4"),
        ("172.16.0.1", "IPv6"),
        ("::ffff:172.16.0.1", "IPv6"),
        ("127.0.0.1", "IPv4"),
        ("0.0.0.0", "IPv4"),
        ("169.254.1.1", "IPv4"),
        ("224.0.0.1", "IPv4"),
        ("239.255.255.255", "IPv4"),
        ("255.255.255.255", "IPv4"),
        ("::", "IPv6"),
        ("::1", "IPv6"),
        ("fe80::1", "IPv6"),
        ("ff02::1", "IPv6"),
        ("", "IPv4"),
        (" 172.16.0.1", "IPv4"),
        ("172.16.0.0256", "IPv4"),
        ("fe80::1%eth0", "IPv6"),
        ("ff0e::1", "IPv6"),
    ],
)
def test_bad_address(address: str, kind: str) -> None:
    """An address that is none, or of the other family, is left out alone."""
    good = "172.16.0.9" if kind == "IPv4" else "fd00:172::9"
    value, problems = read(
        raw_slice("a", raw_endpoint(address), raw_endpoint(good), addressType=kind)
    )
    assert [str(e.address) for e in value.endpoints] == [good]
    assert problems == ["endpoints[0].addresses[0]"]


def test_no_address() -> None:
    """An endpoint without addresses is a problem, not an error."""
    value, problems = read(raw_slice("a", {"addresses": []}, {}))
    assert value.endpoints == ()
    assert problems == ["endpoints[0].addresses[0]", "endpoints[1].addresses[0]"]


@pytest.mark.parametrize(
    ("port", "expected", "problem"),
    [
        ({"port": 80}, ("", Protocol.TCP, 80), None),
        ({"name": None, "port": 80, "protocol": None}, ("", Protocol.TCP, 80), None),
        ({"name": "a", "port": 80, "protocol": "UDP"}, ("a", Protocol.UDP, 80), None),
        ({"name": "a"}, None, None),
        ({"name": "a", "port": None}, None, None),
        ({"name": "a", "port": 0}, None, "ports[0].port"),
        ({"name": "a", "port": 65536}, None, "ports[0].port"),
        ({"name": "a", "port": 80, "protocol": "tcp"}, None, "ports[0].protocol"),
    ],
)
def test_ports(
    port: Raw, expected: tuple[str, Protocol, int] | None, problem: str | None
) -> None:
    """No name is "", no number is "all ports" and unusable, a bad one a problem."""
    value, problems = read(raw_slice(ports=[port]))
    assert [(p.name, p.protocol, p.port) for p in value.ports] == (
        [expected] if expected else []
    )
    assert problems == ([problem] if problem else [])


def test_unknown_address_type() -> None:
    """A slice of an unknown address type is a problem as a whole."""
    found = parse_endpoint_slice(raw_slice(addressType="IPX"))
    assert found.values == ()
    assert [p.field for p in found.problems] == ["addressType"]


def test_null_lists() -> None:
    """The API writes an empty list as null."""
    value, problems = read({**raw_slice(), "endpoints": None, "ports": None})
    assert (value.endpoints, value.ports, problems) == ((), (), [])


def test_addresses_as_the_api_server_has_them() -> None:
    """Leading zeros are decimal, mapped ones are IPv4's, class E is in use by pods."""
    given = ("172.016.000.010", "::ffff:172.16.0.11", "240.16.0.10")
    value, problems = read(raw_slice("a", *map(raw_endpoint, given)))
    assert problems == []
    assert [str(endpoint.address) for endpoint in value.endpoints] == [
        "172.16.0.10",
        "172.16.0.11",
        "240.16.0.10",
    ]
    plain = raw_endpoints("web", {"addresses": [{"ip": given[0]}]})
    (piece,) = parse_endpoints(plain).values
    assert isinstance(piece, EndpointSlice)
    assert piece.endpoints[0].address == value.endpoints[0].address


def test_wrong_shape() -> None:
    """A field of another type than the API's names slice, path and value."""
    raw = raw_slice("a", raw_endpoint(), raw_endpoint(conditions={"ready": "yes"}))
    with pytest.raises(BadObject) as caught:
        parse_endpoint_slice(to_json(raw))
    error = caught.value
    assert error.ref == "EndpointSlice default/a"
    assert error.field == "endpoints[1].conditions.ready"
    assert error.value == "yes"


def test_endpoints() -> None:
    """Plain Endpoints are a slice for each family in each subset."""
    raw = raw_endpoints(
        "web",
        {
            "addresses": [{"ip": "172.16.0.1", "nodeName": "n"}, {"ip": "fd00:172::1"}],
            "notReadyAddresses": [{"ip": "172.16.0.2"}],
            "ports": [{"port": 8080}],
        },
        {"addresses": [{"ip": "172.16.0.3"}, {"ip": "x"}], "ports": [{"port": 8081}]},
        {"ports": [{"port": 1}]},
    )
    found = parse_endpoints(raw)
    assert (found.kind, found.ref) == (Kind.ENDPOINTS, ObjectRef("default", "web"))
    slices = [value for value in found.values if isinstance(value, EndpointSlice)]
    assert [
        (
            s.ref.name,
            s.family,
            s.ports[0].port,
            [(str(e.address), e.ready, e.serving, e.node_name) for e in s.endpoints],
        )
        for s in slices
    ] == [
        (
            "web.0.IPv4",
            IPFamily.IPV4,
            8080,
            [("172.16.0.1", True, True, "n"), ("172.16.0.2", False, True, "")],
        ),
        ("web.0.IPv6", IPFamily.IPV6, 8080, [("fd00:172::1", True, True, "")]),
        ("web.1.IPv4", IPFamily.IPV4, 8081, [("172.16.0.3", True, True, "")]),
    ]
    assert {s.service for s in slices} == {ObjectRef("default", "web")}
    assert all(s.from_endpoints for s in slices)
    assert [p.field for p in found.problems] == ["subsets[1].addresses[1].ip"]


@pytest.mark.parametrize(
    ("text", "weight", "problems"),
    [
        (None, 1, []),
        ("", 1, []),
        ("0", 0, []),
        ("5", 5, []),
        ("65535", 65535, []),
        ("65536", 1, [f"metadata.annotations.{WEIGHT}"]),
        ("9" * 5000, 1, [f"metadata.annotations.{WEIGHT}"]),
        ("-1", 1, [f"metadata.annotations.{WEIGHT}"]),
        ("1.5", 1, [f"metadata.annotations.{WEIGHT}"]),
        ("\u0661", 1, [f"metadata.annotations.{WEIGHT}"]),
    ],
)
def test_weight(text: str | None, weight: int, problems: list[str]) -> None:
    """An annotation gives the endpoints of a slice their weight; else it is 1."""
    annotations = None if text is None else {WEIGHT: text}
    value, found = read(raw_slice(annotations=annotations))
    assert (value.weight, found) == (weight, problems)


def test_weight_of_endpoints() -> None:
    """A plain Endpoints object has one weight for all its subsets."""
    raw = raw_endpoints(
        "web", *({"addresses": [{"ip": f"192.0.2.{n}"}]} for n in (1, 2))
    )
    raw["metadata"]["annotations"] = {WEIGHT: "7"}
    values = parse_endpoints(to_json(raw)).values
    assert [v.weight for v in values if isinstance(v, EndpointSlice)] == [7, 7]
