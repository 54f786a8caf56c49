"""A storm of clients at the probes' port, and the kubelet's probes meanwhile."""

import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import cycle
from pathlib import Path

import pytest

from ipvsctl.model.net import IPAddress, IPFamily, parse_address
from ipvsctl.serve.complaints import EVERY_S
from tests.bench.cluster import write_manifests
from tests.lab.netns import Netns, inside
from tests.lab.topology import Cluster, Host

pytestmark = pytest.mark.kernel

PORT = 10256
CONNECTIONS = 5000
STORM_S = 60.0
"""Limit for so many connections, however busy the machine is."""

WORDS = (
    b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n",
    b"\x16\x03\x01 s3cret-of-a-client\r\n\r\n",
    b"GET / HTTP/1.1\r\ns3cret-of-a-client\r\n\r\n",
    b"GET /",
    b"",
)


@contextmanager
def daemon(node: Host, scratch: Path) -> Iterator[Path]:
    """`ipvsctl run` on the node; the path of its log."""
    manifests = scratch / "cluster.json"
    write_manifests(manifests, services=20, endpoints=3)
    log = scratch / "log"
    with inside(node.netns), log.open("wb") as written:
        started = subprocess.Popen(
            [
                *(sys.executable, "-m", "ipvsctl", "run", "--log-format=json"),
                *(f"--manifests={manifests}", "--node-name=node-0"),
                f"--socket={scratch / 'ipvsctl.sock'}",
            ],
            stderr=written,
        )
    try:
        yield log
    finally:
        started.terminate()
        started.wait()


def probe(netns: Netns, address: IPAddress, path: str = "/livez") -> bool:
    """Ask as the kubelet does, with the time limit of the chart's probe."""
    with inside(netns):
        asking = socket.socket()
    with asking:
        asking.settimeout(5)
        try:
            asking.connect((str(address), PORT))
            asking.sendall(b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % path.encode())
            return b" 200 " in asking.recv(100)
        except OSError:
            return False


def storm(address: IPAddress) -> None:
    """Many connections, one after the other; a whole request is let be answered."""
    words = cycle(WORDS)
    end = time.monotonic() + STORM_S
    for _ in range(CONNECTIONS):
        if time.monotonic() > end:
            return
        with socket.socket() as client:
            client.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
            with suppress(OSError):
                client.connect((str(address), PORT))
                said = next(words)
                client.send(said)
                if said.endswith(b"\r\n\r\n"):
                    client.settimeout(1)
                    client.recv(1)


@pytest.mark.timeout(240)
def test_probes_are_answered_in_a_storm(cluster: Cluster, tmp_path: Path) -> None:
    """Each one of the node's own, at its address and at loopback.

    The log has a line for all that the storm did wrong, and no word of its clients.
    """
    node = cluster.nodes[0]
    address = node.address(IPFamily.IPV4)
    with daemon(node, tmp_path) as log:
        end = time.monotonic() + 60
        while not probe(node.netns, address, "/readyz"):
            assert time.monotonic() < end
        with inside(cluster.client.netns):
            stormer = os.fork()
            if not stormer:
                try:
                    storm(address)
                finally:
                    os._exit(0)
        # A kubelet asks far less often than its own rate allows.
        answers = [
            probe(node.netns, where)
            for where in (address, parse_address("127.0.0.1")) * 40
        ]
        assert os.waitpid(stormer, os.WNOHANG) == (0, 0), "the storm was too short"
        os.waitpid(stormer, 0)
        assert all(answers)
        # Another client of the same port has lost nothing to it.
        assert probe(cluster.nodes[1].netns, address)
    said = log.read_text()
    assert "s3cret" not in said
    assert "Traceback" not in said
    assert 1 <= said.count("clients do wrong") <= 1 + 2 * STORM_S / EVERY_S
