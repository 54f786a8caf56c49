"""Which addresses a Service may have, and whom its source ranges let in."""

from typing import Any

import pytest

from ipvsctl.cluster.objects.services import parse_service
from ipvsctl.model.net import parse_address, parse_network
from ipvsctl.model.objects import Service
from tests.builders import Raw, raw_service

RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges"


def read(raw: Raw) -> tuple[Service, list[str]]:
    """The Service, and the fields with a problem."""
    found = parse_service(raw)
    (value,) = found.values
    assert isinstance(value, Service)
    return value, [problem.field for problem in found.problems]


V4 = "198.51.100.3"
V6 = "2001:db8::3"
CLOSED = ["[0]", "IPv4 closed", "IPv6 closed"]


def guarded(
    field: str, annotations: dict[str, str] | None = None, **spec: Any
) -> tuple[list[str], list[str], list[str]]:
    """Of a Service with a VIP of each family: the ranges, the VIPs, what is named.

    Named are ranges by their place, and families with whether they are open or closed.
    """
    found = parse_service(
        raw_service(
            clusterIPs=["10.96.0.10", "fd00:96::10"],
            ingress=[{"ip": V4}, {"ip": V6}],
            annotations=annotations,
            **spec,
        )
    )
    (value,) = found.values
    assert isinstance(value, Service)
    said = []
    for problem in found.problems:
        assert problem.field.startswith(field)
        words = [w for w in ("IPv4", "IPv6", "open", "closed") if w in problem.reason]
        said.append(problem.field.removeprefix(field) or " ".join(words))
    ranges = [str(network) for network in value.source_ranges]
    return ranges, [str(vip) for vip in value.ingress_vips], said


@pytest.mark.parametrize(
    ("ranges", "networks", "vips", "named"),
    [
        (["10.0.0.0/8", "fd00::/8"], ["10.0.0.0/8", "fd00::/8"], [V4, V6], []),
        (
            [" 010.001.002.003/8\t", "10.0.0.0/8", "fd00::1/8"],
            ["10.0.0.0/8", "fd00::/8"],
            [V4, V6],
            [],
        ),
        (
            ["0.0.0.0/0", "::/0", "10.0.0.0/8"],
            ["0.0.0.0/0", "::/0", "10.0.0.0/8"],
            [V4, V6],
            [],
        ),
        (["fd00::/8"], ["fd00::/8"], [V4, V6], ["IPv4 open"]),
        # A range of mapped addresses is one of IPv4.
        (["::ffff:10.0.0.0/104"], ["10.0.0.0/8"], [V4, V6], ["IPv6 open"]),
        (["::ffff:10.0.0.0/95"], ["::fffe:0:0/95"], [V4, V6], ["IPv4 open"]),
        # One that cannot be read may have been meant for the other family.
        (["fd00::/8", "10.0.0.0"], ["fd00::/8"], [V6], ["[1]", "IPv4 closed"]),
        (["", "10.0.0.0/8"], ["10.0.0.0/8"], [V4], ["[0]", "IPv6 closed"]),
        (
            ["10.0.0.0/8", "fd00::/8", "10.0.0.0-10.1.0.0"],
            ["10.0.0.0/8", "fd00::/8"],
            [V4, V6],
            ["[2]"],
        ),
        ([""], [], [], CLOSED),
        ([" "], [], [], CLOSED),
        (["*"], [], [], CLOSED),
        (["internal"], [], [], CLOSED),
        (["10.0.0.1"], [], [], CLOSED),
        (["10.0.0.0/33"], [], [], CLOSED),
        (["10.0.0.0/255.0.0.0"], [], [], CLOSED),
        (["10.0.0.0/0.255.255.255"], [], [], CLOSED),
        (["10.0.0.0/8,10.1.0.0/16"], [], [], CLOSED),
        (["::ffff:10.0.0.0/129"], [], [], CLOSED),
        (["fe80::1%eth0/64"], [], [], CLOSED),
    ],
)
@pytest.mark.parametrize("kind", ["LoadBalancer", "NodePort", "ClusterIP"])
def test_source_ranges(
    ranges: list[str],
    networks: list[str],
    vips: list[str],
    named: list[str],
    kind: str,
) -> None:
    """Of any type: what cannot be read closes, and nothing is open unless it is said.

    A VIP without a range of its family is open if all can be read, as in kube-proxy.
    """
    found = guarded(
        "spec.loadBalancerSourceRanges", type=kind, loadBalancerSourceRanges=ranges
    )
    assert found == (networks, vips, named)


@pytest.mark.parametrize(
    ("text", "networks", "vips", "named"),
    [
        ("", [], [V4, V6], []),
        ("  ", [], [V4, V6], []),
        (" 10.0.0.0/8 ,fd00::/8", ["10.0.0.0/8", "fd00::/8"], [V4, V6], []),
        ("::ffff:10.0.0.0/104", ["10.0.0.0/8"], [V4, V6], ["IPv6 open"]),
        ("10.0.0.0/8,", ["10.0.0.0/8"], [V4], ["[1]", "IPv6 closed"]),
        ("10.0.0.0/8 fd00::/8", [], [], CLOSED),
        ("10.0.0.0/8;fd00::/8", [], [], CLOSED),
        ('["10.0.0.0/8"]', [], [], CLOSED),
        (",", [], [], ["[0]", "[1]", "IPv4 closed", "IPv6 closed"]),
    ],
)
def test_annotated_source_ranges(
    text: str, networks: list[str], vips: list[str], named: list[str]
) -> None:
    """The annotation has them separated by commas; without any, all are let in."""
    found = guarded(f"metadata.annotations.{RANGES}", {RANGES: text})
    assert found == (networks, vips, named)


def test_no_vip_needs_no_range() -> None:
    """Of a family without an ingress VIP nothing is said."""
    _, problems = read(
        raw_service(
            type="LoadBalancer",
            loadBalancerSourceRanges=["fd00::/8"],
            externalIPs=[V4],
            ingress=[{"ip": V6}],
        )
    )
    assert problems == []


ANY = ["10.0.0.1", "240.16.0.10", "254.1.1.1", "0.0.0.1", "fd00::1", "2001:db8::1"]
LINK_LOCAL = ["169.254.20.10"]
NEVER = ["0.0.0.0", "127.0.0.1", "127.255.0.1", "224.0.0.1", "224.0.1.5"]
NEVER += ["239.1.1.1", "255.255.255.255", "::", "::1", "ff02::1", "ff0e::1", "fe80::1"]
NEVER += ["::ffff:127.0.0.1"]


@pytest.mark.parametrize(
    ("field", "accepted"),
    [
        ("spec.clusterIP", ANY + LINK_LOCAL),
        ("spec.externalIPs[0]", ANY),
        ("status.loadBalancer.ingress[0].ip", ANY + LINK_LOCAL),
    ],
)
def test_each_field_has_the_rule_of_the_api(field: str, accepted: list[str]) -> None:
    """Only external IPs may not be link-local; no VIP can be what the host needs."""
    found = []
    for address in ANY + LINK_LOCAL + NEVER:
        match field:
            case "spec.clusterIP":
                raw = raw_service(clusterIP=address)
            case "spec.externalIPs[0]":
                raw = raw_service(externalIPs=[address])
            case _:
                raw = raw_service(type="LoadBalancer", ingress=[{"ip": address}])
        value, problems = read(raw)
        vips = {*value.cluster_ips, *value.external_ips, *value.ingress_vips}
        is_served = parse_address(address) in vips
        assert problems == ([] if is_served else [field])
        found += [address] if is_served else []
    assert found == accepted


def test_leading_zeros_are_decimal() -> None:
    """In every field of a Service that has addresses."""
    value, problems = read(
        raw_service(
            type="LoadBalancer",
            clusterIPs=["10.96.011.012", "fd00::00096"],
            externalIPs=["203.0.113.007", "203.0.113.7"],
            loadBalancerSourceRanges=["010.000.000.000/08"],
            ingress=[{"ip": "198.051.100.003"}],
        )
    )
    assert problems == []
    assert value.cluster_ips == (
        parse_address("10.96.11.12"),
        parse_address("fd00::96"),
    )
    assert value.external_ips == (parse_address("203.0.113.7"),)
    assert value.ingress_vips == (parse_address("198.51.100.3"),)
    assert value.source_ranges == (parse_network("10.0.0.0/8"),)


@pytest.mark.parametrize(
    ("kind", "spec", "ranges"),
    [
        ("LoadBalancer", {}, ("10.1.0.0/16", "10.2.0.0/16")),
        (
            "LoadBalancer",
            {"loadBalancerSourceRanges": ["10.3.0.0/16"]},
            ("10.3.0.0/16",),
        ),
        ("NodePort", {}, ("10.1.0.0/16", "10.2.0.0/16")),
    ],
)
def test_source_ranges_by_annotation(
    kind: str, spec: Raw, ranges: tuple[str, ...]
) -> None:
    """The annotation counts if the spec has no ranges."""
    annotations = {RANGES: "10.1.0.0/16, 10.2.0.0/16"}
    value, problems = read(raw_service(type=kind, annotations=annotations, **spec))
    assert value.source_ranges == tuple(map(parse_network, ranges))
    assert value.has_annotated_ranges is not bool(spec)
    assert problems == []
