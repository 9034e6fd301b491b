"""Steps that are run again and again: in time, when asked to, and in spite of what goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from replicator.errors import ReplicatorError
from replicator.worker.loops import Loops

LONG_S = 3600.0


class Steps:
    """Counts, and fails as told."""

    def __init__(self, *failures: Exception) -> None:
        self.done = 0
        self._failures = list(failures)
        self._changed = asyncio.Condition()

    async def step(self) -> None:
        async with self._changed:
            self.done += 1
            self._changed.notify_all()
        if self._failures:
            raise self._failures.pop(0)

    async def wait(self, count: int) -> None:
        async with asyncio.timeout(5), self._changed:
            await self._changed.wait_for(lambda: self.done >= count)


@pytest.fixture
async def bugs() -> list[int]:
    return []


@pytest.fixture
async def loops(bugs: list[int]) -> AsyncIterator[Loops]:
    made = Loops("link", lambda: bugs.append(1))
    yield made
    await made.end()


async def test_given_a_short_period_then_the_step_is_run_again(loops: Loops) -> None:
    steps = Steps()
    loops.every(0.001, steps.step, "count")
    await steps.wait(5)


async def test_given_a_long_period_then_the_step_is_run_at_once_and_again_when_asked(loops: Loops) -> None:
    steps, now = Steps(), asyncio.Event()
    loops.every(LONG_S, steps.step, "count", now)
    await steps.wait(1)
    now.set()
    await steps.wait(2)


async def test_given_failures_then_the_step_is_tried_again_soon_whatever_the_period(
    loops: Loops, bugs: list[int]
) -> None:
    steps = Steps(ReplicatorError("away"), ReplicatorError("away still"))
    loops.every(LONG_S, steps.step, "count")
    await steps.wait(3)
    assert not bugs


async def test_given_a_bug_then_it_is_counted_and_the_other_steps_go_on(loops: Loops, bugs: list[int]) -> None:
    wrong, right = Steps(ValueError("a bug")), Steps()
    loops.every(0.001, wrong.step, "err")
    loops.every(0.001, right.step, "count")
    await wrong.wait(2)
    await right.wait(3)
    assert bugs == [1]


async def test_given_the_end_then_nothing_runs_any_more() -> None:
    loops, steps = Loops("link", lambda: None), Steps()
    loops.every(0.001, steps.step, "count")
    await steps.wait(1)
    await loops.end()
    done = steps.done
    await asyncio.sleep(0)
    assert steps.done == done
