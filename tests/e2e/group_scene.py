"""Groups at many positions of topics of three kinds, and a judge that reads both clusters by itself."""

from __future__ import annotations

import asyncio
import bisect
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition

from replicator.config.models import ClusterConfig
from replicator.sync.group_client import GroupClient
from replicator.wire.cluster import ClusterClient
from tests.e2e.rig import AnyCluster
from tests.support.checker import Seen, read_partition
from tests.support.copying import create
from tests.support.replicator import Installation
from tests.support.waiting import wait_for

Key = tuple[str, int]
Group = dict[Key, int]

COMPACT = {
    "cleanup.policy": "compact",
    "min.cleanable.dirty.ratio": "0.01",
    "segment.ms": "500",
    "max.compaction.lag.ms": "500",
    "segment.bytes": "1048576",
}


class GroupScene:
    """Topics `<name>-plain` (4 partitions), `-compacted` (1) and `-txn` (2), of `count` records each, and one link."""

    def __init__(self, source: AnyCluster, target: AnyCluster, directory: Path, name: str, **link: Any) -> None:
        self.source, self.target, self.name = source, target, name
        self.plain, self.compacted, self.txn = (f"{name}-{kind}" for kind in ("plain", "compacted", "txn"))
        self.partitions = {self.plain: 4, self.compacted: 1, self.txn: 2}
        settings: dict[str, Any] = {
            "name": name, "source": "us", "target": "eu", "lanes": 4, "topics": {"include": [f"{name}-.*"]},
            "groups": {"include": [f"{name}-.*"]}, "sync": {"every": 1},
        }  # fmt: skip
        self._directory, self._link = directory, {**settings, **link}
        self.installation = Installation(directory, {"us": source, "eu": target}, [self._link])
        self._seen: dict[tuple[bool, Key], list[Seen]] = {}

    def add_link(self, link: Mapping[str, Any]) -> None:
        """Another link in the same file."""
        self.installation = Installation(self._directory, {"us": self.source, "eu": self.target}, [self._link, link])

    @property
    def places(self) -> list[Key]:
        """All partitions of the source's topics."""
        return [(topic, partition) for topic, count in self.partitions.items() for partition in range(count)]

    def fill(self, count: int, *, compacted: int, txn: int) -> None:
        """Make the topics and write so many records into each; wait for the compaction."""
        for topic, partitions in self.partitions.items():
            create(self.source.admin(), topic, partitions, COMPACT if topic == self.compacted else None)
        self.write_plain(count)
        self.write_compacted(compacted)
        self.write_txn(txn)

    def fill_plain(self, count: int) -> None:
        """Make the topics that `partitions` names, and write so many records into the plain one."""
        for topic, partitions in self.partitions.items():
            create(self.source.admin(), topic, partitions)
        self.write_plain(count)

    def write_plain(self, count: int, start: int = 0) -> None:
        """Records that carry their numbers, over all partitions."""
        producer = self._producer()
        for number in range(start, start + count):
            self._produce(producer, self.plain, number, number % self.partitions[self.plain])
        assert producer.flush(60) == 0

    def write_compacted(self, count: int) -> None:
        """So many records under a third as many keys, of which only the last ones stay."""
        producer = self._producer()
        for number in range(count):
            key = number if number % 3 else number % max(1, count // 30)
            self._produce(producer, self.compacted, number, 0, key=b"%d" % key)
        assert producer.flush(60) == 0
        if not count:
            return

        def cleaned() -> bool:
            # Another record now and then: the segment that is being written isn't cleaned.
            self._produce(producer, self.compacted, count, 0, key=b"roll")
            producer.flush(10)
            return len(read_partition(self.source.client_config, self.compacted, 0)) < count * 0.8

        wait_for(cleaned, within=60, every=0.7, what="the source is compacted")

    def write_txn(self, count: int, start: int = 0, *, partitions: int = 2) -> None:
        """Transactions of 100 records, every seventh of them aborted; `count` of them committed, about."""
        producer = self._producer(**{"transactional.id": f"{self.name}-{start}"})
        producer.init_transactions(30)
        for index, first in enumerate(range(start, start + count, 100)):
            producer.begin_transaction()
            for number in range(first, first + 100):
                self._produce(producer, self.txn, number, (first // 100) % partitions)
            if index % 7 == 6:
                assert producer.flush(30) == 0  # an abort before the partition is in is refused by a busy coordinator
                producer.abort_transaction(30)
            else:
                producer.commit_transaction(30)

    def end(self, at: Key) -> int:
        """The last stable offset of a partition of the source."""
        consumer = Consumer({**self.source.client_config, "group.id": "unused"})
        try:
            return int(consumer.get_watermark_offsets(TopicPartition(*at), timeout=20)[1])
        finally:
            consumer.close()

    def commit(self, group: str, positions: Mapping[Key, int], *, there: bool = False) -> None:
        """Set a group's positions on the source, or `there` on the target."""
        admin = (self.target if there else self.source).admin()
        at = [TopicPartition(topic, partition, offset) for (topic, partition), offset in positions.items()]
        name = f"{self.name}-{group}"

        def done() -> bool:  # a new cluster has no coordinators yet
            answer = admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(name, at)])[name].result(30)
            assert not (failed := [each.error for each in answer.topic_partitions if each.error]), failed
            return True

        wait_for(done, within=30, every=0.3, what=f"group {name} is at {dict(positions)}")

    def committed(self, group: str, *, there: bool = True) -> Group:
        """A group's positions on the target, or on the source."""
        admin = (self.target if there else self.source).admin()
        name = f"{self.name}-{group}"
        found = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(name)])[name].result(30)
        return {(at.topic, at.partition): at.offset for at in found.topic_partitions if at.offset >= 0}

    def forget(self, group: str, at: Key) -> None:
        """Delete a group's position on the target."""
        command = {**self.target.client_config, "group.id": f"{self.name}-{group}"}
        delete_position(command["bootstrap.servers"], command["group.id"], at)

    def in_step(self, group: str, here: Sequence[Key], there: Sequence[Key], since: Sequence[object] = ()) -> bool:
        """Whether the group is at the same record on both sides, and past as many as were read."""
        ours, theirs = self.committed(group, there=False), self.committed(group)
        self.reread()
        passed = 0
        for at, place in zip(here, there, strict=True):
            if at not in ours or place not in theirs:
                return False
            first, other = self._first(False, at, ours[at]), self._first(True, place, theirs[place])
            if (first and first.content()) != (other and other.content()):
                return False
            passed += sum(1 for record in self._records(False, at) if record.offset < ours[at])
        return passed >= len(since)

    def at_percent(self, percent: int) -> Group:
        """Positions so far into each partition."""
        return {at: self.end(at) * percent // 100 for at in self.places}

    def reread(self) -> None:
        """Forget what the judge has read: more was written since."""
        self._seen.clear()

    def error(self, group: str, positions: Mapping[Key, int]) -> dict[Key, str]:
        """Where a consumer that moves wouldn't go on at exactly the next record; empty is right."""
        wrong: dict[Key, str] = {}
        held = self.committed(group)
        for (topic, partition), offset in positions.items():
            place = f"us.{topic}", partition
            if place not in held:
                wrong[place] = "no position"
                continue
            here = self._first(False, (topic, partition), offset)
            there = self._first(True, place, held[place])
            if (here and here.content()) != (there and there.content()):
                wrong[place] = f"source {offset} -> {held[place]}: {here} there, {there} here"
        return wrong

    def wait_exact(self, groups: Mapping[str, Mapping[Key, int]], *, within: float) -> None:
        """Wait until each of these groups would go on at exactly the next record."""

        def exact() -> bool:
            wrong = {group: found for group, at in groups.items() if (found := self.error(group, at))}
            assert not wrong, f"{wrong}"[:2000]
            return True

        wait_for(exact, within=within, every=0.3, what="positions are exact")

    def _first(self, there: bool, at: Key, offset: int) -> Seen | None:
        records = self._records(there, at)
        index = bisect.bisect_left(records, offset, key=lambda record: record.offset)
        return records[index] if index < len(records) else None

    def _records(self, there: bool, at: Key) -> list[Seen]:
        found = self._seen.get((there, at))
        if found is None:
            cluster = self.target if there else self.source
            found = self._seen[there, at] = read_partition(cluster.client_config, *at)
        return found

    def _producer(self, **more: str) -> Producer:
        return Producer({**self.source.client_config, "linger.ms": 10, "compression.type": "lz4", **more})

    @staticmethod
    def _produce(producer: Producer, topic: str, number: int, partition: int, key: bytes | None = None) -> None:
        while True:
            try:
                producer.produce(topic, b"%d" % number, key or b"%d" % number, partition)
                return
            except BufferError:
                producer.poll(0.5)


def delete_position(bootstrap: str, group: str, at: Key) -> None:
    """What `kafka-consumer-groups.sh --delete-offsets` does; librdkafka's Python client can't."""

    async def delete() -> None:
        cluster = ClusterClient("any", ClusterConfig(bootstrap_servers=bootstrap), "test")
        try:
            await cluster.all_topics()
            await GroupClient(cluster).delete(group, [at])
        finally:
            await cluster.close()

    asyncio.run(delete())


def groups_at(scene: GroupScene, prefix: str, percents: Iterable[int]) -> dict[str, Group]:
    """Commit groups so far into everything; what they are called, and where they are."""
    groups = {f"{prefix}{percent}": scene.at_percent(percent) for percent in percents}
    for group, positions in groups.items():
        scene.commit(group, positions)
    return groups
