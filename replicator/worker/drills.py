"""Drills by themselves: the link's controller begins one when the last is long enough ago (`drill.every`)."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

import structlog

from replicator.config.models import LinkConfig, Settings
from replicator.dr.drill import Drill
from replicator.errors import ReplicatorError
from replicator.ledger.drills import DrillRecords
from replicator.telemetry.counters import DrillCounters
from replicator.worker.crew import crew

log = structlog.get_logger(__name__)

T = TypeVar("T")

AFTER_FAILURE_MS = 3_600_000  # one that failed is tried again after an hour, or when the next is due


class Drills:
    """Of one link. `controls` says whether this worker owns lane 0: at most one worker does."""

    def __init__(
        self, settings: Settings, link: LinkConfig, controls: Callable[[], bool], now_ms: Callable[[], int]
    ) -> None:
        self._settings, self._link = settings, link
        self._controls, self._now_ms = controls, now_ms
        self._records = DrillRecords()
        self._heard = False
        self.now = asyncio.Event()  # set when it has become known when the last one was
        self._since_ms = now_ms()  # a link that was never drilled isn't drilled the moment it starts

    def hear(self, pairs: Sequence[tuple[bytes | None, bytes | None]]) -> None:
        """What the control topic says, from its start on."""
        if not self._heard:
            self._heard = True
            self.now.set()
        for key, value in pairs:
            self._records.take(key, value)

    @property
    def counters(self) -> DrillCounters | None:
        """The last drill, in numbers; None before the first."""
        last = self._records.last
        if last is None:
            return None
        good_ms = self._records.last_good_ms
        return DrillCounters(
            last.at_ms / 1000,
            last.ok,
            None if good_ms is None else good_ms / 1000,
            None if last.rto_ms is None else last.rto_ms / 1000,
            last.rpo_records,
            None if last.rpo_ms is None else last.rpo_ms / 1000,
        )

    def due(self) -> bool:
        """Whether one is to begin now, here."""
        every_ms = self._link.drill.every_ms
        if every_ms is None or not self._heard or not self._controls() or self._records.runs(self._now_ms()):
            return False
        last = self._records.last
        if last is None:
            return self._now_ms() - self._since_ms >= min(every_ms, AFTER_FAILURE_MS)
        wait_ms = every_ms if last.ok else min(every_ms, AFTER_FAILURE_MS)
        return self._now_ms() - last.at_ms >= wait_ms

    async def step(self) -> None:
        """Do one if it is due; what fails in it is in its result, and in the log."""
        if not self.due():
            return
        drill = Drill(
            self._settings, self._link, self._link.drill.mode, crew, by="schedule", say=lambda text: log.info(text)
        )
        try:
            result = await in_thread(drill.run)
        except ReplicatorError as error:
            log.warning("can't drill now", link=self._link.name, error=str(error))
            return
        say = log.info if result.ok else log.error
        say(
            "drill ended",
            link=self._link.name, ok=result.ok, rto_ms=result.rto_ms, rpo_records=result.rpo_records,
            failed_at=result.failed_at, error=result.error,
        )  # fmt: skip


async def in_thread(work: Callable[[], T]) -> T:
    """Its result. The thread holds up nobody who wants this process to end: what a drill leaves, the next removes."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: Exception | None) -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except Exception as failure:  # noqa: BLE001 - whoever awaits it is told
            error = failure
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name="scheduled drill", daemon=True).start()
    return await done
