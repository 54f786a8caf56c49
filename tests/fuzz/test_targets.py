"""A few inputs for each target; `nox -s fuzz` has as many as it has time for."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS, Target


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_a_few(target: Target) -> None:
    """None of them does what it may not."""

    @settings(max_examples=60, suppress_health_check=list(HealthCheck))
    @given(target.inputs)
    def feed(given: object) -> None:
        target.run(given)

    feed()


def test_what_it_may_not_do_is_found() -> None:
    """The session would fail."""
    broken = Target(name="broken", inputs=st.just(1), feed=lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        broken.run(1)
