"""What this thread asks of the kernel, call by call, as strace sees it.

strace attaches to the thread from outside, so nothing of what is counted needs a hook,
and the libraries' calls are counted as well. Processes that the thread starts are seen
to be started; what they ask of the kernel themselves is not.
"""

import os
import re
import signal
import subprocess
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import IntEnum
from pathlib import Path

from ipvsctl.wire.conntrack.attributes import NFNL_SUBSYS_CTNETLINK, ConntrackCmd
from ipvsctl.wire.ipset.attributes import NFNL_SUBSYS_IPSET, IpsetCmd
from ipvsctl.wire.ipvs.attributes import IpvsCmd
from ipvsctl.wire.netlink.messages import NetlinkProtocol, iter_messages
from ipvsctl.wire.nftables.attributes import (
    NFNL_MSG_BATCH_BEGIN,
    NFNL_MSG_BATCH_END,
    NFNL_SUBSYS_NFTABLES,
    NftMessage,
)

SENDS = frozenset({"sendto", "sendmsg"})
RECEIVES = frozenset({"recvfrom", "recvmsg"})
STARTS = frozenset({"fork", "vfork", "clone", "clone3"})
TRANSACTION = "nftables transaction"
"""The message that begins one, with what there is in it; that it ends is not counted.
"""

_MARK = "strace mark: "
_CALL = re.compile(r'(\w+)\((?:(\d+)|AT_FDCWD, "([^"]*)")?.* = (-?\d+)')
_SOCKET = re.compile(r"socket\(AF_NETLINK, [^,]+, (\w+)\) += (\d+)$")
_CLOSED = re.compile(r"close\((\d+)\)")
_COPIED = re.compile(r"fcntl\((\d+), F_DUPFD\w*, .* = (\d+)$")
_DUMPED = re.compile(r" \| [0-9a-f]{5,}  ([0-9a-f ]{49}) ")

_PROTOCOLS = {
    "NETLINK_ROUTE": NetlinkProtocol.ROUTE,
    "NETLINK_NETFILTER": NetlinkProtocol.NETFILTER,
    "NETLINK_SOCK_DIAG": NetlinkProtocol.SOCK_DIAG,
    "NETLINK_GENERIC": NetlinkProtocol.GENERIC,
}
_SUBSYSTEMS: Mapping[int, tuple[str, type[IntEnum]]] = {
    NFNL_SUBSYS_CTNETLINK: ("conntrack", ConntrackCmd),
    NFNL_SUBSYS_IPSET: ("ipset", IpsetCmd),
    NFNL_SUBSYS_NFTABLES: ("nftables", NftMessage),
}
_RTNETLINK = ("link", "address", "route")
_VERBS = ("NEW", "DEL", "GET", "SET")
_CHANGES = {one.name for one in NftMessage if not one.name.startswith("GET")}
_FIRST_RTNETLINK = 16
_CTRL_FAMILY = 16


class Asked:
    """What was asked between one mark and the next.

    Attributes:
        calls: system calls by name; those for memory are left out.
        messages: netlink requests by what they are about and their verb, one for each
            message header however many share a call.
        received_bytes: what `receives` brought.
    """

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.messages: Counter[str] = Counter()
        self.received_bytes = 0

    @property
    def sends(self) -> int:
        """Calls that send something."""
        return sum(self.calls[name] for name in SENDS)

    @property
    def receives(self) -> int:
        """Calls that receive something."""
        return sum(self.calls[name] for name in RECEIVES)

    @property
    def answers(self) -> int:
        """Answers that are due: one to each message, and to each transaction one."""
        together = sum(
            number
            for name, number in self.messages.items()
            if name.startswith("nftables ") and name.partition(" ")[2] in _CHANGES
        )
        return self.messages.total() - together

    @property
    def processes(self) -> int:
        """Processes that were started."""
        return sum(self.calls[name] for name in STARTS)


def mark(name: str) -> None:
    """What comes from now on is counted under this name; inside of `traced` only."""
    with suppress(FileNotFoundError):
        os.stat(_MARK + name)  # noqa: PTH116 - one system call, and no more


@contextmanager
def traced() -> Iterator[dict[str, Asked]]:
    """Trace the calling thread in the block, whose end fills the mapping.

    Netlink sockets have to be opened in the block to have their messages counted.
    """
    found: dict[str, Asked] = {}
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch, "strace")
        command = ["strace", "-p", str(threading.get_native_id()), "-o", str(output)]
        filters = ["-e", "trace=!%memory", "-e", "verbose=none", "-e", "write=all"]
        with subprocess.Popen(
            [*command, *filters], stderr=subprocess.PIPE, text=True
        ) as strace:
            assert strace.stderr is not None
            said = strace.stderr.readline()
            assert "attached" in said, said
            try:
                yield found
            finally:
                strace.send_signal(signal.SIGINT)
        found |= _parse(output.read_text(encoding="ascii", errors="replace"))


def _parse(text: str) -> dict[str, Asked]:
    found: dict[str, Asked] = {}
    asked = Asked()
    protocols: dict[int, NetlinkProtocol] = {}
    for line, sent in _lines(text):
        call = _CALL.match(line)
        if not call:
            # A signal, or the last call, in which strace let go of the thread.
            continue
        name, fd, path, result = call.groups()
        if path is not None and path.startswith(_MARK):
            asked = found[path.removeprefix(_MARK)] = Asked()
            continue
        asked.calls[name] += 1
        if name in RECEIVES:
            asked.received_bytes += max(int(result), 0)
        elif name in SENDS and int(fd) in protocols:
            asked.messages.update(_names(protocols[int(fd)], sent))
        else:
            _follow(protocols, line)
    return found


def _lines(text: str) -> Iterator[tuple[str, bytes]]:
    """Each call with what it wrote, which strace prints below it."""
    call = ""
    sent = bytearray()
    for line in text.splitlines():
        dumped = _DUMPED.match(line)
        if dumped:
            sent += bytes.fromhex(dumped[1])
            continue
        yield call, bytes(sent)
        call = line
        sent.clear()
    yield call, bytes(sent)


def _follow(protocols: dict[int, NetlinkProtocol], line: str) -> None:
    """Keep up with which file descriptors are netlink sockets."""
    if opened := _SOCKET.match(line):
        protocols[int(opened[2])] = _PROTOCOLS[opened[1]]
    elif copied := _COPIED.match(line):
        if int(copied[1]) in protocols:
            protocols[int(copied[2])] = protocols[int(copied[1])]
    elif closed := _CLOSED.match(line):
        protocols.pop(int(closed[1]), None)


def _names(protocol: NetlinkProtocol, data: bytes) -> Iterator[str]:
    for kind, _, _, start, _ in iter_messages(data):
        match protocol:
            case NetlinkProtocol.ROUTE:
                about, verb = divmod(kind - _FIRST_RTNETLINK, len(_VERBS))
                yield f"{_RTNETLINK[about]} {_VERBS[verb]}"
            case NetlinkProtocol.NETFILTER if kind != NFNL_MSG_BATCH_END:
                yield _name_of_netfilter(kind)
            case NetlinkProtocol.SOCK_DIAG:
                yield "socket LIST"
            case NetlinkProtocol.GENERIC if kind == _CTRL_FAMILY:
                yield "family GET"
            case NetlinkProtocol.GENERIC:
                yield f"ipvs {IpvsCmd(data[start]).name}"


def _name_of_netfilter(kind: int) -> str:
    if kind == NFNL_MSG_BATCH_BEGIN:
        return TRANSACTION
    subsystem, command = divmod(kind, 1 << 8)
    name, commands = _SUBSYSTEMS[subsystem]
    return f"{name} {commands(command).name}"
