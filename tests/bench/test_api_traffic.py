"""The figures about lists and watches are those of the wire."""

import pytest

from tests.bench.api_traffic import measure


async def test_a_small_cluster() -> None:
    """Bytes are counted where they should be, and grow with what is sent."""
    small, large = await measure(20, 1), await measure(20, 10)
    assert small.keys() == large.keys()
    listed = "endpointslices, streaming list"
    # Ten times the endpoints, each at least its address, UID and names.
    assert large[listed]["bytes"] > small[listed]["bytes"] + 20 * 9 * 150
    change = large["endpointslices, watch"]["one endpoint changes, bytes"]
    assert change == pytest.approx(large[listed]["bytes"] / 20, rel=0.2)
    assert large["services, watch"]["bookmark, bytes"] < change / 10
