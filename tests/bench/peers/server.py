"""`python -m tests.bench.peers.server`: an API server that does as it is told.

Prints a line once it answers. Then each line of its input is a change: a Service's
number, whose first endpoint becomes ready or unready, or `RATE SECONDS SERVICES`: so
many a second, of the first so many Services in turn. It answers with a line of JSON.
"""

import asyncio
import sys
import time
from pathlib import Path
from typing import Final

import msgspec

from tests.fakes.apiserver import FakeApiServer
from tests.fakes.apiserver.large import Raw, change_service, large_cluster

_CLUSTER_IPS: Final = "10.96.0.0/12"


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint was changed.

    Attributes:
        at_s: when every watch had it to send, on the clock that processes share
            (`time.monotonic`).
        is_ready: whether the endpoint is, now.
        count: of the changes made.
        took_s: from the first of them to the last.
    """

    at_s: float
    is_ready: bool
    count: int = 1
    took_s: float = 0


async def serve(services: int, endpoints: int, kubeconfig: Path) -> None:
    """Serve, and do as the lines say, up to their end.

    Args:
        services: how many, with one slice each.
        endpoints: of each slice.
        kubeconfig: the file to write.
    """
    server = FakeApiServer()
    cluster = large_cluster(services=services, slices=services, endpoints=endpoints)
    server.load([*cluster, _service_cidr()], revision=2 + 2 * services)
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async with server:
        _say(str(server.kubeconfig(kubeconfig)).encode())
        async for line in lines:
            match line.split():
                case [number]:
                    changed = _change(server, int(number))
                case [rate, seconds, among]:
                    changed = await _churn(
                        server, int(among), float(rate), float(seconds)
                    )
                case _:
                    raise ValueError(line)
            _say(msgspec.json.encode(changed))


def _change(server: FakeApiServer, number: int) -> Changed:
    is_ready = change_service(server.store, number)
    return Changed(at_s=time.monotonic(), is_ready=is_ready)


async def _churn(
    server: FakeApiServer, services: int, rate: float, seconds: float
) -> Changed:
    loop = asyncio.get_running_loop()
    begun, count = loop.time(), int(rate * seconds)
    changed = Changed(at_s=begun, is_ready=True, count=0)
    for number in range(count):
        await asyncio.sleep(begun + number / rate - loop.time())
        changed = _change(server, number % services)
    return msgspec.structs.replace(changed, count=count, took_s=changed.at_s - begun)


def _service_cidr() -> Raw:
    return {
        "kind": "ServiceCIDR",
        "metadata": {"name": "kubernetes"},
        "spec": {"cidrs": [_CLUSTER_IPS]},
    }


def _say(line: bytes) -> None:
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


def main() -> int:
    """What the command line says: Services, endpoints of each, a kubeconfig."""
    services, endpoints, kubeconfig = sys.argv[1:]
    asyncio.run(serve(int(services), int(endpoints), Path(kubeconfig)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
