"""A lane's transactions on the target: which partitions are in, when to commit, and what is written with it.

Batches of the lane's partitions and their ledger entries go into one Kafka transaction (KIP-98), so that positions and
records become visible together, or not at all. One is open at a time; it is committed after `COMMIT_AFTER_S`, or while
a backlog is being copied `BACKLOG_COMMIT_AFTER_S`: each commit holds its lane up for tens of ms.

Invariants:
- A: a batch is sent only while a transaction is open that its partition has been added to.
- B: a transaction is committed only when nothing in it is uncertain: every batch sent is acknowledged, or refused by an
  answer that says it isn't in the log. What lost its answer is sent again first.
- C: the entries in a transaction describe exactly the batches acknowledged up to its end.
- D: whatever goes wrong with the transaction itself ends the lane's run; recovery begins at the committed entries.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import structlog

from replicator.errors import ReplicatorError
from replicator.flow.batch import Batch
from replicator.flow.partition import HEAL_AFTER_S, PartitionFlow
from replicator.flow.ports import NATIVE
from replicator.flow.ways import Ways
from replicator.states import PartitionFault, Reason
from replicator.telemetry.counters import Histogram
from replicator.wire import kafka_errors as codes
from replicator.wire.iam import TOPIC, in_iam
from replicator.wire.transactions import TransactionalProducer

log = structlog.get_logger(__name__)

COMMIT_AFTER_S = 0.5
BACKLOG_COMMIT_AFTER_S = 2.0
_BACKLOG_AGE_MS = 10_000  # records so old wait for nobody who would notice
TOUCH_AFTER_S = 1.0  # for entries alone, without records
SETTLE_LIMIT_S = 20.0  # well below the transaction timeout
TIMEOUT_MS = 60_000
_LOOK_AGAIN_S = 0.5
_LOOK_FOR_END_S = 0.1

KeyValue = tuple[bytes, bytes | None]


class LaneState(Protocol):
    """The lane's own records that belong into a transaction: its ledger entries and parts of its offset map."""

    def places(self) -> list[tuple[str, int]]:
        """The internal partitions that `write` would write to now; empty if nothing has changed."""

    async def write(self, pairs: Sequence[KeyValue]) -> None:
        """Append what has changed, and these records, within the open transaction."""

    def committed(self) -> None:
        """What was written counts."""


class LaneTransaction:
    """The transactions of one lane, one after the other. The gate of its partitions (`flow.ports.Gate`)."""

    transactional = True

    def __init__(
        self,
        producer: TransactionalProducer,
        ledger: tuple[str, int],
        *,
        flows: Mapping[tuple[str, int], PartitionFlow],
        state: LaneState,
        offer: Callable[[PartitionFlow], None],
        find_leader: Callable[[PartitionFlow], None],
        has_leader: Callable[[PartitionFlow], bool],
        latency: Histogram,
        now_ms: Callable[[], int],
        ways: Ways | None = None,
        origin: str = NATIVE,
    ) -> None:
        self.origin = origin
        self.transactional_id: str | None = producer.transactional_id
        self.broken: asyncio.Future[ReplicatorError] = asyncio.get_running_loop().create_future()
        self._producer = producer
        self._ledger = ledger
        self._flows = flows
        self._state = state
        self._offer = offer
        self._find_leader = find_leader
        self._has_leader = has_leader
        self._latency = latency
        self._now_ms = now_ms
        self._ways = ways
        self._added: set[tuple[str, int]] = set()
        self._being_added: set[tuple[str, int]] = set()
        self._asking: set[PartitionFlow] = set()
        self._participants: set[PartitionFlow] = set()
        self._times: list[int] = []
        self._closing = False
        self._doomed = False
        self._ending = False
        self._sealed = False  # closing, and everything is settled: nothing more is sent in this transaction
        self._pairs: list[KeyValue] = []
        self._waiters: list[asyncio.Future[None]] = []
        self._begun = asyncio.Event()
        self._due = asyncio.Event()
        self._asked = asyncio.Event()
        self._settled = asyncio.Event()
        self._adding = asyncio.Lock()
        self._touch_timer: asyncio.TimerHandle | None = None
        self._tasks = [
            asyncio.create_task(self._run(), name=f"transactions {self.transactional_id}"),
            asyncio.create_task(self._admit(), name=f"admissions {self.transactional_id}"),
        ]

    # the partitions' gate

    def admits(self, flow: PartitionFlow, *, again: bool) -> bool:
        """Whether the partition may send now; `again`: only what it has sent in this transaction before."""
        if self.broken.done() or self._doomed or self._sealed or (self._closing and not again):
            return False
        if flow.head.origin != self.origin:
            return False
        return (flow.target_topic, flow.partition) in self._added

    def ask(self, flow: PartitionFlow) -> None:
        """The partition has something to send: it is offered to the writer as soon as it may."""
        place = flow.target_topic, flow.partition
        if self.broken.done():
            return
        if place in self._added or place in self._being_added:
            self._end_for(flow)
            return
        if flow.head.origin != self.origin:
            if self._ways is not None and not self._closing:  # else it is asked again behind the commit
                self._ways.reconsider(flow)
            return
        if self._ways is None or self._closing or not self._ways.reconsider(flow):
            self._asking.add(flow)
            self._asked.set()

    def sent(self, flow: PartitionFlow, batch: Batch) -> None:
        """A batch of the partition is on its way."""
        self._participants.add(flow)

    def acknowledged(self, batch: Batch) -> None:
        """A batch is in the target's log; its readers see it after the commit."""
        if batch.max_timestamp >= 0:
            self._times.append(batch.max_timestamp)

    def settled(self, flow: PartitionFlow) -> None:
        """Something was answered: the barrier may be over."""
        if self._closing:
            self._settled.set()
        elif flow.waiting:
            self._end_for(flow)

    def _end_for(self, flow: PartitionFlow) -> None:
        """Commit without delay if the partition has to leave: what it sends next is of another origin."""
        if flow.head.origin != self.origin:
            self._due.set()

    def doom(self, flow: PartitionFlow) -> bool:
        """Whether this partition has sent something in the open transaction: then that is never committed, for the
        target isn't what it was taken for. The lane's run ends with the `fail` that has to follow."""
        if flow not in self._participants or self._ending or self.broken.done():
            return False
        self._doomed = True
        return True

    def forgotten(self, timestamp_ms: int) -> bool:
        """An open transaction keeps its producer from being forgotten."""
        return False

    def fail(self, error: ReplicatorError) -> None:
        """The transaction can't go on (invariant D). The first reason counts."""
        if not self.broken.done():
            self.broken.set_result(error)

    # the lane

    def touch(self) -> None:
        """An entry changed, maybe without a record: commit before long."""
        if not self._begun.is_set() and self._touch_timer is None:
            self._touch_timer = asyncio.get_running_loop().call_later(TOUCH_AFTER_S, self._begin)

    async def commit_with(self, pairs: Sequence[KeyValue]) -> None:
        """Commit soon, with these ledger records; returns when that is done. ReplicatorError if the lane's run ends."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.broken.done():
            raise self.broken.result()
        self._pairs += pairs
        self._waiters.append(done)
        self._begin()
        self._due.set()
        await done

    async def close(self) -> None:
        """Stop. An open transaction stays open: the next owner's InitProducerId aborts it."""
        for task in self._tasks:
            task.cancel()
        if self._touch_timer is not None:
            self._touch_timer.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._let_waiters_go(ReplicatorError("the lane was given up"))

    # internals

    def _begin(self) -> None:
        if self._touch_timer is not None:
            self._touch_timer.cancel()
            self._touch_timer = None
        self._begun.set()

    async def _run(self) -> None:
        try:
            while True:
                await self._begun.wait()
                await self._until_due(COMMIT_AFTER_S)
                left_s = BACKLOG_COMMIT_AFTER_S - COMMIT_AFTER_S
                while left_s > 0 and not self._due.is_set() and self._copies_backlog():
                    await self._until_due(_LOOK_FOR_END_S)
                    left_s -= _LOOK_FOR_END_S
                await self._commit()
        except ReplicatorError as error:
            self.fail(error)
            self._let_waiters_go(error)
        except Exception as error:  # noqa: BLE001 - it is logged, and ends the run
            self._fail_unexpectedly(error)
            self._let_waiters_go(self.broken.result())

    async def _until_due(self, at_most_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(at_most_s):
                await self._due.wait()

    def _copies_backlog(self) -> bool:
        """Whether what was copied last is old, and there is more of it."""
        old = bool(self._times) and self._now_ms() - self._times[-1] > _BACKLOG_AGE_MS
        return old and any(not flow.idle for flow in self._participants)

    def _fail_unexpectedly(self, error: Exception) -> None:
        """A bug ends the lane's run as trouble does: a transaction that nobody ends would hold its readers back."""
        log.exception("transaction failed", transactional_id=self.transactional_id)
        self.fail(ReplicatorError(f"transaction {self.transactional_id}: {type(error).__name__}: {error}"))

    async def _commit(self) -> None:
        async with self._adding:
            self._closing = True
        waiters, self._waiters = self._waiters, []
        try:
            await self._until_settled()
            pairs, self._pairs = self._pairs, []
            places = {*self._state.places(), *([self._ledger] if pairs else [])}
            if places - self._added:
                await self._add([*(places - self._added)])
            if places:
                await self._state.write(pairs)
            if self._doomed:
                raise await asyncio.shield(self.broken)
            if self._added:
                self._ending = True
                await self._producer.end(commit=True)
        except BaseException:
            self._waiters = waiters + self._waiters
            raise
        self._state.committed()
        now = self._now_ms()
        for time_ms in self._times:
            self._latency.observe(max(0, now - time_ms) / 1000)
        for flow in self._participants:
            flow.committed(now)
        for flow in self._flows.values():
            if (flow.target_topic, flow.partition) in self._added:  # the marker comes whether or not it sent something
                flow.target_log.marked()
        self._added.clear()
        self._participants.clear()
        self._times.clear()
        self._due.clear()
        self._begun.clear()
        self._closing = self._sealed = self._ending = False
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
        if self._waiters:
            self._begin()
            self._due.set()
        elif self._state.places():  # changed while the commit was under way, when nobody's touch was heard
            self.touch()
        for flow in self._flows.values():
            if flow.waiting and flow.gate is self:
                self.ask(flow)

    def _is_ours(self, flow: PartitionFlow) -> bool:
        return flow.gate is self and not (flow.closed or flow.changing)

    async def _until_settled(self) -> None:
        try:
            async with asyncio.timeout(SETTLE_LIMIT_S):
                while uncertain := [flow for flow in self._participants if flow.uncertain and not flow.closed]:
                    self._settled.clear()
                    await self._settled.wait()
                # What was refused and is tried again before the end of the transaction would be in the log, and in no
                # entry (invariant C).
                self._sealed = True
        except TimeoutError:
            named = ", ".join(str(flow) for flow in uncertain[:5])
            raise ReplicatorError(f"batches of {named} stay unanswered; the transaction is given up") from None

    async def _admit(self) -> None:
        """Add what asks to the open transaction: all that asked meanwhile in one request."""
        try:
            while True:
                await self._asked.wait()
                self._asked.clear()
                async with self._adding:
                    if self._closing:
                        continue  # the commit asks again for everybody
                    # A partition without a leader can't take the marker, which would hold up the whole lane. It asks
                    # again when it has one.
                    flows = [flow for flow in self._asking if self._is_ours(flow) and self._has_leader(flow)]
                    self._asking.clear()
                    wanted = {(flow.target_topic, flow.partition): flow for flow in flows}
                    refused = await self._add([*wanted]) if wanted else {}
                for place, flow in wanted.items():
                    if place in refused:
                        self._refuse(flow, refused[place])
                    else:
                        self._offer(flow)
        except ReplicatorError as error:
            self.fail(error)
        except Exception as error:  # noqa: BLE001 - it is logged, and ends the run
            self._fail_unexpectedly(error)

    async def _add(self, places: list[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """Add to the transaction; the error codes of those that can't be."""
        self._being_added = set(places)
        try:
            return await self._add_all(places)
        finally:
            self._being_added.clear()

    async def _add_all(self, places: list[tuple[str, int]]) -> dict[tuple[str, int], int]:
        refused: dict[tuple[str, int], int] = {}
        while places:
            topics: dict[str, list[int]] = {}
            for topic, partition in places:
                topics.setdefault(topic, []).append(partition)
            found = await self._producer.add_partitions(topics)
            if not found:
                self._added.update(places)
                self._begin()
                break
            refused.update(found)
            places = [place for place in places if place not in found]
        own = [place for place in refused if place[1] == self._ledger[1] and place[0].startswith("__replicator_")]
        if own:
            raise codes.BrokerError(refused[own[0]], f"{own[0][0]}-{own[0][1]} can't be part of a transaction")
        return refused

    def _refuse(self, flow: PartitionFlow, code: int) -> None:
        pause = _LOOK_AGAIN_S
        if code == codes.TOPIC_AUTHORIZATION_FAILED:
            detail = f"Write on topic {flow.target_topic} of the target ({in_iam(TOPIC, 'Write')})."
            flow.fault(PartitionFault(Reason.NOT_AUTHORIZED, detail), by_target=True)
            pause = HEAL_AFTER_S
        else:
            self._find_leader(flow)
        asyncio.get_running_loop().call_later(pause, self._ask_again, flow)

    def _ask_again(self, flow: PartitionFlow) -> None:
        if flow.waiting:  # else it has stopped, or begun anew, and asks by itself once it has something
            self.ask(flow)

    def _let_waiters_go(self, error: ReplicatorError) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(error)
        self._waiters = []
