"""`python -m tests.lab`: run a command in the lab, or say which lab there would be.

Exit status: the command's; 124 when the time was up, 125 when the lab itself failed,
128 + n when signal n ended it.
"""

import argparse
import os
import signal
import sys
from types import FrameType
from typing import NoReturn

from tests.lab.errors import LabError, TimeLimit
from tests.lab.host import Kind, choose, obstacles
from tests.lab.second_kernel import obstacles_to_building, second_kernel
from tests.lab.side_by_side import run_side_by_side
from tests.lab.world import DEFAULT_MEM_BYTES, KERNELS, run

_SUFFIXES = {"M": 2**20, "G": 2**30}


def main() -> int:
    """Parse the command line and do what it says."""
    options = _parser().parse_args()
    if options.kernel:
        if options.require_kind is Kind.NATIVE:
            _parser().error("a kernel of its own has only a guest")
        options.require_kind = Kind.UML
    if options.check:
        return _check(options.require_kind, options.kernel)
    if not options.command:
        _parser().error("no command given")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _terminate)
    try:
        if options.side_by_side and choose(options.require_kind) is Kind.UML:
            return _run_side_by_side(options)
        return run(
            options.command,
            time_limit_s=options.time_limit,
            mem_bytes=options.mem,
            kind=options.require_kind,
            kernel=options.kernel,
        )
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 124 if isinstance(error, TimeLimit) else 125
    except KeyboardInterrupt:
        return 130


def _run_side_by_side(options: argparse.Namespace) -> int:
    words = [f"--require-kind={Kind.UML}", f"--time-limit={options.time_limit}"]
    words.append(f"--mem={options.mem // 2**20}M")
    if options.kernel:
        # Once, and on all CPUs: each of the guests is started on one.
        second_kernel()
        words.append(f"--kernel={options.kernel}")
    lab = (sys.executable, "-m", "tests.lab", *words, "--", *options.command)
    return run_side_by_side(lab)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.lab",
        description="Run a command as root, with IPVS, in a throwaway world.",
    )
    parser.add_argument(
        "--time-limit", type=float, default=600, metavar="SECONDS", help="default: 600"
    )
    parser.add_argument(
        "--mem",
        type=_size,
        default=DEFAULT_MEM_BYTES,
        metavar="SIZE",
        help="memory of a guest, such as 512M; default: 2G",
    )
    parser.add_argument(
        "--side-by-side",
        action="store_true",
        help="a guest for each CPU, where guests it is: the command is to share the "
        "work, as the kernel tests do",
    )
    parser.add_argument(
        "--kernel",
        choices=KERNELS,
        help="a guest with this version of Linux, which is built if need be; default: "
        "that of Debian's package, if a guest it is",
    )
    parser.add_argument("--require-kind", type=Kind, choices=tuple(Kind))
    parser.add_argument(
        "--check", action="store_true", help="only say which lab would be used"
    )
    parser.add_argument("command", nargs="*", metavar="COMMAND")
    return parser


def _size(text: str) -> int:
    try:
        return int(text[:-1]) * _SUFFIXES[text[-1:]]
    except (KeyError, ValueError):
        raise argparse.ArgumentTypeError("a number and M or G, please") from None


def _check(required: Kind | None, kernel: str | None) -> int:
    for kind in (required,) if required else tuple(Kind):
        found = obstacles(kind) + (obstacles_to_building() if kernel else ())
        print(f"{kind}: {'; '.join(found) or 'ready'}")
        if not found:
            return os.EX_OK
    return 125


def _terminate(signum: int, frame: FrameType | None) -> NoReturn:
    del frame
    raise SystemExit(128 + signum)


if __name__ == "__main__":
    sys.exit(main())
