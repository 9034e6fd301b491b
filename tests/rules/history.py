"""What happened to a cluster's logs, in the order it happened: read where bytes are appended, by none of the product.

`Recorder` notes every append, cut and fence of an in-process cluster; a `History` can as well be made from logs that
were read from outside, when only the order within each partition is known.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from broker.cluster import Cluster
from broker.storage import compression
from broker.storage.batch import BatchHeader, read_header, read_marker, read_records
from broker.storage.log import PartitionLog
from broker.topics import Topic

Place = tuple[str, int]

PLAIN, COMMITTED, ABORTED, OPEN = "plain", "committed", "aborted", "open"
COUNTS = frozenset({PLAIN, COMMITTED})


@dataclass(frozen=True, slots=True)
class Row:
    """A record as it is in a log."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: bytes = b""  # as they are encoded

    @property
    def content(self) -> tuple[object, ...]:
        """All but the offset."""
        return self.timestamp, self.key, self.value, self.headers


@dataclass(frozen=True, slots=True)
class Append:
    """One batch, when it was appended. `commit` is None but for the markers of transactions."""

    order: int
    topic: str
    partition: int
    base_offset: int
    last_offset: int
    producer_id: int
    epoch: int
    sequence: int
    transactional: bool
    commit: bool | None
    rows: tuple[Row, ...]

    @property
    def place(self) -> Place:
        """Topic and partition."""
        return self.topic, self.partition

    @property
    def last_sequence(self) -> int:
        """Of its last record; they wrap at 2^31."""
        return (self.sequence + self.last_offset - self.base_offset) & 0x7FFFFFFF

    def __str__(self) -> str:
        what = {None: f"{len(self.rows)} records", True: "commit marker", False: "abort marker"}[self.commit]
        return (
            f"#{self.order} {self.topic}-{self.partition}@{self.base_offset}: {what} of {self.producer_id}/{self.epoch}"
            f" sequence {self.sequence}"
        )


@dataclass(frozen=True, slots=True)
class Cut:
    """What lay at `offset` and behind it was lost."""

    order: int
    offset: int


@dataclass(frozen=True, slots=True)
class Fence:
    """From here on the coordinator knows this epoch of the producer, and no older one."""

    order: int
    producer_id: int
    epoch: int


@dataclass(slots=True)
class History:
    """All of one cluster. `present` are the offsets that each log still holds, when somebody has looked."""

    appends: list[Append] = field(default_factory=list)
    cuts: dict[Place, list[Cut]] = field(default_factory=dict)
    fences: list[Fence] = field(default_factory=list)
    present: dict[Place, set[int]] = field(default_factory=dict)
    starts: dict[Place, int] = field(default_factory=dict)
    _places: dict[Place, list[Append]] = field(default_factory=dict)
    _outcomes: dict[int, str] | None = None

    def add(self, append: Append) -> None:
        """Note one more."""
        self.appends.append(append)
        self._places.setdefault(append.place, []).append(append)
        self._outcomes = None

    def of(self, place: Place) -> list[Append]:
        """The appends to one partition, in log order."""
        return self._places.get(place, [])

    def places(self, topic: str) -> list[Place]:
        """The partitions of a topic that were written to."""
        return sorted(place for place in self._places if place[0] == topic)

    def outcome(self, append: Append) -> str:
        """What became of it: plain, committed, aborted, or still open."""
        if self._outcomes is None:
            self._outcomes = dict(self._judge())
        return self._outcomes[id(append)]

    def survives(self, append: Append, until: int | None = None) -> bool:
        """Whether no cut took it (up to and without `until`)."""
        return not any(
            append.order < cut.order and cut.offset <= append.last_offset and (until is None or cut.order < until)
            for cut in self.cuts.get(append.place, ())
        )

    def counted(self, place: Place, *, before: int | None = None) -> Iterator[tuple[Append, Row]]:
        """The records that a read_committed reader finds in the end, of those appended `before`, in order."""
        for append in self.of(place):
            if before is not None and append.order >= before:
                return
            if append.commit is None and self.outcome(append) in COUNTS and self.survives(append, before):
                for row in append.rows:
                    yield append, row

    def end_before(self, place: Place, order: int) -> int:
        """Where the log ended just before this."""
        end = 0
        for append in self.of(place):
            if append.order < order and self.survives(append, order):
                end = append.last_offset + 1
        return end

    def without(self, unwanted: Callable[[Append], bool]) -> History:
        """The same without some appends: for planting."""
        return self.changed(lambda append: [] if unwanted(append) else [append])

    def changed(self, change: Callable[[Append], Iterable[Append]]) -> History:
        """The same with each append replaced by others: for planting."""
        other = History(cuts=dict(self.cuts), fences=list(self.fences), present=self.present, starts=self.starts)
        for append in self.appends:
            for new in change(append):
                other.add(new)
        return other

    def _judge(self) -> Iterator[tuple[int, str]]:
        for appends in self._places.values():
            pending: dict[int, list[Append]] = {}
            for append in appends:
                if append.commit is not None:
                    for done in pending.pop(append.producer_id, ()):
                        yield id(done), COMMITTED if append.commit else ABORTED
                    yield id(append), PLAIN
                elif append.transactional:
                    pending.setdefault(append.producer_id, []).append(append)
                else:
                    yield id(append), PLAIN
            for left in pending.values():
                for append in left:
                    yield id(append), OPEN


class Recorder:
    """Notes into a `History` whatever happens to the logs of a cluster from now on."""

    def __init__(self, cluster: Cluster) -> None:
        self.history = History()
        self._cluster = cluster
        self._order = 0
        coordinator: Any = cluster.coordinators.transactions
        write = coordinator._write

        def noted(transaction: Any) -> None:
            write(transaction)
            self._order += 1
            self.history.fences.append(Fence(self._order, transaction.producer_id, transaction.producer_epoch))

        coordinator._write = noted

    def watch(self, topic: Topic) -> Topic:
        """Note what happens to this topic."""
        for partition in topic.partitions:
            place = topic.name, partition.index
            if place in self.history.cuts or self.history.of(place):  # another topic had this name
                self._cut(place, 0)
            self._watch(place, partition.log)
        return topic

    def look(self) -> History:
        """The history so far, with what the logs hold now."""
        for topic in self._cluster.topics:
            for partition in topic.partitions:
                place, log = (topic.name, partition.index), partition.log
                self.history.starts[place] = log.log_start_offset
                self.history.present[place] = {
                    row.offset
                    for header, data in log.batches(log.log_start_offset)
                    if not header.is_control
                    for row in rows_of(header, data)
                    if row.offset >= log.log_start_offset
                }
        return self.history

    def _watch(self, place: Place, log: PartitionLog) -> None:
        watched: Any = log
        write, truncate = watched._write, watched.truncate

        def written(records: Any, header: BatchHeader) -> int:
            base = int(write(records, header))
            self._order += 1
            self.history.add(append_of(place, self._order, bytes(records), base))
            return base

        def truncated(offset: int) -> None:
            truncate(offset)
            self._cut(place, log.log_end_offset)

        watched._write, watched.truncate = written, truncated

    def _cut(self, place: Place, offset: int) -> None:
        self._order += 1
        self.history.cuts.setdefault(place, []).append(Cut(self._order, offset))


def append_of(place: Place, order: int, data: bytes, base: int | None = None) -> Append:
    """A batch as an `Append`; `base`: its offset, if that isn't in its header yet."""
    header = read_header(data)
    base = header.base_offset if base is None else base
    commit = None
    rows: tuple[Row, ...] = ()
    if header.is_control:
        (record,) = read_records(compression.records_of(data, header), header.record_count)
        commit = read_marker(record)[0] == 1
    else:
        rows = tuple(rows_of(header._replace(base_offset=base), data))
    return Append(
        order,
        *place,
        base,
        base + header.last_offset_delta,
        header.producer_id,
        header.producer_epoch,
        header.base_sequence,
        header.is_transactional,
        commit,
        rows,
    )


def rows_of(header: BatchHeader, data: bytes | memoryview) -> Iterator[Row]:
    """The records of a batch."""
    if not header.record_count:  # compaction leaves the header of an emptied batch, which may say that it's compressed
        return
    payload = memoryview(compression.records_of(data, header))
    for record in read_records(payload, header.record_count):
        yield Row(
            header.base_offset + record.offset_delta,
            header.max_timestamp if header.is_log_append_time else header.base_timestamp + record.timestamp_delta,
            None if record.key is None else bytes(record.key),
            None if record.value is None else bytes(record.value),
            bytes(payload[record.headers_at : record.end]),
        )


_SERIAL = struct.Struct(">q")


def numbered(serial: int) -> bytes:
    """A value that tells which record it is, wherever it is found."""
    return _SERIAL.pack(serial)
