"""What somebody else changes is seen when it is done, long before an audit."""

import os
import select
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from ipaddress import IPv4Interface, IPv6Interface
from pathlib import Path

import pytest

from ipvsctl.kernel.notices import LinkNotices
from ipvsctl.model.glance import Notice, NoticeKind
from ipvsctl.model.net import parse_address
from tests.addresses import of
from tests.faults.node import Node
from tests.kernel.firewalls import about_iptables
from tests.lab.netns import Netns, inside
from tests.lab.topology import Cluster
from tests.lab.traffic import ask
from tests.reliability.drift import DRIFTS, VIP, Drift, served_node, suffer, wait

pytestmark = pytest.mark.kernel

VIPS = (IPv4Interface("10.96.0.10/32"), IPv6Interface("fd00:96::10/128"))


def heard(notices: LinkNotices) -> set[Notice]:
    """What there is, after some has come."""
    assert select.select([notices.fileno()], [], [], 30)[0]
    return set(notices.read())


def test_what_the_kernel_tells(netns: Netns) -> None:
    """Addresses of both families, and links that go down or away; nothing else."""
    with inside(netns):
        notices = LinkNotices()
    with closing(notices):
        netns.add_dummy("kube-ipvs0")
        netns.link_up("kube-ipvs0")
        assert heard(notices) <= {Notice(kind=NoticeKind.LINK_DOWN, link="kube-ipvs0")}
        for vip in VIPS:
            netns.add_address("kube-ipvs0", vip)
            added = Notice(kind=NoticeKind.ADDRESS_ADDED, address=of(vip.ip))
            while added not in heard(notices):
                pass
            _run(netns, f"ip address delete {vip} dev kube-ipvs0")
            gone = Notice(kind=NoticeKind.ADDRESS_GONE, address=of(vip.ip))
            while gone not in heard(notices):
                pass
        for command in ("ip link set kube-ipvs0 down", "ip link delete kube-ipvs0"):
            _run(netns, command)
            down = Notice(kind=NoticeKind.LINK_DOWN, link="kube-ipvs0")
            while down not in heard(notices):
                pass
        assert notices.read() == []


def test_more_than_the_kernel_keeps(netns: Netns) -> None:
    """Is told as what it is: nobody knows what was lost."""
    with inside(netns):
        notices = LinkNotices()
    netns.add_dummy("kube-ipvs0")
    netns.link_up("kube-ipvs0")
    lines = (
        f"address {verb} 10.97.{n >> 8}.{n & 255}/32 dev kube-ipvs0"
        for verb in ("add", "delete")
        for n in range(4000)
    )
    with inside(netns):
        subprocess.run(
            ["ip", "-batch", "-"], input="\n".join(lines).encode(), check=True
        )
    with closing(notices):
        found: list[Notice] = []
        while some := notices.read():
            found += some
    assert Notice(kind=NoticeKind.LOST) in found
    address = parse_address("10.97.0.0")
    assert Notice(kind=NoticeKind.ADDRESS_ADDED, address=address) in found


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, Cluster]]:
    """A node whose next audit is an hour away."""
    with served_node(tmp_path_factory.mktemp("drift"), 20, "1h") as made:
        yield made


@pytest.mark.parametrize(
    "drift", [d for d in DRIFTS if d.is_heard], ids=lambda drift: drift.name
)
def test_it_is_mended_at_once(served: tuple[Node, Cluster], drift: Drift) -> None:
    """Clients are served again, and the kernel holds what it should."""
    node, world = served
    suffer(node, world, drift)


BROKEN = """#!/bin/sh
if [ -e {flag} ]; then echo "no such luck" >&2; exit 1; fi
exec {real} "$@"
"""


@about_iptables
def test_iptables_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but the rules is mended, and the screen says what is not known."""
    flag, binaries = tmp_path / "broken", tmp_path / "bin"
    binaries.mkdir()
    for name in ("iptables-save", "ip6tables-save"):
        real = shutil.which(name)
        script = binaries / name
        script.write_text(BROKEN.format(flag=flag, real=real))
        script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{binaries}:{os.environ['PATH']}")
    with served_node(tmp_path, 5, "1h") as (node, world):
        flag.touch()
        _run(node.netns, "ipvsadm -C")
        wait(lambda: _answers(world))
        _, said = node.ipvsctl("status", "--socket", str(node.sock))
        assert "not known: iptables rules cannot be read" in said
        assert "kernel equal to what is known, which may not be all" in said
        status, _ = node.ipvsctl("diff", "--socket", str(node.sock))
        assert status == 2
        # It has tried meanwhile, and tries again: no later than after half a minute.
        wait(
            lambda: (
                "are not repaired"
                in node.ipvsctl("status", "--socket", str(node.sock))[1]
            )
        )
        _run(node.netns, "iptables -t nat -F KUBE-SERVICES")
        flag.unlink()
        wait(lambda: node.ipvsctl("diff", "--socket", str(node.sock))[0] == 0)


def _answers(world: Cluster) -> bool:
    try:
        ask(world.client.netns, VIP, 80, timeout_s=1)
    except OSError:
        return False
    return True


def _run(netns: Netns, command: str) -> None:
    with inside(netns):
        subprocess.run(command.split(), check=True)
