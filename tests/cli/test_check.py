"""`ipvsctl check`: what is printed, and the exit status."""

import json
from pathlib import Path

import msgspec
import pytest
import yaml
from typer.testing import CliRunner

from ipvsctl.cli.app import app
from ipvsctl.cli.environment import Environment
from ipvsctl.cluster.config.config_file import API_VERSION, KIND
from ipvsctl.kernel.interface import Kernel
from ipvsctl.model.capabilities import Capabilities
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.errors import KernelError, NotFound
from ipvsctl.model.node_facts import NodeFacts
from ipvsctl.plan.report.check import KEEPALIVE_SYSCTL
from tests.cli.conftest import Invoke
from tests.fakes.kernel import SYSCTLS, FakeKernel


@pytest.fixture
def kernel() -> FakeKernel:
    """A kernel with two schedulers and the usual keepalive."""
    return FakeKernel(
        sysctls={**SYSCTLS, KEEPALIVE_SYSCTL: "7200"},
        capabilities=Capabilities(schedulers=frozenset({"rr", "mh"})),
    )


def test_findings_are_lines(invoke: Invoke, kernel: FakeKernel) -> None:
    """One line each, with what to do at its end; a note is no failure."""
    result = invoke("check")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (
        "VERDICT  SUBJECT           FOUND\n"
        "ok       kernel            6.1 IPv4 IPv6\n"
        "ok       connection reuse  mode 1, left as it is from 5.9 on\n"
        "ok       schedulers        rr wanted; usable: mh rr\n"
        "note     IPVS TCP timeout  900 s; TCP keepalive after 7200 s\n"
        "                           -> connections that are idle for 900 s are"
        " forgotten before a keepalive, and reset when used again: set"
        " ipvs.tcpTimeout to more"
        " than 7200s\n"
        "ok       sysctls           ipvsctl run will set net/ipv4/vs/conntrack=1,"
        " net/ipv4/vs/expire_nodest_conn=1, net/ipv4/vs/expire_quiescent_template=1\n"
        "ok       VIPs              0, vipBinding address\n"
        "ok       modules           all 2 are there\n"
    )
    assert kernel.log == []
    assert kernel.is_closed


def test_problems_are_an_exit_status(invoke: Invoke, tmp_path: Path) -> None:
    """A problem is exit status 1, in every format."""
    path = tmp_path / "config.conf"
    fields = {"apiVersion": API_VERSION, "kind": KIND, "ipvs": {"scheduler": "wlc"}}
    path.write_text(yaml.safe_dump(fields))
    for form in ("table", "json", "yaml"):
        result = invoke("check", "--config", path, "-o", form)
        assert (result.exit_code, result.stderr) == (1, "")
        assert "problem" in result.stdout


def test_vips_of_the_manifests_are_counted(
    invoke: Invoke, manifests: Path, kernel: FakeKernel
) -> None:
    """With --manifests those that are to be, which are not there yet."""
    result = invoke("check", "--manifests", manifests, "-o", "json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)[-2] == {
        "severity": "ok",
        "subject": "VIPs",
        "found": "1, vipBinding address",
        "advice": "",
    }
    assert kernel.log == []


def test_json_and_yaml_are_the_same(invoke: Invoke) -> None:
    """Both have every finding."""
    as_json = json.loads(invoke("check", "-o", "json").stdout)
    assert len(as_json) == 7
    assert yaml.safe_load(invoke("check", "-o", "yaml").stdout) == as_json


def test_without_a_kernel_it_is_an_error() -> None:
    """What cannot be looked at is not found to be in order."""

    def open_kernel(_config: ProxyConfig, *, to_change: bool) -> Kernel:
        assert not to_change
        raise KernelError.of(1, "open the kernel")

    result = CliRunner().invoke(
        app, ["check"], obj=Environment(open_kernel=open_kernel)
    )
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr == (
        "ipvsctl: error: open the kernel: EPERM (not permitted (CAP_NET_ADMIN is"
        " needed))\n"
    )


def test_a_node_without_ipvs_is_looked_at_all_the_same(facts: NodeFacts) -> None:
    """That is the first problem, and the others follow."""

    def open_kernel(_config: ProxyConfig, *, to_change: bool) -> Kernel:
        raise NotFound(errno=2, op="find IPVS", reason=f"no ip_vs {to_change}")

    result = CliRunner().invoke(
        app,
        ["check"],
        obj=Environment(open_kernel=open_kernel, read_node=lambda _config: facts),
    )
    assert result.exit_code == 1
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert lines[1] == "problem  IPVS     find IPVS: no ip_vs False"
    assert lines[2] == "                  -> ipvsctl cannot serve this node without it"
    assert lines[3].startswith("ok       modules")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (KernelError.of(95, "nftables", "this kernel has none"), 1),
        (NotFound(errno=2, op="iptables", reason="not installed"), 1),
        (KernelError.of(1, "open the kernel"), 2),
    ],
)
def test_a_node_without_a_firewall_is_looked_at_all_the_same(
    facts: NodeFacts, error: KernelError, status: int
) -> None:
    """That is the first problem; who may not look is told so."""

    def open_kernel(_config: ProxyConfig, *, to_change: bool) -> Kernel:
        assert not to_change
        raise error

    reason = "neither iptables (not installed) nor nftables (none) works here"
    found = msgspec.structs.replace(facts, firewall_reason=reason)
    environment = Environment(open_kernel=open_kernel, read_node=lambda _config: found)
    result = CliRunner().invoke(app, ["check"], obj=environment)
    assert result.exit_code == status
    assert bool(result.stdout) is (status == 1)
    if result.stdout:
        lines = result.stdout.splitlines()
        assert lines[1] == f"problem  firewall  {reason}"
        assert lines[3].startswith("ok       modules")
