"""The pages that are made from the code are what the code makes."""

import msgspec
import pytest

from ipvsctl.cluster.config.fields import FIELDS
from ipvsctl.cluster.config.flags import OWN_KEY
from ipvsctl.model.config import ConntrackConfig, ProxyConfig, ServeConfig
from ipvsctl.model.limits import Limits
from tests.pages import DOCS, PAGES, attribute_docs


@pytest.mark.parametrize("name", PAGES)
def test_page(name: str) -> None:
    """Nobody changed a docstring, or the page, alone (`nox -s docs`)."""
    assert (DOCS / name).read_text(encoding="utf-8") == PAGES[name]()


def test_every_setting_is_documented_and_can_be_set() -> None:
    """Each attribute has its words, and a field that sets it."""
    settable = {field.attribute for field in FIELDS if field.attribute}
    structs: dict[str, type[msgspec.Struct]] = {
        "": ProxyConfig,
        "conntrack": ConntrackConfig,
        "limits": Limits,
        "serve": ServeConfig,
    }
    for prefix, struct in structs.items():
        names = set(struct.__struct_fields__)
        assert set(attribute_docs(struct)) == names
        dotted = {f"{prefix}.{name}" if prefix else name for name in names - {*structs}}
        assert dotted <= settable


def test_every_field_is_on_the_page() -> None:
    """Kube-proxy's fields and ours."""
    page = PAGES["configuration.md"]()
    assert [field.path for field in FIELDS if f"`{field.path}`" not in page] == []
    assert f"`{OWN_KEY}.drainTimeout`" in page
