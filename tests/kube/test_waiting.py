"""Waiting for whichever comes first."""

import asyncio

import pytest

from ipvsctl.kube.waiting import first_of


async def test_the_others_are_cancelled() -> None:
    """And have ended when it returns."""
    ended: list[str] = []

    async def last() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("last")

    await first_of(last(), asyncio.sleep(0))
    assert ended == ["last"]


async def test_what_fails_is_heard_of() -> None:
    """Whoever waits for a pause alone would begin again at once, for ever."""

    async def fail() -> None:
        raise ValueError("no pause")

    with pytest.raises(ValueError, match="no pause"):
        await first_of(asyncio.Event().wait(), fail())
