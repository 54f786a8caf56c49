"""Reading IPVS' table of connections, row by row."""

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ipvsctl.model.errors import KernelError
from ipvsctl.model.neighbours import Connection
from ipvsctl.wire.ipvs.connections import parse_connection

_PROC_NET: Final = Path("/proc/thread-self/net")
_TABLE: Final = "ip_vs_conn"


def read_connections(proc_net: Path = _PROC_NET) -> Iterator[Connection]:
    """Every connection; nothing is kept, however long the table is.

    A row may be missing or be there twice when the table changes meanwhile.

    Raises:
        KernelError: the table cannot be read; NotFound without IPVS.
        WireError: a row is not what it should be.
    """
    try:
        with (proc_net / _TABLE).open(encoding="ascii") as rows:
            for row in rows:
                found = parse_connection(row)
                if found is not None:
                    yield found
    except OSError as error:
        raise KernelError.of(error.errno or errno.EIO, "list connections") from error
