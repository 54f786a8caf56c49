"""Where a lab may put what is large."""

import os
from collections.abc import Iterable
from pathlib import Path

from tests.lab.errors import NoLab


def directory_with_room(
    candidates: Iterable[Path], needed_bytes: int, purpose: str
) -> Path:
    """The first directory that has room, and in which files may be executed.

    Args:
        candidates: directories, which need not be there.
        needed_bytes: how much room.
        purpose: what for, in a few words.

    Raises:
        NoLab: no candidate qualifies.
    """
    candidates = tuple(candidates)
    for directory in candidates:
        if not directory.is_dir():
            continue
        about = os.statvfs(directory)
        is_large_enough = about.f_bavail * about.f_frsize >= needed_bytes
        if is_large_enough and not about.f_flag & os.ST_NOEXEC:
            return directory
    names = ", ".join(map(str, candidates))
    size = f"{needed_bytes // 2**20} MB"
    raise NoLab((f"none of {names} has {size} free, and may execute, for {purpose}",))
