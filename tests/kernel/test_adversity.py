"""A node that is full, or that another program fights for, and its daemon goes on."""

import dataclasses
import errno
import json
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import pytest

from ipvsctl.model.errors import ConfigError
from ipvsctl.model.net import parse_address
from ipvsctl.serve.control import control_socket
from tests.builders import Raw
from tests.faults.cluster import HERE, HERE_TOO, OBJECTS, endpoints, service
from tests.faults.node import Node, daemon
from tests.kernel.programs import program
from tests.lab.flows import Flow, track, udp_flows
from tests.lab.netns import inside
from tests.lab.topology import Cluster
from tests.lab.traffic import ask, connect
from tests.reliability.drift import VIP, node_with_pods, wait, watching

pytestmark = pytest.mark.kernel

UNDO: Final = f"while :; do ipvsadm -D -t {VIP}:80; sleep 0.2; done"
DNS: Final = parse_address("10.96.0.77")
PORTS: Final = [{"name": "dns", "port": 53, "targetPort": 5353, "protocol": "UDP"}]
LIMIT: Final = Path("/proc/sys/net/netfilter/nf_conntrack_max")

Served = tuple[Node, Cluster]


def objects(*pods: str) -> list[Raw]:
    """The cluster of the faults, with a UDP Service on these pods."""
    dns = endpoints("dns", *pods)
    dns["ports"] = [{"name": "dns", "port": 5353, "protocol": "UDP"}]
    return [*OBJECTS, service("dns", str(DNS), ports=PORTS), dns]


@contextmanager
def small(place: Path) -> Iterator[Path]:
    """A file system of 64 KiB and few files."""
    place.mkdir()
    options = "size=64k,nr_inodes=8"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def fill(place: Path) -> None:
    """Have no room for a byte, nor for a file."""
    with pytest.raises(OSError, match="No space left"):
        (place / "bytes").write_bytes(b"x" * 100_000)
    for number in range(os.statvfs(place).f_ffree):
        (place / str(number)).touch()
    with pytest.raises(OSError, match="No space left"):
        (place / "one more").touch()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A node that is audited each second, its socket on a small file system."""
    scratch = tmp_path_factory.mktemp("adversity")
    with (
        small(scratch / "run") as place,
        node_with_pods(scratch, objects(HERE), watching("1s")) as (made, built),
    ):
        node = dataclasses.replace(made, sock=place / "ipvsctl.sock")
        with daemon(node):
            yield node, built


def said(node: Node) -> str:
    """What `status` says, in one line."""
    text = node.ipvsctl("status", "--socket", str(node.sock))[1]
    return " ".join(text.split())


def is_equal(node: Node) -> bool:
    """The kernel is as it should be."""
    return node.ipvsctl("diff", "--socket", str(node.sock))[0] == 0


def change(node: Node, *pods: str) -> None:
    """Have other endpoints of the UDP Service."""
    new = node.manifests / "new"
    listed = {"apiVersion": "v1", "kind": "List", "items": objects(*pods)}
    new.write_text(json.dumps(listed))
    new.rename(node.manifests / "all.json")


def leads_to(node: Node) -> set[str]:
    """Where the UDP flows lead."""
    with inside(node.netns):
        return {str(flow.target) for flow in udp_flows() if flow.address == DNS}


def serves(node: Node, *pods: str) -> bool:
    """The UDP Service has these real servers, and no others."""
    with inside(node.netns):
        done = subprocess.run(
            ["ipvsadm-save", "-n"], capture_output=True, text=True, check=True
        )
    found = re.findall(rf"-u {DNS}:53 -r ([\d.]+):5353", done.stdout)
    return sorted(found) == sorted(pods)


def test_another_program_insists(served: Served, tmp_path: Path) -> None:
    """Who it may be is said with what it changes, in `status` and in the history."""
    node, _ = served
    with inside(node.netns), program(tmp_path / "kube-proxy", UNDO) as pid:
        wait(lambda: "again and again" in said(node), 60)
    assert re.search(
        rf"kernel: add virtual server tcp {VIP}:80 rr: is changed by another program"
        r" again and again, and put right each time; a guess at who that is:"
        # ipvsadm may be seen beside the program that calls it.
        rf" kube-proxy \(pid {pid}\)(| and ipvsadm \(pid \d+\)), which runs? on",
        said(node),
    ), said(node)
    history = node.ipvsctl("events", "--socket", str(node.sock))[1]
    assert f"kube-proxy (pid {pid})" in " ".join(history.split())
    wait(lambda: is_equal(node), 30)


def test_conntrack_is_full(served: Served) -> None:
    """New connections fail, and it is said why; what is to change is changed.

    The table is everybody's, so only the first network namespace may limit it.
    """
    if not os.access(LIMIT, os.W_OK):
        pytest.skip("not in the first network namespace")
    node, built = served
    client = built.client
    with inside(node.netns):
        track(Flow(client.ipv4, 4000, DNS, 53, parse_address(HERE), 5353))
    before = LIMIT.read_text()
    with ExitStack() as opened:
        # They are in the table, and nobody may push them out.
        held = [opened.enter_context(connect(client.netns, VIP, 80)) for _ in range(3)]
        opened.callback(LIMIT.write_text, before)
        LIMIT.write_text("1")
        for asker in (client.netns, node.netns):
            with pytest.raises(TimeoutError):
                ask(asker, VIP, 80, timeout_s=0.3)
        for connection in held:
            connection.ask()
        change(node, HERE_TOO)
        wait(lambda: serves(node, HERE_TOO), 30)
        wait(lambda: HERE not in leads_to(node), 30)
        status, text = node.explain(f"{VIP}:80", has_daemon=True)
        assert status == 1
        assert re.search(r"conntrack: table full: \d+ of 1 entries", text), text
        wait(lambda: "conntrack: 1 entries: nearly all are taken" in said(node), 30)
    ask(client.netns, VIP, 80)
    wait(lambda: "nearly all are taken" not in said(node), 30)


def test_the_file_system_of_the_socket_fills_up(served: Served) -> None:
    """Nothing needs room there any more: it answers, and imposes changes."""
    node, _ = served
    assert not serves(node, HERE)
    fill(node.sock.parent)
    change(node, HERE)
    wait(lambda: serves(node, HERE), 30)
    wait(lambda: is_equal(node), 30)


def test_no_room_for_the_socket(served: Served) -> None:
    """It does not start, and its last words are the path and why."""
    node, _ = served
    other = node.sock.with_name("other.sock")
    options = ("--socket", str(other), "--config", str(node.config))
    status, text = node.ipvsctl("run", *node.objects, *options)
    assert status == 2
    assert text.splitlines()[-1] == (
        f"ipvsctl: error: --socket: {str(other)!r}: cannot be made:"
        f" {os.strerror(errno.ENOSPC)}"
    )
    assert "Traceback" not in text


async def test_a_killed_daemons_socket_is_room_enough(tmp_path: Path) -> None:
    """The next one takes its place, also where there is no other."""
    with small(tmp_path / "run") as place:
        path = place / "ipvsctl.sock"
        with socket.socket(socket.AF_UNIX) as killed:
            killed.bind(str(path))
        fill(place)
        async with control_socket(path, {}):
            with pytest.raises(ConfigError, match="No space left"):
                await control_socket(place / "other.sock", {}).__aenter__()
