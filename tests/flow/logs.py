"""Source logs made by hand, and what is in a batch: neither made nor read by the code under test."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from aiokafka.record.default_records import DefaultRecordBatch

from broker.storage import compression
from broker.storage.batch import (
    LOG_APPEND_TIME,
    TRANSACTIONAL,
    encode_record,
    end_transaction_marker,
    make_header,
    seal,
    with_header,
)
from replicator.flow.partition import PartitionFlow
from replicator.flow.stage import Stage
from replicator.telemetry.counters import LATENCY_BOUNDS_S, Histogram, PartitionCounters
from replicator.wire.fetch import FetchedPartition
from replicator.wire.producer_id import ProducerIdAndEpoch

TOPIC_ID, TARGET_ID = uuid.UUID(int=1), uuid.UUID(int=2)
NOW = 1_700_000_000_123
Headers = Sequence[tuple[str, bytes | None]]


class Row(NamedTuple):
    """A record as a consumer sees it."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()


def rows(first: int, count: int, *, timestamp: int = NOW) -> list[Row]:
    """Plain records with contiguous offsets, each different."""
    return [Row(first + n, timestamp + n, b"k%d" % (first + n), b"v%d" % (first + n)) for n in range(count)]


def batch(
    content: Sequence[Row],
    *,
    base: int | None = None,
    last: int | None = None,
    codec: int = 0,
    leader_epoch: int = 0,
    producer_id: int = -1,
    transactional: bool = False,
    append_time: int | None = None,
    **changes: int,
) -> bytes:
    """A stored v2 batch; `base` and `last` reach beyond the records where compaction has removed some."""
    base = content[0].offset if base is None else base
    last = content[-1].offset if last is None else last
    base_time = content[0].timestamp if content else -1
    payload = b"".join(
        encode_record(row.offset - base, row.timestamp - base_time, row.key, row.value, row.headers) for row in content
    )
    latest = max((row.timestamp for row in content), default=-1)
    header = make_header(
        base_offset=base,
        leader_epoch=leader_epoch,
        attributes=codec
        | (TRANSACTIONAL if transactional else 0)
        | (LOG_APPEND_TIME if append_time is not None else 0),
        last_offset_delta=last - base,
        base_timestamp=base_time,
        max_timestamp=latest if append_time is None else append_time,
        producer_id=producer_id,
        producer_epoch=0 if producer_id >= 0 else -1,
        base_sequence=0 if producer_id >= 0 else -1,
        record_count=len(content),
    )
    return seal(compression.compress(codec, payload), header._replace(**changes))


def marker(offset: int, producer_id: int, *, commit: bool) -> bytes:
    """A transaction's end, as stored at `offset`."""
    data = bytearray(end_transaction_marker(producer_id, 0, commit, 0, NOW))
    data[0:8] = offset.to_bytes(8, "big")
    return bytes(data)


def fetched(
    *batches: bytes,
    aborted: Sequence[tuple[int, int]] = (),
    end: int = 1 << 40,
    error: int = 0,
    topic: str | uuid.UUID = TOPIC_ID,
) -> FetchedPartition:
    """One partition of a response, in memory that may be written to."""
    view = memoryview(bytearray(b"".join(batches)))
    return FetchedPartition(topic, 0, error, end, end, 0, list(aborted), -1, None, view)


def contents(data: bytes | memoryview, first: int = 0) -> list[Row]:
    """The records of one batch as aiokafka decodes them, counted from offset `first`; its CRC must be right."""
    decoded = DefaultRecordBatch(bytes(data))
    assert decoded.validate_crc()
    return [Row(first + r.offset, r.timestamp, r.key, r.value, tuple(r.headers)) for r in decoded]


class Outside:
    """What a partition needs of its link, noting what it asks for."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.producers_wanted = 0
        self.changes = 0
        self.asked: list[set[int]] = []

    def fetch_again(self, flow: PartitionFlow) -> None: ...

    def write_again(self, flow: PartitionFlow) -> None: ...

    def find_target_leader(self, flow: PartitionFlow) -> None: ...

    def find_origins(self, flow: PartitionFlow, producers: Collection[int]) -> None:
        self.asked.append(set(producers))

    def replace_producer(self, flow: PartitionFlow) -> None:
        self.producers_wanted += 1

    def changed(self, flow: PartitionFlow) -> None:
        self.changes += 1

    def faulted(self, flow: PartitionFlow, reason: object) -> None:
        self.faults.append(str(reason))


def flow_of(outside: Any, *, topic: str = "orders", partition: int = 0, **changes: Any) -> PartitionFlow:
    """A partition that begins at offset 0 on both sides."""
    settings: dict[str, Any] = {
        "topic": topic,
        "partition": partition,
        "source_topic_id": TOPIC_ID,
        "target_topic": f"us.{topic}",
        "target_topic_id": TARGET_ID,
        "source_next": 0,
        "target_next": 0,
        "source_epoch": -1,
        "record_timestamp_ms": -1,
        "producer": ProducerIdAndEpoch(1, 0),
        "stage": Stage("source"),
        "surroundings": outside,
        "counters": PartitionCounters("us-to-eu", topic, partition),
        "latency": Histogram(LATENCY_BOUNDS_S),
        "now_ms": lambda: NOW,
        "exclusive": True,
    }
    return PartitionFlow(**(settings | changes))


def with_right_checksum(data: bytes) -> bytes:
    """The same bytes with a CRC that fits them."""
    return bytes(with_header(data))
