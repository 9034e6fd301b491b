"""The care of the offset map, on a map topic in a bundled cluster in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest

from broker.cluster import Cluster
from replicator.config.models import ClusterConfig
from replicator.ledger.entry import Entry, Gap
from replicator.ledger.lanes import map_topic
from replicator.ledger.log import KeyValue, LedgerLog
from replicator.ledger.map_chunks import chunks_from_records, encode_chunk_key
from replicator.ledger.map_reader import map_of
from replicator.ledger.map_tail import MapTail
from replicator.ledger.map_thinning import thin
from replicator.ledger.moved import Moved
from replicator.states import Reason
from replicator.wire.cluster import ClusterClient
from replicator.wire.producer_id import init_producer_id
from replicator.worker.map_care import MapCare
from tests.flow import logs
from tests.ledger.offset_map_model import Model, check_bounded
from tests.ledger.test_entry import ENTRY


class FakeLane:
    """A lane that has partitions of topics a, b, … with the same map each."""

    def __init__(self, number: int, target: ClusterClient) -> None:
        self.number = number
        self.entries: dict[tuple[str, int], Entry] = {}
        self.moved: dict[tuple[str, int], Moved] = {}
        self.running = True
        self.model, self.tail = Model(), MapTail()
        self.chunks: dict[int, bytes] = {}
        self.writes = 0
        self._target = target
        self._log = LedgerLog(target, map_topic("l"), number)

    async def write_map(self, pairs: Sequence[KeyValue]) -> None:
        self.writes += 1
        self._log.new_producer()
        await self._log.write(await init_producer_id(await self._target.any_connection()), pairs)

    async def copy(self, runs: int, *topics: str) -> None:
        for _ in range(runs):
            self.model.step(1, 2, 3, self.tail.add)
            written = self.tail.flush()
            self.chunks.update(written)
            if written:
                self.tail.flushed([number for number, _ in written])
        for topic in topics:
            pairs = [(encode_chunk_key(topic, 0, number), value) for number, value in self.chunks.items()]
            await self.write_map(pairs)
            self.entries[topic, 0] = replace(
                ENTRY, topic=topic, partition=0, target_topic=f"us.{topic}",
                map_chunks=self.tail.chunks, map_tail=self.tail.encoded(), gaps=(),
            )  # fmt: skip
        self.writes = 0

    async def stored(self, topic: str) -> dict[int, bytes]:
        return chunks_from_records(await self._log.read()).get((topic, 0), {})


class Scene:
    def __init__(self) -> None:
        self.source, self.target = Cluster(), Cluster()
        self.lanes: list[FakeLane] = []
        self.now_ms = 0

    async def start(self) -> None:
        await self.source.start()
        await self.target.start()
        self.target.create_topic(map_topic("l"), 4, 1, {"cleanup.policy": "compact"})
        for topic in ("a", "b", "c"):
            self.source.create_topic(topic, 1, 1)
            self.target.create_topic(f"us.{topic}", 1, 1)
        self.us, self.eu = (
            ClusterClient(alias, ClusterConfig(bootstrap_servers=cluster.bootstrap), "test")
            for alias, cluster in (("us", self.source), ("eu", self.target))
        )
        await self.us.all_topics()
        await self.eu.all_topics()

    async def stop(self) -> None:
        await self.us.close()
        await self.eu.close()
        await self.source.stop()
        await self.target.stop()

    def lane(self, number: int = 0) -> FakeLane:
        self.lanes.append(FakeLane(number, self.eu))
        return self.lanes[-1]

    def care(self, max_bytes: int) -> MapCare:
        return MapCare(
            "l", self.us, self.eu, lambda: self.lanes, lambda: self.now_ms,
            max_bytes=max_bytes, first_ms=1_000, every_ms=100_000,
        )  # fmt: skip

    def lose_until(self, cluster: Cluster, topic: str, offset: int) -> None:
        log = cluster.log(topic, 0)
        while log.log_end_offset < offset:
            log.append_as_client(logs.batch(logs.rows(0, 100)))
        log.delete_records_to(offset)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    made = Scene()
    await made.start()
    yield made
    await made.stop()


async def test_given_maps_above_and_below_the_cap_then_each_gets_what_it_needs(scene: Scene) -> None:
    lane = scene.lane()
    await lane.copy(4_000, "a", "b", "gone", "left")
    del lane.entries["gone", 0]
    lane.moved["left", 0] = Moved(lane.entries.pop(("left", 0)), 1, 1)
    size = sum(map(len, lane.chunks.values()))
    scene.lose_until(scene.source, "b", lane.model.source_next // 2)
    scene.lose_until(scene.target, "us.b", lane.model.target_next // 2)
    care = scene.care(size * 3 // 4)
    await care.step()
    assert lane.writes == 0  # only a while after the takeover
    scene.now_ms = 1_000
    await care.step()
    assert await lane.stored("gone") == {}
    assert await lane.stored("left") == lane.chunks  # its new lane may not have copied them yet
    stored = await lane.stored("a")
    assert stored == {n: v for n, v in {**lane.chunks, **dict(thin(lane.chunks, size * 3 // 4))}.items() if v}
    found = map_of(lane.entries["a", 0], stored)
    assert not found.exact
    check_bounded(found, lane.model)
    kept = await lane.stored("b")
    assert kept.items() < lane.chunks.items()
    assert max(kept) == max(lane.chunks)
    assert map_of(lane.entries["b", 0], kept).exact
    written, lane.writes = lane.writes, 0
    assert written == 3
    await care.step()
    scene.now_ms = 100_000
    await care.step()
    assert lane.writes == 0
    scene.now_ms = 102_000
    await care.step()
    assert lane.writes == 0  # nothing left to do


async def test_given_a_map_that_began_anew_or_a_lane_that_was_lost_meanwhile_then_nothing_is_written(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane = scene.lane()
    await lane.copy(4_000, "a")
    before = await lane.stored("a")
    entry = lane.entries["a", 0]
    care = scene.care(1_000)
    await care.step()
    gap = Gap(Reason.SOURCE_RECREATED, 0, 0, 0, 0, 0, "somebody")
    changes = iter([lambda: lane.entries.update({("a", 0): replace(entry, map_chunks=0, map_tail=b"", gaps=(gap,))}),
                    lambda: setattr(lane, "running", False)])  # fmt: skip
    real = care._load

    async def values(*arguments: object) -> dict[int, bytes]:
        found = await real(*arguments)  # type: ignore[arg-type]
        next(changes)()
        return found

    monkeypatch.setattr(care, "_load", values)
    scene.now_ms = 1_000
    await care.step()
    lane.entries["a", 0] = entry
    scene.now_ms = 200_000
    await care.step()
    assert next(changes, None) is None
    assert lane.writes == 0
    assert await lane.stored("a") == before


async def test_given_several_lanes_then_one_at_a_time_each_once_an_hour(scene: Scene) -> None:
    for number in range(3):
        await scene.lane(number).copy(300, "a")
    care = scene.care(0)
    reads: list[int] = []

    async def tend(lane: FakeLane) -> bool:
        reads.append(lane.number)
        return False

    care._tend = tend  # type: ignore[method-assign, assignment]
    for _ in range(4):
        await care.step()
    assert reads == []
    scene.now_ms = 20_000
    for _ in range(5):
        await care.step()
    assert sorted(reads) == [0, 1, 2]
    scene.lanes[1] = FakeLane(1, scene.eu)  # taken over anew: its hour begins again
    scene.now_ms = 125_000
    for _ in range(5):
        await care.step()
    assert sorted(reads) == [0, 0, 1, 2, 2]
