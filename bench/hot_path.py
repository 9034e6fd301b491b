"""What a batch costs in Python between its fetch response and its acknowledgement: no sockets, no brokers.

    python -m bench.hot_path            # microseconds a batch, the best of many rounds

Real stage, partitions, fenced gate, offset map, writer and connections; only the transport and the cluster's metadata
are made up, and the time that making them up takes isn't counted. Kernel and brokers are measured by `python -m bench`.
"""

from __future__ import annotations

import argparse
import asyncio
import struct
import time
import uuid
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any, cast

from replicator.flow.backpressure import ByteBudget, Lease
from replicator.flow.fenced import FencedWriting
from replicator.flow.partition import PartitionFlow
from replicator.flow.stage import Stage
from replicator.flow.ways import Ways
from replicator.flow.writer import Writer
from replicator.ledger.lanes import lane_of
from replicator.ledger.map_tail import MapTail
from replicator.telemetry.counters import LATENCY_BOUNDS_S, Histogram, PartitionCounters
from replicator.wire import batch as v2
from replicator.wire import produce
from replicator.wire.connection import Connection
from replicator.wire.fetch import FetchedPartition
from replicator.wire.primitives import uvarint
from replicator.wire.producer_id import ProducerIdAndEpoch
from replicator.worker.placement import lane_of_flow

PARTITIONS = 8
LANES = 32
SOURCE_TOPIC, TARGET_TOPIC = uuid.UUID(int=1), uuid.UUID(int=2)
_ANSWER = struct.Struct(">ihqqqBBB")  # index, error, base offset, two more; no record errors, no message, no tags


class _Transport(asyncio.Transport):
    """Takes requests, and knows what would answer them."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[list[Any]] = []

    def writelines(self, parts: Any) -> None:
        self.requests.append(list(parts))


class _Target:
    """A cluster of one broker, as the writer sees it."""

    alias = "target"
    answers = 0
    throttled_s = 0.0

    def __init__(self) -> None:
        self.listeners: list[Any] = []
        self.connections: list[Connection] = []
        self.transports: list[_Transport] = []

    def topic_id_of(self, topic: str) -> uuid.UUID:
        return TARGET_TOPIC

    def leader(self, topic: str, partition: int) -> Any:
        return _LEADER

    async def connection(self, node: int, slot: str) -> Connection:
        connection = Connection("target", slot, "bench", 1 << 20)
        transport = _Transport()
        connection.connection_made(transport)
        connection.versions = {produce.PRODUCE: (0, produce.MAX_VERSION)}
        connection._write = transport.writelines  # type: ignore[method-assign]  # what sockets cost isn't the question
        self.connections.append(connection)
        self.transports.append(transport)
        return connection


_LEADER = SimpleNamespace(leader=1, leader_epoch=0)


class _Lanes(dict[int, Any]):
    """What a link does when a partition's position has moved."""

    def changed(self, flow: PartitionFlow) -> None:
        lane = lane_of_flow(self, flow, LANES)
        if lane is not None:
            lane.dirty.add(flow.key)


class _World:
    """Partitions on their way through one writer."""

    def __init__(self, records: int, size: int) -> None:
        self.now_ms = int(time.time() * 1000)
        self.target = _Target()
        self.writer = Writer(cast(Any, self.target))
        self.budget = ByteBudget(1 << 30)
        self.lanes = _Lanes()
        self._template = _batch(records, size, self.now_ms)
        self._records = records
        self._ends: dict[int, int] = {}  # of the target's logs, by partition
        memory = SimpleNamespace(producer_memory_ms=lambda: 86_400_000, may_be_compacted=lambda topic: False)
        outside = SimpleNamespace(
            fetch_again=lambda flow: None, write_again=self.writer.offer, changed=self.lanes.changed, faulted=print
        )
        self.flows = []
        for partition in range(PARTITIONS):
            ways = Ways(cast(Any, memory), print, _now_ms)
            gate = FencedWriting(ways, running=lambda: True, entries_due=lambda: None, fail=print)
            flow = PartitionFlow(
                topic="orders",
                partition=partition,
                source_topic_id=SOURCE_TOPIC,
                target_topic="us.orders",
                target_topic_id=TARGET_TOPIC,
                source_next=0,
                target_next=0,
                source_epoch=0,
                record_timestamp_ms=self.now_ms,
                producer=ProducerIdAndEpoch(1, 0),
                stage=Stage("source"),
                surroundings=cast(Any, outside),
                counters=PartitionCounters("link", "orders", partition),
                latency=Histogram(LATENCY_BOUNDS_S),
                now_ms=_now_ms,
                exclusive=True,
                gate=gate,
                runs=MapTail(),
            )
            flow._producer_known = True
            lane = lane_of(*flow.key, LANES)
            self.lanes.setdefault(lane, SimpleNamespace(flows={}, dirty=set())).flows[flow.key] = flow
            self.flows.append(flow)

    def response(self, batches: int) -> list[FetchedPartition]:
        """What a fetch brings of each partition."""
        answers = []
        for flow in self.flows:
            data = bytearray(self._template * batches)
            size, offset = len(self._template), flow.fetch_offset
            for index in range(batches):
                v2.INT64.pack_into(data, index * size, offset + index * self._records)
            end = offset + batches * self._records
            answers.append(
                FetchedPartition(SOURCE_TOPIC, flow.partition, 0, end, end, 0, [], -1, None, memoryview(data))
            )
        return answers

    def answers(self) -> Iterator[tuple[Connection, bytes]]:
        """What the broker says to each request that waits."""
        for connection, transport in zip(self.target.connections, self.target.transports, strict=True):
            requests, transport.requests = transport.requests, []
            for parts in requests:
                yield connection, _answer(parts, self._ends)


def _answer(parts: Sequence[Any], ends: dict[int, int]) -> bytes:
    """To a request as `encode_produce` makes them: a batch stands behind its index, the first one behind the topic."""
    (correlation,) = struct.unpack_from(">i", parts[0], 8)
    results: list[bytes] = []
    for before, batch in zip(parts[2::2], parts[3::2], strict=False):
        (partition,) = struct.unpack_from(">i", before, 1 if results else 17)
        count = v2.count_at(batch, 0)
        base = ends.get(partition, 0)
        ends[partition] = base + count
        results.append(_ANSWER.pack(partition, 0, base, -1, 0, 1, 0, 0))
    body = uvarint(2) + TARGET_TOPIC.bytes + uvarint(len(results) + 1) + b"".join(results) + b"\0" + bytes(4) + b"\0"
    frame = struct.pack(">i", correlation) + b"\0" + body
    return struct.pack(">i", len(frame)) + frame


def _batch(records: int, size: int, now_ms: int) -> bytes:
    header = v2.BatchHeader(0, size - 12, 0, 2, 0, 0, records - 1, now_ms, now_ms, -1, -1, -1, records)
    data = bytearray(v2.HEADER.pack(*header) + bytes(size - v2.HEADER_BYTES))
    v2.UINT32.pack_into(data, 17, v2.checksum(memoryview(data)))
    return bytes(data)


def _now_ms() -> int:
    return int(time.time() * 1000)


def _feed(connection: Connection, answer: bytes) -> None:
    position = 0
    while position < len(answer):
        room = connection.get_buffer(-1)
        size = min(len(room), len(answer) - position)
        room[:size] = answer[position : position + size]
        connection.buffer_updated(size)
        position += size


async def _round(world: _World, batches: int) -> float:
    """CPU seconds for one fetch response."""
    responses = world.response(batches)
    began = time.thread_time()
    for flow, fetched in zip(world.flows, responses, strict=True):
        lease = Lease(world.budget, len(fetched.records))
        flow.take(fetched, lease)
        lease.release()
    await asyncio.sleep(0)
    spent = time.thread_time() - began
    while not all(flow.idle for flow in world.flows):
        answers = list(world.answers())
        began = time.thread_time()
        for connection, answer in answers:
            _feed(connection, answer)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        spent += time.thread_time() - began
    return spent


async def measure(records: int, size: int, *, rounds: int = 60, batches: int = 40) -> float:
    """Microseconds a batch, the best of many rounds."""
    world = _World(records, size)
    best = float("inf")
    for _ in range(rounds):
        best = min(best, await _round(world, batches))
    if any(flow.reason is not None for flow in world.flows):
        raise SystemExit(f"a partition stopped: {[flow.detail for flow in world.flows if flow.reason]}")
    await world.writer.close()
    return best / (batches * PARTITIONS) * 1e6


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=60)
    rounds = parser.parse_args().rounds
    for name, records, size in (("JSON, 94 records in 17 KB", 94, 17_068), ("1 KB, 63 records in 65 KB", 63, 65_130)):
        print(f"{name}: {asyncio.run(measure(records, size, rounds=rounds)):.2f} us a batch", flush=True)


if __name__ == "__main__":
    main()
