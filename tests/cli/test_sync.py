"""`ipvsctl diff`, `apply` and `cleanup`."""

import errno
import json
from pathlib import Path

import pytest

from ipvsctl.model.ipvs import (
    RealServer,
    RealServerKey,
    VirtualServer,
    VirtualServerKey,
)
from ipvsctl.model.net import IPFamily, Protocol, parse_address
from ipvsctl.plan.diff.ops import (
    AddRealServer,
    AddVirtualServer,
    DeleteRealServer,
    UnbindAddress,
    UpdateRealServer,
)
from tests.builders import raw_endpoint, raw_node, raw_service, raw_slice
from tests.cli.conftest import Invoke, write
from tests.fakes.kernel import FakeKernel

WEB = VirtualServerKey(
    family=IPFamily.IPV4,
    protocol=Protocol.TCP,
    address=parse_address("10.96.0.10"),
    port=80,
)
FOREIGN = VirtualServer(
    key=VirtualServerKey(
        family=IPFamily.IPV4,
        protocol=Protocol.TCP,
        address=parse_address("10.103.97.12"),
        port=6443,
    ),
    scheduler="rr",
    netmask_bits=32,
)


def real_server(address: str, weight: int = 1) -> RealServer:
    """A real server on port 8080."""
    return RealServer(key=RealServerKey(parse_address(address), 8080), weight=weight)


def test_apply_makes_equal_and_diff_sees_it(
    invoke: Invoke, manifests: Path, kernel: FakeKernel
) -> None:
    """`diff` exits 1 before `apply` and 0 after it."""
    before = invoke("diff", "--manifests", manifests)
    assert before.exit_code == 1
    assert before.stdout.endswith(" to add, 11 to change, 0 to delete\n")
    done = invoke("apply", "--manifests", manifests)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1
    assert kernel.is_closed
    after = invoke("diff", "--manifests", manifests)
    assert (after.exit_code, after.stdout) == (
        0,
        "equal: the kernel holds what it should\n",
    )


def test_diff_is_grouped_by_service(
    invoke: Invoke, manifests: Path, kernel: FakeKernel
) -> None:
    """Each change stands under its Service, with what was before."""
    invoke("apply", "--manifests", manifests)
    kernel.preload(FOREIGN)
    kernel.apply(
        (
            DeleteRealServer(WEB, real_server("172.16.0.1").key),
            UpdateRealServer(WEB, real_server("172.16.1.1", weight=5)),
            AddRealServer(WEB, real_server("172.16.9.9")),
            UnbindAddress(parse_address("10.96.0.10")),
        )
    )
    result = invoke("diff", "--manifests", manifests)
    assert result.exit_code == 1
    assert result.stdout == (
        "default/web\n"
        "  + real server tcp 10.96.0.10:80 -> 172.16.0.1:8080 masquerade weight 1\n"
        "  ~ real server tcp 10.96.0.10:80 -> 172.16.1.1:8080 masquerade weight 1"
        " (was masquerade weight 5)\n"
        "  + address 10.96.0.10\n"
        "  + route 10.96.0.10 from 10.0.0.10\n"
        "  - real server tcp 10.96.0.10:80 -> 172.16.9.9:8080\n"
        "3 to add, 1 to change, 1 to delete\n"
    )


def test_diff_of_one_service(
    invoke: Invoke, manifests: Path, kernel: FakeKernel
) -> None:
    """What is for others, or for the node, is left out; so is whether it is equal."""
    write(
        manifests,
        raw_node("node-0"),
        raw_service("web"),
        raw_slice("web-a", raw_endpoint("172.16.0.1")),
        raw_service("api", clusterIP="10.96.0.11", clusterIPs=["10.96.0.11"]),
    )
    assert "node\n" in invoke("diff", "--manifests", manifests).stdout
    result = invoke("diff", "web", "--manifests", manifests)
    assert result.exit_code == 1
    assert result.stdout.splitlines()[0] == "default/web"
    assert "10.96.0.11" not in result.stdout
    assert "sysctl" not in result.stdout
    assert result.stdout.splitlines()[-1] == "7 to add, 0 to change, 0 to delete"
    invoke("apply", "--manifests", manifests)
    kernel.apply((UnbindAddress(parse_address("10.96.0.10")),))
    for name, status in (("default/web", 1), ("default/api", 0)):
        assert invoke("diff", name, "--manifests", manifests).exit_code == status
    found = invoke("diff", "web", "--manifests", manifests, "-o", "json")
    assert {c["service"] for c in json.loads(found.stdout)["changes"]} == {
        "default/web"
    }


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("shop/web", "there is one in default"),
        ("nobody", "no Service nobody is known"),
        ("10.96.0.10", "only a Service"),
        ("web:http", "only a Service"),
    ],
)
def test_diff_of_nothing(
    invoke: Invoke, manifests: Path, name: str, reason: str
) -> None:
    """It is not called equal."""
    result = invoke("diff", name, "--manifests", manifests)
    assert (result.exit_code, result.stdout) == (2, "")
    assert reason in result.stderr


def test_what_belongs_to_no_service_comes_last(
    invoke: Invoke, manifests: Path, tmp_path: Path
) -> None:
    """Virtual servers of a Service that is gone have no name any more."""
    invoke("apply", "--manifests", manifests)
    path = tmp_path / "empty.json"
    write(path)
    result = invoke("diff", "--manifests", path)
    assert result.stdout == (
        "of no known Service\n"
        "  - address 10.96.0.10\n"
        "  - route 10.96.0.10\n"
        "  - virtual server tcp 10.96.0.10:80\n"
        "  - entry KUBE-LOOP-BACK 172.16.0.1,tcp:8080,172.16.0.1\n"
        "  - entry KUBE-CLUSTER-IP 10.96.0.10,tcp:80\n"
        "  - entry KUBE-IPVS-IPS 10.96.0.10\n"
        "0 to add, 0 to change, 6 to delete\n"
    )


def test_dry_run_is_diff_and_changes_nothing(
    invoke: Invoke, manifests: Path, kernel: FakeKernel
) -> None:
    """`apply --dry-run` prints the same plan, with status 0."""
    dry = invoke("apply", "--manifests", manifests, "--dry-run")
    assert dry.exit_code == 0
    assert dry.stdout == invoke("diff", "--manifests", manifests).stdout
    assert kernel.log == []


def test_json_and_yaml_have_the_ops_as_data(invoke: Invoke, manifests: Path) -> None:
    """Each change names its op in `type`, with words instead of numbers."""
    result = invoke("diff", "--manifests", manifests, "-o", "json")
    assert result.exit_code == 1
    plan = json.loads(result.stdout)
    assert plan["add"] == sum(c["action"] == "add" for c in plan["changes"])
    added = [c for c in plan["changes"] if c["op"]["type"] == "AddVirtualServer"]
    assert added == [
        {
            "action": "add",
            "service": "default/web",
            "text": "virtual server tcp 10.96.0.10:80 rr",
            "op": {
                "type": "AddVirtualServer",
                "server": {
                    "key": {
                        "family": "IPv4",
                        "protocol": "tcp",
                        "address": "10.96.0.10",
                        "port": 80,
                        "fwmark": 0,
                    },
                    "scheduler": "rr",
                    "flags": [],
                    "timeout_s": 0,
                    "netmask_bits": 32,
                    "pe_name": "",
                },
            },
        }
    ]
    text = invoke("diff", "--manifests", manifests, "-o", "yaml").stdout
    assert "- action: add\n  service: default/web\n" in text


def test_a_refused_op_is_an_error_and_the_rest_is_applied(
    invoke: Invoke, manifests: Path, kernel: FakeKernel
) -> None:
    """`apply` exits 2, says which op failed and why, and does the others."""
    kernel.fail_on(lambda op: isinstance(op, AddVirtualServer), errno.ENOMEM)
    result = invoke("apply", "--manifests", manifests)
    assert result.exit_code == 2
    first, *rest = result.stderr.splitlines()
    assert first.startswith("failed: add virtual server tcp 10.96.0.10:80 rr: ")
    assert all(line.startswith("failed: add real server ") for line in rest)
    assert result.stdout.endswith(f", {1 + len(rest)} failed\n")
    assert kernel.observe().state.addresses == {parse_address("10.96.0.10")}


@pytest.mark.parametrize("command", ["diff", "apply", "run"])
def test_without_manifests_the_option_is_named(invoke: Invoke, command: str) -> None:
    """There is no other source of objects yet."""
    result = invoke(command)
    assert result.exit_code == 2
    assert result.stderr.startswith("ipvsctl: error: --manifests: ")


def test_cleanup_removes_what_is_ours_and_nothing_else(
    invoke: Invoke, manifests: Path, kernel: FakeKernel
) -> None:
    """After it, `cleanup` finds nothing, and the foreign virtual server is there."""
    kernel.preload(FOREIGN)
    invoke("apply", "--manifests", manifests)
    dry = invoke("cleanup", "--dry-run")
    assert dry.exit_code == 0
    assert WEB in kernel.observe().state.virtual_servers
    result = invoke("cleanup")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "  - virtual server tcp 10.96.0.10:80\n" in result.stdout
    state = kernel.observe().state
    assert set(state.virtual_servers) == {FOREIGN.key}
    assert not state.sets
    assert not state.addresses
    assert not state.vip_link_up
    again = invoke("cleanup")
    assert (again.exit_code, again.stdout) == (0, "nothing of ours is there\n")


def test_cleanup_leaves_what_is_excluded(
    invoke: Invoke, kernel: FakeKernel, manifests: Path, tmp_path: Path
) -> None:
    """A virtual server in `excludeCIDRs` stays, although it is ours."""
    config = tmp_path / "config.conf"
    fields = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "ipvs": {"excludeCIDRs": ["10.96.0.0/16"]},
    }
    config.write_text(json.dumps(fields), encoding="utf-8")
    invoke("apply", "--manifests", manifests)
    assert invoke("cleanup", "--config", config).exit_code == 0
    assert set(kernel.observe().state.virtual_servers) == {WEB}
