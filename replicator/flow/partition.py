"""One source partition on its way: fetched, staged, written, acknowledged.

Invariants:
- A: batches are sent in source order; a batch is sent again only when everything sent of this partition is answered
  (or its connection is gone), and then from the first one that isn't acknowledged on, byte for byte as before.
- B: at most `MAX_UNRESOLVED` batches are in flight: what brokers remember of a producer (KIP-98).
- C: `source_next` and `target_next` describe one instant: all before `source_next` is acknowledged, nothing else is.
- D: a fault stops this partition alone. What was fetched before a bad batch is still written, unless the target lost
  what it had: then nothing is written any more.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from uuid import UUID

import structlog

from replicator.errors import ProtocolError
from replicator.flow import target_errors
from replicator.flow.backpressure import Lease
from replicator.flow.batch import PASSED, Batch, Outcome
from replicator.flow.ports import Gate, Outlet, Runs, Surroundings
from replicator.flow.rebuild import split
from replicator.flow.stage import Stage
from replicator.flow.target_log import TargetLog
from replicator.states import PartitionFault, Reason, State, Way
from replicator.telemetry.counters import Histogram, PartitionCounters
from replicator.wire import batch as v2
from replicator.wire import kafka_errors as codes
from replicator.wire.fetch import FetchedPartition
from replicator.wire.producer_id import ProducerIdAndEpoch

log = structlog.get_logger(__name__)

MAX_UNRESOLVED = 5
QUEUE_BYTES = 4 << 20  # staged and unsent; above it the partition leaves the fetch session
SEQUENCE_MASK = 0x7FFFFFFF
_RETRY_FIRST_S, _RETRY_MOST_S = 0.05, 2.0
_PARK_AFTER_TRIES = 5
_SHOW_AFTER_S = 10.0  # a partition that has been trying for this long shows as FAULTED
HEAL_AFTER_S = 10.0


class PartitionFlow:
    """The whole state of one partition between source and target. Belongs to one event loop."""

    def __init__(
        self,
        *,
        topic: str,
        partition: int,
        source_topic_id: UUID,
        target_topic: str,
        target_topic_id: UUID,
        source_next: int,
        target_next: int,
        source_epoch: int,
        record_timestamp_ms: int,
        producer: ProducerIdAndEpoch,
        stage: Stage,
        surroundings: Surroundings,
        counters: PartitionCounters,
        latency: Histogram,
        now_ms: Callable[[], int],
        exclusive: bool,
        gate: Gate | None = None,
        runs: Runs | None = None,
        sequences: Mapping[ProducerIdAndEpoch, int] | None = None,
    ) -> None:
        self.topic = topic
        self.partition = partition
        self.source_topic_id = source_topic_id
        self.target_topic = target_topic
        self.target_topic_id = target_topic_id
        self.target_topic_key = target_topic_id.bytes  # as produce requests name it
        self.key = topic, partition
        self.producer = producer
        self._sequences = dict(sequences or {})  # of producers that it isn't written with just now
        self.next_sequence = self._sequences.pop(producer, 0)
        self.source_next = source_next  # everything before it is acknowledged, or isn't to be copied
        self.source_epoch = source_epoch  # leader epoch of the batch before `source_next`, -1 unknown
        self.target_log = TargetLog(self, target_next, exclusive=exclusive, runs=runs)
        self.record_timestamp_ms = record_timestamp_ms
        self.state = State.COPYING
        self.reason: Reason | None = None
        self.detail = ""
        self.since_ms = now_ms()
        self.closed = False
        self.fetch_offset = source_next
        self.fetched_epoch = source_epoch  # of the last fetched batch, -1 unknown
        self.source_end = -1
        self.read_replica = -1
        self.source_tries = 0  # in a row that ended in an error
        self._fetch_stopped = False
        self._probing = False  # faulted, and fetching all the same: to see how the source is, or to have what to write
        self._full = False
        self._draining = False
        self.queue: deque[Batch] = deque()
        self.queued_bytes = 0
        self.unresolved: deque[Batch] = deque()
        self.in_flight = 0  # batches that are sent and not answered
        self.outlet: Outlet | None = None  # while something is in flight, nothing may leave elsewhere
        self._resend: deque[Batch] = deque()
        self._held = False  # waiting for answers, then for a retry
        self._stopped = False  # nothing is written any more
        self._parked = False  # has been waiting for the target for long
        self._fault_of_target = False
        # Brokers take any sequence of a producer that they don't know: were its first batch refused for a moment, the
        # second would be appended before it. So a producer's first batch goes alone.
        self._producer_known = False
        self._tries = 0
        self._failing_since_ms = 0
        self._timer: asyncio.TimerHandle | None = None
        self._drained: asyncio.Event = asyncio.Event()
        self._drained.set()
        self._stage = stage
        self._outside = surroundings
        self._counters = counters
        self._latency = latency
        self._now_ms = now_ms
        self.gate = gate
        self.changing = False  # about to `go_through` another gate
        counters.state, counters.reason = self.state.value, None

    def __repr__(self) -> str:
        return f"{self.topic}-{self.partition}"

    @property
    def target_next(self) -> int:
        """The target's log position behind what is acknowledged, -1 unknown."""
        return self.target_log.next

    @property
    def way(self) -> Way:
        """How it is written just now."""
        return Way.FENCED if self.gate is not None and not self.gate.transactional else Way.TRANSACTIONS

    @property
    def sequences(self) -> dict[ProducerIdAndEpoch, int]:
        """What the next batch of each producer that has written it would get."""
        return {**self._sequences, self.producer: self.next_sequence}

    @property
    def acknowledged_sequence(self) -> int:
        """The sequence of the first batch that isn't acknowledged: with `source_next`, of the same instant."""
        if self.unresolved and self.unresolved[0].sequence >= 0:
            return self.unresolved[0].sequence
        return self.next_sequence

    @property
    def idle(self) -> bool:
        """Nothing is staged or in flight."""
        return not self.unresolved and not self.queue

    # fetching

    @property
    def fetchable(self) -> bool:
        """Whether it should be in the fetch session now."""
        if self.closed or self._draining or self._fetch_stopped or self._full or self._parked:
            return False
        return self.state is State.COPYING or self._probing

    @property
    def full(self) -> bool:
        """Whether it would be fetched if there were room in its queue."""
        return self._full and self.state is State.COPYING and not (self.closed or self._parked or self._draining)

    def take(self, fetched: FetchedPartition, lease: Lease) -> None:
        """Stage what a fetch response holds for this partition (its error code is 0)."""
        self.source_end = fetched.last_stable_offset if fetched.last_stable_offset >= 0 else fetched.high_watermark
        self.source_tries = 0
        staged = self._stage.stage(fetched, self.fetch_offset, lease)
        self._counters.read_bytes += len(fetched.records)
        self._counters.drop(staged.dropped, staged.looped_records, staged.looped_bytes)
        for batch in staged.batches:
            self.queued_bytes += batch.size
        if staged.batches:
            self.queue.extend(staged.batches)
            self._drained.clear()
        self.fetch_offset = staged.next_offset
        if staged.last_epoch >= 0:
            self.fetched_epoch = staged.last_epoch
        if self.idle and self.fetch_offset != self.source_next:  # dropped batches move the position without a write
            self._advanced()
        self._full = self.queued_bytes >= QUEUE_BYTES
        if staged.fault is not None:
            self.fault(staged.fault)
        elif staged.unknown:
            self.stop_fetching()
            self._outside.find_origins(self, staged.unknown)
        elif self._probing:
            self.source_is_well()
        if self.queue:
            self.offer()

    def stop_fetching(self) -> None:
        """Until `try_fetching`: somebody looks into what is wrong on the source side."""
        self._fetch_stopped = True
        self._outside.fetch_again(self)

    def try_fetching(self) -> None:
        """The source side may be well again: fetch, and if that succeeds the fault is over."""
        self._fetch_stopped = False
        self._probing = self.waits_for_source
        self._outside.fetch_again(self)

    def source_is_well(self) -> None:
        """It can be read again: a fault of the source's side is over."""
        if self.waits_for_source:
            self._set_state(State.COPYING, None, "")

    @property
    def waits_for_source(self) -> bool:
        """Whether it is faulted for something that may heal on the source side: `try_fetching` finds out."""
        reason = self.reason
        return self.state is State.FAULTED and reason is not None and reason.heals and not self._fault_of_target

    # writing

    @property
    def transactional_id(self) -> str | None:
        """The transactional id that its batches are sent under; None outside of transactions."""
        return self.gate.transactional_id if self.gate is not None else None

    @property
    def waiting(self) -> bool:
        """Whether it has something to send, if it may."""
        if not self.unresolved and not self.queue:
            return False
        if self.closed or self._held or self._stopped or self.changing:
            return False
        most = MAX_UNRESOLVED if self._producer_known else 1
        new = self.queue and not (self._tries and self.unresolved)  # what isn't sent can be let go of and had again
        return bool(self._resend or new) and len(self.unresolved) - len(self._resend) < most

    @property
    def sendable(self) -> bool:
        """Whether the writer may take a batch now."""
        gate = self.gate
        return self.waiting and (gate is None or gate.admits(self, again=bool(self._resend)))

    @property
    def uncertain(self) -> bool:
        """Whether something was sent of which nobody knows if it is in the target's log."""
        return any(batch.outcome is Outcome.SENT or batch.uncertain for batch in self.unresolved)

    def offer(self) -> None:
        """Have the writer look at it; in a transaction, ask to be part of it."""
        if self.gate is not None and self.waiting:
            self.gate.ask(self)
        self._outside.write_again(self)

    def _answered(self) -> None:
        if self.gate is not None:
            self.gate.settled(self)

    def go_through(self, gate: Gate, producer: ProducerIdAndEpoch) -> None:
        """Write in another way from now on, as this producer. Only while nothing is in flight or uncommitted."""
        assert not self.unresolved, f"{self} changes its way with batches in flight"
        if self.gate is not None and self.gate.transactional:
            self.target_log.overtakes_marker()
        self._sequences[self.producer] = self.next_sequence
        self.gate, self.producer = gate, producer
        self.next_sequence = self._sequences.pop(producer, 0)
        self._producer_known = False

    @property
    def head(self) -> Batch:
        """The batch that `next_batch` would give. Only when there is one."""
        return (self._resend or self.queue)[0]

    def next_batch(self) -> Batch:
        """The next batch to send, stamped. Call only when `sendable`."""
        if self._resend:
            batch = self._resend.popleft()
        else:
            if not self.unresolved and self.gate is not None and self.gate.forgotten(self.record_timestamp_ms):
                self._producer_known = False
            batch = self.queue.popleft()
            self.queued_bytes -= batch.size
            self.unresolved.append(batch)
            if self._full and self.queued_bytes < QUEUE_BYTES // 2:
                self._full = False
                self._outside.fetch_again(self)
        if batch.sequence < 0:
            batch.sequence = sequence = self.next_sequence
            self.next_sequence = (sequence + batch.record_count) & SEQUENCE_MASK
            self._stamp(batch)
        batch.outcome = Outcome.SENT
        self.in_flight += 1
        if self.gate is not None:
            self.gate.sent(self, batch)
        return batch

    def _stamp(self, batch: Batch) -> None:
        v2.stamp(
            batch.data,
            producer_id=self.producer.producer_id,
            producer_epoch=self.producer.epoch,
            base_sequence=batch.sequence,
            transactional=self.gate is not None and self.gate.transactional,
        )

    def acknowledged(self, batch: Batch, target_base: int) -> None:
        """The target has this batch at `target_base` (-1: it had it before, and doesn't say where)."""
        if self.closed or batch.outcome is not Outcome.SENT:
            return
        if target_base < 0 and self.gate is not None:  # exactly once wants to know where: the target's tail says it
            self.failed(batch, codes.OUT_OF_ORDER_SEQUENCE_NUMBER, "the target has it, and doesn't say where")
            return
        self.in_flight -= 1
        batch.outcome = Outcome.ACKNOWLEDGED
        batch.target_base = target_base
        self._producer_known = True
        if self._stopped:
            self._answered()
            return
        unresolved = self.unresolved
        while unresolved and (head := unresolved[0]).outcome is Outcome.ACKNOWLEDGED:
            if self.target_log.lost(head):
                self.fault(target_errors.truncated(self, head))
                self._answered()
                return
            unresolved.popleft()
            self._complete(head)
        self._answered()
        if self._held:
            self._settle()
        elif self._tries or self._parked or self.state is State.FAULTED:
            self._recovered()

    def failed(self, batch: Batch, code: int, message: str) -> None:
        """The target refused this batch, or its connection went before the answer (code NETWORK_EXCEPTION)."""
        if self.closed or batch.outcome is not Outcome.SENT:
            return
        self.in_flight -= 1
        batch.outcome = Outcome.FAILED
        batch.code, batch.message = code, message
        batch.uncertain = batch.uncertain or code not in target_errors.NOT_WRITTEN
        if self._stopped:
            self._answered()
            return
        self._held = True
        self._settle()
        self._answered()

    def adopt_producer(self, producer: ProducerIdAndEpoch) -> None:
        """Go on as this producer, with everything from the first batch on that isn't acknowledged.

        At least once: it may be there already. What is acknowledged behind that batch goes again as well: brokers may
        remember a producer's last batch alone, and the target's log must not end with an older record than it did.
        """
        self.producer = producer
        self.next_sequence = 0
        for batch in self.unresolved:
            batch.sequence = -1
            batch.outcome = Outcome.WAITING
        self._producer_known = False
        self.target_log.taken_twice()
        self._outside.changed(self)
        self._retry_now()

    def _complete(self, batch: Batch) -> None:
        if (misfit := self.target_log.takes(batch)) is not None:
            self.fault(misfit)
        self.source_next, self.source_epoch = batch.source_next, batch.source_epoch
        if batch.max_timestamp >= 0:
            self.record_timestamp_ms = batch.max_timestamp
            if self.gate is None or not self.gate.transactional:
                now_ms = self._now_ms()
                late_ms = max(0, now_ms - batch.max_timestamp)
                self._latency.observe(late_ms / 1000)
                self._counters.arrived(late_ms, now_ms)
            else:
                self._counters.hidden(batch.max_timestamp)
        if self.gate is not None:
            self.gate.acknowledged(batch)
        counters = self._counters
        counters.records += batch.record_count
        counters.bytes += batch.size
        if batch.way == PASSED:
            counters.batches_passed += 1
        else:
            counters.batches_rebuilt[batch.way] = counters.batches_rebuilt.get(batch.way, 0) + 1
        batch.release()
        self._advanced()

    def committed(self, now_ms: int) -> None:
        """The transaction that its batches were in is committed: readers see them."""
        self._counters.committed(now_ms)

    def _advanced(self) -> None:
        if not self.unresolved and not self.queue:
            self.source_next, self.source_epoch = self.fetch_offset, self.fetched_epoch
            self._drained.set()
        self._outside.changed(self)

    # retries

    def _settle(self) -> None:
        """Once all that was sent is answered, decide by the first batch that failed."""
        if self.in_flight:
            return
        head = next((batch for batch in self.unresolved if batch.outcome is Outcome.FAILED), None)
        if head is None:
            self._retry_now()
            return
        self._counters.retries += 1
        code = head.code
        if code in target_errors.TOO_LARGE and head.record_count > 1 and self._split(head):
            self._retry_now()
        elif self.gate is not None and code in target_errors.TRANSACTION_OVER:
            where = f"{self.target_topic}-{self.partition}"
            self.gate.fail(codes.BrokerError(code, f"written as producer {self.producer}: {where}", head.message))
        elif code in target_errors.NEW_PRODUCER:
            self._retry_count()
            log.warning(
                "the target lost track of the producer; going on as a new one, batches in flight may be there twice",
                target_topic=self.target_topic, partition=self.partition, error=codes.error_name(code),
            )  # fmt: skip
            self._outside.replace_producer(self)
        elif (fault := target_errors.refused(self, head)) is not None:
            self._retry_count()
            self.fault(fault, by_target=True)
            self.park()
            self._retry_after(HEAL_AFTER_S)
        else:
            self._retry(head)

    def _retry(self, head: Batch) -> None:
        self._retry_count()
        if codes.is_invalid_metadata(head.code):
            self._outside.find_target_leader(self)
        if self._tries >= _PARK_AFTER_TRIES:
            self.park()
        if self.state is State.COPYING and self._now_ms() - self._failing_since_ms > _SHOW_AFTER_S * 1000:
            self.fault(
                PartitionFault(
                    Reason.TARGET_UNREACHABLE,
                    f"{self.target_topic}-{self.partition}: {codes.error_name(head.code)} {head.message}".strip() + ".",
                )
            )
        self._retry_after(min(_RETRY_MOST_S, _RETRY_FIRST_S * 2 ** min(self._tries, 8)))

    def _retry_count(self) -> None:
        if not self._tries:
            self._failing_since_ms = self._now_ms()
        self._tries += 1

    def _retry_after(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._retry_now)

    def _retry_now(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.closed or self._stopped:
            return
        self._held = False
        if self._parked and self.idle:  # it kept nothing to try with
            self._parked = False
            self._probing = self._fault_of_target and self.reason is not None and self.reason.heals
            self._outside.fetch_again(self)
        self._resend = deque(batch for batch in self.unresolved if batch.outcome is not Outcome.ACKNOWLEDGED)
        for batch in self._resend:
            batch.outcome = Outcome.WAITING
        self.offer()

    def target_found(self) -> None:
        """The target is there again. With something to send, its acknowledgement ends the fault; without, this does."""
        if self.idle:
            self._recovered()

    def _recovered(self) -> None:
        self._tries = 0
        self._parked = False
        reason = self.reason if self.state is State.FAULTED else None
        if reason is not None and reason.heals and self._fault_of_target:
            self._set_state(State.COPYING, None, "")
        self._outside.fetch_again(self)

    def _split(self, head: Batch) -> bool:
        """Put two halves in the place of a batch; False if it doesn't decode."""
        try:
            halves = split(head)
        except ProtocolError as error:
            head.message = f"{head.message}; it can't be split: {error}"
            return False
        sequence = head.sequence
        for half in halves:
            half.sequence = sequence
            sequence = (sequence + half.record_count) & SEQUENCE_MASK
            self._stamp(half)
        head.release()
        place = self.unresolved.index(head)
        remaining = list(self.unresolved)
        self.unresolved = deque(remaining[:place] + halves + remaining[place + 1 :])
        return True

    def park(self) -> None:
        """Waiting for long: let go of the fetch responses. What wasn't sent is fetched again, but for one batch to try
        with; where much waits already, that one too, after a while. Ends with the next acknowledgement."""
        self._parked = True
        crowded = any(batch.lease is not None and batch.lease.crowded for batch in self.queue)
        self._rewind(keep=0 if self.unresolved or crowded else 1)
        for batch in (*self.unresolved, *self.queue):
            batch.detach()
        if self.idle and self._timer is None:
            self._retry_after(HEAL_AFTER_S)
        if self._draining:
            self._drained.set()
        self._outside.fetch_again(self)

    def _rewind(self, keep: int = 0) -> None:
        """Forget what is staged and unsent, but for the first `keep` batches; it is fetched again."""
        if len(self.queue) <= keep:
            return
        while len(self.queue) > keep:
            batch = self.queue.pop()
            self.queued_bytes -= batch.size
            batch.release()
        last = self.queue or self.unresolved
        if last:
            self.fetch_offset, self.fetched_epoch = last[-1].source_next, last[-1].source_epoch
        else:
            self.fetch_offset, self.fetched_epoch = self.source_next, self.source_epoch
        self._full = False

    # states

    def fault(self, fault: PartitionFault, *, by_target: bool = False) -> None:
        """Stop for this reason. Writing goes on with what is in order unless the target is the reason.

        The first fault that doesn't heal stays, unless the target turns out to have lost what it had.
        `by_target` says whose a reason is that both sides can have: who must be well again for the fault to end.
        """
        stops_writing = fault.reason in target_errors.STOPS_WRITING
        waits_for_people = self.state is State.FAULTED and self.reason is not None and not self.reason.heals
        explained = self.reason is Reason.TARGET_TRUNCATED and fault.reason is Reason.TARGET_RECREATED
        if self.closed or (self._stopped and not explained) or (waits_for_people and not stops_writing):
            return
        again = self.state is State.FAULTED and self.reason is fault.reason
        self._counters.authorization_failures += fault.reason is Reason.NOT_AUTHORIZED
        self._probing = False
        self._fault_of_target = by_target or fault.reason in target_errors.TARGET_SIDE
        self._set_state(State.FAULTED, fault.reason, fault.detail)
        if not again:
            self._outside.faulted(self, fault.reason)
            log.error(
                "partition stopped",
                topic=self.topic, partition=self.partition, reason=fault.reason.value, detail=fault.detail,
                next_step=fault.reason.next_step,
            )  # fmt: skip
        if stops_writing:
            self._stopped = True
            if self._timer is not None:
                self._timer.cancel()
            self._rewind()
            for batch in self.unresolved:
                batch.release()
            self._drained.set()
        self._outside.fetch_again(self)

    def _set_state(self, state: State, reason: Reason | None, detail: str) -> None:
        if (state, reason) != (self.state, self.reason):
            self.since_ms = self._now_ms()
        self.state, self.reason, self.detail = state, reason, detail
        self._probing = self._probing and state is State.FAULTED
        self._counters.state, self._counters.reason = state.value, reason.value if reason else None
        self._outside.changed(self)

    async def drain(self) -> None:
        """Stop fetching, forget what isn't sent, and wait until what was sent is acknowledged.

        A partition that has been waiting for its target for long isn't waited for.
        """
        self._draining = True
        self._rewind()
        self._outside.fetch_again(self)
        if self.idle or self._parked or self._stopped:
            self._drained.set()
        await self._drained.wait()

    def close(self) -> None:
        """Let go of everything; answers that still come are ignored."""
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
        for batch in (*self.unresolved, *self.queue):
            batch.release()
        self.queue.clear()
        self.unresolved.clear()
        self._resend.clear()
        self._drained.set()

    def update_counters(self) -> None:
        """Bring the position and lag in the counters up to date."""
        head = self.unresolved or self.queue
        waiting_ms = head[0].max_timestamp if head else self.record_timestamp_ms
        now_ms = self._now_ms()
        self._counters.place(self.source_end, self.source_next, self.target_next, waiting_ms, now_ms)
        last = self.queue or self.unresolved
        read_ms = last[-1].max_timestamp if last else self.record_timestamp_ms
        self._counters.place_reader(self.fetch_offset, read_ms, now_ms)
