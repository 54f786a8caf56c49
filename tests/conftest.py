"""What every level of tests shares: the guards of the tests that need the lab."""

import os

import pytest
from hypothesis import HealthCheck, settings

from ipvsctl.model.net import IPAddress

# The same examples every time, so that a run says something about a change;
# HYPOTHESIS_PROFILE=explore looks for new ones.
# No limit is a clock's: on a busy machine everything is slow, and nothing is wrong.
_UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", _UNTIMED, derandomize=True)
settings.register_profile("explore", _UNTIMED, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

_HOMES = {"kernel": "tests/kernel", "lab": "tests/lab"}


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """A test whose marker its directory's session does not look for would never run."""
    for item in items:
        for marker, home in _HOMES.items():
            is_home = item.path.is_relative_to(config.rootpath / home)
            if item.get_closest_marker(marker) and not is_home:
                where = item.path.relative_to(config.rootpath)
                raise pytest.UsageError(f"{where}: {marker} tests belong in {home}")


def pytest_make_parametrize_id(val: object) -> str | None:
    """An address is called by its text; pytest would show its bytes."""
    return str(val) if isinstance(val, IPAddress) else None


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A kernel test outside of the lab is an error, never a silent skip."""
    if item.get_closest_marker("kernel") and "IPVSCTL_LAB" not in os.environ:
        pytest.fail(
            f"needs a kernel with IPVS: nox -s kernel -- -k {item.name}", pytrace=False
        )
