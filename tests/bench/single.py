"""Figures that depend on no cluster in the kernel: listing, starting."""

import os
import resource
import subprocess
import sys
import time
import tracemalloc

from ipvsctl.cli import interpreter
from ipvsctl.cluster.events import Upserted
from ipvsctl.cluster.objects.parse import decode_list, parse_object
from ipvsctl.model.problem import Kind
from tests.bench.cluster import raw_slice_list
from tests.bench.sizes import Figures, Size

TRIES = 3
COMMANDS = {"--help": ("status", "--help"), "version": ("version",)}


def measure_list(size: Size) -> Figures:
    """Reading one list of slices, from its bytes to values."""
    raw = raw_slice_list(size.services, size.endpoints)
    with interpreter.held_back():
        times = []
        for _ in range(TRIES):
            begun = time.perf_counter()
            values = _decode(raw)
            times.append(time.perf_counter() - begun)
            del values
        tracemalloc.start()
        values = _decode(raw)
        held, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return {
        "list, bytes": len(raw),
        "list, seconds": min(times),
        "list, peak": peak,
        "list, values": held,
        "list, slices": len(values),
    }


def _decode(raw: bytes) -> list[Upserted]:
    return [
        parse_object(Kind.ENDPOINT_SLICE, item) for item in decode_list(raw).items or ()
    ]


def measure_start() -> Figures:
    """CPU seconds of commands that need no kernel, and of Python alone."""
    figures = {
        f"start, {name}": _cpu("-m", "ipvsctl", *words)
        for name, words in COMMANDS.items()
    }
    in_guest = float(os.environ.get("IPVSCTL_LAB") == "uml")
    return {**figures, "start, floor": _cpu("-c", ""), "start, in guest": in_guest}


def _cpu(*words: str) -> float:
    """The least of some tries: the first reads files for all."""
    found = []
    for _ in range(TRIES + 1):
        before = _children()
        subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
        found.append(_children() - before)
    return min(found)


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
