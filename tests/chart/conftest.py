"""Fixtures for the tests of the chart."""

import shutil

import pytest

from tests.chart.rendered import Rendered, render


@pytest.fixture(scope="session", autouse=True)
def _tools() -> None:
    for command in ("helm", "promtool"):
        if shutil.which(command) is None:
            pytest.fail(
                f"{command} is missing: `nox -s chart` brings it", pytrace=False
            )


@pytest.fixture(scope="session")
def default() -> Rendered:
    """The chart with the values it has."""
    return render()
