"""Faults planted in a real kernel: `explain` names each, with and without a daemon."""

import json
import re
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.faults.faults import (
    HUNG,
    KERNEL_FAULTS,
    OBJECT_FAULTS,
    WEB,
    WRONG_NAME,
    Fault,
)
from tests.faults.node import Node, faulty_node, headline

pytestmark = pytest.mark.kernel

Served = tuple[Node, subprocess.Popen[bytes]]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A node that serves the cluster of the faults, and its daemon."""
    with faulty_node(tmp_path_factory.mktemp("faults")) as made:
        yield made


@pytest.fixture
def node(served: Served) -> Node:
    """The node alone."""
    return served[0]


@pytest.mark.parametrize("has_daemon", [True, False], ids=["daemon", "without"])
def test_a_node_without_faults(node: Node, *, has_daemon: bool) -> None:
    """It is said to work, and none of the faults is seen."""
    status, said = node.explain(WEB, has_daemon=has_daemon)
    assert status == 0, said
    for fault in KERNEL_FAULTS:
        if fault.asked == (WEB,):
            assert not re.search(fault.told, headline(said)), fault.name


@pytest.mark.parametrize("has_daemon", [True, False], ids=["daemon", "without"])
@pytest.mark.parametrize("fault", OBJECT_FAULTS, ids=lambda fault: fault.name)
def test_faults_of_objects(node: Node, fault: Fault, *, has_daemon: bool) -> None:
    """They are in the headline."""
    node.plant(fault)
    status, said = node.explain(*fault.asked, has_daemon=has_daemon)
    assert status == 1, said
    assert re.search(fault.told, headline(said)), said


@pytest.mark.parametrize("fault", KERNEL_FAULTS, ids=lambda fault: fault.name)
def test_faults_of_the_kernel(node: Node, fault: Fault) -> None:
    """They are in the headline, as long as nothing has repaired them."""
    assert node.explain(*fault.asked, has_daemon=False)[0] == 0, "before it"
    node.plant(fault)
    try:
        for has_daemon in (True, False):
            status, said = node.explain(*fault.asked, has_daemon=has_daemon)
            assert status == 1, said
            assert re.search(fault.told, headline(said)), said
    finally:
        node.mend()


def test_a_daemon_that_hangs(served: Served) -> None:
    """It is noticed in seconds; without another source nothing more can be told."""
    node, process = served
    process.send_signal(signal.SIGSTOP)
    try:
        status, said = node.explain(WEB, has_daemon=True)
    finally:
        process.send_signal(signal.SIGCONT)
    assert status == 2
    assert re.search(HUNG.told, said.splitlines()[0]), said


def test_a_daemon_of_another_name(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Its Node is not known; with or without it."""
    with faulty_node(tmp_path_factory.mktemp("other"), "node-9") as (node, _):
        for has_daemon in (True, False):
            status, said = node.explain(WEB, has_daemon=has_daemon)
            assert status == 1, said
            assert re.search(WRONG_NAME.told, headline(said)), said


def test_a_repair_is_remembered(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whose virtual server it was, and what was there before; status says it, too."""
    scratch = tmp_path_factory.mktemp("repaired")
    with faulty_node(scratch, sync_period="2s") as (node, _):
        node.run("ipvsadm -E -t 10.96.0.10:80 -s lc")
        end = time.monotonic() + 60
        words = ("events", WEB, "-o", "json", "--socket", str(node.sock))
        repairs: list[dict[str, object]] = []
        while not repairs:
            assert time.monotonic() < end
            status, said = node.ipvsctl(*words)
            assert status == 0, said
            repairs = [one for one in json.loads(said) if one["what"] == "repair"]
        (repair,) = repairs
        assert repair["text"] == "change virtual server tcp 10.96.0.10:80 rr (was lc)"
        assert repair["services"] == [WEB]
        _, said = node.ipvsctl("status", "--socket", str(node.sock))
        assert "change virtual server tcp 10.96.0.10:80 rr (was lc)" in said
