"""What relaying to an endpoint costs, beside socat and beside no relay at all.

`python -m tests.bench.relay LISTENER ENDPOINT` (ports on loopback) is a relay in a
process of its own, under an event loop that naps. For each line of its input it prints,
as JSON, its memory and what its naps since the line before were like.
"""

import asyncio
import json
import resource
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from ipvsctl.cli import interpreter
from ipvsctl.cli.logs import configure_logs
from ipvsctl.cli.options import LogFormat
from ipvsctl.model.config import Listener
from ipvsctl.model.ipvs import RealServer, RealServerKey
from ipvsctl.model.net import Protocol, parse_address
from ipvsctl.model.objects import ServicePortName
from ipvsctl.model.problem import ObjectRef
from ipvsctl.plan.service.program import LocalhostPort
from ipvsctl.serve.relay.relay import LocalhostRelay
from tests.bench.naps import Naps
from tests.bench.sizes import Figures

CONNECTIONS: Final = 10_000
_SECONDS: Final = 3.0
_CHUNK: Final = bytes(1 << 18)
_WAIT_S: Final = 10.0
_HOST: Final = "127.0.0.1"
_ENDPOINT: Final = "127.0.0.9"
_PAGE: Final = resource.getpagesize()


def measure() -> Figures:
    """Bytes and questions a second by each way, memory, and naps meanwhile."""
    room = _make_room()
    figures: Figures = {}
    with socket.create_server((_ENDPOINT, 0), backlog=4096) as endpoint:
        endpoint.settimeout(_WAIT_S)
        port = endpoint.getsockname()[1]
        figures |= _measure("direct", endpoint, (_ENDPOINT, port))
        if shutil.which("socat"):
            with _socat(port) as number:
                figures |= _measure("socat", endpoint, (_HOST, number))
        with _relay(port) as (number, ask):
            ask()
            time.sleep(1)
            figures |= _told("idle", ask())
            figures |= _measure("relay", endpoint, (_HOST, number))
            busy = ask()
            figures |= _told("busy", busy)
            # The relay leaves some to the rest of a daemon.
            count = min(CONNECTIONS, (room - 1024) // 2)
            with _idle(endpoint, (_HOST, number), count):
                time.sleep(0.5)
                held = ask()
            each = (held["RSS"] - busy["RSS"]) / count
            figures |= {"relay, connections": count, "relay, RSS of each": each}
    return figures


def _make_room() -> int:
    """How many descriptors this process may have: enough, if it may say so."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (3 * CONNECTIONS, hard):
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(wanted, hard)))
            return wanted
    return soft


def _told(when: str, found: Figures) -> Figures:
    return {f"relay, loop {when}, {name}": found[name] for name in ("p99", "worst")}


def _measure(way: str, endpoint: socket.socket, where: tuple[str, int]) -> Figures:
    with ExitStack() as stack:
        client = stack.enter_context(_connected(where))
        server = stack.enter_context(endpoint.accept()[0])
        asked = _ask(client, server)
        passed = _send(client, server)
    return {f"{way}, bytes/s": passed, f"{way}, questions/s": asked}


def _connected(where: tuple[str, int]) -> socket.socket:
    made = socket.create_connection(where)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def _ask(client: socket.socket, server: socket.socket) -> float:
    server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    answers = 0
    begun = time.perf_counter()
    while time.perf_counter() < begun + _SECONDS / 3:
        client.sendall(b"?")
        server.recv(1)
        server.sendall(b"!")
        client.recv(1)
        answers += 1
    return answers / (time.perf_counter() - begun)


def _send(client: socket.socket, server: socket.socket) -> float:
    end = time.perf_counter() + _SECONDS

    def send() -> None:
        while time.perf_counter() < end:
            client.sendall(_CHUNK)
        client.shutdown(socket.SHUT_WR)

    begun = time.perf_counter()
    sending = threading.Thread(target=send)
    sending.start()
    buffer = bytearray(1 << 20)
    passed = 0
    while count := server.recv_into(buffer):
        passed += count
    sending.join()
    return passed / (time.perf_counter() - begun)


@contextmanager
def _socat(port: int) -> Iterator[int]:
    """Socat on a port of its own."""
    number = _free_port()
    listen = f"TCP-LISTEN:{number},bind={_HOST},reuseaddr,fork"
    words = ["socat", listen, f"TCP:{_ENDPOINT}:{port}"]
    with _started(words, number) as _:
        yield number


@contextmanager
def _relay(port: int) -> Iterator[tuple[int, Callable[[], Figures]]]:
    """The relay on a port of its own, and what asks its process."""
    number = _free_port()
    words = [sys.executable, "-m", "tests.bench.relay", str(number), str(port)]
    with _started(words, number) as process:

        def ask() -> Figures:
            if process.stdin is None or process.stdout is None:
                raise TypeError(process)
            process.stdin.write(b"\n")
            process.stdin.flush()
            figures: Figures = json.loads(process.stdout.readline())
            return figures

        yield number, ask


@contextmanager
def _started(words: list[str], number: int) -> Iterator["subprocess.Popen[bytes]"]:
    """A process, once somebody listens at its port."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(words, stdin=pipe, stdout=pipe)
    try:
        end_s = time.monotonic() + _WAIT_S
        while not _is_listening(number):
            if time.monotonic() > end_s:
                raise TimeoutError(words)
            time.sleep(0.05)
        yield process
    finally:
        process.kill()
        process.wait()


def _is_listening(number: int) -> bool:
    # State 0A of /proc/net/tcp; to connect would be a client.
    wanted = f"0100007F:{number:04X}"
    return any(
        line.split()[1] == wanted and line.split()[3] == "0A"
        for line in Path("/proc/net/tcp").read_text().splitlines()
    )


def _free_port() -> int:
    with socket.create_server((_HOST, 0)) as found:
        number: int = found.getsockname()[1]
    return number


@contextmanager
def _idle(
    endpoint: socket.socket, where: tuple[str, int], count: int
) -> Iterator[None]:
    """So many connections that say nothing."""
    with ExitStack() as stack:
        for _ in range(count):
            client = stack.enter_context(socket.create_connection(where))
            stack.enter_context(endpoint.accept()[0])
            client.settimeout(_WAIT_S)
        yield


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


async def _serve(number: int, port: int) -> None:
    key = RealServerKey(parse_address(_ENDPOINT), port)
    listener = Listener(parse_address(_HOST), number)
    relay = LocalhostRelay()
    name = ServicePortName(ObjectRef("default", "web"), "", Protocol.TCP)
    served = LocalhostPort(
        port_name=name,
        listener=listener,
        field="",
        real_servers={key: RealServer(key=key)},
    )
    await relay.update({listener: served})
    naps = Naps()
    napping = asyncio.create_task(naps.run())
    asked = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(asked), sys.stdin)
    while await asked.readline():
        print(json.dumps({**await naps.take(), "RSS": _resident()}), flush=True)
    napping.cancel()
    await relay.close()


if __name__ == "__main__":
    # Figures go to standard output, which is where logs go unless somebody says so.
    configure_logs(LogFormat.JSON, verbose=0)
    with interpreter.frequent_switches():
        asyncio.run(_serve(*map(int, sys.argv[1:])))
