"""A cluster at the limits that Kubernetes' SIG Scalability tests: 150,000 endpoints.

10,000 Services, of which 400 have 255 endpoints, and the others five.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from tests.bench.report import Line, Results, lines
from tests.bench.sizes import Figures, Size

SERVICES: Final = 10_000
LARGE: Final = 400
ENDPOINTS: Final = 5
"""Of each Service that is not a large one."""

FIGURES: Final = ("speed", "memory", "churn", "api", "list")
"""Those that are measured of it too."""

EACH: Final = 15
"""The same endpoints dealt out evenly, which is how the fake API server has them."""

PREFIX: Final = "limits, "


def size() -> Size:
    """How large it is."""
    return Size(SERVICES, ENDPOINTS, LARGE)


def limit_lines(results: Results) -> Iterator[Line]:
    """Its lines, without the goals, which are for ten endpoints a Service."""
    found: dict[str, Mapping[int, Figures]] = {
        name: results[PREFIX + name] for name in FIGURES if PREFIX + name in results
    }
    for line in lines(found):
        told = f"{line.services}, {size().all_endpoints:,} endpoints"
        yield line._replace(services=told, goal="", holds=None)
