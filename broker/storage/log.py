"""One partition's log.

Invariants, each attacked by a random test in `tests/broker/test_storage_log.py`:
- **A** offsets only grow: every append gets the log end, and no reader sees two batches that overlap;
- **B** what was acknowledged and lies below the high watermark is read back byte for byte, apart from offset and epoch;
- **C** after a crash the log is a prefix of what was appended, cut at a batch;
- **D** `log_start_offset <= last_stable_offset <= high_watermark <= log_end_offset`.
"""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from kio.schema.errors import ErrorCode

from broker.clock import Clock
from broker.errors import KafkaError
from broker.storage import validation
from broker.storage.batch import BatchHeader, Buffer, end_transaction_marker, placement, read_header
from broker.storage.files import Files
from broker.storage.leader_epochs import LeaderEpochs
from broker.storage.producers import AbortedTransaction, ProducerStates
from broker.storage.recovery import clean_stop, load, replay_batch
from broker.storage.segment import Segment
from broker.storage.validation import LogConfig

log = logging.getLogger(__name__)

READ_UNCOMMITTED, READ_COMMITTED = 0, 1


@dataclass(frozen=True, slots=True)
class AppendInfo:
    """What a producer is told about its batch.

    `log_append_time_ms` is -1 unless the topic uses it; of a duplicate it is the first copy's newest timestamp.
    """

    base_offset: int
    log_append_time_ms: int
    log_start_offset: int
    duplicate: bool = False


@dataclass(slots=True)
class ReadResult:
    """Whole batches from the one that holds the asked offset, and what a reader needs to interpret them."""

    records: list[Buffer] = field(default_factory=list)
    size: int = 0
    high_watermark: int = 0
    last_stable_offset: int = 0
    log_start_offset: int = 0
    aborted_transactions: list[AbortedTransaction] | None = None


class PartitionLog:
    """Append, read, look up, cut; single-threaded, on the event loop."""

    def __init__(self, files: Files, directory: str, config: Callable[[], LogConfig], clock: Clock, name: str) -> None:
        self.name = name
        self.directory = directory
        self.files = files
        self.clock = clock
        self._config = config
        self.segments: list[Segment] = []
        self.leader_epoch = 0
        self.leader_epochs = LeaderEpochs()
        self.producer_states = ProducerStates()
        self.offline: str | None = None
        """Why the log can't be written any more (a failed write or sync), or None."""
        self._log_start_offset = 0
        self._high_watermark = 0
        self._isr_sufficient = True
        self._waiters: set[asyncio.Future[None]] = set()
        self.generation = 0
        """Changes whenever segments are cut or removed, so that long work on them notices."""
        self.dirty_offset = 0
        """Where the cleaner goes on; below it every key is there once (as far as the log can know)."""
        load(self)

    @property
    def config(self) -> LogConfig:
        return self._config()

    @property
    def log_start_offset(self) -> int:
        return self._log_start_offset

    @property
    def log_end_offset(self) -> int:
        return self.segments[-1].next_offset

    @property
    def high_watermark(self) -> int:
        return self._high_watermark

    @property
    def last_stable_offset(self) -> int:
        unstable = self.producer_states.first_unstable_offset
        if unstable is None:
            return self._high_watermark
        return min(max(unstable, self._log_start_offset), self._high_watermark)

    @property
    def size(self) -> int:
        """Bytes of all segments."""
        return sum(segment.size for segment in self.segments)

    # -- writing

    def append_as_client(self, records: Buffer) -> AppendInfo:
        """Validate and append the one batch of a produce request.

        A repeated batch of an idempotent producer is not appended and answered with its first offset.
        Raises KafkaError with the code and message that Kafka answers.
        """
        self._check_online()
        config = self.config
        header = validation.single_batch(records)
        records = memoryview(records)[: header.size]
        validation.check_client_batch(records, header, config, self.name)
        now_ms = self.clock.now_ms()
        stored, header = validation.validated(records, header, config, now_ms, self.name)
        if header.size > config.max_message_bytes:
            raise KafkaError(
                ErrorCode.message_too_large,
                f"The record batch size in the append to {self.name} is {header.size} bytes "
                f"which exceeds the maximum configured value of {config.max_message_bytes}.",
            )
        if header.size > config.segment_bytes:
            raise KafkaError(
                ErrorCode.record_list_too_large,
                f"Message batch size is {header.size} bytes in append to partition {self.name}, "
                f"which exceeds the maximum configured segment size of {config.segment_bytes}.",
            )
        if header.producer_id >= 0:
            duplicate = self.producer_states.find_duplicate(header)
            if duplicate is not None:
                return AppendInfo(duplicate.first_offset, duplicate.timestamp, self._log_start_offset, duplicate=True)
            self.producer_states.check(header, self.name)
        base_offset = self._write(stored, header)
        append_time = now_ms if config.timestamp_type == "LogAppendTime" else -1
        return AppendInfo(base_offset, append_time, self._log_start_offset)

    def append_as_coordinator(self, records: Buffer) -> int:
        """Append one batch of the broker's own (`batch.encode_batch`), unvalidated; returns its base offset."""
        self._check_online()
        return self._write(records, read_header(records))

    def append_marker(self, producer_id: int, epoch: int, commit: bool, coordinator_epoch: int = 0) -> int:
        """End the producer's transaction in this partition; returns the marker's offset.

        Raises KafkaError when epoch or coordinator epoch have been superseded.
        """
        self._check_online()
        self.producer_states.check_marker(producer_id, epoch, coordinator_epoch)
        marker = end_transaction_marker(producer_id, epoch, commit, coordinator_epoch, self.clock.now_ms())
        return self._write(marker, read_header(marker))

    def roll(self) -> None:
        """Start a new segment unless the active one is empty."""
        active = self.segments[-1]
        if len(active):
            self._sync(active)
            path = f"{self.directory}/{active.next_offset:020d}.snapshot"
            self.files.write_all(path, self.producer_states.snapshot(), sync=False)
            self.segments.append(Segment(self.files, self.directory, active.next_offset))

    def _write(self, records: Buffer, header: BatchHeader) -> int:
        self._maybe_roll(header)
        active = self.segments[-1]
        base_offset = active.next_offset
        last_offset = base_offset + header.last_offset_delta
        head = placement(base_offset, header.length, self.leader_epoch)
        try:
            active.append([head, memoryview(records)[16:]], base_offset, last_offset, header.max_timestamp)
        except OSError as error:
            self._go_offline(f"append to {active.name}: {error}")
        if active.created_ms is None:
            active.created_ms = self.clock.now_ms()
        self.leader_epochs.assign(self.leader_epoch, base_offset)
        replay_batch(self.producer_states, header, records, base_offset)
        self._advance()
        return base_offset

    def _maybe_roll(self, header: BatchHeader) -> None:
        active = self.segments[-1]
        if not len(active):
            return
        config = self.config
        # As in Kafka, records' timestamps tell a segment's age, the clock only where they have none.
        first = active.max_timestamps[0]
        age = header.max_timestamp - first if first >= 0 and header.max_timestamp >= 0 else 0
        if first < 0 and active.created_ms is not None:
            age = self.clock.now_ms() - active.created_ms
        if age > config.segment_ms or active.size + header.size > config.segment_bytes:
            self.roll()

    def _check_online(self) -> None:
        if self.offline is not None:
            raise KafkaError(ErrorCode.kafka_storage_error, self.offline)

    def _sync(self, segment: Segment) -> None:
        try:
            segment.file.sync()
        except OSError as error:
            self._go_offline(f"sync of {segment.name}: {error}")

    def _go_offline(self, reason: str) -> None:
        # As Kafka does with a log directory: nothing is written any more until a restart has recovered the log.
        self.offline = f"log of {self.name} is offline: {reason}"
        log.error(self.offline)
        raise KafkaError(ErrorCode.kafka_storage_error, self.offline)

    # -- reading

    def read(
        self, offset: int, max_bytes: int, isolation: int = READ_UNCOMMITTED, *, min_one: bool = True
    ) -> ReadResult:
        """Whole batches from the one that holds `offset`, at most `max_bytes` (one batch more if `min_one`).

        Nothing from the high watermark on, or from the last stable offset on under read_committed.
        Raises KafkaError OFFSET_OUT_OF_RANGE.
        """
        if offset < self._log_start_offset or offset > self.log_end_offset:
            raise KafkaError(
                ErrorCode.offset_out_of_range,
                f"Received request for offset {offset} for partition {self.name}, "
                f"but we only have log segments from offset {self._log_start_offset} to {self.log_end_offset}.",
            )
        result = ReadResult(
            high_watermark=self._high_watermark,
            last_stable_offset=self.last_stable_offset,
            log_start_offset=self._log_start_offset,
        )
        bound = self.last_stable_offset if isolation == READ_COMMITTED else self._high_watermark
        end_offset = offset
        found = self._locate(offset)
        if found is not None:
            segment, first = found
            last = first
            while last < len(segment) and segment.first_offsets[last] < bound:
                end = segment.positions[last + 1] if last + 1 < len(segment) else segment.size
                size = end - segment.positions[first]
                if size > max_bytes and not (last == first and min_one):
                    break
                result.size = size
                last += 1
            if last > first:
                result.records = segment.read(first, last)
                end_offset = segment.last_offsets[last - 1] + 1
        if isolation == READ_COMMITTED:
            result.aborted_transactions = self.producer_states.aborted_between(offset, end_offset)
        return result

    def batches(self, offset: int = 0) -> Iterator[tuple[BatchHeader, memoryview]]:
        """Every stored batch from the one that holds `offset`, for the broker's own readers; no bound applied."""
        found = self._locate(max(offset, self._log_start_offset))
        if found is None:
            return
        start, index = found
        for segment in self.segments[self.segments.index(start) :]:
            yield from segment.batches(index)
            index = 0

    def _locate(self, offset: int) -> tuple[Segment, int] | None:
        number = bisect_right(self.segments, offset, key=lambda segment: segment.base_offset) - 1
        for segment in self.segments[max(number, 0) :]:
            index = segment.find(offset)
            if index < len(segment):
                return segment, index
        return None

    def available(self, offset: int, isolation: int, limit: int) -> int:
        """Bytes a read from `offset` would find, counted no further than `limit`; 0 out of range."""
        bound = self.last_stable_offset if isolation == READ_COMMITTED else self._high_watermark
        if offset >= bound or offset < self._log_start_offset:
            return 0
        found = self._locate(offset)
        if found is None:
            return 0
        segment, first = found
        if bound >= segment.next_offset:
            return min(limit, segment.size - segment.positions[first])
        end = segment.find(bound)
        return min(limit, (segment.positions[end] if end < len(segment) else segment.size) - segment.positions[first])

    async def wait_for_data(self, offset: int, deadline: float) -> bool:
        """Wait until something lies behind `offset` below the high watermark; False when `deadline` (monotonic
        seconds of the event loop) comes first."""
        loop = asyncio.get_running_loop()
        while self._high_watermark <= offset:
            waiter: asyncio.Future[None] = loop.create_future()
            self.add_waiter(waiter)
            try:
                async with asyncio.timeout_at(deadline):
                    await waiter
            except TimeoutError:
                return False
            finally:
                self.remove_waiter(waiter)
        return True

    def add_waiter(self, waiter: asyncio.Future[None]) -> None:
        """Have this future completed at the next append, election or truncation."""
        self._waiters.add(waiter)

    def remove_waiter(self, waiter: asyncio.Future[None]) -> None:
        self._waiters.discard(waiter)

    def wake(self) -> None:
        """Complete the futures of everybody who waits for something to change here."""
        waiters, self._waiters = self._waiters, set()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    # -- what the cluster tells

    def become_leader(self, epoch: int) -> None:
        """A new leader epoch begins at the log's end."""
        self.leader_epoch = epoch
        self.leader_epochs.assign(epoch, self.log_end_offset)
        self.wake()

    def set_isr_sufficient(self, sufficient: bool) -> None:
        """While the in-sync replicas are too few the high watermark stands still."""
        self._isr_sufficient = sufficient
        self._advance()

    def _advance(self) -> None:
        if self._isr_sufficient:
            self._high_watermark = self.log_end_offset
        self.wake()

    # -- cutting

    def delete_records_to(self, offset: int) -> int:
        """Raise the log start offset (-1: to the high watermark); returns the new one.

        Raises KafkaError OFFSET_OUT_OF_RANGE beyond the high watermark.
        """
        if offset == -1:
            offset = self._high_watermark
        if offset < 0 or offset > self._high_watermark:
            raise KafkaError(
                ErrorCode.offset_out_of_range,
                f"Cannot increment the log start offset to {offset} of partition {self.name} "
                f"since it is larger than the high watermark {self._high_watermark}",
            )
        self.raise_start(offset)
        return self._log_start_offset

    def raise_start(self, offset: int) -> None:
        """Move the log start up to `offset`, never down, and delete segments that end below it."""
        if offset <= self._log_start_offset:
            return
        self.generation += 1
        self._log_start_offset = offset
        self.files.write_all(f"{self.directory}/log-start-offset", str(offset).encode())
        if offset >= self.log_end_offset:
            self.roll()
        while len(self.segments) > 1 and self.segments[1].base_offset <= offset:
            self.segments.pop(0).delete()
        self.leader_epochs.truncate_start(offset)
        self.producer_states.forget_below(offset)
        self.dirty_offset = max(self.dirty_offset, offset)
        self.wake()

    def truncate(self, offset: int) -> None:
        """Forget everything from `offset` on, as a follower does or an unclean election; states are rebuilt."""
        self.generation += 1
        while len(self.segments) > 1 and self.segments[-1].base_offset >= offset:
            self.segments.pop().delete()
        self.segments[-1].truncate(offset)
        if self.log_end_offset < self._log_start_offset:  # the cut batch held the log's start
            self.segments.pop().delete()
            self.segments.append(Segment(self.files, self.directory, self._log_start_offset))
        for name in self.files.names(self.directory):
            if name.endswith(".snapshot") and int(name.removesuffix(".snapshot")) > offset:
                self.files.delete(f"{self.directory}/{name}")
        self.leader_epochs.truncate_end(offset)
        self.producer_states = ProducerStates()
        for header, data in self.batches():
            replay_batch(self.producer_states, header, data, header.base_offset)
        self._high_watermark = min(self._high_watermark, self.log_end_offset)
        self.dirty_offset = min(self.dirty_offset, self.log_end_offset)
        self._advance()

    # -- looking up

    def epoch_end_offset(self, epoch: int) -> tuple[int, int]:
        """(largest epoch up to `epoch`, its end offset), or (-1, -1) when the log knows nothing so old."""
        if epoch == self.leader_epoch:
            return epoch, self.log_end_offset
        return self.leader_epochs.end_offset(epoch, self.log_end_offset)

    # -- end of life

    def reopen(self) -> None:
        """Read everything from the files again, as a restart does: a torn tail goes, and the log is online again."""
        epoch = self.leader_epoch
        for segment in self.segments:
            segment.close()
        self.segments = []
        self.leader_epochs = LeaderEpochs()
        self.producer_states = ProducerStates()
        self.offline = None
        self.generation += 1
        self.dirty_offset = 0
        load(self)
        self.leader_epoch = max(epoch, self.leader_epoch)
        self.wake()

    def close(self) -> None:
        """Stop cleanly: sync, remember the producers, close the files."""
        if self.offline is None:
            try:
                clean_stop(self)
            except (OSError, KafkaError) as error:
                log.error("clean stop of %s: %s", self.name, error)
        for segment in self.segments:
            segment.close()

    def delete(self) -> None:
        """Remove the files; whoever waits is woken."""
        self.generation += 1
        for segment in self.segments:
            segment.close()
        self.files.delete_directory(self.directory)
        self.offline = f"{self.name} was deleted"
        self.wake()
