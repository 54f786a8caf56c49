"""Fixtures for the tests of the chart."""

import pytest

from tests.chart.rendered import Rendered, render


@pytest.fixture(scope="session")
def default() -> Rendered:
    """The chart with the values it has."""
    return render()
