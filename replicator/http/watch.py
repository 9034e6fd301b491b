"""All links from afar, about every second, for as many as listen; nothing is read while nobody does.

Each link is looked at by a task of its own, so that a cluster that hangs holds up no other link. A look that takes long
is followed by a longer rest: looking takes at most a fifth of the time.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from replicator.errors import ReplicatorError
from replicator.http.reader import Answer, Reader, encode
from replicator.http.summary import Counts, Pace, Summary, summary, unseen
from replicator.views.view import View

EVERY_S = 1.0
MOST = 64  # listeners
_REST = 4.0  # times what a look took


class TooManyError(ReplicatorError):
    """So many listen already that another one would be at their cost."""


class Links:
    """The links' summaries. `counts` are what the workers of this service have copied."""

    def __init__(self, reader: Reader, status: View[Any], counts: Callable[[], Awaitable[Counts]]) -> None:
        self._reader = reader
        self._status = status
        self._counts = counts
        self._paces: dict[str, Pace] = {}
        self._seen: dict[str, tuple[Answer, Summary]] = {}

    async def all(self) -> list[Summary]:
        """All of them, looked at now."""
        return list(await asyncio.gather(*(self.look(name) for name in self._reader.links())))

    def names(self) -> list[str]:
        """Those that there are."""
        return list(self._reader.links())

    def last(self, name: str) -> Summary:
        """As it was seen last."""
        if name in self._seen:
            return self._seen[name][1]
        _, link = self._reader.link(name)
        return unseen(link.name, link.source, link.target, None)

    @staticmethod
    def event_data(links: list[Summary]) -> bytes:
        """These, as they go over the wire."""
        return encode({"at": int(time.time() * 1000), "links": links})

    async def look(self, name: str) -> Summary:
        """Look at it now. While its target can't be read, it is as it was seen last, with the error."""
        try:
            found = await self._reader.read(self._status, name)
        except ReplicatorError as error:
            failed: Summary = {**self.last(name), "error": str(error), "records_per_s": None, "bytes_per_s": None}
            return failed
        if name in self._seen and self._seen[name][0] is found:
            return self._seen[name][1]
        pace = self._paces.setdefault(name, Pace())
        counts = await self._counts()
        pace.look(found.value["partitions"], counts.get(name), found.at_ms)
        seen = summary(found, pace)
        self._seen[name] = found, seen
        return seen


class Watch:
    """Listeners get the newest event there is: one that is slow misses some, and has none waiting."""

    def __init__(self, links: Links) -> None:
        self._links = links
        self._listeners = 0
        self._event = b""
        self._number = 0
        self._changed = asyncio.Condition()
        self._shown: dict[str, Summary] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @contextlib.asynccontextmanager
    async def listen(self) -> AsyncIterator[Callable[[], Awaitable[bytes]]]:
        """A function that waits for the next event; TooManyError if there are too many listeners."""
        if self._listeners >= MOST:
            raise TooManyError(f"{MOST} listen already; close some pages")
        self._listeners += 1
        if self._listeners == 1:
            self._tasks["the clock"] = asyncio.create_task(self._tick(), name="events")
        seen = -1 if self._event else self._number

        async def following() -> bytes:
            nonlocal seen
            async with self._changed:
                await self._changed.wait_for(lambda: self._number > seen)
                seen = self._number
                return self._event

        try:
            yield following
        finally:
            self._listeners -= 1
            if not self._listeners:
                await self.stop()

    async def stop(self) -> None:
        """Look no more."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        self._shown.clear()
        self._event = b""
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            names = self._links.names()
            for name in names:
                if name not in self._tasks or self._tasks[name].done():
                    self._tasks[name] = asyncio.create_task(self._look(name), name=f"watch {name}")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._all_shown(names), EVERY_S)
            await self._publish([self._shown.get(name) or self._links.last(name) for name in names])
            await asyncio.sleep(began + EVERY_S - loop.time())

    async def _all_shown(self, names: list[str]) -> None:
        """Each was looked at: at once, but when the first listener comes."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._shown.keys() >= set(names))

    async def _publish(self, links: list[Summary]) -> None:
        data = self._links.event_data(links)
        async with self._changed:
            self._event = b"event: links\ndata: " + data + b"\n\n"
            self._number += 1
            self._changed.notify_all()

    async def _look(self, name: str) -> None:
        while name in self._links.names():
            began = time.monotonic()
            found = await self._links.look(name)
            async with self._changed:
                self._shown[name] = found
                self._changed.notify_all()
            took = time.monotonic() - began
            await asyncio.sleep(max(EVERY_S - took, min(_REST * took, 30.0)))
        self._shown.pop(name, None)
