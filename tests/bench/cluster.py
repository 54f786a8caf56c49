"""Large clusters as a file of manifests."""

import json
from pathlib import Path
from typing import Any

from tests import builders


def write_manifests(path: Path, *, services: int, endpoints: int) -> None:
    """Write a cluster of Services with one port and one slice each, as JSON.

    Args:
        path: the file to write.
        services: how many; they have cluster IPs from 10.96.0.0/12.
        endpoints: of each Service, in 10.128.0.0/9; none is on this node.
    """
    items: list[dict[str, Any]] = [builders.raw_node("node-0", "10.0.0.10")]
    for number in range(services):
        name = f"service-{number}"
        items.append(builders.raw_service(name, clusterIP=_address("10.96", number)))
        found = [
            builders.raw_endpoint(
                _address("10.128", number * endpoints + place), nodeName="node-1"
            )
            for place in range(endpoints)
        ]
        items.append(builders.raw_slice(f"{name}-1", *found, service=name))
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))


def _address(first: str, number: int) -> str:
    """The address that many after the first, skipping .0 and .255."""
    one, two = first.split(".")
    block, last = divmod(number, 250)
    upper, third = divmod(block, 256)
    return f"{one}.{int(two) + upper}.{third}.{last + 1}"
