"""One round of one syncer: look, change, and say in log, metrics and control topic what is held back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import structlog

from replicator.errors import ReplicatorError
from replicator.ledger.sync_report import HeldBack, SyncReport, encode_report
from replicator.sync.plan import Held, Syncer, Why
from replicator.telemetry.counters import SyncCounters
from replicator.worker.control_writer import ControlWriter

log = structlog.get_logger(__name__)

_SAID_AT_ONCE = 20  # log lines per round; the rest is in `status`


class SyncRounds:
    """Of one link's controller. What was said once isn't said again until it has changed."""

    def __init__(self, link: str, control: ControlWriter, now_ms: Callable[[], int]) -> None:
        self._link = link
        self._control = control
        self._now_ms = now_ms
        self._reported: dict[str, tuple[tuple[Held, ...], str]] = {}
        self.counters: dict[str, SyncCounters] = {}  # by syncer

    async def run(self, name: str, syncer: Syncer) -> None:
        """Bring one thing into step as far as possible. ReplicatorError if a cluster doesn't answer."""
        counters = self.counters.setdefault(name, SyncCounters())
        try:
            plan = await syncer.plan()
            held = plan.held + await syncer.apply(plan)
        except ReplicatorError as error:
            counters.failures += 1
            counters.failing = True
            before = self._reported.get(name, ((), ""))[0]
            await self._report_quietly(name, before, str(error))
            raise
        counters.changes += len(plan.changes)
        self.succeeded(name, (item.why.value for item in held))
        await self._report(name, held, "")

    def succeeded(self, name: str, reasons: Iterable[str]) -> None:
        """Count a round of this syncer that held something back for each of these reasons."""
        counters = self.counters.setdefault(name, SyncCounters())
        counters.rounds += 1
        counters.failing = False
        counters.last_success_s = self._now_ms() / 1000
        counters.held = dict(Counter(reasons))

    async def _report_quietly(self, name: str, held: tuple[Held, ...], error: str) -> None:
        """The error itself is what the caller has to hear of."""
        try:
            await self._report(name, held, error)
        except ReplicatorError as unsaid:
            log.debug("can't be said in the control topic", link=self._link, syncer=name, error=str(unsaid))

    async def _report(self, name: str, held: tuple[Held, ...], error: str) -> None:
        before = self._reported.get(name)
        if before == (held, error):
            return
        fresh = [item for item in held if before is None or item not in before[0]]
        for item in fresh[:_SAID_AT_ONCE]:
            say = log.info if item.why is Why.NO_AUTHORIZER else log.warning
            say(
                "not kept in step",
                link=self._link, kind=item.kind.value, resource=item.resource, reason=item.why.value,
                detail=item.detail,
            )  # fmt: skip
        if len(fresh) > _SAID_AT_ONCE:
            log.warning("not kept in step", link=self._link, syncer=name, more=len(fresh) - _SAID_AT_ONCE)
        lines = tuple(HeldBack(item.kind.value, item.resource, item.why.value, item.detail) for item in held)
        await self._control.write([encode_report(SyncReport(name, self._now_ms(), lines, len(lines), error))])
        self._reported[name] = held, error
