"""What somebody types to ask about a Service."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipvsctl.model.errors import ConfigError
from ipvsctl.model.net import parse_address
from ipvsctl.model.target import AddressTarget, NamedTarget, Target, parse_target


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("web", NamedTarget(name="web")),
        ("shop/web", NamedTarget(namespace="shop", name="web")),
        ("shop/web:http", NamedTarget(namespace="shop", name="web", port="http")),
        ("web:80", NamedTarget(name="web", port="80")),
        ("10.96.0.10", AddressTarget(address=parse_address("10.96.0.10"))),
        ("10.96.0.10:53", AddressTarget(address=parse_address("10.96.0.10"), port=53)),
        ("fd00::10", AddressTarget(address=parse_address("fd00::10"))),
        ("[fd00::10]", AddressTarget(address=parse_address("fd00::10"))),
        ("[fd00::10]:53", AddressTarget(address=parse_address("fd00::10"), port=53)),
        ("::ffff:10.0.0.1", AddressTarget(address=parse_address("10.0.0.1"))),
    ],
)
def test_targets(text: str, target: Target) -> None:
    """Names and addresses, with and without a port."""
    assert parse_target(text) == target


def test_a_namespace_beside_the_name() -> None:
    """It is that of a name without one, and contradicts no other."""
    assert parse_target("web", "shop") == NamedTarget(namespace="shop", name="web")
    assert parse_target("shop/web", "shop") == parse_target("shop/web")
    assert parse_target("10.0.0.1", "shop") == parse_target("10.0.0.1")
    with pytest.raises(ConfigError, match="namespace shop"):
        parse_target("other/web", "shop")


@given(st.text(max_size=40))
def test_whatever_is_typed(text: str) -> None:
    """It is a target that says itself, or an error that names it."""
    try:
        target = parse_target(text)
    except ConfigError:
        return
    assert parse_target(str(target)) == target
