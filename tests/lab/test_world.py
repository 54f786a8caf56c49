"""The lab from outside: what its caller gets back, and what it leaves behind."""

import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.lab.host import Kind, choose, namespace_obstacles, obstacles

pytestmark = pytest.mark.lab

_LAB = (sys.executable, "-m", "tests.lab")
_PATIENCE_S = 180


@pytest.fixture(scope="session", autouse=True)
def _some_lab() -> None:
    # Installs what is missing, and fails every test here if there is no lab at all.
    choose()


@pytest.fixture(params=list(Kind))
def kind(request: pytest.FixtureRequest) -> Kind:
    """Each kind of lab that this machine can host."""
    found = Kind(request.param)
    if reasons := obstacles(found):
        pytest.skip(f"{found}: {'; '.join(reasons)}")
    return found


def _run(
    kind: Kind, *command: str, options: tuple[str, ...] = (), **extra_env: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*_LAB, "--require-kind", kind, *options, "--", *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=_PATIENCE_S,
        env=os.environ | extra_env,
    )


def test_status_and_streams_come_back(kind: Kind) -> None:
    """Exit status, stdout and stderr are the job's, byte for byte and nothing else."""
    done = _run(kind, "sh", "-c", r"printf 'a\tb\n\n%s' out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "a\tb\n\nout", "err\n")


def test_much_output_comes_back(kind: Kind) -> None:
    """The end of a long output is not lost when the world ends with it."""
    done = _run(kind, "seq", "100000")
    assert done.stdout.splitlines() == [str(number) for number in range(1, 100001)]


def test_traceback_comes_back(kind: Kind) -> None:
    """An exception of the job is shown with its traceback."""
    done = _run(kind, sys.executable, "-c", "raise ValueError('from inside')")
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback (most recent call last)")
    assert done.stderr.endswith("ValueError: from inside\n")


def test_leftovers_end_with_the_job(kind: Kind) -> None:
    """A process that the job leaves running does not keep the lab from ending."""
    done = _run(kind, "sh", "-c", "setsid sleep 3600 & echo done")
    assert (done.returncode, done.stdout) == (0, "done\n")


def test_streams_are_no_terminals_unless_ours_are(kind: Kind) -> None:
    """A job whose output we collect does not colour it for a terminal."""
    assert _run(kind, "sh", "-c", "[ -t 1 ] || [ -t 2 ]").returncode == 1


def test_death_by_signal_comes_back(kind: Kind) -> None:
    """A job that a signal ended has the exit status a shell would give it."""
    assert _run(kind, "sh", "-c", "kill -9 $$").returncode == 128 + signal.SIGKILL


def test_caller_comes_along(kind: Kind) -> None:
    """Environment, working directory and arguments are the caller's, quotes and all."""
    awkward = "two words\n'\"$HOME`"
    script = 'printf "%s|%s|%s|%s" "$AWKWARD" "$1" "$PWD" "$IPVSCTL_LAB"'
    done = _run(kind, "sh", "-c", script, "sh", awkward, AWKWARD=awkward)
    assert done.stdout == f"{awkward}|{awkward}|{Path.cwd()}|{kind}"


def test_clock_and_randomness(kind: Kind) -> None:
    """The clock inside is ours, and its random bytes are its own."""
    program = "import os, time; print(time.time(), os.urandom(16).hex())"
    one, other = (
        _run(kind, sys.executable, "-c", program).stdout.split() for _ in range(2)
    )
    assert abs(float(other[0]) - time.time()) < _PATIENCE_S
    assert one[1] != other[1]


def test_time_limit(kind: Kind) -> None:
    """A job that does not end is ended, with a status and a word of its own."""
    done = _run(kind, "sleep", "3600", options=("--time-limit", "4"))
    assert done.returncode == 124
    assert "ended at the time limit of 4 s" in done.stderr


def test_guests_side_by_side_share_the_work() -> None:
    """Each piece is done by one of them, and all of the output comes."""
    program = """
from tests.lab.side_by_side import take
print(*(number for number in range(9) if take(str(number))))
print("end")
raise SystemExit(take("failure") * 3)
"""
    options = ("--side-by-side",)
    done = _run(Kind.UML, sys.executable, "-c", program, options=options)
    assert done.returncode == 3
    assert done.stdout.count("end\n") == min(len(os.sched_getaffinity(0)), 4)
    taken = [line.split() for line in done.stdout.splitlines() if "---" not in line]
    pieces = sorted(word for line in taken for word in line if word != "end")
    assert pieces == [str(number) for number in range(9)]


def test_console_of_a_dead_guest() -> None:
    """When the guest's kernel dies its last words are shown."""
    done = _run(Kind.UML, "sh", "-c", "echo c >/proc/sysrq-trigger")
    assert done.returncode == 125
    assert "last lines of the console:\n  " in done.stderr
    assert "sysrq" in done.stderr


def test_unknown_command(kind: Kind) -> None:
    """A command that does not exist is the job's failure, as in a shell."""
    done = _run(kind, "no-such-command")
    assert done.returncode == 127
    assert "no-such-command" in done.stderr


@pytest.fixture
def sleeping_lab(kind: Kind, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A lab, in the middle of a job that has started processes of its own."""
    job = "setsid sleep 3600 & sleep 3600 & echo ready; wait"
    # A job in the background of a script ignores Ctrl-C, and so would its children.
    listening = ("env", "--default-signal=INT")
    with subprocess.Popen(
        [*listening, *_LAB, "--require-kind", kind, "--", "sh", "-c", job],
        stdout=subprocess.PIPE,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    ) as lab:
        assert lab.stdout is not None
        assert lab.stdout.readline() == b"ready\n"
        yield lab
        lab.kill()


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_interrupt_leaves_nothing(
    sleeping_lab: subprocess.Popen[bytes], tmp_path: Path, number: int, status: int
) -> None:
    """Ctrl-C and SIGTERM end every process of the lab and remove its files."""
    family = _pidfds(sleeping_lab.pid)
    sleeping_lab.send_signal(number)
    assert sleeping_lab.wait(_PATIENCE_S) == status
    assert _all_end(family)
    assert list(tmp_path.iterdir()) == []
    assert not [path for path in Path("/dev/shm").iterdir() if "vm_file" in path.name]  # noqa: S108 - where a guest's memory is


@pytest.mark.skipif(
    bool(namespace_obstacles()), reason="; ".join(namespace_obstacles())
)
def test_sudden_death_leaves_no_process(
    sleeping_lab: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    """Not even SIGKILL of the lab leaves its processes running."""
    family = _pidfds(sleeping_lab.pid)
    sleeping_lab.kill()
    assert _all_end(family)
    shutil.rmtree(tmp_path)


def _pidfds(root: int) -> list[int]:
    """Handles of all descendants of a process."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(ProcessLookupError, FileNotFoundError):
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found, queue = [], [root]
    while queue:
        queue += (born := children.get(queue.pop(), []))
        for pid in born:
            # Some are short-lived: those of a guest that are just starting the job.
            with suppress(ProcessLookupError):
                found.append(os.pidfd_open(pid))
    # The lab's own process tree: the first process of the world and the job at least.
    assert len(found) >= 2
    return found


def _all_end(pidfds: list[int]) -> bool:
    """Whether all of them end soon; a handle is readable once its process has ended."""
    try:
        return all(select.select([pidfd], [], [], 5)[0] for pidfd in pidfds)
    finally:
        for pidfd in pidfds:
            os.close(pidfd)
