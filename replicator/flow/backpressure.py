"""The memory between fetch and acknowledgement, counted and bounded.

A fetch response stays in one buffer until the last batch in it is acknowledged, dropped or copied out, so whole
responses are counted: `Lease` holds one, and gives its bytes back to the worker's `ByteBudget` with the last holder.
Batches that were rebuilt, or copied out of their response because they have to wait, are counted by themselves.
"""

from __future__ import annotations

import asyncio


class ByteBudget:
    """A worker's bound on bytes that are fetched (or asked for) and not yet acknowledged.

    `in_use` may pass `limit_bytes` by what one response is larger than asked for (Kafka sends at least one batch), and
    by what its batches are larger when rebuilt. `parked` is the part that waits for a target in trouble: it leaves less
    room for the others, but never none.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.in_use = 0
        self.parked = 0
        self._room = asyncio.Event()
        self._room.set()

    def left(self) -> int:
        """How much may still be asked for."""
        return max(0, self.limit_bytes - self.in_use)

    @property
    def crowded(self) -> bool:
        """Whether what is parked takes half of it: what can be had again later isn't to be kept."""
        return self.parked >= self.limit_bytes // 2

    def take(self, size: int, *, parked: bool = False) -> None:
        """Count `size` bytes as used."""
        self.in_use += size
        if parked:
            self.parked += size

    def give(self, size: int, *, parked: bool = False) -> None:
        """Give `size` bytes back and wake who waits for room."""
        self.in_use -= size
        if parked:
            self.parked -= size
        self._room.set()

    async def wait_for_room(self, size: int) -> None:
        """Until `size` bytes are left, or nothing but what is parked is in use."""
        while self.in_use > self.parked and self.left() < size:
            self._room.clear()
            await self._room.wait()


class Lease:
    """A claim on the budget: of a fetch response, shared by its batches, or of one batch with bytes of its own."""

    __slots__ = ("_budget", "_holders", "parked", "size")

    def __init__(self, budget: ByteBudget, size: int, *, parked: bool = False) -> None:
        self._budget = budget
        self._holders = 1
        self.size = size
        self.parked = parked
        budget.take(size, parked=parked)

    def hold(self) -> Lease:
        """One more holder."""
        self._holders += 1
        return self

    def another(self, size: int, *, parked: bool = False) -> Lease:
        """A claim on the same budget for bytes elsewhere."""
        return Lease(self._budget, size, parked=parked)

    @property
    def crowded(self) -> bool:
        """See `ByteBudget.crowded`."""
        return self._budget.crowded

    def release(self) -> None:
        """One holder less; the last one gives the bytes back."""
        self._holders -= 1
        if self._holders == 0:
            self._budget.give(self.size, parked=self.parked)
