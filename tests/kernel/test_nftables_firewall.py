"""Our tables of nftables: there as long as anything is in them."""

import errno
import subprocess
from collections.abc import Iterator
from contextlib import closing

import pytest

from ipvsctl.kernel.nft_rules import NftRules
from ipvsctl.kernel.nftables_firewall import NftablesFirewall
from ipvsctl.model.config import FirewallKind
from ipvsctl.model.errors import KernelError
from ipvsctl.model.net import IPFamily
from ipvsctl.model.sets import SetRole, set_key
from ipvsctl.plan.diff.ops import CreateSet, DestroySet
from tests.kernel.firewalls import require
from tests.lab.netns import Netns

pytestmark = pytest.mark.kernel

KEYS = tuple(set_key(SetRole.IPVS_IPS, family) for family in IPFamily)


@pytest.fixture(name="firewall")
def _firewall(netns: Netns) -> Iterator[NftablesFirewall]:
    """The firewall of a fresh namespace, with a set of each family."""
    del netns
    require(FirewallKind.NFTABLES)
    with closing(NftablesFirewall.open(tuple(IPFamily))) as firewall:
        assert firewall.run([CreateSet(key, 1) for key in KEYS]) == []
        yield firewall


def tables() -> list[str]:
    """Everybody's tables here."""
    done = subprocess.run(
        ["nft", "list", "tables"], capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def test_a_table_goes_with_the_last_of_it(firewall: NftablesFirewall) -> None:
    """Family by family."""
    assert tables() == ["table ip ipvsctl", "table ip6 ipvsctl"]
    first, second = KEYS
    assert firewall.run([DestroySet(first)]) == []
    assert tables() == ["table ip6 ipvsctl"]
    assert firewall.run([DestroySet(second)]) == []
    assert tables() == []


def test_a_table_that_cannot_be_looked_at_costs_no_outcome(
    firewall: NftablesFirewall, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was done is told, and that the rest was not."""

    def fail(rules: NftRules, family: IPFamily) -> bool:
        del rules
        raise KernelError.of(errno.ENOBUFS, f"list chains of {family.label}")

    destroy = [DestroySet(key) for key in KEYS]
    with monkeypatch.context() as patch:
        patch.setattr(NftRules, "has_chains", fail)
        failed = firewall.run(destroy)
    assert [(one.op, one.errno) for one in failed] == [
        (op, errno.ENOBUFS) for op in destroy
    ]
    assert "list chains of IPv4" in failed[0].reason
    assert firewall.run([CreateSet(KEYS[0], 1), DestroySet(KEYS[0])]) == []
    assert tables() == ["table ip6 ipvsctl"]
