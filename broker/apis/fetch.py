"""Fetch (key 1), versions 4-17: read record batches, waiting for data when there is none.

Incremental sessions (KIP-227, `broker.fetch_sessions`), topic ids from version 13 on (KIP-516), fencing by leader
epoch (KIP-320), divergence from version 12 on (KIP-595), read_committed with the list of aborted transactions.
Left out: fetching from followers (KIP-392: there is one log, so every answer comes from the leader), replica fetches
(who says to be a replica needs ClusterAction on the cluster, and is answered as a consumer), throttling. Only whole
batches are returned, which Kafka's clients take as a short read.
The response is encoded by hand so that records are written from where they lie.
"""

from __future__ import annotations

import asyncio
import struct
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import kio.schema.fetch
from kio.index import load_request_schema
from kio.schema.errors import ErrorCode

from broker.decoder import decode_request
from broker.errors import KafkaError
from broker.faults import Action
from broker.fetch_sessions import FINAL_EPOCH, INITIAL_EPOCH, FetchPartition, FetchSession
from broker.leadership import check_leader
from broker.node import RequestContext
from broker.protocol import RawResponse, milliseconds, uvarint
from broker.registry import api
from broker.security.resources import Operation, ResourceType
from broker.storage.files import Buffer
from broker.storage.log import ReadResult
from broker.storage.producers import AbortedTransaction
from broker.topics import Partition

FETCH = 1
FIRST_REPLICA_STATE = 15  # KIP-903
FIRST_SESSIONS, FIRST_PREFERRED_REPLICA, FIRST_FLEXIBLE, FIRST_TOPIC_ID, FIRST_ENDPOINTS = 7, 11, 12, 13, 16
_ABORTED = struct.Struct(">qq")


@dataclass(slots=True)
class PartitionResult:
    """What a client is told of one partition."""

    wanted: FetchPartition
    error: ErrorCode = ErrorCode.none
    high_watermark: int = -1
    last_stable_offset: int = -1
    log_start_offset: int = -1
    records: Sequence[Buffer] = ()
    size: int = 0
    aborted: list[AbortedTransaction] | None = None
    diverging: tuple[int, int] | None = None
    leader: tuple[int, int] | None = None


@dataclass(slots=True)
class FetchRequest:
    """The decoded request, topics flattened."""

    max_wait_ms: int
    min_bytes: int
    max_bytes: int
    isolation: int
    session_id: int
    session_epoch: int
    partitions: list[FetchPartition]
    forgotten: list[tuple[str | uuid.UUID, int]]
    topics: list[Any] = field(default_factory=list)
    replica_id: int = -1

    def error_response(self, ctx: RequestContext, code: ErrorCode) -> RawResponse:
        """An error for the whole request: top-level from version 7 on, else in every partition."""
        if ctx.api_version >= FIRST_SESSIONS:
            return encode(ctx, [], code, 0)
        return encode(ctx, [PartitionResult(wanted, code) for wanted in self.partitions], ErrorCode.none, 0)


def decode(frame: bytes, offset: int, version: int) -> FetchRequest:
    """Decode the body at `offset` and flatten it."""
    raw = decode_request(load_request_schema(FETCH, version), frame, offset)
    partitions = []
    for topic in raw.topics:
        key = topic.topic_id if version >= FIRST_TOPIC_ID else topic.topic
        for row in topic.partitions:
            partitions.append(
                FetchPartition(
                    key if key is not None else uuid.UUID(int=0),
                    row.partition,
                    row.fetch_offset,
                    row.partition_max_bytes,
                    getattr(row, "current_leader_epoch", -1),
                    getattr(row, "last_fetched_epoch", -1),
                    getattr(row, "log_start_offset", -1),
                )
            )
    forgotten: list[tuple[str | uuid.UUID, int]] = []
    for topic in getattr(raw, "forgotten_topics_data", ()):
        key = topic.topic_id if version >= FIRST_TOPIC_ID else topic.topic
        forgotten.extend((key, index) for index in topic.partitions)
    return FetchRequest(
        milliseconds(raw.max_wait),
        raw.min_bytes,
        raw.max_bytes,
        raw.isolation_level,
        getattr(raw, "session_id", 0),
        getattr(raw, "session_epoch", FINAL_EPOCH),
        partitions,
        forgotten,
        list(raw.topics),
        raw.replica_id if version < FIRST_REPLICA_STATE else raw.replica_state.replica_id,
    )


@api(schema=kio.schema.fetch, versions=range(4, 18), asks={ResourceType.TOPIC, ResourceType.CLUSTER}, decode=decode)
async def fetch(ctx: RequestContext, request: FetchRequest) -> RawResponse:
    uses_ids = ctx.api_version >= FIRST_TOPIC_ID
    sessions = ctx.cluster.fetch_sessions
    session: FetchSession | None = None
    incremental = request.session_epoch not in (INITIAL_EPOCH, FINAL_EPOCH)
    wanted = request.partitions
    if incremental:
        try:
            session = sessions.resume(ctx.node.node_id, request.session_id, request.session_epoch, uses_ids)
        except KafkaError as error:
            return encode(ctx, [], error.code, 0)
        _update(session, request)
        wanted = list(session.partitions.values())
    elif request.session_id:
        sessions.remove(request.session_id)
    if request.replica_id >= 0 and not ctx.access.allows(Operation.CLUSTER_ACTION, ResourceType.CLUSTER):
        results = [PartitionResult(each, ErrorCode.topic_authorization_failed) for each in wanted]
    else:
        results = await _read_or_wait(ctx, request, wanted)
    _count_read(ctx, results)
    if session is not None:
        results = [result for result in results if _worth_telling(result)]
        for result in results:  # whoever got data goes to the end, so that none starves
            if result.size:
                session.partitions[result.wanted.key] = session.partitions.pop(result.wanted.key, result.wanted)
    elif request.session_epoch == INITIAL_EPOCH:
        session = sessions.create(ctx.node.node_id, wanted, uses_ids)
    if session is not None:
        for result in results:
            result.wanted.told_high_watermark = result.high_watermark
            result.wanted.told_log_start_offset = result.log_start_offset
    return encode(ctx, results, ErrorCode.none, session.session_id if session is not None else 0)


def _count_read(ctx: RequestContext, results: list[PartitionResult]) -> None:
    for result in results:
        if not result.size and result.error is ErrorCode.none:
            continue
        name = _name(ctx, result.wanted)
        if name is None or ctx.cluster.topics.get(name) is None:
            continue
        counts = ctx.node.counts.topic(name)
        counts.fetches.count += 1
        counts.bytes_out.count += result.size
        counts.failed_fetches.count += result.error is not ErrorCode.none


def _update(session: FetchSession, request: FetchRequest) -> None:
    for wanted in request.partitions:
        known = session.partitions.get(wanted.key)
        if known is not None:
            wanted.told_high_watermark = known.told_high_watermark
            wanted.told_log_start_offset = known.told_log_start_offset
        session.partitions[wanted.key] = wanted
    for key in request.forgotten:
        session.partitions.pop(key, None)


def _worth_telling(result: PartitionResult) -> bool:
    return bool(
        result.size
        or result.error is not ErrorCode.none
        or result.diverging is not None
        or result.high_watermark != result.wanted.told_high_watermark
        or result.log_start_offset != result.wanted.told_log_start_offset
    )


async def _read_or_wait(
    ctx: RequestContext, request: FetchRequest, wanted: list[FetchPartition]
) -> list[PartitionResult]:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + request.max_wait_ms / 1000
    enough = min(request.min_bytes, request.max_bytes)
    while True:
        results = _read_all(ctx, request, wanted)
        ready = sum(result.size for result in results) >= enough
        # who may not read one partition waits for the others all the same
        allowed = [result for result in results if result.error is not ErrorCode.topic_authorization_failed]
        troubled = any(result.error is not ErrorCode.none or result.diverging for result in allowed)
        if ready or troubled or not allowed or loop.time() >= deadline or ctx.connection.closed:
            return results
        await _wait_for_enough(ctx, request.isolation, [result.wanted for result in allowed], enough, deadline)
        await ctx.node.thawed.wait()


async def _wait_for_enough(
    ctx: RequestContext, isolation: int, wanted: list[FetchPartition], enough: int, deadline: float
) -> None:
    """Until the partitions hold that many bytes, one of them changes its leader or goes away, or time is up."""
    loop = asyncio.get_running_loop()
    partitions = [(item, partition) for item in wanted if (partition := _find(ctx, item)) is not None]
    epochs = [partition.leader_epoch for _, partition in partitions]
    while loop.time() < deadline and not ctx.connection.closed:
        waiter: asyncio.Future[None] = loop.create_future()
        for _, partition in partitions:
            partition.log.add_waiter(waiter)
        try:
            async with asyncio.timeout_at(deadline):
                await waiter
        except TimeoutError:
            return
        finally:
            for _, partition in partitions:
                partition.log.remove_waiter(waiter)
        if any(_find(ctx, item) is not partition for item, partition in partitions):
            return
        if epochs != [partition.leader_epoch for _, partition in partitions]:
            return
        found = 0
        for item, partition in partitions:
            if item.fetch_offset < partition.log.log_start_offset:
                return
            found += partition.log.available(item.fetch_offset, isolation, item.max_bytes)
            if found >= enough:
                return


def _read_all(ctx: RequestContext, request: FetchRequest, wanted: list[FetchPartition]) -> list[PartitionResult]:
    results = []
    left = most = min(request.max_bytes, ctx.cluster.config.get_int("fetch.max.bytes"))
    for item in wanted:
        result = _read_one(ctx, request, item, left, nothing_yet=left == most)
        left = max(left - result.size, 0)
        results.append(result)
    return results


def _name(ctx: RequestContext, item: FetchPartition) -> str | None:
    if isinstance(item.topic, str):
        return item.topic
    topic = ctx.cluster.topics.by_id(item.topic)
    return None if topic is None else topic.name


def _find(ctx: RequestContext, item: FetchPartition) -> Partition | None:
    name = _name(ctx, item)
    return None if name is None else ctx.cluster.topics.partition(name, item.index)


def _read_one(
    ctx: RequestContext, request: FetchRequest, item: FetchPartition, left: int, *, nothing_yet: bool
) -> PartitionResult:
    name = _name(ctx, item)
    if name is None:
        return PartitionResult(item, ErrorCode.unknown_topic_id, aborted=[])
    if not ctx.access.allows(Operation.READ, ResourceType.TOPIC, name):
        return PartitionResult(item, ErrorCode.topic_authorization_failed, aborted=[])
    partition = ctx.cluster.topics.partition(name, item.index)
    if partition is None:
        return PartitionResult(item, ErrorCode.unknown_topic_or_partition, aborted=[])
    broken = ctx.cluster.faults.strike(
        Action.FAIL, "Fetch", node=ctx.node.node_id, client_id=ctx.client_id, topics=(partition.topic.name,)
    )
    if broken is not None:
        return PartitionResult(item, broken.error)
    code = check_leader(ctx, partition, item.current_leader_epoch)
    if code is not ErrorCode.none:
        leader = None
        if ctx.api_version >= FIRST_ENDPOINTS and code is not ErrorCode.unknown_leader_epoch:
            leader = partition.leader, partition.leader_epoch
        return PartitionResult(item, code, leader=leader)
    log = partition.log
    if item.last_fetched_epoch >= 0:
        epoch, end_offset = log.epoch_end_offset(item.last_fetched_epoch)
        if epoch < 0:
            return PartitionResult(item, ErrorCode.offset_out_of_range)
        if epoch < item.last_fetched_epoch or end_offset < item.fetch_offset:
            return PartitionResult(
                item,
                ErrorCode.none,
                log.high_watermark,
                log.last_stable_offset,
                log.log_start_offset,
                diverging=(epoch, end_offset),
            )
    try:
        read: ReadResult = log.read(
            item.fetch_offset, min(left, item.max_bytes), request.isolation, min_one=nothing_yet
        )
    except KafkaError as error:
        return PartitionResult(item, error.code)
    return PartitionResult(
        item,
        ErrorCode.none,
        read.high_watermark,
        read.last_stable_offset,
        read.log_start_offset,
        read.records,
        read.size,
        read.aborted_transactions,
    )


def encode(ctx: RequestContext, results: list[PartitionResult], error: ErrorCode, session_id: int) -> RawResponse:
    """The response body; record buffers are passed through untouched."""
    version = ctx.api_version
    flexible = version >= FIRST_FLEXIBLE
    parts: list[Buffer] = []
    head = bytearray(struct.pack(">i", 0))
    if version >= FIRST_SESSIONS:
        head += struct.pack(">hi", error, session_id)
    groups: dict[str | uuid.UUID, list[PartitionResult]] = {}
    for result in results:
        groups.setdefault(result.wanted.topic, []).append(result)
    head += _count(len(groups), flexible)
    leaders: set[int] = set()
    for topic, rows in groups.items():
        if isinstance(topic, uuid.UUID):
            head += topic.bytes
        else:
            name = topic.encode()
            head += (uvarint(len(name) + 1) if flexible else struct.pack(">h", len(name))) + name
        head += _count(len(rows), flexible)
        for row in rows:
            _encode_partition(head, row, version)
            if row.leader is not None:
                leaders.add(row.leader[0])
            size = row.size
            head += uvarint(size + 1) if flexible else struct.pack(">i", size)
            if size:
                parts.append(bytes(head))
                parts.extend(row.records)
                head = bytearray()
            if flexible:
                head += _partition_tags(row)
        if flexible:
            head += b"\x00"
    if flexible:
        head += _endpoint_tags(ctx, leaders) if version >= FIRST_ENDPOINTS else b"\x00"
    parts.append(bytes(head))
    return RawResponse(parts)


def _count(count: int, flexible: bool) -> bytes:
    return uvarint(count + 1) if flexible else struct.pack(">i", count)


def _encode_partition(head: bytearray, row: PartitionResult, version: int) -> None:
    flexible = version >= FIRST_FLEXIBLE
    head += struct.pack(">ihqq", row.wanted.index, row.error, row.high_watermark, row.last_stable_offset)
    if version >= 5:
        head += struct.pack(">q", row.log_start_offset)
    if row.aborted is None:
        head += b"\x00" if flexible else struct.pack(">i", -1)
    else:
        head += _count(len(row.aborted), flexible)
        for item in row.aborted:
            head += _ABORTED.pack(item.producer_id, item.first_offset)
            if flexible:
                head += b"\x00"
    if version >= FIRST_PREFERRED_REPLICA:
        head += struct.pack(">i", -1)


def _partition_tags(row: PartitionResult) -> bytes:
    tags = []
    if row.diverging is not None:
        tags.append(b"\x00\x0d" + struct.pack(">iq", *row.diverging) + b"\x00")
    if row.leader is not None:
        tags.append(b"\x01\x09" + struct.pack(">ii", *row.leader) + b"\x00")
    return uvarint(len(tags)) + b"".join(tags)


def _endpoint_tags(ctx: RequestContext, leaders: set[int]) -> bytes:
    nodes = sorted(leaders & ctx.cluster.nodes.keys())
    if not nodes:
        return b"\x00"
    body = bytearray(uvarint(len(nodes) + 1))
    for node_id in nodes:
        host, port = ctx.cluster.nodes[node_id].address(ctx.connection.listener.name)
        name = host.encode()
        body += struct.pack(">i", node_id) + uvarint(len(name) + 1) + name + struct.pack(">i", port) + b"\x00\x00"
    return b"\x01\x00" + uvarint(len(body)) + bytes(body)
