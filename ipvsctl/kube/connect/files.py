"""Files that credentials are in: small, regular, and read anew for every client.

Blocking calls, as short as a local file of some kilobytes takes.
"""

import os
import stat
from pathlib import Path
from typing import Final

MAX_BYTES: Final = 2**20
"""The largest file that is read; a kubeconfig with certificates in it has some
kilobytes."""

# A FIFO that takes the file's place is not waited for, and a terminal stays another's.
_FLAGS: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Unusable(Exception):
    """Credentials cannot be used.

    Attributes:
        reason: a clause that names the field, and the file if the field names one.
        file: the kubeconfig with the field; "" if it is in none, or in all of them.
    """

    def __init__(self, reason: str, *, file: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.file = file


def read_small(path: Path) -> bytes:
    """The content of a regular file.

    A FIFO or a device would never end, nor would a large file soon; neither is opened.

    Raises:
        Unusable: the file is something else, empty (as files of /proc say they are that
            never end), too large, not there, or not allowed. The reason does not name
            it.
    """
    try:
        _check(path.stat())
        with os.fdopen(os.open(path, _FLAGS), "rb") as file:
            _check(os.fstat(file.fileno()))
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise Unusable(error.strerror or type(error).__name__) from error
    except ValueError as error:
        # A NUL, or half of a surrogate pair.
        raise Unusable("is not a path") from error
    if len(raw) > MAX_BYTES:
        raise _too_large()
    return raw


def _check(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise Unusable("is not a file")
    if status.st_size > MAX_BYTES:
        raise _too_large()
    if not status.st_size:
        raise Unusable("is empty")


def _too_large() -> Unusable:
    return Unusable(f"is larger than {MAX_BYTES // 2**20} MiB")
