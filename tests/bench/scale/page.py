"""The tables of `docs/scale.md`, each between a mark that names it and one at its end.

The words around them are the page's own, and quote no number of a table.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from ipvsctl.kube.list_watch import PAGE_ITEMS, WATCH_S
from ipvsctl.kube.other_nodes import PERIOD_S, PERIOD_S_A_NODE
from tests.bench.scale import herd, objects
from tests.bench.scale.clusters import CLUSTERS, EVENTS_PER_POD, LIMITS, NODES, Cluster

PAGE: Final = Path(__file__).parents[3] / "docs" / "scale.md"

LINK_BYTES_S: Final = 10e9 / 8
"""Of an API server's 10 Gbit/s."""

SERVERS: Final = 3

WATCHES: Final = 3
"""Of one node: Services, EndpointSlices, its own Node."""

BOOKMARK_S: Final = 60
"""Seconds between two bookmarks of a watch."""

RESUMED_BYTES: Final = 500
"""The headers of a request and its answer, an assumption."""

NODE_UPDATE_S: Final = 300
"""The kubelet's nodeStatusReportFrequency, for a node that nothing happens to."""

DECODED_BYTES_S: Final = 60e6
"""18 MB of EndpointSlices to values in 0.3 s."""

BASE_BYTES: Final = 40e6
SERVICE_BYTES: Final = 3_350
ENDPOINT_BYTES: Final = 615
"""What `python -m tests.bench.scale.memory` prints."""

HEADLESS: Final = 0.2
"""An assumption: the share of Services that are headless."""

_BLOCK: Final = re.compile(r"(<!-- scale: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def page() -> str:
    """`docs/scale.md` with every table as it is now."""
    text = PAGE.read_text(encoding="utf-8")
    return _BLOCK.sub(lambda m: f"{m[1]}{BLOCKS[m[2]]()}{m[3]}", text)


def sizes() -> str:
    """Bytes of single objects."""
    return _table(
        ("object", "bytes of JSON"),
        [
            ("Service, one port", f"{objects.size(objects.service()):,}"),
            *(
                (
                    f"EndpointSlice, {count} endpoints",
                    f"{objects.size(objects.endpoint_slice(count)):,}",
                )
                for count in (5, 15, 100)
            ),
            ("Node with 50 images", f"{objects.size(objects.node()):,}"),
            ("bookmark", f"{objects.bookmark():,}"),
        ],
    )


def lists() -> str:
    """Everything, once, for one node and for all."""

    def row(cluster: Cluster) -> tuple[str, ...]:
        one = cluster.service_bytes + cluster.slice_bytes
        return (
            cluster.name,
            f"{cluster.services:,}",
            f"{cluster.endpoints:,}",
            f"{cluster.slices:,}",
            f"{_mb(cluster.service_bytes)} + {_mb(cluster.slice_bytes)} = {_mb(one)}",
            f"{one / DECODED_BYTES_S:.1f} s",
            f"{one * NODES / 1e9:.0f} GB",
            f"{one * NODES / LINK_BYTES_S / SERVERS:.0f} s",
        )

    return _table(
        (
            "cluster",
            "Services",
            "endpoints",
            "slices",
            "Services + slices, MB",
            "decoding",
            f"x {NODES:,} nodes",
            f"at 10 Gbit/s from each of {SERVERS} servers",
        ),
        map(row, CLUSTERS),
    )


def changes() -> str:
    """Pods that are replaced, all the time."""

    def row(cluster: Cluster) -> tuple[str, ...]:
        events = cluster.pods_per_s * EVENTS_PER_POD
        rate = events * cluster.event_bytes
        return (
            cluster.name,
            f"{cluster.pods_per_s:.1f} x {EVENTS_PER_POD} = {events:.0f}",
            f"{cluster.event_bytes:,.0f}",
            f"{rate / 1e3:,.0f} kB/s",
            f"{rate / DECODED_BYTES_S:.1%}",
            f"{rate * NODES / 1e9:.2f} GB/s",
            f"{events * NODES / 1e3:,.0f},000",
        )

    return _table(
        (
            "cluster",
            "pods/s x changes = events/s",
            "bytes of an event",
            "each node receives",
            "of a core, to decode",
            "API servers send",
            "events/s they send",
        ),
        map(row, CLUSTERS),
    )


def savings() -> str:
    """What each of the means is for, at the limits."""
    everything = LIMITS.service_bytes + LIMITS.slice_bytes
    pages = sum(-(-count // PAGE_ITEMS) for count in (LIMITS.services, LIMITS.slices))
    events = LIMITS.pods_per_s * EVENTS_PER_POD
    node = objects.size(objects.node())
    updates = NODES / NODE_UPDATE_S
    watches = NODES * WATCHES
    marks = watches / BOOKMARK_S
    ends = watches / (sum(WATCH_S) / 2)
    period = int(max(PERIOD_S, NODES * PERIOD_S_A_NODE))
    return _table(
        ("means", "without it", "with it"),
        [
            (
                "streaming lists, on a node",
                f"a list in one piece is held whole: {_mb(LIMITS.slice_bytes)} MB",
                f"one line at a time: {LIMITS.event_bytes / 1e3:.1f} kB",
            ),
            (
                "streaming lists, on the API servers",
                (
                    f"pages of {PAGE_ITEMS}: {pages} requests a node, "
                    f"{pages * NODES:,} reads of etcd for all"
                ),
                f"2 requests a node, {2 * NODES:,} for all, from the watch cache",
            ),
            (
                "bookmarks",
                (
                    "a watch on what seldom changes resumes from an old version, gets "
                    f"410 and lists: up to {_mb(everything)} MB a node"
                ),
                (
                    f"{watches:,} / 60 s = {marks:.0f} lines/s, "
                    f"{marks * objects.bookmark() / 1e3:.0f} kB/s for all; it resumes "
                    "from at most a minute ago"
                ),
            ),
            (
                f"watches end after {WATCH_S[0]} to {WATCH_S[1]} s, by chance",
                (
                    f"{watches:,} requests in one second, again and again after a "
                    "common start"
                ),
                (f"{watches:,} / {sum(WATCH_S) / 2:.0f} s = {ends:.0f} requests/s"),
            ),
            (
                f"label selector, {HEADLESS:.0%} of Services headless",
                f"{events:.0f} events/s and {_mb(everything)} MB a node",
                (
                    f"{events * (1 - HEADLESS):.0f} events/s and "
                    f"{_mb(everything * (1 - HEADLESS))} MB"
                ),
            ),
            (
                "field selector, own Node only",
                (
                    f"{NODES:,} / {NODE_UPDATE_S} s x {node / 1e3:.1f} kB = "
                    f"{updates * node / 1e3:.0f} kB/s a node, "
                    f"{updates * node * NODES / 1e9:.1f} GB/s for all"
                ),
                (
                    f"{node / NODE_UPDATE_S:.0f} bytes/s a node, "
                    f"{updates * node / 1e3:.0f} kB/s for all"
                ),
            ),
            (
                f"other Nodes listed every max({PERIOD_S:.0f}, nodes) s, not watched",
                f"{updates * node * NODES / 1e9:.1f} GB/s for all, as above",
                (
                    f"{NODES * node / 1e6:.0f} MB / {period:,} s x {NODES:,} nodes = "
                    f"{NODES * node / period * NODES / 1e6:.0f} MB/s for all"
                ),
            ),
        ],
    )


def returns() -> str:
    """The herd after an outage, by how long each pauses."""
    pauses: Mapping[str, herd.Pause] = {
        "ipvsctl": herd.ours,
        "client-go (kube-proxy)": herd.client_go,
        "doubling without chance": herd.doubling,
        "every second": herd.every_second,
    }

    def rows() -> Iterable[tuple[str, ...]]:
        watches = NODES * WATCHES
        for outage_s in (1, 10, 60):
            for name, pause in pauses.items():
                came = herd.simulate(pause, watches=watches, outage_s=outage_s)
                yield (
                    f"{outage_s} s",
                    name,
                    f"{came.refused / watches:.1f}",
                    _about(came.refused / outage_s),
                    _about(came.peak),
                    f"{came.seconds:.0f} s",
                )

    return _table(
        (
            "outage",
            "pause",
            "refused, each watch",
            "refused a second, all",
            "most in a second, then",
            "until the last one asked",
        ),
        rows(),
    )


def costs() -> str:
    """What is sent after the outage."""
    watches = NODES * WATCHES
    resumed = watches * RESUMED_BYTES
    everything = LIMITS.service_bytes + LIMITS.slice_bytes

    def listed(servers: int) -> tuple[str, ...]:
        return (
            "listed again, the version is too old",
            f"{servers}",
            f"{_mb(everything)} MB x {NODES:,} = {everything * NODES / 1e9:.0f} GB",
            f"{everything * NODES / LINK_BYTES_S / servers:.0f} s",
        )

    return _table(
        ("what becomes of the watches", "servers that send", "bytes", "at 10 Gbit/s"),
        [
            (
                "resumed",
                "1",
                f"{watches:,} x {RESUMED_BYTES} B = {resumed / 1e6:.1f} MB",
                "the pauses count",
            ),
            *map(listed, (SERVERS, 1)),
        ],
    )


def memory() -> str:
    """What a node holds."""

    def row(cluster: Cluster) -> tuple[str, ...]:
        services = cluster.services * SERVICE_BYTES
        endpoints = cluster.endpoints * ENDPOINT_BYTES
        total = BASE_BYTES + services + endpoints
        return (
            cluster.name,
            (
                f"{_mb(BASE_BYTES)} + {cluster.services:,} x {SERVICE_BYTES:,} B + "
                f"{cluster.endpoints:,} x {ENDPOINT_BYTES} B"
            ),
            f"{total / 1e6:.0f} MB",
            f"{total * NODES / 1e9:.0f} GB",
        )

    return _table(
        ("cluster", "program + Services + endpoints", "a node", f"{NODES:,} nodes"),
        map(row, CLUSTERS),
    )


BLOCKS: Final[Mapping[str, Callable[[], str]]] = {
    "sizes": sizes,
    "lists": lists,
    "changes": changes,
    "savings": savings,
    "returns": returns,
    "costs": costs,
    "memory": memory,
}


def _about(count: float) -> str:
    """Two digits; the others are chance."""
    return f"{float(f'{count:.2g}'):,.0f}"


def _mb(count: float) -> str:
    return f"{count / 1e6:.0f}"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = (head, ("---",) * len(head), *rows)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
