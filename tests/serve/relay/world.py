"""A relay, endpoints on loopback addresses, and clients of it."""

import random
import socket
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import msgspec

from ipvsctl.model.config import Listener
from ipvsctl.model.ipvs import RealServer, RealServerKey
from ipvsctl.model.net import Protocol, parse_address
from ipvsctl.model.objects import ServicePortName
from ipvsctl.plan.service.program import LocalhostPort
from ipvsctl.serve.relay.relay import LocalhostRelay
from tests.builders import ref

LIMIT_S = 20.0
"""After which something that must happen has not happened."""

# Below those that clients are given.
_PORTS = iter(random.sample(range(10_000, 30_000), 15_000))


def free_listener(address: str = "127.0.0.1") -> Listener:
    """Where nobody listens, or did."""
    return Listener(parse_address(address), next(_PORTS))


class Pod:
    """An endpoint: a socket that listens, and says nothing of its own.

    Attributes:
        key: where it is; not the address of the listeners.
    """

    def __init__(self, stack: ExitStack, address: str = "127.0.0.9") -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.socket = stack.enter_context(socket.socket(family))
        self.socket.bind((address, 0))
        self.socket.listen(1024)
        self.socket.settimeout(LIMIT_S)
        self.key = RealServerKey(parse_address(address), self.socket.getsockname()[1])
        self._stack = stack

    def accept(self) -> socket.socket:
        """The next connection."""
        found, _ = self.socket.accept()
        found.settimeout(LIMIT_S)
        return self._stack.enter_context(found)

    def refuse(self) -> None:
        """Refuse whoever comes from now on."""
        self.socket.close()

    def is_asked(self) -> bool:
        """Whether a connection waits."""
        self.socket.settimeout(0.2)
        try:
            self.accept()
        except TimeoutError:
            return False
        finally:
            self.socket.settimeout(LIMIT_S)
        return True


def port_at(
    listener: Listener,
    endpoints: Iterable[RealServerKey | RealServer],
    *,
    name: str = "web",
    **fields: Any,
) -> LocalhostPort:
    """A Service's port with these endpoints."""
    servers = [
        one if isinstance(one, RealServer) else RealServer(key=one) for one in endpoints
    ]
    return LocalhostPort(
        port_name=ServicePortName(ref(name), "http", Protocol.TCP),
        listener=listener,
        field="spec.ports[0].nodePort",
        real_servers={server.key: server for server in servers},
        **{"drain_timeout_s": 900.0, **fields},
    )


class World:
    """A relay with one listener, and pods.

    Attributes:
        stack: closes what is opened.
    """

    def __init__(self, relay: LocalhostRelay, stack: ExitStack) -> None:
        self.relay = relay
        self.stack = stack
        self.listener = free_listener()

    def pod(self, address: str = "127.0.0.9") -> Pod:
        """One pod more."""
        return Pod(self.stack, address)

    async def serve(self, *pods: Pod | RealServer, **fields: Any) -> None:
        """Have these endpoints at the listener, and no others."""
        keys = [pod.key if isinstance(pod, Pod) else pod for pod in pods]
        port = port_at(self.listener, keys, **fields)
        await self.relay.update({self.listener: port})
        await self.relay.settle()

    def client(self) -> socket.socket:
        """A client that is connected to the listener."""
        where = str(self.listener.address), self.listener.port
        made = socket.create_connection(where, timeout=LIMIT_S)
        return self.stack.enter_context(made)

    def pair(self, pod: Pod) -> tuple[socket.socket, socket.socket]:
        """A client, and its connection as the pod has it."""
        client = self.client()
        return client, pod.accept()

    def is_refused(self) -> bool:
        """Whether one client more is reset."""
        try:
            return is_reset(self.client())
        except ConnectionResetError:
            return True

    def counts(self) -> dict[str, int]:
        """Endpoint -> its connections."""
        state = self.relay.states()[self.listener]
        return {str(key): count for key, count in state.connections.items()}


def until(is_so: Callable[[], bool]) -> None:
    """Return as soon as something is so.

    Raises:
        TimeoutError: it does not come to that.
    """
    end_s = time.monotonic() + LIMIT_S
    while not is_so():
        if time.monotonic() > end_s:
            raise TimeoutError
        time.sleep(0.005)


def is_reset(side: socket.socket) -> bool:
    """Whether a connection is reset, and not ended."""
    try:
        while side.recv(1 << 16):
            pass
    except ConnectionResetError:
        return True
    return False


def reset(side: socket.socket) -> None:
    """Reset a connection."""
    side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    side.close()


def fill(side: socket.socket) -> int:
    """Send until there is no room any more; how many bytes that are."""
    side.settimeout(0.5)
    sent = 0
    with suppress(TimeoutError):
        while True:
            sent += side.send(bytes(1 << 16))
    return sent


def read(side: socket.socket, count: int) -> bytes:
    """So many bytes."""
    found = bytearray()
    while len(found) < count:
        some = side.recv(count - len(found))
        if not some:
            break
        found += some
    return bytes(found)


def weighing(pod: Pod, **fields: Any) -> RealServer:
    """The pod with a weight or a limit."""
    return msgspec.structs.replace(RealServer(key=pod.key), **fields)


@contextmanager
def opened() -> Iterator[ExitStack]:
    """What is opened in the block is closed after it."""
    with ExitStack() as stack:
        yield stack
