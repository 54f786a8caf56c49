"""Facts about pauses while many events come at once."""

import asyncio

from ipvsctl.controller.hearing import EVENTS_AT_ONCE, EVENTS_OF_A_SYNC, Hearing


async def heard_until_a_sync(events: int) -> int:
    """How many of so many events that are ready were taken in when a sync begins."""
    hearing = Hearing()
    taken_in = 0

    async def sync() -> int:
        await hearing.over()
        return taken_in

    async def hear() -> None:
        nonlocal taken_in
        for _ in range(events):
            taken_in += 1
            await hearing.heard()

    hear_all = asyncio.ensure_future(hear())
    await asyncio.sleep(0)
    result = await sync()
    await hear_all
    return result


async def test_a_sync_has_all_that_are_ready() -> None:
    """It does not begin in a pause between two of them."""
    assert await heard_until_a_sync(10 * EVENTS_AT_ONCE + 1) == 10 * EVENTS_AT_ONCE + 1


async def test_an_endless_row_keeps_no_sync_waiting() -> None:
    """After many events it begins, whether or not more are ready."""
    assert await heard_until_a_sync(5 * EVENTS_OF_A_SYNC) <= 2 * EVENTS_OF_A_SYNC


async def test_others_have_their_turn() -> None:
    """A probe is answered after some of them."""
    hearing = Hearing()
    taken_in = 0

    async def hear() -> None:
        nonlocal taken_in
        for _ in range(EVENTS_OF_A_SYNC):
            taken_in += 1
            await hearing.heard()

    hear_all = asyncio.ensure_future(hear())
    await asyncio.sleep(0)
    assert taken_in == EVENTS_AT_ONCE
    await hear_all
