"""What the bench does with proxies, apart from a kernel with IPVS."""

import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest

from tests.bench.peers.contenders import (
    IPVSCTL,
    KUBE_PROXY_IPVS,
    KUBE_PROXY_NFTABLES,
    Contender,
    Table,
    find,
    ipvsctl,
)
from tests.bench.peers.page import figures_of, peer_lines, peer_rows
from tests.bench.peers.server import Changed
from tests.bench.peers.usage import Usage, read_memory, read_usage
from tests.bench.peers.views import wait
from tests.fakes.apiserver.test_main import list_slices


def stand_in(directory: Path, version: str) -> None:
    """A program that only says its version."""
    binary = directory / "kube-proxy"
    binary.write_text(f"#!/bin/sh\necho Kubernetes {version}\n")
    binary.chmod(0o755)


@pytest.mark.parametrize("has_file", [True, False])
def test_without_a_kube_proxy(tmp_path: Path, *, has_file: bool) -> None:
    """Only ipvsctl is run, and of the others it is said why not."""
    if has_file:
        (tmp_path / "kube-proxy").write_text("no program")
    for directory, why in ((tmp_path, "in the directory"), (None, "no directory")):
        found = find(directory)
        assert [each.name for each in found.contenders] == [IPVSCTL]
        for name in (KUBE_PROXY_IPVS, KUBE_PROXY_NFTABLES):
            assert found.told[name].startswith("not run: ")
            assert why in found.told[name]


def test_with_a_kube_proxy(tmp_path: Path) -> None:
    """It is run in IPVS mode, under the version that it says."""
    stand_in(tmp_path, "v1.36.2")
    found = find(tmp_path)
    assert found.told[KUBE_PROXY_IPVS] == "v1.36.2"
    assert KUBE_PROXY_IPVS in [each.name for each in found.contenders]


def test_how_they_are_started(tmp_path: Path) -> None:
    """The same configuration for all but the mode, and what ipvsctl has to be told."""
    gated = Contender("other", Table.NFTABLES, ("kube-proxy",), ("NFTablesProxyMode",))
    configs = {}
    for contender in (ipvsctl(), gated):
        directory = tmp_path / contender.name
        directory.mkdir()
        words = contender.command(directory, tmp_path / "kubeconfig")
        (option,) = (word for word in words if word.startswith("--config="))
        path = Path(option.removeprefix("--config="))
        config = msgspec.json.decode(path.read_bytes())
        configs[contender.name] = config
    ours, theirs = configs[IPVSCTL], configs["other"]
    assert ours.pop("ipvsctl") == {"minSyncPeriod": "0s"}
    assert (ours.pop("mode"), theirs.pop("mode")) == ("ipvs", "nftables")
    assert theirs.pop("featureGates") == {"NFTablesProxyMode": True}
    assert ours.pop("featureGates") == {}
    assert ours == theirs
    assert theirs["clientConnection"] == {"kubeconfig": str(tmp_path / "kubeconfig")}


def test_cpu_of_children_counts() -> None:
    """What a process that it started has used is its own, once that is over."""
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}])"
    pipe = subprocess.PIPE
    words = [sys.executable, "-c", f"{parent}; print(flush=True); input()"]
    with subprocess.Popen(words, stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert read_usage(process.pid).cpu_s >= 0.3
        now, most = read_memory(process.pid)
        assert 1 < now <= most
        process.communicate(b"\n")


def test_threads_are_no_processes() -> None:
    """Both are numbered, and numbers begin anew; threads that live do not count."""
    before = Usage(cpu_s=0, last=1000, threads=1)
    after = Usage(cpu_s=0, last=1012, threads=5)
    assert after.processes_since(before) == 8
    wrapped = Usage(cpu_s=0, last=400, threads=1)
    highest = int(Path("/proc/sys/kernel/pid_max").read_text())
    assert wrapped.processes_since(before) == highest - 1000 + 100


def test_a_thread_is_seen() -> None:
    """Each thread of a process is one of its threads."""
    pid = threading.main_thread().native_id
    assert pid is not None
    ended = threading.Event()
    thread = threading.Thread(target=ended.wait)
    before = read_usage(pid)
    thread.start()
    try:
        after = read_usage(pid)
        assert after.threads == before.threads + 1
        assert after.processes_since(before) >= 0
    finally:
        ended.set()
        thread.join()


def test_waiting() -> None:
    """It ends with what is waited for, or with the time there is."""
    answers = iter([False, False, True])
    since_s = 0.0
    took_s = wait(lambda: next(answers), since_s=since_s, limit_s=1e12)
    assert took_s is not None
    assert list(answers) == []
    assert wait(lambda: False, since_s=since_s, limit_s=0) is None


def test_the_server_does_as_it_is_told(tmp_path: Path) -> None:
    """Each line changes what it names, and nothing else; the answer is how it is."""
    kubeconfig = tmp_path / "kubeconfig"
    words = [sys.executable, "-m", "tests.bench.peers.server", "4", "2"]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [*words, str(kubeconfig)], stdin=pipe, stdout=pipe
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline().decode().strip() == str(kubeconfig)
        told = []
        for line in (b"3\n", b"1000 0.006 3\n", b"3\n", b"0\n"):
            process.stdin.write(line)
            process.stdin.flush()
            told.append(msgspec.json.decode(process.stdout.readline(), type=Changed))
        slices = list_slices(kubeconfig)
        process.communicate()
    assert [(each.is_ready, each.count) for each in told] == [
        (False, 1),
        (True, 6),
        (True, 1),
        (False, 1),
    ]
    assert [each.at_s for each in told] == sorted(each.at_s for each in told)
    ready = [[e["conditions"]["ready"] for e in item["endpoints"]] for item in slices]
    assert ready == [[False, True], [True, True], [True, True], [True, True]]


def test_what_was_not_run() -> None:
    """Its column says so; and what was not done in time is not left empty."""
    figures = {
        f"{IPVSCTL}: first sync, s": 1.234,
        f"{IPVSCTL}: change, s": 0.0042,
        f"{KUBE_PROXY_IPVS}: limit, s": 900,
        f"{KUBE_PROXY_IPVS}: processes": 1092,
    }
    rows = {row[0]: row[1:] for row in peer_rows({1_000: figures})}
    not_run = "not run"
    assert rows["start to first sync done"] == (
        "1,000",
        "1.23 s",
        "not in 900 s",
        not_run,
    )
    assert rows["one change, median"] == ("1,000", "4.20 ms", "", not_run)
    assert rows["start to all Services reachable"][2:] == ("not in 900 s", not_run)
    lines = peer_lines({1_000: figures}, {KUBE_PROXY_NFTABLES: "not run: why"})
    assert lines[-1] == f"- {KUBE_PROXY_NFTABLES}: not run: why"


def test_figures_of_one_proxy() -> None:
    """Those whose names begin with its name, and no others."""
    assert figures_of("a", {"a: b": 1, "ab: c": 2, "a: b: c": 3}) == {"b": 1, "b: c": 3}
