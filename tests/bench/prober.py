"""`python -m tests.bench.prober`: ask `/livez` all the time, from another process.

From the first answer on, until its input ends; then it prints, as JSON, how long the
slowest answer took, how many there were and how many of them were not 200.
"""

import http.client
import json
import select
import socket
import sys
import time

EVERY_S = 0.05
LIMIT_S = 60


def main(port: int) -> None:
    """Ask at 127.0.0.1."""
    worst, asked, refused = 0.0, 0, 0
    while not _listens(port):
        time.sleep(EVERY_S)
    while not select.select([sys.stdin], [], [], EVERY_S)[0]:
        begun = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
        connection.request("GET", "/livez")
        refused += connection.getresponse().status != http.client.OK
        connection.close()
        worst = max(worst, time.perf_counter() - begun)
        asked += 1
    print(json.dumps({"worst": worst, "asked": asked, "refused": refused}))


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True


if __name__ == "__main__":
    main(int(sys.argv[1]))
