"""Several worlds at a time, which share one list of work.

A guest has one CPU, so a machine with two does twice as much in two guests.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, Final

_MOST: Final = 4
"""Guests; each may need gigabytes."""

_VARIABLE: Final = "IPVSCTL_LAB_TAKEN"


def take(piece: str) -> bool:
    """Whether a piece of work is ours: nobody else's, and of nobody else from now on.

    In a world that is alone everything is.
    """
    taken = os.environ.get(_VARIABLE)
    if taken is None:
        return True
    try:
        Path(taken, piece).mkdir()
    except FileExistsError:
        return False
    return True


def run_side_by_side(lab: Sequence[str]) -> int:
    """Run the same lab once for each of our CPUs, up to four, pinned to it.

    The output of the first appears as it is written, those of the others after it.

    Args:
        lab: a command that runs a lab, and in it what `take`s its work.

    Returns:
        The first exit status that is not 0, or 0.
    """
    with ExitStack() as stack:
        taken = stack.enter_context(tempfile.TemporaryDirectory(prefix="ipvsctl-lab-"))
        started = [
            (_start(stack, lab, cpu, taken, output), output)
            for cpu, output in _outputs(stack)
        ]
        statuses = []
        for number, (process, output) in enumerate(started, 1):
            statuses.append(process.wait())
            if output is not None:
                print(f"--- guest {number} of {len(started)}", flush=True)
                output.seek(0)
                sys.stdout.buffer.write(output.read())
                sys.stdout.buffer.flush()
    return next(filter(None, statuses), 0)


def _outputs(stack: ExitStack) -> Iterator[tuple[int, BinaryIO | None]]:
    """Each of our CPUs, and where its output is kept; None is not at all."""
    first, *others = sorted(os.sched_getaffinity(0))[:_MOST]
    yield first, None
    for cpu in others:
        output = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack closes it
        yield cpu, output


def _start(
    stack: ExitStack,
    lab: Sequence[str],
    cpu: int,
    taken: str,
    output: BinaryIO | None,
) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        # Whoever stops us in whatever way stops the lab, and the lab its world.
        ["setpriv", "--pdeathsig=TERM", "taskset", "--cpu-list", str(cpu), *lab],
        stdout=output,
        stderr=output and subprocess.STDOUT,
        env=os.environ | {_VARIABLE: taken},
    )
    stack.callback(_end, process)
    return process


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait()
