"""`python -m tests.bench.askers`: ask a daemon for `status` and `diff` all the time.

From another process, on its control socket, so many at once; until the input ends.
Then it prints, as JSON, how long the slowest answer took, how many there were and how
many of them were refused.
"""

import http.client
import json
import socket
import sys
import time
from threading import Event, Lock, Thread

LIMIT_S = 120
ROUTES = ("/v1/status", "/v1/diff")


class _Connection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=LIMIT_S)
        self._path = path

    def connect(self) -> None:
        """See `HTTPConnection`."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(LIMIT_S)
        self.sock.connect(self._path)


class _Askers:
    """What several threads have met."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = Lock()
        self.stop = Event()
        self.found = {"worst": 0.0, "asked": 0, "refused": 0}

    def ask(self, number: int) -> None:
        """Ask one question after the other, until it is to stop."""
        while not self.stop.is_set():
            begun = time.perf_counter()
            connection = _Connection(self._path)
            connection.request("GET", ROUTES[number % len(ROUTES)])
            answer = connection.getresponse()
            while answer.read(1 << 20):
                pass
            connection.close()
            with self._lock:
                took = time.perf_counter() - begun
                self.found["worst"] = max(self.found["worst"], took)
                self.found["asked"] += 1
                self.found["refused"] += answer.status != http.client.OK


def main(path: str, count: int) -> None:
    """Ask at a path, so many at once."""
    askers = _Askers(path)
    threads = [Thread(target=askers.ask, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    askers.stop.set()
    for thread in threads:
        thread.join()
    print(json.dumps(askers.found))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
