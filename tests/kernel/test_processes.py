"""Which programs run, and who holds the lock of iptables: of files, and of a kernel."""

import itertools
import os
from pathlib import Path

import pytest

from ipvsctl.kernel.processes import XTABLES_LOCK, read_processes
from ipvsctl.model.processes import Process, Processes
from tests.kernel.programs import LIVES, program
from tests.lab.netns import create, inside
from tests.reliability.drift import wait

HERE, ELSEWHERE = "net:[100]", "net:[200]"
NAMES = ("kube-proxy", "systemd-networkd", "ipvsctl")


class Proc:
    """A `/proc` in files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lock = root / "xtables.lock"
        self.lock.touch()
        (root / "locks").touch()
        self.link("thread-self/ns/net", HERE)
        self.link("self/ns/pid", "pid:[4026531836]")

    def link(self, path: str, to: str) -> None:
        """A link to something that has no path."""
        link = self.root / path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(to)

    def put(
        self,
        pid: int,
        name: str,
        *,
        state: str = "S",
        parent: int = 1,
        arguments: str = "",
        netns: str | None = None,
    ) -> None:
        """Have a process; None is a namespace that may not be looked at."""
        home = self.root / str(pid)
        home.mkdir()
        (home / "comm").write_text(f"{name}\n")
        (home / "stat").write_text(f"{pid} ({name}) {state} {parent} {pid} 0\n")
        (home / "cmdline").write_text(arguments.replace(" ", "\0"))
        if netns:
            self.link(f"{pid}/ns/net", netns)

    def locked_by(self, *pids: int, waits: bool = False) -> None:
        """Have the lock held, or waited for."""
        held = self.lock.stat()
        device = f"{os.major(held.st_dev):02x}:{os.minor(held.st_dev):02x}"
        word = "-> FLOCK " if waits else "FLOCK "
        (self.root / "locks").write_text(
            "1: POSIX  ADVISORY  WRITE 3 00:05:77 0 EOF\n"
            + "".join(
                f"2: {word} ADVISORY  WRITE {pid} {device}:{held.st_ino} 0 EOF\n"
                for pid in pids
            )
        )

    def read(self) -> Processes:
        """What is seen."""
        return read_processes(NAMES, self.root, self.lock)


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    """The node's first process alone."""
    made = Proc(tmp_path)
    made.put(1, "systemd")
    return made


def test_programs_are_found_by_name(proc: Proc) -> None:
    """Those that are asked for, with their arguments, by their whole names."""
    proc.put(20, "kube-proxy", arguments="/kube-proxy --v=2")
    proc.put(21, "kube-proxy-2")
    proc.put(22, "systemd-network", netns=HERE)
    assert set(proc.read().running) == {
        Process(
            pid=20, name="kube-proxy", arguments=frozenset({"/kube-proxy", "--v=2"})
        ),
        Process(pid=22, name="systemd-networkd"),
    }


def test_who_cannot_be_the_one(proc: Proc) -> None:
    """The dead, ourselves, what we have started, and who has another network."""
    proc.put(20, "kube-proxy", state="Z")
    proc.put(21, "kube-proxy", netns=ELSEWHERE)
    proc.put(22, "kube-proxy", parent=os.getpid())
    proc.put(os.getpid(), "ipvsctl", arguments="ipvsctl run")
    assert proc.read().running == ()


def test_a_process_that_ends_meanwhile(proc: Proc) -> None:
    """Was not there."""
    proc.put(20, "kube-proxy")
    (proc.root / "20" / "stat").unlink()
    (proc.root / "21").mkdir()
    assert proc.read().running == ()


@pytest.mark.parametrize(
    ("pid", "holder"),
    [
        (30, Process(pid=30, name="back\\nup.sh")),
        (0, None),
        (31, None),
        (99, None),
    ],
    ids=["another", "not seen from here", "ours", "has ended"],
)
def test_who_holds_the_lock(proc: Proc, pid: int, holder: Process | None) -> None:
    """Its name is the kernel's word, which anybody may choose: in one line."""
    proc.put(30, "back\nup.sh")
    proc.put(31, "iptables-restor", parent=os.getpid())
    proc.locked_by(pid)
    assert proc.read().lock_holder == holder


def test_who_waits_for_the_lock_does_not_hold_it(proc: Proc) -> None:
    """He is listed under who does."""
    proc.put(30, "backup.sh")
    proc.locked_by(30, waits=True)
    assert proc.read().lock_holder is None


def test_whose_processes_they_are(proc: Proc) -> None:
    """The node's: in its first namespace, unless /proc hides them."""
    assert proc.read().are_nodes
    (proc.root / "1" / "comm").unlink()
    assert not proc.read().are_nodes


def test_in_a_container(proc: Proc) -> None:
    """Its processes are not the node's."""
    proc.link("self/ns/pid", "pid:[4026532001]")
    assert not proc.read().are_nodes


def test_without_proc(tmp_path: Path) -> None:
    """Nothing is seen, and nothing fails."""
    nowhere = tmp_path / "proc"
    assert read_processes(NAMES, nowhere, nowhere) == Processes()


def test_a_node_with_very_many(proc: Proc) -> None:
    """Are looked at until the time is over."""
    for pid in range(20, 30):
        proc.put(pid, "kube-proxy")
    proc.locked_by(20)
    clock = itertools.count()
    late = read_processes(NAMES, proc.root, proc.lock, lambda: next(clock))
    assert late == Processes(are_nodes=True)


@pytest.mark.kernel
@pytest.mark.usefixtures("netns")
def test_a_real_program(tmp_path: Path) -> None:
    """As long as it lives; in another network namespace it is not looked for."""
    with program(tmp_path / "kube-proxy", LIVES) as pid:
        (found,) = read_processes(NAMES).running
        assert (found.pid, found.name) == (pid, "kube-proxy")
        with create("other") as other, inside(other):
            assert read_processes(NAMES).running == ()
    wait(lambda: read_processes(NAMES).running == (), 10)


@pytest.mark.kernel
def test_a_real_lock(tmp_path: Path) -> None:
    """Who has it is named, whatever his program, and nobody afterwards."""
    greedy = tmp_path / "greedy"
    script = f"""
    [ "$1" ] || exec flock -F {XTABLES_LOCK} "$0" held
    {LIVES}"""
    with program(greedy, script) as pid:
        wait(lambda: _holder() == Process(pid=pid, name="greedy"), 10)
    wait(lambda: _holder() is None, 10)


def _holder() -> Process | None:
    return read_processes(NAMES).lock_holder
