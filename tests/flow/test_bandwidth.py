"""A link's cap holds in every stretch of time, whatever is read, whoever reads, and however it changes."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from replicator.flow.bandwidth import ANSWER_S, BURST_S, LEAST_BYTES, Bandwidth

CAP = 1_000_000.0
ANSWER = 2_000_000


class World:
    """Time, and loops that read: each waits for its turn, and has an answer some time later."""

    def __init__(self, cap: float | None) -> None:
        self.now = 0.0
        self.cap = cap
        self.bandwidth = Bandwidth(lambda: self.cap, lambda: self.now, self._sleep)
        self.read: list[tuple[float, int]] = []
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._number = 0

    async def _sleep(self, seconds: float) -> None:
        self._number += 1
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (self.now + seconds, self._number, future))
        await future

    async def loop(self, answers: Sequence[tuple[int, float]]) -> None:
        for size, took_s in answers:
            await self.bandwidth.turn()
            await self._sleep(took_s)
            self.bandwidth.took(size)
            self.read.append((self.now, size))

    async def run(self, loops: Sequence[Sequence[tuple[int, float]]]) -> None:
        tasks = [asyncio.create_task(self.loop(answers)) for answers in loops]
        while not all(task.done() for task in tasks):
            for _ in range(5):
                await asyncio.sleep(0)
            if self._waiting:
                self.now, _, future = heapq.heappop(self._waiting)
                future.set_result(None)
        await asyncio.gather(*tasks)


ANSWERS = st.lists(st.tuples(st.integers(0, ANSWER), st.floats(0.001, 2)), min_size=1, max_size=12)


@given(st.lists(ANSWERS, min_size=1, max_size=3))
def test_given_any_reading_then_the_cap_holds_from_any_moment_on(loops: list[list[tuple[int, float]]]) -> None:
    world = World(CAP)
    asyncio.run(world.run(loops))
    for first in range(len(world.read)):
        total, began = 0, world.read[first][0]
        for at, size in world.read[first:]:
            total += size
            # what came at `began` was asked for before; each loop may have had one more under way then
            assert total <= CAP * (at - began + BURST_S) + 2 * len(loops) * ANSWER + 1


@given(st.integers(1, 60))
def test_given_always_something_to_read_then_the_cap_is_used(count: int) -> None:
    world = World(CAP)
    asyncio.run(world.run([[(100_000, 0.001)] * count]))
    assert sum(size for _, size in world.read[:-1]) >= CAP * (world.now - 0.02 * count) - 1


async def test_given_no_cap_then_nobody_waits_and_everything_is_asked_for() -> None:
    world = World(None)
    world.bandwidth.took(1 << 40)
    await asyncio.wait_for(world.bandwidth.turn(), 1)
    assert world.bandwidth.at_once(8 << 20) == 8 << 20
    assert world.bandwidth.waited_s == 0


async def test_given_a_debt_when_the_cap_is_lifted_then_reading_goes_on_within_a_moment() -> None:
    world = World(CAP)
    assert world.bandwidth.at_once(8 << 20) == int(CAP * ANSWER_S)
    await world.bandwidth.turn()
    world.bandwidth.took(int(CAP * 3600))
    waiting = asyncio.create_task(world.run([[(1, 0.001)]]))
    for _ in range(200):
        await asyncio.sleep(0)
    assert not waiting.done()
    world.cap = None
    await asyncio.wait_for(waiting, 5)
    world.cap = 1.0
    assert world.bandwidth.at_once(8 << 20) == LEAST_BYTES
    world.cap = 0.0  # a worker without lanes
    assert world.bandwidth.at_once(8 << 20) == LEAST_BYTES
