"""When the next audit comes."""

import pytest

from ipvsctl.controller.audit_pace import AuditPace


@pytest.mark.parametrize(
    ("found", "pauses"),
    [
        ([False, False], [30, 30]),
        # Soon, and then as before.
        ([True, False, False, False, False], [5, 10, 20, 30, 30]),
        # In a fight sooner ones would not help.
        ([True] * 5, [5, 10, 20, 30, 30]),
        ([True, True, False, True], [5, 10, 20, 5]),
    ],
)
def test_pauses(found: list[bool], pauses: list[float]) -> None:
    """Sooner for a while after drift."""
    pace = AuditPace(30)
    seen = []
    for found_drift in found:
        pace.audited(found_drift=found_drift)
        seen.append(pace.pause_s)
    assert seen == pauses


def test_a_short_period_stays() -> None:
    """Who wants an audit a second gets it."""
    pace = AuditPace(1)
    for _ in range(40):
        pace.audited(found_drift=True)
        assert pace.pause_s == 1
