"""Produce (key 0), versions 3-13: append record batches.

Validation is Kafka's own (`storage.validation`, `storage.producers`). Transactional batches are verified with the
coordinator, or add their partition to the transaction from version 12 on (KIP-890). Topic ids from version 13 on
(KIP-516), the current leader in errors from version 10 on (KIP-951), record errors from version 8 on (KIP-467).
With acks=-1 the answer waits until the high watermark covers the batch. Quotas are not applied.
The request is decoded by hand: records stay a view into the frame.
"""

from __future__ import annotations

import asyncio
import struct
import uuid
from dataclasses import dataclass
from typing import Any

import kio.schema.produce
from kio.schema.errors import ErrorCode

from broker.errors import CloseConnection, KafkaError
from broker.faults import Action
from broker.node import RequestContext
from broker.protocol import read_uvarint
from broker.registry import api, build
from broker.security.access import EVERYTHING
from broker.security.resources import Operation, ResourceType
from broker.storage.batch import HEADER_SIZE, read_header
from broker.storage.compression import ZSTD
from broker.storage.validation import single_batch
from broker.topics import Partition

# Kafka tells the log's start with every refusal but these (ReplicaManager.appendRecords)
WITHOUT_LOG_START = frozenset(
    {
        ErrorCode.corrupt_message,
        ErrorCode.kafka_storage_error,
        ErrorCode.message_too_large,
        ErrorCode.record_list_too_large,
    }
)
FIRST_ZSTD, FIRST_FLEXIBLE, FIRST_ABORTABLE, FIRST_IMPLICIT_ADD, FIRST_TOPIC_ID = 7, 9, 11, 12, 13
_PREFIX = struct.Struct(">hi")
_INDEX = struct.Struct(">i")
_LENGTH = struct.Struct(">h")


@dataclass(frozen=True, slots=True)
class TopicData:
    """One topic of a request: `(partition, records)` pairs; records may be None."""

    topic: str
    topic_id: uuid.UUID | None
    partitions: list[tuple[int, memoryview | None]]


@dataclass(frozen=True, slots=True)
class ProduceRequest:
    """The decoded request."""

    transactional_id: str | None
    acks: int
    timeout_ms: int
    topics: list[TopicData]

    def error_response(self, ctx: RequestContext, code: ErrorCode) -> Any:
        """The same error for every partition."""
        return build(
            ctx,
            responses=[
                {
                    "name": topic.topic,
                    "topic_id": topic.topic_id,
                    "partition_responses": [_failure(index, KafkaError(code)) for index, _ in topic.partitions],
                }
                for topic in self.topics
            ],
        )


def decode(frame: bytes, offset: int, version: int) -> ProduceRequest:
    """Decode the body at `offset`. Raises CloseConnection when it doesn't fit the frame."""
    try:
        return _Decoder(frame, offset, version >= FIRST_FLEXIBLE).request(version)
    except (struct.error, IndexError, UnicodeDecodeError, ValueError) as error:
        raise CloseConnection(f"Produce v{version} request can't be decoded: {error}") from error


class _Decoder:
    def __init__(self, frame: bytes, offset: int, flexible: bool) -> None:
        self._view = memoryview(frame)
        self._at = offset
        self._flexible = flexible

    def request(self, version: int) -> ProduceRequest:
        transactional_id = self._string()
        acks, timeout_ms = _PREFIX.unpack_from(self._view, self._at)
        self._at += _PREFIX.size
        topics = []
        for _ in range(self._count(2)):
            topic_id = None
            name = ""
            if version >= FIRST_TOPIC_ID:
                topic_id = uuid.UUID(bytes=bytes(self._view[self._at : self._at + 16]))
                self._at += 16
            else:
                name = self._string() or ""
            partitions = [self._partition() for _ in range(self._count(5))]
            self._tags()
            topics.append(TopicData(name, topic_id, partitions))
        self._tags()
        return ProduceRequest(transactional_id, acks, timeout_ms, topics)

    def _partition(self) -> tuple[int, memoryview | None]:
        (index,) = _INDEX.unpack_from(self._view, self._at)
        self._at += 4
        length = self._length(_INDEX)
        records = None
        if length >= 0:
            records = self._take(length)
        self._tags()
        return index, records

    def _string(self) -> str | None:
        length = self._length(_LENGTH)
        return None if length < 0 else bytes(self._take(length)).decode()

    def _length(self, legacy: struct.Struct) -> int:
        if self._flexible:
            value, self._at = read_uvarint(self._view, self._at)
            return value - 1
        (length,) = legacy.unpack_from(self._view, self._at)
        self._at += legacy.size
        return int(length)

    def _count(self, least_bytes: int) -> int:
        count = self._length(_INDEX)
        if count * least_bytes > len(self._view) - self._at:
            raise ValueError(f"array of {count} elements in {len(self._view) - self._at} bytes")
        return max(count, 0)

    def _take(self, length: int) -> memoryview:
        end = self._at + length
        if end > len(self._view):
            raise ValueError("a field runs past the end of the request")
        taken = self._view[self._at : end]
        self._at = end
        return taken

    def _tags(self) -> None:
        if not self._flexible:
            return
        count, self._at = read_uvarint(self._view, self._at)
        for _ in range(count):
            _, self._at = read_uvarint(self._view, self._at)
            size, self._at = read_uvarint(self._view, self._at)
            self._take(size)


@api(
    schema=kio.schema.produce,
    versions=range(3, 14),
    asks={ResourceType.TRANSACTIONAL_ID, ResourceType.TOPIC},
    decode=decode,
)
async def produce(ctx: RequestContext, request: ProduceRequest) -> Any:
    if request.acks not in (-1, 0, 1):
        return request.error_response(ctx, ErrorCode.invalid_required_acks)
    if (
        request.transactional_id is None
        or not ctx.access.allows(Operation.WRITE, ResourceType.TRANSACTIONAL_ID, request.transactional_id, quiet=True)
    ) and _has_transactional_records(request):
        if request.acks == 0:
            raise CloseConnection("Produce with acks=0 isn't authorized for its transactional id")
        return request.error_response(ctx, ErrorCode.transactional_id_authorization_failed)
    responses = []
    waits: list[tuple[dict[str, Any], Partition, int]] = []
    failed = False
    for topic in request.topics:
        rows = []
        for index, records in topic.partitions:
            try:
                row, partition = await _append(ctx, request, topic, index, records)
                if request.acks == -1 and partition.log.high_watermark < partition.log.log_end_offset:
                    waits.append((row, partition, partition.log.log_end_offset))
            except KafkaError as error:
                failed = True
                _count_failure(ctx, topic)
                row = _failure(index, error)
                _add_leader(ctx, topic, row, error)
            rows.append(row)
        responses.append({"name": topic.topic, "topic_id": topic.topic_id, "partition_responses": rows})
    if request.acks == 0:
        if failed:
            raise CloseConnection("Produce with acks=0 failed")  # Kafka's only way to tell such a client
        return None
    if waits:
        await _wait_for_replicas(ctx, request, waits)
    return build(ctx, responses=responses, node_endpoints=_endpoints(ctx, responses))


async def _append(
    ctx: RequestContext, request: ProduceRequest, topic: TopicData, index: int, records: memoryview | None
) -> tuple[dict[str, Any], Partition]:
    partition = _partition(ctx, topic, index)
    name = partition.topic.name
    _strike(ctx, Action.FAIL, name)
    if not ctx.cluster.leads(ctx.node, partition):
        raise KafkaError(ErrorCode.not_leader_or_follower)
    if partition.topic.internal and ctx.client_id != "__admin_client":
        raise KafkaError(ErrorCode.invalid_topic_exception, f"Cannot append to internal topic {name}")
    minimum = partition.min_insync
    if request.acks == -1 and len(partition.isr) < minimum:
        raise KafkaError(
            ErrorCode.not_enough_replicas,
            f"The size of the current ISR : {len(partition.isr)} is insufficient to satisfy the min.isr requirement "
            f"of {minimum} for partition {partition.name}",
        )
    if records is None or not len(records):
        raise KafkaError(
            ErrorCode.invalid_record, "Produce requests with version 3 or above must have exactly one record batch"
        )
    header = single_batch(records)
    if header.compression == ZSTD and ctx.api_version < FIRST_ZSTD:
        raise KafkaError(
            ErrorCode.unsupported_compression_type,
            "Produce requests with version < 7 are not allowed to use ZStandard compression",
        )
    await _verify_transaction(ctx, request, partition, records)
    try:
        info = partition.log.append_as_client(records)
    except KafkaError as error:
        if error.code not in WITHOUT_LOG_START:
            error.log_start_offset = partition.log.log_start_offset
        raise
    if not info.duplicate:
        counts = ctx.node.counts.topic(name)
        counts.produces.count += 1
        counts.bytes_in.count += header.size
        counts.messages_in.count += header.record_count
    _strike(ctx, Action.FAIL_AFTER, name)
    return {
        "index": index,
        "error_code": ErrorCode.none,
        "base_offset": info.base_offset,
        "log_append_time": info.log_append_time_ms,
        "log_start_offset": info.log_start_offset,
    }, partition


def _count_failure(ctx: RequestContext, topic: TopicData) -> None:
    found = ctx.cluster.topics.get(topic.topic) or ctx.cluster.topics.by_id(topic.topic_id)
    if found is not None:  # no counts of topics that there aren't: their names would have no end
        ctx.node.counts.topic(found.name).failed_produces.count += 1


def _strike(ctx: RequestContext, action: Action, topic: str) -> None:
    broken = ctx.cluster.faults.strike(
        action, "Produce", node=ctx.node.node_id, client_id=ctx.client_id, topics=(topic,)
    )
    if broken is not None:
        raise KafkaError(broken.error)


def _partition(ctx: RequestContext, topic: TopicData, index: int) -> Partition:
    name = topic.topic
    if topic.topic_id is not None:
        found = ctx.cluster.topics.by_id(topic.topic_id)
        if found is None:
            raise KafkaError(ErrorCode.unknown_topic_id)
        name = found.name
    ctx.access.require(Operation.WRITE, ResourceType.TOPIC, name)
    partition = ctx.cluster.topics.partition(name, index)
    if partition is None:
        raise KafkaError(ErrorCode.unknown_topic_or_partition)
    return partition


async def _verify_transaction(
    ctx: RequestContext, request: ProduceRequest, partition: Partition, records: memoryview
) -> None:
    coordinator = ctx.cluster.transactions
    header = read_header(records)
    if not header.is_transactional or request.transactional_id is None:
        return
    states = partition.log.producer_states
    if coordinator is None:
        return
    if states.has_ongoing(header.producer_id, header.producer_epoch):
        if ctx.access is not EVERYTHING and not coordinator.owns(request.transactional_id, header.producer_id):
            raise KafkaError(
                ErrorCode.invalid_producer_id_mapping, "The producer id isn't that of the transactional id"
            )  # Kafka lets whoever knows a producer id write into its transaction (KIP-98 says so)
        return
    if states.find_duplicate(header) is not None:
        return
    where = (request.transactional_id, header.producer_id, header.producer_epoch, partition.topic.name, partition.index)
    if ctx.api_version >= FIRST_IMPLICIT_ADD:
        code = await coordinator.add_partition(*where)
    elif ctx.cluster.config.get_bool("transaction.partition.verification.enable"):
        code = coordinator.verify(*where[:3], (where[3], where[4]))
    else:
        return
    if code is not ErrorCode.none:
        raise KafkaError(_as_producer_knows_it(ctx, code), f"{code.name} for a transactional write to {partition.name}")


def _as_producer_knows_it(ctx: RequestContext, code: ErrorCode) -> ErrorCode:
    """Kafka translates what the coordinator says for clients that would not retry it, or don't know the code."""
    if code is ErrorCode.producer_fenced:
        return ErrorCode.invalid_producer_epoch
    if code is ErrorCode.transaction_abortable and ctx.api_version < FIRST_ABORTABLE:
        return ErrorCode.invalid_txn_state
    if code is ErrorCode.concurrent_transactions and ctx.api_version < FIRST_IMPLICIT_ADD:
        return ErrorCode.not_enough_replicas
    return code


def _has_transactional_records(request: ProduceRequest) -> bool:
    return any(
        records is not None and len(records) >= HEADER_SIZE and read_header(records).is_transactional
        for topic in request.topics
        for _, records in topic.partitions
    )


async def _wait_for_replicas(
    ctx: RequestContext, request: ProduceRequest, waits: list[tuple[dict[str, Any], Partition, int]]
) -> None:
    deadline = asyncio.get_running_loop().time() + request.timeout_ms / 1000
    for row, partition, end_offset in waits:
        if not await partition.log.wait_for_data(end_offset - 1, deadline):
            row.update(error_code=ErrorCode.request_timed_out, base_offset=-1)
        elif not ctx.cluster.leads(ctx.node, partition):
            row.update(error_code=ErrorCode.not_leader_or_follower, base_offset=-1)


def _failure(index: int, error: KafkaError) -> dict[str, Any]:
    return {
        "index": index,
        "error_code": error.code,
        "base_offset": -1,
        "log_append_time": -1,
        "log_start_offset": error.log_start_offset,
        "error_message": error.message if error.record_errors else None,
        "record_errors": [
            {"batch_index": item.batch_index, "batch_index_error_message": item.message} for item in error.record_errors
        ],
    }


def _add_leader(ctx: RequestContext, topic: TopicData, row: dict[str, Any], error: KafkaError) -> None:
    if error.code is not ErrorCode.not_leader_or_follower:
        return
    partition = _partition(ctx, topic, row["index"])
    row["current_leader"] = {"leader_id": partition.leader, "leader_epoch": partition.leader_epoch}


def _endpoints(ctx: RequestContext, responses: list[dict[str, Any]]) -> list[dict[str, Any]]:
    leaders = {
        row["current_leader"]["leader_id"]
        for topic in responses
        for row in topic["partition_responses"]
        if "current_leader" in row
    }
    out = []
    for node_id in sorted(leaders & ctx.cluster.nodes.keys()):
        host, port = ctx.cluster.nodes[node_id].address(ctx.connection.listener.name)
        out.append({"node_id": node_id, "host": host, "port": port, "rack": None})
    return out
