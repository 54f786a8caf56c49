"""Annotations of kube-router's, as its service proxy honours them."""

from typing import Any

import pytest

from ipvsctl.model.config import Compatibility, ProxyConfig
from ipvsctl.model.net import IPv4Address
from ipvsctl.model.objects import TrafficPolicy
from ipvsctl.plan.service.demand import demand_of
from ipvsctl.plan.service.program import WayIn
from tests.plan.service.test_compile import (
    BOTH,
    HERE,
    KUBE_PROXY,
    NODE,
    ONLY_HERE,
    THERE,
    compiled,
    frontends,
    service,
    slices,
)

EXTERNAL = IPv4Address("203.0.113.50")
BALANCED = IPv4Address("198.51.100.7")
PLAIN = compiled(service(external_ips=(EXTERNAL,), ingress_vips=(BALANCED,)))


def annotated(name: str, value: str = "true", **fields: Any) -> Any:
    """A Service with every way in and one of the annotations."""
    return service(
        external_ips=(EXTERNAL,),
        ingress_vips=(BALANCED,),
        annotations=((f"kube-router.io/service.{name}", value),),
        **fields,
    )


def test_local_is_both_policies() -> None:
    """Every way in leads to this node's endpoints, the cluster IP too."""
    program = compiled(annotated("local"))
    assert {s.policy for s in program.servers} == {TrafficPolicy.LOCAL}
    assert set(map(tuple, frontends(program).values())) == {tuple(ONLY_HERE)}
    assert set(map(tuple, frontends(PLAIN).values())) == {tuple(BOTH)}
    assert not program.problems


def test_a_local_one_asks_for_marks() -> None:
    """Its limits are counted as those of a Service that says so itself."""
    given = annotated("local")
    marked = demand_of(given, slices(HERE, THERE), NODE, ProxyConfig(cluster_cidrs=()))
    itself = service(
        external_ips=(EXTERNAL,),
        ingress_vips=(BALANCED,),
        external_traffic_policy=TrafficPolicy.LOCAL,
    )
    assert (
        marked.asked
        == demand_of(itself, slices(HERE, THERE), NODE, ProxyConfig()).asked
    )


def test_addresses_of_the_load_balancer_are_skipped() -> None:
    """And nothing else."""
    program = compiled(annotated("skiplbips"))
    assert {s.way for s in PLAIN.servers} - {s.way for s in program.servers} == {
        WayIn.INGRESS_VIP
    }
    assert not program.has_ingress_vip
    assert not program.problems


@pytest.mark.parametrize("name", ["local", "skiplbips"])
@pytest.mark.parametrize("value", ["", "false", "No", " 0 "])
def test_a_value_that_seems_to_say_no_says_nothing(name: str, value: str) -> None:
    """kube-router asks whether it is there; the Service's author is told."""
    program = compiled(annotated(name, value))
    said_yes = compiled(annotated(name))
    assert program.servers == said_yes.servers
    (problem,) = program.problems
    assert problem.field == f"metadata.annotations.kube-router.io/service.{name}"
    assert "whatever its value" in problem.reason


def test_direct_server_return_is_named_and_served_without() -> None:
    """Nobody is refused for it."""
    program = compiled(annotated("dsr", "tunnel"))
    assert program.servers == PLAIN.servers
    (problem,) = program.problems
    assert (problem.value, "directly" in problem.reason) == ("tunnel", True)


@pytest.mark.parametrize(
    "name", ["hairpin", "hairpin.externalips", "advertise.clusterip"]
)
def test_what_asks_for_nothing_here_is_no_problem(name: str) -> None:
    """A pod reaches itself anyway; BGP is not the service proxy's."""
    assert compiled(annotated(name)) == PLAIN


@pytest.mark.parametrize("name", ["local", "skiplbips", "dsr"])
def test_kube_proxy_knows_none_of_them(name: str) -> None:
    """Nor does ipvsctl in its place."""
    assert KUBE_PROXY.compatibility is Compatibility.KUBE_PROXY
    plain = service(external_ips=(EXTERNAL,), ingress_vips=(BALANCED,))
    given = annotated(name, "false")
    assert compiled(given, config=KUBE_PROXY) == compiled(plain, config=KUBE_PROXY)
