"""Work in steps, with calls that may be made in another thread."""

import asyncio
from collections.abc import Callable, Generator
from typing import TypeVar

T = TypeVar("T")

Work = Callable[[], object]

Steps = Generator[Work | None, None, T]
"""Work step by step. What it yields is to be called, in whatever thread, before it goes
on; after each step the rest may wait for others."""


def run_steps(steps: Steps[T]) -> T:
    """Do them all at once; what they result in."""
    while True:
        try:
            work = next(steps)
        except StopIteration as done:
            result: T = done.value
            return result
        if work is not None:
            work()


async def take_turns(steps: Steps[T]) -> T:
    """Do them all, while others have their turn; calls are made in a thread."""
    while True:
        try:
            work = next(steps)
        except StopIteration as done:
            result: T = done.value
            return result
        if work is None:
            await asyncio.sleep(0)
        else:
            await asyncio.to_thread(work)
