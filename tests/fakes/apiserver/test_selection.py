"""Selectors, as the API server reads them."""

import pytest

from tests import builders
from tests.fakes.apiserver.entries import make_entry
from tests.fakes.apiserver.kinds import NODES, SERVICES, SLICES, Resource
from tests.fakes.apiserver.selection import selector
from tests.fakes.apiserver.status import Refusal

WEB = make_entry(
    SERVICES, builders.raw_service("web", labels={"app": "web", "tier": "a/b.c"}), 1
)


@pytest.mark.parametrize(
    ("labels", "is_selected"),
    [
        ("", True),
        ("app", True),
        ("!app", False),
        ("!other", True),
        ("other", False),
        ("app=web", True),
        ("app==web", True),
        ("app=db", False),
        ("app!=db", True),
        ("other!=db", True),
        ("app!=web", False),
        ("other=", False),
        ("app in (db, web)", True),
        ("app in (db)", False),
        ("other notin (db,web)", True),
        ("app notin (db,web)", False),
        ("app,!other", True),
        ("app in (web),tier=a/b.c,!other", True),
        ("app in (web,db),tier=z", False),
    ],
)
def test_labels(labels: str, *, is_selected: bool) -> None:
    """All requirements have to hold; a label that is missing is never equal."""
    assert selector(SERVICES, labels, "")(WEB) is is_selected


@pytest.mark.parametrize(
    ("fields", "is_selected"),
    [
        ("metadata.name=web", True),
        ("metadata.name=db", False),
        ("metadata.name!=web", False),
        ("metadata.namespace=default,metadata.name=web", True),
        ("spec.clusterIP!=None", True),
        ("spec.clusterIP=None", False),
        ("spec.type=ClusterIP,spec.clusterIP!=None", True),
        ("spec.type=NodePort", False),
    ],
)
def test_fields(fields: str, *, is_selected: bool) -> None:
    """Name, namespace, and of a Service its cluster IP and type can be asked for."""
    assert selector(SERVICES, "", fields)(WEB) is is_selected


@pytest.mark.parametrize(
    ("resource", "labels", "fields"),
    [
        (SERVICES, "a b", ""),
        (SERVICES, "!a=b", ""),
        (SERVICES, "a in b", ""),
        (SERVICES, "", "spec.externalName=x"),
        (SERVICES, "", "name"),
        (SLICES, "", "spec.clusterIP=x"),
        (NODES, "", "metadata.namespace=x"),
    ],
)
def test_what_cannot_be_read_is_refused(
    resource: Resource, labels: str, fields: str
) -> None:
    """A selector nobody understands selects nothing: 400."""
    with pytest.raises(Refusal) as caught:
        selector(resource, labels, fields)
    assert caught.value.code == 400
