"""Fetcher and Writer between two bundled clusters, in one loop with them, in all kinds of trouble."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection
from typing import Any

import pytest

from broker.cluster import Cluster
from broker.storage.batch import HEADER_SIZE
from replicator.config.models import ClusterConfig
from replicator.flow import fetch_loop as loop_module
from replicator.flow.backpressure import ByteBudget
from replicator.flow.fetcher import Fetcher
from replicator.flow.partition import PartitionFlow
from replicator.flow.source_errors import SourceErrors
from replicator.flow.writer import Writer
from replicator.states import Reason, State
from replicator.wire import cluster as cluster_module
from replicator.wire.cluster import ClusterClient
from replicator.wire.producer_id import init_producer_id
from tests.flow import logs
from tests.support.eventually import until

PARTITIONS = 4


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same program with shorter pauses."""
    for where, seconds in {
        "flow.fetch_loop._PAUSE_S": 0.02,
        "flow.fetcher._SHOW_AFTER_S": 0.2,
        "flow.fetch_loop._SHOW_AFTER_S": 0.2,
        "flow.fetch_loop.MAX_WAIT_MS": 100,
        "flow.writer._PAUSE_S": 0.02,
        "flow.writer._SHOW_AFTER_S": 0.2,
        "flow.source_errors._PAUSE_S": 0.02,
        "flow.source_errors._PAUSE_MOST_S": 0.1,
        "flow.source_errors.HEAL_AFTER_S": 0.1,
        "flow.partition.HEAL_AFTER_S": 0.1,
        "flow.partition._RETRY_FIRST_S": 0.005,
        "flow.partition._RETRY_MOST_S": 0.05,
        "wire.cluster._REFRESH_PAUSE_S": 0.01,
        "wire.cluster._CONNECT_PAUSE_S": 0.02,
    }.items():
        monkeypatch.setattr(f"replicator.{where}", seconds)


class Copying:
    """A link without ledger and worker: what they would do for the data plane, and the two clusters."""

    def __init__(self, nodes: int, limit_bytes: int) -> None:
        self.source, self.target = Cluster(nodes=nodes), Cluster(nodes=nodes)
        self.budget = ByteBudget(limit_bytes)
        self.flows: list[PartitionFlow] = []
        self.replaced = 0
        self.most_in_use = 0
        self.holding_writes = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, replication_factor: int) -> None:
        await self.source.start()
        await self.target.start()
        self.make_reachable()
        self.source.create_topic("orders", PARTITIONS, replication_factor)
        self.target.create_topic("us.orders", PARTITIONS, replication_factor)
        self.from_, self.to = (
            ClusterClient(alias, ClusterConfig(bootstrap_servers=cluster.bootstrap), "test")
            for alias, cluster in (("us", self.source), ("eu", self.target))
        )
        self.errors = SourceErrors(self.from_)
        self.fetcher = Fetcher(self.from_, self.budget, self.errors)
        self.writer = Writer(self.to)
        await self.from_.all_topics()
        self.to.watch(["us.orders"])
        await self.to.refresh()

    def make_reachable(self) -> None:
        """Both clusters listen, and nobody has asked them anything yet."""

    async def begin(self, **changes: Any) -> PartitionFlow:
        """Copy all partitions; returns the first one."""
        producer = await init_producer_id(await self.to.any_connection())
        for index in range(PARTITIONS):
            flow = logs.flow_of(
                self,
                partition=index,
                producer=producer,
                source_topic_id=self.from_.topic_id_of("orders"),
                target_topic_id=self.to.topic_id_of("us.orders"),
                **changes,
            )
            self.flows.append(flow)
            self.fetcher.add(flow)
        self._watch = asyncio.create_task(self._look())
        return self.flows[0]

    async def stop(self) -> None:
        if self.flows:
            self._watch.cancel()
        for flow in self.flows:
            flow.close()
            self.fetcher.remove(flow)
            self.writer.remove(flow)
        await self.fetcher.close()
        await self.writer.close()
        await self.errors.close()
        for task in self._tasks:
            task.cancel()
        await self.from_.close()
        await self.to.close()
        assert self.budget.in_use == self.budget.parked == 0
        await self.source.stop()
        await self.target.stop()
        left = [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith(("fetch ", "connect "))]
        assert not left

    async def _look(self) -> None:
        """What a worker does every few seconds."""
        while True:
            await asyncio.sleep(0.05)
            for client in (self.from_, self.to):
                client.refresh_soon()
            self.fetcher.show_homeless()
            self.writer.show_homeless()

    # surroundings of the partitions

    def fetch_again(self, flow: PartitionFlow) -> None:
        self.fetcher.update(flow)

    def write_again(self, flow: PartitionFlow) -> None:
        self.most_in_use = max(self.most_in_use, self.budget.in_use)
        if not self.holding_writes:
            self.writer.offer(flow)

    def find_target_leader(self, flow: PartitionFlow) -> None:
        self.to.refresh_soon()

    def find_origins(self, flow: PartitionFlow, producers: Collection[int]) -> None: ...

    def replace_producer(self, flow: PartitionFlow) -> None:
        self.replaced += 1
        task = asyncio.create_task(self._replace(flow))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _replace(self, flow: PartitionFlow) -> None:
        flow.adopt_producer(await init_producer_id(await self.to.any_connection()))

    def changed(self, flow: PartitionFlow) -> None: ...

    def faulted(self, flow: PartitionFlow, reason: Reason) -> None: ...

    # both logs

    def produce(self, batches: int, *, size: int = 0, only: int | None = None) -> None:
        for index in range(PARTITIONS) if only is None else (only,):
            log = self.source.log("orders", index)
            for _ in range(batches):
                end = log.log_end_offset
                content = [row._replace(offset=n) for n, row in enumerate(logs.rows(end, 3))]
                content[0] = content[0]._replace(value=b"%d" % end + bytes(size))
                log.append_as_client(logs.batch(content))

    def rows(self, cluster: Cluster, topic: str, index: int) -> list[tuple[object, ...]]:
        log = cluster.log(topic, index)
        return [row[1:] for _, data in log.batches(log.log_start_offset) for row in logs.contents(data)]

    def same(self, *indexes: int) -> bool:
        return all(
            self.rows(self.source, "orders", index) == self.rows(self.target, "us.orders", index)
            for index in indexes or range(PARTITIONS)
        )

    async def all_copied(self, *indexes: int) -> None:
        chosen = [self.flows[index] for index in indexes or range(PARTITIONS)]

        def copied() -> bool:
            return all(f.source_next == self.source.log("orders", f.partition).log_end_offset for f in chosen)

        await until(copied, "copying")
        assert self.same(*indexes)


@pytest.fixture
async def copying() -> AsyncIterator[Copying]:
    made = Copying(2, 64 << 20)
    await made.start(2)
    yield made
    await made.stop()


@pytest.fixture
async def fragile() -> AsyncIterator[Copying]:
    """With one replica of each partition: a node that stops takes its partitions with it."""
    made = Copying(2, 64 << 20)
    await made.start(1)
    yield made
    await made.stop()


async def test_given_moving_leaders_on_both_sides_then_each_record_arrives_once(copying: Copying) -> None:
    await copying.begin()
    for turn in range(8):
        copying.produce(5)
        await copying.source.move_leader("orders", turn % PARTITIONS, turn // 4 % 2)
        await copying.target.move_leader("us.orders", turn % PARTITIONS, (turn + 1) // 4 % 2)
        await asyncio.sleep(0.01)
    await copying.all_copied()
    await until(lambda: all(flow.state is State.COPYING for flow in copying.flows), "calm")


@pytest.mark.parametrize("side", ["source", "target"])
async def test_given_a_node_that_stops_and_comes_back_then_nothing_is_lost(copying: Copying, side: str) -> None:
    cluster: Cluster = getattr(copying, side)
    await copying.begin()
    copying.produce(10)
    await cluster.stop_node(0)
    copying.produce(10)
    await copying.all_copied()
    await cluster.start_node(0)
    await cluster.stop_node(1)
    copying.produce(10)
    await copying.all_copied()


@pytest.mark.parametrize("api", ["Produce", "Fetch"])
@pytest.mark.parametrize("what", ["drop", "drop_response", "fail"])
async def test_given_lost_requests_answers_and_leaders_then_each_record_arrives_once(
    copying: Copying, api: str, what: str
) -> None:
    for faults in (copying.source.faults, copying.target.faults):
        if what == "fail":
            faults.fail(api, 6, times=9)
        else:
            getattr(faults, what)(api, times=5)
    copying.produce(20)
    await copying.begin()
    await copying.all_copied()
    assert copying.replaced == 0


async def test_given_forgotten_fetch_sessions_then_reading_goes_on(copying: Copying) -> None:
    await copying.begin()
    for _ in range(4):
        copying.produce(3)
        await copying.all_copied()
        copying.source.fetch_sessions.forget_node(0)
        copying.source.fetch_sessions.forget_node(1)


async def test_given_a_stalled_target_then_memory_stays_bounded_and_copying_goes_on_after_it() -> None:
    copying = Copying(1, 16 << 20)
    await copying.start(1)
    copying.produce(12, size=512 << 10)
    held = copying.target.faults.delay("Produce", 0.4, times=2)
    await copying.begin()
    await copying.all_copied()
    assert held.hits == 2
    assert 8 << 20 < copying.most_in_use < 18 << 20
    await copying.stop()


async def test_given_partitions_whose_target_leader_is_gone_then_they_show_it_and_the_others_go_on(
    fragile: Copying,
) -> None:
    await fragile.begin()
    fragile.produce(3)
    await fragile.all_copied()
    gone = [p.index for p in fragile.target.topics.get("us.orders").partitions if p.leader == 1]  # type: ignore[union-attr]
    well = [index for index in range(PARTITIONS) if index not in gone]
    await fragile.target.stop_node(1)
    fragile.produce(8)
    await fragile.all_copied(*well)
    await until(lambda: all(fragile.flows[i].reason is Reason.TARGET_UNREACHABLE for i in gone), "the fault")
    await until(lambda: fragile.budget.in_use == fragile.budget.parked + fetching(fragile), "letting go")
    await fragile.target.start_node(1)
    await fragile.all_copied()
    await until(lambda: all(flow.state is State.COPYING for flow in fragile.flows), "healing")


def fetching(copying: Copying) -> int:
    """What fetches under way have asked for."""
    return sum(loop.reserved_bytes for broker in copying.fetcher._brokers.values() for loop in broker.loops)


async def test_given_partitions_whose_source_leader_is_gone_then_they_show_it_and_heal(fragile: Copying) -> None:
    await fragile.begin()
    fragile.produce(3)
    await fragile.all_copied()
    gone = [p.index for p in fragile.source.topics.get("orders").partitions if p.leader == 1]  # type: ignore[union-attr]
    await fragile.source.stop_node(1)
    await until(lambda: all(fragile.flows[i].reason is Reason.SOURCE_UNREACHABLE for i in gone), "the fault")
    assert all(flow.state is State.COPYING for flow in fragile.flows if flow.partition not in gone)
    await fragile.source.start_node(1)
    await until(lambda: all(flow.state is State.COPYING for flow in fragile.flows), "healing, without a record")
    fragile.produce(3)
    await fragile.all_copied()


async def test_given_a_response_asked_for_before_the_partition_was_set_back_then_it_is_not_taken_for_a_gap(
    copying: Copying,
) -> None:
    copying.holding_writes = True
    flow = await copying.begin()
    copying.produce(3, only=0)  # too few to be merged
    await until(lambda: flow.fetch_offset == 9, "fetching")
    late = copying.source.faults.delay("Fetch", 0.3)
    await until(lambda: late.hits, "a fetch that is held")
    copying.produce(4, only=0)
    flow.park()
    assert flow.fetch_offset == 3
    copying.holding_writes = False
    copying.writer.offer(flow)
    await until(lambda: flow.fetchable, "the end of the trouble")
    await copying.all_copied()


async def test_given_a_corrupt_batch_then_its_partition_stops_at_it_and_tries_again(copying: Copying) -> None:
    flow = await copying.begin()
    copying.produce(2)
    await copying.all_copied()
    log = copying.source.log("orders", 0)
    bad = bytearray(logs.batch(logs.rows(0, 3)))
    bad[-1] ^= 1
    log.append_as_coordinator(bytes(bad))
    copying.produce(2)
    await until(lambda: flow.reason is Reason.CORRUPT_BATCH, "the fault")
    assert "Batch of offsets 6 to 8: CRC" in flow.detail
    await copying.all_copied(1, 2, 3)
    assert flow.source_next == 6
    repair(log.segments[-1], bytes(bad))
    await until(lambda: flow.state is State.COPYING, "healing")
    await copying.all_copied()


def repair(segment: Any, bad: bytes) -> None:
    """Put the record's last byte right, as moving to an intact replica would."""
    chunks = segment.file._chunks
    index = next(n for n, chunk in enumerate(chunks) if chunk.endswith(bad[16:]))
    chunks[index] = chunks[index][:-1] + bytes([bad[-1] ^ 1])


async def test_given_records_deleted_before_they_were_copied_then_the_gap_is_named(copying: Copying) -> None:
    copying.produce(5)
    copying.source.log("orders", 0).delete_records_to(9)
    flow = await copying.begin()
    await until(lambda: flow.reason is Reason.RETENTION_OVERRUN, "the fault")
    assert flow.detail == "orders-0 of cluster us: offsets 0 to 8 are gone; the log begins at 9."
    await copying.all_copied(1, 2, 3)
    assert flow.source_next == 0


async def test_given_an_unclean_election_of_the_source_then_what_it_lost_is_named(copying: Copying) -> None:
    flow = await copying.begin()
    copying.produce(5)
    await copying.all_copied()
    await copying.source.elect_unclean("orders", 0, truncate_to=6)
    await until(lambda: flow.reason is Reason.SOURCE_TRUNCATED, "the fault")
    assert "offset 6" in flow.detail or "ends at 6" in flow.detail
    assert "15" in flow.detail
    copying.produce(5)
    await copying.all_copied(1, 2, 3)
    assert flow.source_next == 15


async def test_given_an_unclean_election_of_the_target_then_nothing_more_is_written(copying: Copying) -> None:
    flow = await copying.begin()
    copying.produce(5)
    await copying.all_copied()
    await copying.target.elect_unclean("us.orders", 0, truncate_to=6)
    copying.produce(1)
    await until(lambda: flow.reason is Reason.TARGET_TRUNCATED, "the fault")
    copying.produce(5)
    await copying.all_copied(1, 2, 3)
    assert (flow.source_next, flow.target_next) == (15, 15)
    assert copying.target.log("us.orders", 0).log_end_offset <= 9


@pytest.mark.parametrize("side", ["source", "target"])
async def test_given_a_topic_that_is_another_under_the_same_name_then_nothing_is_mixed(
    copying: Copying, side: str
) -> None:
    flow = await copying.begin()
    copying.produce(5)
    await copying.all_copied()
    cluster, name = (copying.source, "orders") if side == "source" else (copying.target, "us.orders")
    topic = cluster.topics.get(name)
    assert topic is not None
    cluster.delete_topic(topic)
    cluster.create_topic(name, PARTITIONS, 2)
    copying.produce(9)
    reason = Reason.SOURCE_RECREATED if side == "source" else Reason.TARGET_RECREATED
    await until(lambda: flow.reason is reason, "the fault")
    assert "had id" in flow.detail
    assert copying.target.log("us.orders", 0).log_end_offset == (15 if side == "source" else 0)


async def test_given_a_batch_larger_than_the_target_takes_then_it_is_split_and_a_record_that_is_waits(
    copying: Copying,
) -> None:
    topic = copying.target.topics.get("us.orders")
    assert topic is not None
    copying.target.alter_topic_configs(topic, {"max.message.bytes": str(HEADER_SIZE + 1000)})
    flow = await copying.begin()
    log = copying.source.log("orders", 0)
    small, large = ([row._replace(value=bytes(size)) for row in logs.rows(0, 3)] for size in (500, 2000))
    for content in (small, large, small):
        log.append_as_client(logs.batch(content))
    await until(lambda: flow.reason is Reason.RECORD_TOO_LARGE, "the fault")
    assert flow.detail.startswith("Record at offset 3: batch of 2")
    assert flow.source_next == 3
    copying.produce(2)
    await copying.all_copied(1, 2, 3)
    copying.target.alter_topic_configs(topic, {"max.message.bytes": "100000"})
    await copying.all_copied()
    assert flow.state is State.COPYING


async def test_given_a_throttled_answer_then_the_next_request_waits(
    copying: Copying, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode, times = loop_module.protocol.decode_fetch, []

    def throttled(version: int, frame: memoryview) -> Any:
        times.append(time.monotonic())
        return decode(version, frame)._replace(throttle_time_ms=150)

    monkeypatch.setattr(loop_module.protocol, "decode_fetch", throttled)
    copying.produce(2)
    await copying.begin()
    await until(lambda: len(times) >= 5, "answers")
    assert times[4] - times[0] > 0.25  # two brokers
    assert copying.fetcher.throttled_s > 0.5


async def test_given_a_source_that_is_down_then_it_is_asked_now_and_then_only(
    copying: Copying, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = count(monkeypatch, cluster_module, "open_connection")
    monkeypatch.setattr("replicator.flow.fetch_loop._PAUSE_S", 0.5)
    monkeypatch.setattr("replicator.wire.cluster._CONNECT_PAUSE_S", 0.5)
    await copying.begin()
    copying.produce(1)
    await copying.all_copied()
    before = len(attempts)
    await copying.source.stop_node(0)
    await copying.source.stop_node(1)
    await asyncio.sleep(0.6)
    assert len(attempts) - before < 20
    await copying.source.start_node(0)
    await copying.source.start_node(1)


def count(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> list[float]:
    """Note the time of each call."""
    calls: list[float] = []
    real: Callable[..., Any] = getattr(module, name)

    def counted(*arguments: Any, **named: Any) -> Any:
        calls.append(time.monotonic())
        return real(*arguments, **named)

    monkeypatch.setattr(module, name, counted)
    return calls


async def test_given_a_batch_stamped_for_the_other_way_of_writing_then_it_never_reaches_the_broker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("replicator.flow.writer.v2.is_transactional", lambda data: True)
    copying = Copying(nodes=1, limit_bytes=1 << 24)
    await copying.start(1)
    try:
        flow = await copying.begin()
        copying.produce(1, only=0)
        await until(lambda: flow.reason is not None, "the refusal")
        assert flow.target_next == 0
    finally:
        await copying.stop()
