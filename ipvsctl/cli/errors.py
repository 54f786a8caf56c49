"""How errors reach the user, and the exit statuses."""

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import Final

import typer

import ipvsctl
from ipvsctl.model.errors import IpvsctlError
from ipvsctl.model.text import one_line

_HOME: Final = Path(ipvsctl.__file__).parent


class ExitStatus(IntEnum):
    """Exit statuses of commands."""

    OK = 0
    DIFFERENT = 1
    """`diff`: the kernel is not what it should be. `check`: nor is the node."""
    ERROR = 2
    INTERRUPTED = 130


@contextmanager
def reported(verbose: int) -> Iterator[None]:
    """Turn an exception into one sentence on stderr and an exit status.

    Args:
        verbose: above 0, the causes follow; for a defect of the program, where it is.
    """
    try:
        yield
    except (typer.Exit, BrokenPipeError):
        raise
    except KeyboardInterrupt:
        raise typer.Exit(ExitStatus.INTERRUPTED) from None
    except IpvsctlError as error:
        complain(f"error: {error}")
        if verbose:
            for cause in _causes(error):
                complain(f"  caused by {type(cause).__name__}: {cause}")
        raise typer.Exit(ExitStatus.ERROR) from error
    except Exception as error:
        if verbose:
            traceback.print_exc()
        else:
            complain(
                f"error: unexpected {type(error).__name__}: {error}"
                f" (a defect of ipvsctl, {where(error)}; -v shows more)"
            )
        raise typer.Exit(ExitStatus.ERROR) from error


def where(error: BaseException) -> str:
    """The innermost line of this program that an exception came through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if Path(f.filename).is_relative_to(_HOME)]
    if not ours:
        return "elsewhere"
    return f"in {Path(ours[-1].filename).relative_to(_HOME)}:{ours[-1].lineno}"


def complain(text: str) -> None:
    """Say something on stderr, in the name of the program and in one line."""
    tell(f"ipvsctl: {text}")


def tell(text: str) -> None:
    """Write one line to stderr; what is not printable is shown escaped."""
    sys.stderr.write(one_line(text) + "\n")


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause = error.__cause__
    while cause is not None:
        yield cause
        cause = cause.__cause__
