"""Stand-ins for the coordinators' surroundings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from broker.groups.internal_topic import Entry, Pair, partition_of


class ListLog:
    """A coordinator's log in lists."""

    def __init__(self, topic: str = "__consumer_offsets", count: int = 4) -> None:
        self.topic = topic
        self.entries: list[list[Entry]] = [[] for _ in range(count)]

    def partition_for(self, key: str) -> int:
        return partition_of(key, len(self.entries))

    def partitions(self) -> Iterable[int]:
        return range(len(self.entries))

    def append(self, partition: int, pairs: Sequence[Pair], *, producer: tuple[int, int] | None = None) -> int:
        log = self.entries[partition]
        base = len(log)
        for key, value in pairs:
            producer_id = -1 if producer is None else producer[0]
            log.append(Entry(len(log), key, value, producer_id, producer is not None))
        return base

    def end_transaction(self, partition: int, producer_id: int, *, commit: bool) -> None:
        log = self.entries[partition]
        log.append(Entry(len(log), producer_id=producer_id, ends_transaction=commit))

    def replay(self, partition: int) -> Iterator[Entry]:
        return iter(list(self.entries[partition]))
