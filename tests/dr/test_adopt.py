"""Adopting between two bundled clusters in this process: each case is a partition, all of them adopted at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest

from broker.cluster import Cluster
from broker.storage.compaction import clean
from replicator.config.librdkafka import client_properties
from replicator.config.models import ClusterConfig, LinkConfig, TopicsConfig
from replicator.dr import adopt_places
from replicator.dr.adopt import BY_ADOPT, BY_FROM_SCRATCH, Adoption, Outcome
from replicator.dr.adopt_places import Copy, Places
from replicator.errors import WrongStateError
from replicator.ledger.entry import Entry, encode_entry, encode_key
from replicator.ledger.lanes import lane_of, ledger_topic
from replicator.ledger.load import entries_from_records
from replicator.ledger.log import LedgerLog
from replicator.ledger.offset_map import OffsetMap
from replicator.ledger.topic import ensure_topics
from replicator.states import Reason, State
from replicator.sync.admin import Admin, TopicSpec
from replicator.wire.cluster import ClusterClient
from replicator.wire.producer_id import init_producer_id
from replicator.wire.transactions import TransactionalProducer
from tests.flow import logs
from tests.flow.logs import Row

LANES = 4
NOW_MS = 1_790_000_000_000


class Scene:
    """A link whose ledger isn't there, and topics of one partition on both sides of it."""

    def __init__(self) -> None:
        self.source, self.target = Cluster(), Cluster()
        self.link = LinkConfig(name="l", source="us", target="eu", lanes=LANES)

    async def start(self) -> None:
        await self.source.start()
        await self.target.start()
        self.us, self.eu = (
            ClusterClient(alias, ClusterConfig(bootstrap_servers=cluster.bootstrap), "test")
            for alias, cluster in (("us", self.source), ("eu", self.target))
        )

    async def stop(self) -> None:
        await self.us.close()
        await self.eu.close()
        await self.source.stop()
        await self.target.stop()

    def topic(self, name: str, source: Iterable[Row], copied: Iterable[Row], *, compact: str = "") -> None:
        policy = {"cleanup.policy": "compact"}
        self.source.create_topic(name, 1, 1, policy if "source" in compact else {})
        self.target.create_topic(f"us.{name}", 1, 1, policy if "target" in compact else {})
        put(self.source, name, source)
        put(self.target, f"us.{name}", copied)

    def adoption(self, **changes: object) -> Adoption:
        async def prepare() -> None:
            config = ClusterConfig(bootstrap_servers=self.target.bootstrap)
            await ensure_topics(self.link, Admin(client_properties(config, client_id="admin"), "eu"), TopicSpec)

        return Adoption(self.link, self.us, self.eu, prepare=prepare, now_ms=lambda: NOW_MS, settle_s=5)

    async def entries(self) -> dict[str, Entry]:
        await self.eu.all_topics()
        found: dict[tuple[str, int], Entry] = {}
        for lane in range(LANES):
            found |= entries_from_records(await LedgerLog(self.eu, ledger_topic("l"), lane).read())
        return {topic: entry for (topic, _), entry in found.items()}


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    made = Scene()
    await made.start()
    yield made
    await made.stop()


def put(cluster: Cluster, topic: str, rows: Iterable[Row], at_once: int = 4) -> None:
    content = [row._replace(offset=0) for row in rows]
    for first in range(0, len(content), at_once):
        numbered = [row._replace(offset=n) for n, row in enumerate(content[first : first + at_once])]
        cluster.log(topic, 0).append_as_client(logs.batch(numbered))


def rows(count: int, first: int = 0, key: Callable[[int], bytes] = lambda n: b"k%d" % n) -> list[Row]:
    return [row._replace(key=key(row.offset)) for row in logs.rows(first, count, timestamp=logs.NOW + first)]


def compact(cluster: Cluster, topic: str) -> None:
    log = cluster.log(topic, 0)
    log.roll()
    assert clean(log)


async def test_given_copies_of_all_kinds_then_each_goes_on_at_its_place_or_says_why_not(scene: Scene) -> None:
    def few(n: int) -> bytes:
        return b"k%d" % (n % 3)

    scene.topic("behind", rows(30), rows(21))
    scene.topic("at-the-end", rows(30), rows(30))
    scene.topic("repeated", rows(30), [*rows(20), *rows(15, first=10)])
    scene.topic("ended-while-repeating", rows(30), [*rows(20), *rows(5, first=10)])
    scene.topic("foreign", rows(30), rows(30, first=100))
    scene.topic("mixed", rows(30), [*rows(4), *rows(4, first=100), *rows(4, first=4)])
    scene.topic("swapped", rows(30), [*rows(4), *reversed(rows(4, first=4))])
    scene.topic("alike", [logs.rows(0, 1)[0]] * 6, [logs.rows(0, 1)[0]] * 3)
    scene.topic("expired", rows(30), rows(10))
    scene.topic("emptied", rows(30), rows(10))
    scene.topic("not-begun", rows(30), [])
    scene.topic("compacted", rows(30, key=few), rows(20, key=few), compact="source")
    scene.topic("both-compacted", rows(30, key=few), rows(20, key=few), compact="source target")
    scene.source.log("expired", 0).delete_records_to(12)
    scene.source.log("emptied", 0).delete_records_to(30)
    put(scene.source, "compacted", rows(1, first=30, key=few))
    compact(scene.source, "compacted")
    for cluster, topic in ((scene.source, "both-compacted"), (scene.target, "us.both-compacted")):
        put(cluster, topic, [Row(0, NOW_MS, b"other", b"")])
        compact(cluster, topic)

    outcome = await scene.adoption().adopt()

    entries = await scene.entries()
    assert "not-begun" not in entries
    places = {topic: entry.source_next for topic, entry in entries.items() if entry.state is State.COPYING}
    assert places == {
        "behind": 21,
        "at-the-end": 30,
        "repeated": 25,
        "ended-while-repeating": 20,
        "emptied": 30,
        "both-compacted": 31,
    }
    stopped = {topic: entry for topic, entry in entries.items() if entry.state is State.FAULTED}
    assert stopped.keys() == {"foreign", "mixed", "swapped", "alike", "expired", "compacted"}
    assert {entry.reason for entry in stopped.values()} == {Reason.RECOVERY_AMBIGUOUS}
    assert {entry.source_next for topic, entry in stopped.items() if topic != "expired"} == {0}
    assert "weren't copied" in stopped["swapped"].detail
    assert "same content" in stopped["alike"].detail
    assert "none of the copied records" in stopped["expired"].detail
    assert all("--accept-gap" in entry.detail and "us." in entry.detail for entry in stopped.values())
    assert outcome == Outcome(12, 6)
    behind = entries["behind"]
    assert behind.target_next == scene.target.log("us.behind", 0).log_end_offset == 21
    assert behind.record_timestamp_ms == logs.NOW + 20
    assert [(gap.by, gap.source_from, gap.source_to) for gap in behind.gaps] == [(BY_ADOPT, 0, 0)]
    known = OffsetMap.from_parts([], behind.map_tail)
    assert [known.to_target(offset) for offset in (0, 7, 20, 21)] == [0, 7, 20, None]
    assert await scene.adoption().adopt() == Outcome(0, 0)  # nothing is looked at again
    put(scene.target, "us.foreign", rows(5))
    assert await scene.adoption().adopt() == Outcome(1, 1)  # but for what has changed
    assert {
        topic: entry.source_next for topic, entry in (await scene.entries()).items() if entry.reason is None
    } == places


async def test_given_the_last_copied_record_was_compacted_away_then_the_dense_tail_tells(scene: Scene) -> None:
    both = [*rows(10), *rows(10, first=10)]
    scene.topic("t", both, both, compact="source target")
    put(scene.source, "t", [Row(0, NOW_MS, b"k19", b"newer"), Row(0, NOW_MS, b"k4", b"newer")])
    compact(scene.source, "t")
    put(scene.source, "t", rows(3, first=40))
    await scene.us.all_topics()
    await scene.eu.all_topics()
    place = await Places(scene.us, scene.eu).find(Copy("t", 0, "us.t", 20))
    assert place.source_next == 19  # k19's first record is gone: the next one there wasn't copied
    assert place.runs[-1] == (5, 5, 14)


async def test_given_a_long_stretch_twice_then_the_copy_is_read_as_far_back_as_needed(scene: Scene) -> None:
    scene.topic("t", rows(300), [*rows(200), *rows(100, first=50)])
    scene.topic("u", rows(300), [*rows(200), *rows(200), *rows(100)])
    await scene.us.all_topics()
    await scene.eu.all_topics()
    places = Places(scene.us, scene.eu, tail_offsets=(20, 100, 280))
    assert (await places.find(Copy("t", 0, "us.t", 300))).source_next == 200
    assert (await places.find(Copy("u", 0, "us.u", 500))).source_next == 200
    with pytest.raises(adopt_places.AmbiguousError, match="is in it already"):
        await Places(scene.us, scene.eu, tail_offsets=(20, 60)).find(Copy("u", 0, "us.u", 500))


async def test_given_the_ends_are_markers_and_aborted_records_then_they_are_read_over(scene: Scene) -> None:
    scene.topic("t", rows(30), rows(20))
    log = scene.target.log("us.t", 0)
    for commit in (False, True):
        log.append_as_client(logs.batch(rows(2)[:2], producer_id=7 + commit, transactional=True))
        log.append_marker(7 + commit, 0, commit)
    await scene.us.all_topics()
    await scene.eu.all_topics()
    place = await Places(scene.us, scene.eu).find(Copy("t", 0, "us.t", 23))
    assert (place.source_next, place.runs) == (20, [(0, 0, 20)])
    place = await Places(scene.us, scene.eu).find(Copy("t", 0, "us.t", log.log_end_offset))
    assert (place.source_next, place.runs) == (20, [])  # it began again and was ended


async def test_given_somebody_has_a_transaction_open_on_a_copy_then_it_is_refused(scene: Scene) -> None:
    scene.topic("t", rows(30), rows(20))
    scene.target.log("us.t", 0).append_as_client(logs.batch(rows(1), producer_id=7, transactional=True))
    adoption = scene.adoption()
    adoption._settle_s = 0.1
    with pytest.raises(WrongStateError, match=r"somebody writes to us\.t-0.*transaction is open"):
        await adoption.adopt()
    assert ledger_topic("l") not in (await scene.eu.all_topics()).topics


async def test_given_a_worker_died_within_a_transaction_then_it_is_ended_and_not_counted(scene: Scene) -> None:
    scene.topic("t", rows(30), rows(20))
    await scene.us.all_topics()
    await scene.eu.all_topics()
    name = f"replicator.l.{lane_of('t', 0, LANES)}.{scene.us.cluster_id}.t"
    dead = TransactionalProducer(scene.eu, name, timeout_ms=60_000)
    identity = await dead.init()
    await dead.add_partitions({"us.t": [0]})
    log = scene.target.log("us.t", 0)
    log.append_as_client(logs.batch(rows(5), producer_id=identity.producer_id, transactional=True))
    assert log.last_stable_offset == 20
    assert await scene.adoption().adopt() == Outcome(1, 0)
    entry = (await scene.entries())["t"]
    assert (entry.source_next, entry.target_next) == (20, 26)


async def test_given_a_worker_was_faster_then_its_entry_stays(scene: Scene) -> None:
    scene.topic("t", rows(30), rows(20))
    scene.topic("u", rows(30), rows(20))
    await scene.adoption().adopt()
    entries = await scene.entries()
    late = scene.adoption()
    proposed = late._adopted(Copy("t", 0, "us.t", 20), adopt_places.Place(7, -1))
    assert await late._write([proposed]) == []
    assert await scene.entries() == entries
    scene.topic("v", rows(30), rows(20))
    assert (await late.adopt()).partitions == 1
    assert (await scene.entries())["v"].source_next == 20


async def test_given_workers_that_adopt_at_the_same_time_then_each_entry_is_written_once(scene: Scene) -> None:
    for name in "abcdefgh":
        scene.topic(name, rows(30), rows(20))
    outcomes = await asyncio.gather(*(scene.adoption().adopt() for _ in range(3)))
    assert sum(outcome.partitions for outcome in outcomes) == 8
    assert {entry.source_next for entry in (await scene.entries()).values()} == {20}
    for lane in range(LANES):
        values = [key for key, _ in await LedgerLog(scene.eu, ledger_topic("l"), lane).read()]
        assert len(values) == len(set(values))


async def test_given_a_copy_grows_while_it_is_adopted_then_it_is_refused(scene: Scene) -> None:
    scene.topic("t", rows(30), rows(20))
    adoption = scene.adoption()
    (copy,) = await adoption._unknown_copies()
    put(scene.target, "us.t", rows(1, first=20))
    with pytest.raises(WrongStateError, match="has grown meanwhile"):
        await adoption._write([adoption._adopted(copy, adopt_places.Place(20, -1))])
    assert await scene.entries() == {}


async def test_given_from_scratch_then_begun_behind_what_is_there_only_without_any_entry(scene: Scene) -> None:
    scene.topic("t", rows(30), rows(20))
    scene.topic("u", rows(30), [])
    assert await scene.adoption().copy_again() == Outcome(1, 0)
    entry = (await scene.entries())["t"]
    assert (entry.source_next, entry.target_next, entry.state) == (0, 20, State.COPYING)
    assert [gap.by for gap in entry.gaps] == [BY_FROM_SCRATCH]
    scene.topic("v", rows(30), rows(20))
    assert await scene.adoption().copy_again() == Outcome(0, 0)
    assert (await scene.entries()).keys() == {"t"}


async def test_given_at_least_once_then_it_needs_no_transactional_id(scene: Scene) -> None:
    scene.link = LinkConfig(name="l", source="us", target="eu", lanes=LANES, delivery="at_least_once")
    scene.topic("t", rows(30), rows(20))
    await scene.adoption().adopt()
    assert (await scene.entries())["t"].source_next == 20


async def test_given_an_entry_stopped_by_unknown_records_then_it_is_adopted_and_one_that_copied_is_not(
    scene: Scene,
) -> None:
    scene.topic("t", rows(30), rows(20))
    scene.topic("u", rows(30), rows(20))
    adoption = scene.adoption()
    await adoption.adopt()
    stopped = await scene.entries()
    bare: dict[str, Any] = {"state": State.FAULTED, "reason": Reason.FOREIGN_WRITER, "source_next": 0}
    changed = [
        replace(stopped["t"], **bare, gaps=(), map_tail=b"", record_timestamp_ms=-1),
        replace(stopped["u"], **bare, gaps=()),
    ]
    for entry in changed:
        ledger = LedgerLog(scene.eu, ledger_topic("l"), lane_of(entry.topic, 0, LANES))
        producer = await init_producer_id(await scene.eu.any_connection())
        await ledger.write(producer, [(encode_key(entry.topic, 0), encode_entry(entry))])
    await adoption.adopt()
    assert {topic: entry.source_next for topic, entry in (await scene.entries()).items()} == {"t": 20, "u": 0}


async def test_given_a_start_then_from_scratch_begins_there(scene: Scene) -> None:
    scene.link = LinkConfig(name="l", source="us", target="eu", lanes=LANES, topics=TopicsConfig(start="latest"))
    scene.topic("t", rows(30), rows(20))
    await scene.adoption().copy_again()
    assert (await scene.entries())["t"].source_next == 30
