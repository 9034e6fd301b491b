"""Who wrote a batch of the source first: a client there, or a link that had it from another cluster (section 9).

Producer ids are unique in a cluster, and a link's are in its ledger there before it uses them (rule A). So a producer
id that is in none of the cluster's ledgers, read to their ends after a batch of it was seen, is a client's for good. A
batch's header suffices: nothing is decoded, and nothing that a client copies into a record can look like a loop.

Invariants:
- A: an answer is never a guess. What can't be told now (a ledger without a leader, one that may not be read, one of a
  version that doesn't say origins) is an error, and the partition waits.
- B: an answer never changes, as long as no ledger is deleted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from uuid import UUID

import structlog

from replicator.errors import ReplicatorError, UnreachableError
from replicator.flow.backpressure import ByteBudget, Lease
from replicator.flow.ports import NATIVE
from replicator.flow.stage import Stage
from replicator.ledger.codec import LedgerFormatError
from replicator.ledger.fetching import read_all
from replicator.ledger.lane_record import LANE_KEY, LaneRecord, decode_lane
from replicator.ledger.lanes import ledger_topic, link_of_ledger
from replicator.states import PartitionFault, Reason
from replicator.wire import batch as v2
from replicator.wire import records
from replicator.wire.cluster import ClusterClient
from replicator.wire.fetch import READ_UNCOMMITTED, FetchedPartition
from replicator.wire.iam import TOPIC, in_iam
from replicator.wire.kafka_errors import (
    NONE,
    TOPIC_AUTHORIZATION_FAILED,
    UNKNOWN_TOPIC_ID,
    UNKNOWN_TOPIC_OR_PARTITION,
)
from replicator.wire.list_offsets import LATEST
from replicator.wire.primitives import NO_TOPIC_ID

log = structlog.get_logger(__name__)

MAX_NATIVE = 100_000  # producer ids of clients that are remembered: 10 MB
PATIENCE_S = 10.0
_PAUSE_PER_TOPIC_S = 20e-6  # between two looks at all topics, which are dear to list where there are many
_PAUSE_MOST_S = 1.0
_SLOT = "origins"

Place = tuple[str, int]


class Provenance:
    """What is known of the producers of one link's source cluster. `flow.ports.Origins`.

    Batches that came from the target aren't copied back; with `native_only`, none that came from anywhere. `expected`
    are links that are known to write to the source: brokers keep silent about ledgers that we may not see.
    """

    def __init__(
        self,
        source: ClusterClient,
        target: ClusterClient,
        *,
        native_only: bool = False,
        expected: Collection[str] = (),
        max_native: int = MAX_NATIVE,
    ) -> None:
        self._source = source
        self._target = target
        self._native_only = native_only
        self._expected = [ledger_topic(link) for link in expected]
        self._max_native = max_native
        self._natives: dict[int, None] = {}
        self._copiers: dict[int, str] = {}  # producer id -> cluster id; in no ledger is more than a few thousand
        self._untold: dict[int, str] = {}  # producer id -> ledger that has it, and doesn't say for which origin
        self._readings: dict[Place, _LedgerReading] = {}
        self._wanted: set[int] = set()
        self._looking = asyncio.Lock()
        self._listed_at = -1e9

    def of(self, producer_id: int) -> str | None:
        """The id of the cluster that the producer's records were first written in, `NATIVE` if that is the source;
        None as long as it isn't known (`learn`)."""
        if producer_id < 0 or producer_id in self._natives:
            return NATIVE
        return self._copiers.get(producer_id)

    def passes(self, origin: str) -> bool:
        """Whether records of this origin are to be copied."""
        return origin == NATIVE or not (self._native_only or origin == self._target.cluster_id)

    async def learn(self, producers: Collection[int]) -> None:
        """Find these out, in the ledgers as they are from now on. A PartitionFault says what it waits for, another
        ReplicatorError that a cluster doesn't answer; calling it again may help."""
        unknown = {producer_id for producer_id in producers if self.of(producer_id) is None}
        if not unknown:
            return
        self._wanted |= unknown
        async with self._looking:  # whoever comes first looks for all that is wanted by then
            if any(self.of(producer_id) is None for producer_id in unknown):
                await self._look()
        for producer_id in unknown:
            if producer_id in self._untold:
                raise _unsaid(producer_id, self._untold[producer_id], self._source.alias)

    async def _look(self) -> None:
        wanted, self._wanted = self._wanted, set()
        try:
            await self._read_ledgers()
        except BaseException:
            self._wanted |= wanted
            raise
        for producer_id in wanted:
            if producer_id not in self._copiers and producer_id not in self._untold:
                self._natives[producer_id] = None
        for producer_id in list(self._natives)[: max(0, len(self._natives) - self._max_native)]:
            if producer_id not in wanted:  # whoever asked looks at the answer in a moment
                del self._natives[producer_id]

    async def _read_ledgers(self) -> None:
        pause = min(_PAUSE_MOST_S, _PAUSE_PER_TOPIC_S * len(self._source.topics))
        if (left := self._listed_at + pause - time.monotonic()) > 0:
            await asyncio.sleep(left)
        view = await self._source.all_topics()
        self._listed_at = time.monotonic()
        ledgers = {name: topic for name, topic in view.topics.items() if link_of_ledger(name) is not None}
        if not view.topics:
            raise UnreachableError(f"cluster {self._source.alias}: a broker names no topics at all")
        await self._are_gone({*self._expected, *(name for name, _ in self._readings)} - ledgers.keys())
        self._source.watch(ledgers)
        readings: list[_LedgerReading] = []
        for name, topic in ledgers.items():
            if topic.error != NONE or not topic.partitions:
                raise _unread(name, self._source.alias, f"error {topic.error} in the cluster's metadata")
            for lane in topic.partitions:
                known = self._readings.get((name, lane))
                if known is None or known.topic_id != topic.topic_id:
                    known = self._readings[name, lane] = _LedgerReading(name, lane, topic.topic_id)
                readings.append(known)
        ends = await self._source.offsets([(r.topic, r.partition, LATEST) for r in readings], READ_UNCOMMITTED)
        for reading in readings:
            end = ends.get((reading.topic, reading.partition))
            if end is None or end.error:
                self._source.refresh_soon()
                raise _unread(reading.topic, self._source.alias, f"partition {reading.partition} has no leader")
            reading.until(end.offset)
        failed = await read_all(self._source, readings, isolation=READ_UNCOMMITTED, slot=_SLOT, patience_s=PATIENCE_S)
        for reading in readings:
            for record in reading.taken():
                self._take(reading.topic, record)
        for (name, _), error in failed.items():
            raise error if isinstance(error, PartitionFault) else _unread(name, self._source.alias, str(error))

    async def _are_gone(self, names: Collection[str]) -> None:
        """Return if none of these ledgers is there. A list of all topics doesn't prove that: brokers leave out what we
        may not see, all of it when something else is wrong, and what they haven't heard of yet."""
        if not names:
            return
        self._source.watch(names)
        await self._source.refresh()
        for name in names:
            topic = self._source.topics.get(name)
            if topic is not None and topic.error == TOPIC_AUTHORIZATION_FAILED:
                where = f"topic {name} of cluster {self._source.alias}"
                iam = in_iam(TOPIC, "Describe", "Read")
                raise PartitionFault(Reason.NOT_AUTHORIZED, f"Describe and Read on {where} ({iam}).")
            if topic is None or topic.error not in (UNKNOWN_TOPIC_OR_PARTITION, UNKNOWN_TOPIC_ID):
                raise _unread(name, self._source.alias, "brokers differ on whether it is there")

    def _take(self, ledger: str, record: LaneRecord) -> None:
        for producer_id in record.producers:
            origin = record.origins.get(producer_id)
            if origin is None:
                self._untold[producer_id] = ledger
                continue
            self._untold.pop(producer_id, None)
            if producer_id in self._natives:
                del self._natives[producer_id]
                log.error(
                    "a link's producer was taken for a client's: what it had written until now may have been copied "
                    "back; were a ledger's acknowledged records lost?",
                    cluster=self._source.alias, ledger=ledger, producer_id=producer_id, origin=origin,
                )  # fmt: skip
            self._copiers[producer_id] = NATIVE if origin == self._source.cluster_id else origin


class _LedgerReading:
    """One ledger partition, followed: each call of `until` reads on from where the last one stopped. A
    `fetching.Reading`, read_uncommitted: a lane's record counts whatever becomes of its transaction."""

    def __init__(self, topic: str, partition: int, topic_id: UUID | None) -> None:
        self.topic, self.partition, self.topic_id = topic, partition, topic_id or NO_TOPIC_ID
        self.position = 0
        self._end = 0
        self._stage = Stage("source")
        self._found: list[LaneRecord] = []

    @property
    def done(self) -> bool:
        return self.position >= self._end

    def until(self, end: int) -> None:
        """Read up to this offset."""
        if end < self._end:  # it has lost what it had: what it says now is read from its start
            self.position = 0
        self._end = end

    def taken(self) -> list[LaneRecord]:
        """What was found since this was asked last."""
        found, self._found = self._found, []
        return found

    def take(self, fetched: FetchedPartition) -> None:
        staged = self._stage.stage(fetched, self.position, Lease(ByteBudget(1 << 40), 0))
        if staged.fault is not None:
            raise PartitionFault(Reason.LEDGER_UNREADABLE, f"{self.topic}-{self.partition}: {staged.fault.detail}")
        for batch in staged.batches:
            for record in records.decode(batch.data, v2.read_header(batch.data, 0)):
                if record.key == LANE_KEY and record.value is not None:
                    self._decode(record.value)
        self.position = staged.next_offset

    def _decode(self, value: bytes) -> None:
        try:
            self._found.append(decode_lane(value))
        except LedgerFormatError as error:
            raise PartitionFault(Reason.LEDGER_UNREADABLE, f"{self.topic}-{self.partition}: {error}") from error

    def out_of_range(self, start: int, end: int) -> None:
        if self.position < start:
            self.position = start
        elif self.position > end:
            self.position, self._end = start, min(self._end, end)

    def idle(self, fetched: FetchedPartition, seconds: float) -> bool:
        return False


def _unsaid(producer_id: int, ledger: str, alias: str) -> PartitionFault:
    link = link_of_ledger(ledger)
    return PartitionFault(
        Reason.LEDGER_UNREADABLE,
        f"Producer {producer_id} writes to cluster {alias} for link {link}, whose ledger {ledger} doesn't say yet from "
        f"where: run link {link} with this version of Replicator; if it isn't run any more, and its copies are to be "
        "copied on as if clients had written them, delete its ledger.",
    )


def _unread(ledger: str, alias: str, why: str) -> PartitionFault:
    return PartitionFault(
        Reason.SOURCE_UNREACHABLE,
        f"Whether clients wrote what comes next, or link {link_of_ledger(ledger)}, can't be told while topic {ledger} "
        f"of cluster {alias} can't be read: {why}.",
    )


def fault_of(error: ReplicatorError, offset: int) -> PartitionFault:
    """What to show at a partition that waits for an answer."""
    if isinstance(error, PartitionFault):
        return PartitionFault(error.reason, error.detail, offset=offset)
    detail = f"Whether clients wrote what comes next, or a link, can't be told now: {error}."
    return PartitionFault(Reason.SOURCE_UNREACHABLE, detail, offset=offset)
