"""Leases in which nodes say where they take packets in tunnels."""

import pytest

from ipvsctl.cluster.objects.parse import parse_object
from ipvsctl.model.errors import BadObject
from ipvsctl.model.net import parse_address
from ipvsctl.model.objects import TunnelOffer
from ipvsctl.model.problem import Kind, ObjectRef
from tests.builders import Raw, raw_lease, to_json


def read(raw: Raw) -> tuple[tuple[object, ...], list[str]]:
    """The values, and the problems as field, value and reason."""
    found = parse_object(Kind.LEASE, to_json(raw))
    told = [f"{p.field}: {p.value}: {p.reason}" for p in found.problems]
    return found.values, told


def test_an_offer() -> None:
    """Of both families, with the port, from the node that holds the Lease."""
    found = parse_object(Kind.LEASE, to_json(raw_lease("n", "10.0.0.11, fd00:10::11")))
    assert found.ref == ObjectRef("ipvsctl-tunnels", "n")
    addresses = (parse_address("10.0.0.11"), parse_address("fd00:10::11"))
    offer = TunnelOffer(node="n", addresses=addresses, port=6080, is_sending=True)
    assert found.values == (offer,)
    assert found.problems == ()


@pytest.mark.parametrize("sends", ["false", "", "True", "yes"])
def test_only_a_plain_word_says_that_it_sends(sends: str) -> None:
    """Whoever sends too early loses packets; too late, nothing."""
    ((offer,), _) = read(raw_lease(sends=sends))
    assert isinstance(offer, TunnelOffer)
    assert not offer.is_sending


def test_other_leases_are_somebody_elses() -> None:
    """They are no offer, and no problem."""
    raw = raw_lease()
    raw["metadata"]["labels"] = {"app": "scheduler"}
    assert read(raw) == ((), [])
    del raw["metadata"]["labels"], raw["metadata"]["annotations"], raw["spec"]
    assert read(raw) == ((), [])


_FIELD = "metadata.annotations.ipvsctl.io/tunnel-"
_SPECIAL = "unspecified, loopback, multicast or broadcast address"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"addresses": ""}, [f"{_FIELD}addresses: : is missing"]),
        (
            {"addresses": "10.0.0.999"},
            [f"{_FIELD}addresses: 10.0.0.999: not an IP address"],
        ),
        (
            {"addresses": "127.0.0.1"},
            [f"{_FIELD}addresses: 127.0.0.1: {_SPECIAL}"],
        ),
        ({"port": ""}, [f"{_FIELD}port: : is missing"]),
        ({"port": "0"}, [f"{_FIELD}port: 0: not a port number (1-65535)"]),
        ({"port": "99999"}, [f"{_FIELD}port: 99999: not a port number (1-65535)"]),
        ({"port": "-1"}, [f"{_FIELD}port: -1: not a port number (1-65535)"]),
        ({"port": "\u0661"}, [f"{_FIELD}port: \u0661: not a port number (1-65535)"]),
        (
            {"port": "9" * 5000},
            [f"{_FIELD}port: {'9' * 120}: not a port number (1-65535)"],
        ),
        ({"node_name": ""}, ["spec.holderIdentity: : is missing"]),
    ],
)
def test_no_offer_without_all_of_it(given: dict[str, str], told: list[str]) -> None:
    """Each thing that lacks or is wrong is a problem with its field."""
    raw = raw_lease(**given)
    raw["metadata"]["name"] = "a"
    assert read(raw) == ((), told)


def test_the_first_address_of_a_family_counts() -> None:
    """Others are told of."""
    ((offer,), told) = read(raw_lease(addresses="10.0.0.11,10.0.0.12"))
    assert isinstance(offer, TunnelOffer)
    assert offer.addresses == (parse_address("10.0.0.11"),)
    assert told == [f"{_FIELD}addresses: 10.0.0.12: is not the first IPv4 address"]


def test_a_lease_without_a_name() -> None:
    """It cannot be told from others."""
    raw = raw_lease()
    del raw["metadata"]["name"]
    with pytest.raises(BadObject, match="name"):
        parse_object(Kind.LEASE, to_json(raw))
