"""The page of faults has them all, as they were told."""

import re

import pytest

from tests.faults.faults import (
    HUNG,
    OBJECT_FAULTS,
    PAGES_FAULTS,
    WRONG_NAME,
    Fault,
)
from tests.faults.table import PAGE

FAULTS = (*PAGES_FAULTS, *OBJECT_FAULTS, HUNG, WRONG_NAME)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_on_the_page(fault: Fault) -> None:
    """With the question, and with words that name its cause."""
    (line,) = (
        line
        for line in PAGE.read_text().splitlines()
        if line.startswith(f"| {fault.name} |")
    )
    _, _, asked, running, _, _ = re.split(r"(?<!\\\\)\|", line)
    assert asked.strip() == f"`{' '.join(fault.asked)}`"
    assert re.search(fault.told, running), running


def test_nothing_else_is() -> None:
    """A fault that is gone goes from the page."""
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    assert len(rows) == len(FAULTS) + 1
