"""Sysctls, as files under /proc/sys."""

import errno
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from ipvsctl.model.errors import describe_errno
from ipvsctl.plan.diff.ops import FailedOp, Op, SetSysctl

PROC_SYS: Final = Path("/proc/sys")


class Sysctls:
    """The sysctls of the caller's network namespace.

    Args:
        names: those that are read, relative to `root`.
        root: where they are.
    """

    def __init__(self, names: Iterable[str], root: Path = PROC_SYS) -> None:
        self._names = tuple(names)
        self._root = root

    def read(self) -> dict[str, str]:
        """Name to value; one that is not there or not readable is left out."""
        values = {}
        for name in self._names:
            try:
                text = (self._root / name).read_text(encoding="ascii")
            except OSError:
                continue
            values[name] = text.strip()
        return values

    def may_be_set(self, name: str) -> bool:
        """Whether the kernel lets this network namespace have a value of its own.

        Whether this process may write is another matter; nor is it known of one that
        is not there.
        """
        try:
            mode = (self._root / name).stat().st_mode
        except OSError:
            return True
        return bool(mode & stat.S_IWUSR)

    def run(self, ops: Sequence[Op]) -> list[FailedOp]:
        """See `applier.Transport`."""
        failed = []
        for op in ops:
            if not isinstance(op, SetSysctl):
                raise TypeError(op)
            try:
                (self._root / op.name).write_text(f"{op.value}\n", encoding="ascii")
            except OSError as error:
                code = error.errno or errno.EIO
                failed.append(FailedOp(op=op, errno=code, reason=describe_errno(code)))
        return failed
