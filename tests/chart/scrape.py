"""What a daemon says of itself, as series for promtool."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from tests.lab.test_prometheus import lively
from tests.serve.test_health_checks import url

LIMIT_S: Final = 60
NODE: Final = {"job": "ipvsctl", "instance": "10.0.0.11:10249", "node": "node-1"}
"""The labels that a scrape gives."""


async def scraped(directory: Path) -> str:
    """The metrics of a daemon on a fake kernel, in a cluster where something happens.

    It has had a Service's traffic, which is counted at the second audit.
    """
    async with lively(directory) as node, aiohttp.ClientSession() as client:
        async with asyncio.timeout(LIMIT_S):
            text = ""
            while 'namespace="default",service="web"' not in text:
                try:
                    async with client.get(url(node.port, path="/metrics")) as answer:
                        text = await answer.text()
                except aiohttp.ClientConnectionError:
                    await asyncio.sleep(0.1)
    return text


def series(text: str, samples: int) -> Iterator[dict[str, Any]]:
    """The same, so many times one after the other, as of one node."""
    yield _one("up", NODE, "1", samples)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = {**NODE, **sample.labels}
            yield _one(sample.name, labels, repr(sample.value), samples)


def _one(name: str, labels: dict[str, str], value: str, samples: int) -> dict[str, Any]:
    inner = ",".join(f'{key}="{word}"' for key, word in labels.items())
    return {"series": f"{name}{{{inner}}}", "values": f"{value}x{samples}"}
