"""The clusters that are computed, and what they hold."""

from typing import Final, NamedTuple

from tests.bench.scale import objects

NODES: Final = 5_000
"""The most that SIG-scalability tests; also the other limits below
(community, sig-scalability/configs-and-limits/thresholds.md)."""

SLICE_MAX: Final = 100
"""Endpoints in one slice (kube-controller-manager --max-endpoints-per-slice)."""

EVENTS_PER_POD: Final = 4
"""Changes of slices when a pod replaces another, none of which share an update: the new
one is added, and becomes ready; the old one begins to terminate, and is taken out."""


class Group(NamedTuple):
    """Services that are as large as each other."""

    services: int
    endpoints: int

    def slices(self) -> list[int]:
        """Endpoints of each slice of one of them."""
        full, rest = divmod(self.endpoints, SLICE_MAX)
        return [SLICE_MAX] * full + ([rest] if rest else [])


class Cluster(NamedTuple):
    """Services by size, and how many pods are replaced in a second."""

    name: str
    groups: tuple[Group, ...]
    pods_per_s: float

    @property
    def services(self) -> int:
        """How many."""
        return sum(group.services for group in self.groups)

    @property
    def endpoints(self) -> int:
        """Of all Services."""
        return sum(group.services * group.endpoints for group in self.groups)

    @property
    def slices(self) -> int:
        """Of all Services."""
        return sum(group.services * len(group.slices()) for group in self.groups)

    @property
    def service_bytes(self) -> int:
        """JSON of all Services."""
        return self.services * objects.size(objects.service())

    @property
    def slice_bytes(self) -> int:
        """JSON of all slices."""
        return sum(
            group.services * objects.size(objects.endpoint_slice(endpoints))
            for group in self.groups
            for endpoints in group.slices()
        )

    @property
    def event_bytes(self) -> float:
        """Of the slice that an endpoint is in, on average over endpoints."""
        total = sum(
            group.services
            * endpoints
            * objects.watch_line(objects.endpoint_slice(endpoints))
            for group in self.groups
            for endpoints in group.slices()
        )
        return total / self.endpoints


LOAD_TEST: Final = Cluster(
    "load test", (Group(7_450, 5), Group(600, 30), Group(50, 250)), 10
)
"""ClusterLoader2's testing/load at 5,000 nodes: 50 namespaces with 149 small Services,
12 medium ones and a large one, and 10 pods a second."""

LIMITS: Final = Cluster("limits", (Group(10_000, 15),), 150_000 / 3_600)
"""10,000 Services, and 150,000 pods behind one each, all replaced within an hour."""

LARGEST: Final = Cluster(
    "limits, 400 large", (Group(400, 250), Group(9_600, 5)), 150_000 / 3_600
)
"""As many Services and about as many pods, with two thirds of the pods in a few."""

CLUSTERS: Final = (LOAD_TEST, LIMITS, LARGEST)
