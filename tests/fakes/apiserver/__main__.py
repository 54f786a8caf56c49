"""`python -m tests.fakes.apiserver`: an API server with a large cluster, to try with.

Prints the path of a kubeconfig once it answers, and goes on until SIGINT or SIGTERM.
"""

import argparse
import asyncio
import signal
import tempfile
from pathlib import Path

from tests.fakes.apiserver.answers import Streaming
from tests.fakes.apiserver.large import change_endpoint, large_cluster
from tests.fakes.apiserver.server import FakeApiServer


def main() -> int:
    """Serve what the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fakes.apiserver", description=__doc__
    )
    parser.add_argument("--services", type=int, default=100)
    parser.add_argument("--slices", type=int, help="default: one for each Service")
    parser.add_argument("--endpoints", type=int, default=10, help="of each slice")
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    parser.add_argument("--kubeconfig", type=Path, help="where to write it")
    parser.add_argument(
        "--changes-per-s",
        type=float,
        default=0,
        metavar="N",
        help="endpoints that become ready or unready, one slice after the other",
    )
    parser.add_argument(
        "--streaming",
        type=Streaming,
        choices=tuple(Streaming),
        default=Streaming.ON,
        metavar="{on,off,unknown}",
        help="what becomes of streaming lists",
    )
    with tempfile.TemporaryDirectory() as scratch:
        options = parser.parse_args()
        options.kubeconfig = options.kubeconfig or Path(scratch, "kubeconfig")
        asyncio.run(_serve(options))
    return 0


async def _serve(options: argparse.Namespace) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    slices = options.services if options.slices is None else options.slices
    server = FakeApiServer(port=options.port)
    server.streaming = options.streaming
    cluster = large_cluster(
        services=options.services, slices=slices, endpoints=options.endpoints
    )
    server.load(cluster, revision=1 + options.services + slices)
    async with server:
        print(server.kubeconfig(options.kubeconfig), flush=True)
        feeding = asyncio.ensure_future(_feed(server, options.changes_per_s))
        await ended.wait()
        feeding.cancel()


async def _feed(server: FakeApiServer, changes_per_s: float) -> None:
    if not changes_per_s:
        return
    number = 0
    loop = asyncio.get_running_loop()
    begun = loop.time()
    while True:
        await asyncio.sleep(begun + (number + 1) / changes_per_s - loop.time())
        change_endpoint(server.store, number)
        number += 1


if __name__ == "__main__":
    raise SystemExit(main())
