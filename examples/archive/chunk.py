"""The records of one partition that become one object: bytes as they came, so that memory is known."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from typing import NamedTuple

from examples.archive.names import date_of

OVERHEAD_BYTES = 400  # of a record's Python objects, measured roughly; errs high


class Record(NamedTuple):
    """One record. `timestamp_ms` is None if it has none; a value of None is a tombstone."""

    offset: int
    timestamp_ms: int | None
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    broken: str | None = None  # why it is a dead letter whatever its value is

    @property
    def size(self) -> int:
        """Bytes in memory, about."""
        headers = sum(len(name) + len(value or b"") + 100 for name, value in self.headers)
        return len(self.key or b"") + len(self.value or b"") + headers + OVERHEAD_BYTES


@dataclass
class Chunk:
    """A stretch of one partition, never empty. Its date is that of its first record.

    A record of an earlier day still joins, one of a later day begins another chunk: so latecomers and wrong clocks
    make few objects more, and days are whole but for latecomers.
    """

    topic: str
    partition: int
    opened_at: float
    records: list[Record] = field(default_factory=list)
    size: int = 0
    date: datetime.date | None = None

    @property
    def first(self) -> int:
        """Offset of the first record."""
        return self.records[0].offset

    @property
    def following(self) -> int:
        """Where the next chunk begins to read."""
        return self.records[-1].offset + 1

    def takes(self, record: Record) -> bool:
        """Whether the record's day lets it join."""
        if not self.records:
            return True
        date = date_of(record.timestamp_ms)
        return date is None or (self.date is not None and date <= self.date)

    def add(self, record: Record) -> None:
        """Append it."""
        if not self.records:
            self.date = date_of(record.timestamp_ms)
        self.records.append(record)
        self.size += record.size
