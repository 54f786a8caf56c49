"""What every level of tests shares: the guard of the tests that need the lab."""

import os

import pytest


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A kernel test outside of the lab is an error, never a silent skip."""
    if item.get_closest_marker("kernel") and "IPVSCTL_LAB" not in os.environ:
        pytest.fail(
            "needs a kernel with IPVS: nox -s kernel -- -k " + item.name, pytrace=False
        )
