"""`python -m tests.bench.prober`: ask `/livez` all the time, from another process.

Until its input ends; then it prints, as JSON, how long the slowest answer took, how
many there were and how many of them were not 200.
"""

import http.client
import json
import select
import sys
import time

EVERY_S = 0.05
LIMIT_S = 60


def main(port: int) -> None:
    """Ask at 127.0.0.1."""
    worst, asked, refused = 0.0, 0, 0
    while not select.select([sys.stdin], [], [], EVERY_S)[0]:
        begun = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
        connection.request("GET", "/livez")
        refused += connection.getresponse().status != http.client.OK
        connection.close()
        worst = max(worst, time.perf_counter() - begun)
        asked += 1
    print(json.dumps({"worst": worst, "asked": asked, "refused": refused}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
