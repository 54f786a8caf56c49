"""The model is right: it says what a real kube-proxy left, for all sixteen clusters."""

from pathlib import Path

import pytest
import yaml

from tests.peer.kube_proxy import Kernel, Settings, kube_proxy
from tests.peer.kube_proxy_rules import rules
from tests.test_scenarios import SCENARIOS, captured


def modelled(scenario: Path) -> Kernel:
    """What the model makes of a cluster."""
    text = (scenario / "cluster.yaml").read_text()
    return kube_proxy(yaml.safe_load(text)["items"], Settings())


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda path: path.name)
def test_the_model_says_what_was_captured(scenario: Path) -> None:
    """Every line of every capture, in its order, and no other."""
    kernel = modelled(scenario)
    v4, v6 = kernel.families
    assert kernel.ipvsadm == captured(scenario, "ipvsadm-save.txt")
    assert kernel.entries == captured(scenario, "ipset-entries.txt")
    assert kernel.creates == captured(scenario, "ipset-create.txt")
    assert kernel.addresses == captured(scenario, "addresses.txt")
    assert rules(v4) == captured(scenario, "iptables-save.txt")
    assert rules(v6) == captured(scenario, "ip6tables-save.txt")
