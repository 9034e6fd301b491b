"""Two bundled clusters, a copier that dies, and the truth about what it had copied: what recovery has to find out."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from typing import Any

from broker.cluster import Cluster
from broker.storage.log import PartitionLog
from replicator.config.models import ClusterConfig
from replicator.errors import ReplicatorError
from replicator.ledger.entry import Entry
from replicator.ledger.map_chunks import Stretch
from replicator.ledger.offset_map import OffsetMap
from replicator.ledger.recovery import Recovered, recover_entries
from replicator.states import State, Way
from replicator.wire.cluster import ClusterClient
from replicator.wire.producer_id import ProducerIdAndEpoch
from tests.flow import logs
from tests.flow.logs import Row

FORMER, OWNER = ProducerIdAndEpoch(77, 3), ProducerIdAndEpoch(77, 4)
NATIVE, OTHER = 5001, 5002  # producers of the source, and one on the target that isn't the lane's
SEQUENCES = 1 << 31


class Scene:
    """`partitions` of topic orders on the source; the copier copies each as it is told."""

    def __init__(self, partitions: int = 1, *, nodes: int = 1, first_sequence: int = 0) -> None:
        self.partitions = partitions
        self.nodes = nodes
        self.first_sequence = first_sequence
        self.source, self.target = Cluster(nodes=nodes), Cluster(nodes=nodes)
        self.copied: list[list[tuple[int, int]]] = [[] for _ in range(partitions)]  # (source, target offset)
        self.next: list[int] = [0] * partitions
        self.sequence: list[int] = [first_sequence] * partitions
        self.producer = [FORMER] * partitions
        self.made = 0

    async def start(self, **topic_configs: str) -> None:
        await self.source.start()
        await self.target.start()
        for cluster, topic in ((self.source, "orders"), (self.target, "us.orders")):
            cluster.create_topic(topic, self.partitions, self.nodes, {"retention.ms": "-1", **topic_configs})
        self.from_, self.to = (
            ClusterClient(alias, ClusterConfig(bootstrap_servers=cluster.bootstrap), "test")
            for alias, cluster in (("us", self.source), ("eu", self.target))
        )
        for client, topic in ((self.from_, "orders"), (self.to, "us.orders")):
            client.watch([topic])
            await client.refresh()

    async def stop(self) -> None:
        for closing in (self.from_.close, self.to.close, self.source.stop, self.target.stop):
            await closing()

    # the source

    def native(self, partition: int = 0) -> PartitionLog:
        return self.source.log("orders", partition)

    def copy(self, partition: int = 0) -> PartitionLog:
        return self.target.log("us.orders", partition)

    def rows(self, count: int, *, keys: int = 1 << 30) -> list[Row]:
        """Records that never were before; `keys` different keys."""
        rows = []
        for n in range(count):
            self.made += 1
            rows.append(Row(n, logs.NOW + self.made, b"k%d" % (self.made % keys), b"v%d" % self.made))
        return rows

    def produce(self, count: int, partition: int = 0, *, keys: int = 1 << 30, **batch: Any) -> None:
        """One batch of plain records."""
        self.native(partition).append_as_coordinator(logs.batch(self.rows(count, keys=keys), **batch))

    def transaction(self, count: int, partition: int = 0, *, commit: bool) -> None:
        """A batch in a transaction, and its end."""
        self.produce(count, partition, producer_id=NATIVE, transactional=True)
        self.native(partition).append_marker(NATIVE, 0, commit)

    # the copier

    def eligible(self, partition: int = 0) -> list[Row]:
        """What there is to copy on the source now."""
        aborted = self.native(partition).producer_states.aborted_between(0, 1 << 60)
        found = []
        start = self.native(partition).log_start_offset
        for header, data in self.native(partition).batches(start):
            end = header.base_offset + header.last_offset_delta
            if header.is_control or any(
                a.producer_id == header.producer_id and a.first_offset <= header.base_offset <= end <= a.last_offset
                for a in aborted
            ):
                continue
            found += [row for row in logs.contents(data) if row.offset >= start]
        return found

    def copy_on(self, sizes: Sequence[int], partition: int = 0) -> None:
        """Copy the next records, in batches of these sizes."""
        rows = [row for row in self.eligible(partition) if row.offset >= self.next[partition]]
        for size in sizes:
            chosen, rows = rows[:size], rows[size:]
            if not chosen:
                return
            self._write(chosen, partition)

    def _write(self, chosen: Sequence[Row], partition: int) -> None:
        producer_id, epoch = self.producer[partition]
        content = [row._replace(offset=n) for n, row in enumerate(chosen)]
        data = logs.batch(
            content, producer_id=producer_id, producer_epoch=epoch, base_sequence=self.sequence[partition]
        )
        base = self.copy(partition).append_as_client(data).base_offset
        self.copied[partition] += [(row.offset, base + n) for n, row in enumerate(chosen)]
        self.sequence[partition] = (self.sequence[partition] + len(chosen)) % SEQUENCES
        self.next[partition] = chosen[-1].offset + 1

    def foreign(self, count: int, partition: int = 0) -> None:
        """Somebody else writes to the target."""
        self.copy(partition).append_as_coordinator(logs.batch(self.rows(count), producer_id=OTHER))

    def entry(self, partition: int = 0, **changes: Any) -> Entry:
        """As the copier writes it now."""
        before = self.copied[partition]
        settings: dict[str, Any] = {
            "topic": "orders",
            "partition": partition,
            "source_topic_id": self._topic_id(self.source, "orders"),
            "source_leader_epoch": self.native(partition).leader_epoch if before else -1,
            "target_topic": "us.orders",
            "target_topic_id": self._topic_id(self.target, "us.orders"),
            "source_next": self.next[partition],
            "target_next": before[-1][1] + 1 if before else self.copy(partition).log_end_offset,
            "producer_id": self.producer[partition].producer_id,
            "producer_epoch": self.producer[partition].epoch,
            "next_sequence": self.sequence[partition],
            "state": State.COPYING,
            "reason": None,
            "detail": "",
            "since_ms": logs.NOW,
            "record_timestamp_ms": -1,
            "written_ms": logs.NOW,
            "way": Way.FENCED,
        }
        return Entry(**(settings | changes))

    @staticmethod
    def _topic_id(cluster: Cluster, topic: str) -> uuid.UUID:
        found = cluster.topics.get(topic)
        assert found is not None
        return found.topic_id

    # the new owner

    def fence(self, owner: ProducerIdAndEpoch = OWNER) -> None:
        """Our marker on every target partition."""
        for partition in range(self.partitions):
            self.copy(partition).append_marker(owner.producer_id, owner.epoch, True)

    async def recover(
        self,
        entries: Sequence[Entry],
        *,
        owner: ProducerIdAndEpoch = OWNER,
        producers: Collection[int] = (FORMER.producer_id,),
        patience_s: float = 10.0,
        to_end: bool = False,
    ) -> list[Recovered | ReplicatorError]:
        found = await recover_entries(
            entries,
            owner=owner,
            producers=producers,
            source=self.from_,
            target=self.to,
            now_ms=lambda: logs.NOW + 1,
            patience_s=patience_s,
            to_end=to_end,
        )
        assert set(found) == {(entry.topic, entry.partition) for entry in entries}
        return [found[entry.topic, entry.partition] for entry in entries]

    async def recovered(self, entry: Entry, **how: Any) -> Recovered:
        """The one partition's outcome, which has to be a position."""
        (found,) = await self.recover([entry], **how)
        assert isinstance(found, Recovered), found
        return found

    def check(self, found: Recovered, before: Entry, owner: ProducerIdAndEpoch = OWNER) -> None:
        """It is the truth: position, fields of one instant, and an exact map of what is still there."""
        partition = before.partition
        since = [pair for pair in self.copied[partition] if pair[0] >= before.source_next]
        entry = found.entry
        assert found.copied == len(since)
        assert entry.source_next == (since[-1][0] + 1 if since else before.source_next)
        assert entry.target_next == self.copy(partition).log_end_offset
        assert (entry.producer_id, entry.producer_epoch, entry.next_sequence) == (*owner, 0)
        assert (entry.written_ms, entry.way, entry.state) == (logs.NOW + 1, Way.FENCED, before.state)
        check_map(found, since)


def check_map(found: Recovered, pairs: Sequence[tuple[int, int]]) -> None:
    """The entry's map with its chunks says where each of these went, and nothing else."""
    assert all(number < found.entry.map_chunks for number, _ in found.chunks)
    offset_map = OffsetMap.from_parts(found.chunks, found.entry.map_tail)
    listed = [(run.source + n, run.target + n) for run in offset_map for n in range(_length(run))]
    assert listed == list(pairs)


def _length(run: Stretch) -> int:
    assert not run.source_gap
    assert not run.target_gap
    return run.length
