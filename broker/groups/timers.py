"""Deadlines of the coordinators: session timeouts, rebalance delays, transaction timeouts.

They follow the injected clock, so that a test which owns the clock owns the timeouts: after moving the clock it calls
`run_due`. In a running broker `run` sleeps until the next deadline.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable, Hashable

from broker.clock import Clock

Action = Callable[[], None]
SLACK = 1000


class Timers:
    """At most one deadline per key; scheduling a key again replaces its deadline."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int]] = []
        self._actions: dict[int, tuple[Hashable, Action]] = {}
        self._tickets: dict[Hashable, int] = {}
        self._counter = itertools.count()
        self._changed = asyncio.Event()

    def schedule(self, key: Hashable, delay_ms: int, action: Action) -> None:
        """Run `action` once, `delay_ms` from now, unless the key is scheduled again or cancelled first."""
        self.cancel(key)
        ticket = next(self._counter)
        self._tickets[key] = ticket
        self._actions[ticket] = (key, action)
        heapq.heappush(self._heap, (self._clock.monotonic() + max(delay_ms, 0) / 1000, ticket))
        if len(self._heap) > 2 * len(self._actions) + SLACK:  # every heartbeat leaves a dead entry behind
            self._heap = [entry for entry in self._heap if entry[1] in self._actions]
            heapq.heapify(self._heap)
        self._changed.set()

    def cancel(self, key: Hashable) -> None:
        """Forget the key's deadline, if it has one."""
        ticket = self._tickets.pop(key, None)
        if ticket is not None:
            del self._actions[ticket]

    def cancel_all(self) -> None:
        """Forget every deadline."""
        self._heap.clear()
        self._actions.clear()
        self._tickets.clear()

    @property
    def next_deadline(self) -> float | None:
        """Monotonic time of the earliest deadline."""
        while self._heap and self._heap[0][1] not in self._actions:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def run_due(self) -> int:
        """Run what is due now, in order of the deadlines; returns how many actions ran."""
        ran = 0
        now = self._clock.monotonic()
        while (deadline := self.next_deadline) is not None and deadline <= now:
            _, ticket = heapq.heappop(self._heap)
            key, action = self._actions.pop(ticket)
            del self._tickets[key]
            action()
            ran += 1
        return ran

    async def run(self) -> None:
        """Run actions when they are due, until cancelled."""
        while True:
            self._changed.clear()
            self.run_due()
            deadline = self.next_deadline
            delay = None if deadline is None else max(deadline - self._clock.monotonic(), 0.001)
            try:
                await asyncio.wait_for(self._changed.wait(), delay)
            except TimeoutError:
                continue
