"""A real Prometheus that scrapes one address, on loopback."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.lab.host import PROMETHEUS_PACKAGE_OF, require

_CONFIG = """\
global:
  scrape_interval: 1s
  evaluation_interval: 1s
rule_files: [rules.yaml]
scrape_configs:
  - job_name: kube-proxy
    static_configs:
      - targets: ["127.0.0.1:{port}"]
        labels: {{cluster: test}}
"""


class Prometheus:
    """One that runs."""

    def __init__(self, client: aiohttp.ClientSession, url: str) -> None:
        self._client = client
        self._url = url

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples of an instant query.

        Raises:
            ValueError: Prometheus does not understand it.
        """
        async with self._client.get(
            f"{self._url}/api/v1/query", params={"query": expression}
        ) as answer:
            body = await answer.json()
        if body["status"] != "success":
            raise ValueError(body)
        found: list[dict[str, Any]] = body["data"]["result"]
        return found

    async def is_up(self) -> bool:
        """Whether it answers."""
        try:
            async with self._client.get(f"{self._url}/-/ready") as answer:
                return answer.status == 200
        except aiohttp.ClientConnectionError:
            return False


@asynccontextmanager
async def prometheus(
    scratch: Path, *, port: int, target: int, rules: object
) -> AsyncIterator[Prometheus]:
    """Run one during the block; it is installed if it is not there and we may.

    Args:
        scratch: a directory of its own.
        port: where it answers.
        target: the port it scrapes, once a second, as job `kube-proxy`.
        rules: groups of recording and alerting rules.

    Raises:
        NoLab: there is none, and it cannot be installed.
    """
    await asyncio.to_thread(require, PROMETHEUS_PACKAGE_OF)
    config = scratch / "prometheus.yaml"
    config.write_text(_CONFIG.format(port=target))
    # JSON is YAML.
    (scratch / "rules.yaml").write_text(json.dumps({"groups": rules}))
    process = await asyncio.create_subprocess_exec(
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={scratch / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    )
    try:
        async with aiohttp.ClientSession() as client:
            made = Prometheus(client, f"http://127.0.0.1:{port}")
            async with asyncio.timeout(180):
                while not await made.is_up():
                    if process.returncode is not None:
                        raise RuntimeError(f"prometheus exited: {process.returncode}")
                    await asyncio.sleep(0.1)
            yield made
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def check_metrics(text: bytes) -> list[str]:
    """What `promtool check metrics` has to say of metrics."""
    await asyncio.to_thread(require, PROMETHEUS_PACKAGE_OF)
    process = await asyncio.create_subprocess_exec(
        "promtool",
        "check",
        "metrics",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate(text)
    lines = said.decode().splitlines()
    if process.returncode and not lines:
        raise RuntimeError(f"promtool exited: {process.returncode}")
    return lines
