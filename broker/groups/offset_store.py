"""Committed positions of all groups, and those that wait for their transaction to end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from broker.groups.records import CommittedOffset, OffsetKey

TopicPartition = tuple[str, int]
Positions = dict[TopicPartition, CommittedOffset]


class OffsetStore:
    """Pure bookkeeping: it changes only by what was written to the offsets log, in that order."""

    def __init__(self) -> None:
        self._committed: dict[str, Positions] = {}
        self._pending: dict[tuple[int, int], dict[str, Positions]] = {}

    def positions(self, group_id: str) -> Positions:
        """The group's committed positions."""
        return self._committed.get(group_id, {})

    def put(self, key: OffsetKey, value: CommittedOffset) -> None:
        """A position was committed."""
        self._committed.setdefault(key.group_id, {})[(key.topic, key.partition)] = value

    def put_pending(self, log_partition: int, producer_id: int, key: OffsetKey, value: CommittedOffset) -> None:
        """A position was written inside a transaction; it counts when the transaction commits."""
        groups = self._pending.setdefault((log_partition, producer_id), {})
        groups.setdefault(key.group_id, {})[(key.topic, key.partition)] = value

    def remove(self, key: OffsetKey) -> None:
        """A position was deleted, be it committed or still pending."""
        partition = (key.topic, key.partition)
        positions = self._committed.get(key.group_id)
        if positions is not None:
            positions.pop(partition, None)
            if not positions:
                del self._committed[key.group_id]
        for groups in self._pending.values():
            groups.get(key.group_id, {}).pop(partition, None)

    def end_transaction(self, log_partition: int, producer_id: int, *, commit: bool) -> None:
        """The producer's marker was written to this partition of the offsets log."""
        groups = self._pending.pop((log_partition, producer_id), {})
        if not commit:
            return
        for group_id, positions in groups.items():
            committed = self._committed.setdefault(group_id, {})
            for partition, value in positions.items():
                existing = committed.get(partition)
                if existing is None or value.record_offset > existing.record_offset:
                    committed[partition] = value

    def is_pending(self, group_id: str, topic: str, partition: int) -> bool:
        """Whether an open transaction would change this position."""
        return any((topic, partition) in groups.get(group_id, {}) for groups in self._pending.values())

    def has_pending(self, group_id: str) -> bool:
        """Whether an open transaction would change any position of the group."""
        return any(group_id in groups for groups in self._pending.values())

    def groups(self) -> list[str]:
        """Every group that has a position, committed or pending."""
        return list(dict.fromkeys(group_id for group_id, _ in self._everything()))

    def all_keys(self, group_id: str) -> list[OffsetKey]:
        """Everything that has to be deleted with the group."""
        partitions = set(self.positions(group_id))
        for groups in self._pending.values():
            partitions.update(groups.get(group_id, ()))
        return [OffsetKey(group_id, topic, partition) for topic, partition in sorted(partitions)]

    def keys_of_topics(self, topics: Iterable[str]) -> list[OffsetKey]:
        """Every position, committed or pending, in one of the topics."""
        wanted = set(topics)
        return [
            OffsetKey(group_id, topic, partition)
            for group_id, positions in self._everything()
            for topic, partition in positions
            if topic in wanted
        ]

    def _everything(self) -> Iterator[tuple[str, Positions]]:
        yield from self._committed.items()
        for groups in self._pending.values():
            yield from groups.items()
