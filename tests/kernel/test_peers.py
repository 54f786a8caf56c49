"""The bench beside kube-proxy, with ipvsctl in the place of kube-proxy."""

import sys
from pathlib import Path
from typing import Final

import pytest

from tests.bench.peers.contenders import IPVSCTL, KUBE_PROXY_IPVS, Contender, find
from tests.bench.peers.measure import Course, measure
from tests.bench.sizes import Size

pytestmark = pytest.mark.kernel

SIZE: Final = Size(2, 3)
COURSE: Final = Course(first_s=120, changes=3, rates=(10,), churn_s=1)


def stand_in(directory: Path, then: str) -> None:
    """What takes a configuration as kube-proxy does, and says a version."""
    binary = directory / "kube-proxy"
    binary.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && echo Kubernetes v1.36.2 && exit\n{then}\n'
    )
    binary.chmod(0o755)


def found(directory: Path) -> dict[str, Contender]:
    """What can be measured, by name."""
    return {each.name: each for each in find(directory).contenders}


def test_two_proxies_in_turn(tmp_path: Path) -> None:
    """Both have every figure, and the second one begins with an empty kernel."""
    run = f'exec {sys.executable} -m ipvsctl run --socket={tmp_path}/socket "$@"'
    stand_in(tmp_path, f"/bin/true; /bin/true; {run}")
    ours = measure(found(tmp_path)[IPVSCTL], SIZE, COURSE)
    theirs = measure(found(tmp_path)[KUBE_PROXY_IPVS], SIZE, COURSE)
    assert ours.keys() == theirs.keys()
    for figures in (ours, theirs):
        assert 0 < figures["reachable, s"] <= figures["first sync, s"]
        assert figures["change, s"] > 0
        assert figures["changes"] == 3
        assert figures["churn 10, changes"] == 10
        assert figures["churn 10, took, s"] >= 0.9
        assert figures["churn 10, late, s"] > 0
        assert figures["peak RSS, MiB"] >= figures["RSS, MiB"]
        # The proxy is one itself, and it starts iptables.
        assert figures["processes"] > 2


def test_a_proxy_that_does_nothing(tmp_path: Path) -> None:
    """It is measured as far as it came, and none of its figures is made up."""
    stand_in(tmp_path, "exec sleep 60")
    idle = found(tmp_path)[KUBE_PROXY_IPVS]
    figures = measure(idle, SIZE, COURSE._replace(first_s=2))
    assert figures["limit, s"] == 2
    assert figures["processes"] == 1
    assert not {"reachable, s", "first sync, s", "change, s"} & figures.keys()


def test_a_proxy_that_ends(tmp_path: Path) -> None:
    """That is an error, with what it said."""
    stand_in(tmp_path, "echo no such flag >&2; exit 1")
    ended = found(tmp_path)[KUBE_PROXY_IPVS]
    with pytest.raises(RuntimeError, match="no such flag"):
        measure(ended, SIZE, COURSE)
