"""Which records share an object, and what its name says."""

from __future__ import annotations

import datetime

from examples.archive.chunk import Chunk, Record
from examples.archive.names import date_of, folder, name, offsets

DAY = 86_400_000
NOON = 20_000 * DAY + DAY // 2


def record(offset: int, timestamp_ms: int | None) -> Record:
    return Record(offset, timestamp_ms, None, b"v", ())


def test_given_an_open_chunk_when_records_of_other_days_come_then_only_a_later_day_begins_another() -> None:
    chunk = Chunk("t", 0, opened_at=0)
    chunk.add(record(7, NOON))
    assert chunk.takes(record(8, NOON + 1))
    assert chunk.takes(record(8, NOON - 3 * DAY))
    assert chunk.takes(record(8, None))
    assert not chunk.takes(record(8, NOON + DAY))
    assert (chunk.first, chunk.following, chunk.date) == (7, 8, datetime.date(2024, 10, 4))


def test_given_a_chunk_without_a_day_when_a_record_with_one_comes_then_it_begins_another() -> None:
    chunk = Chunk("t", 0, opened_at=0)
    chunk.add(record(0, None))
    assert chunk.takes(record(1, None))
    assert not chunk.takes(record(1, 0))


def test_given_times_that_no_calendar_has_when_dated_then_they_have_no_day() -> None:
    assert date_of(-1) is None
    assert date_of(1 << 62) is None
    assert date_of(0) == datetime.date(1970, 1, 1)
    assert date_of(253_402_300_799_999) == datetime.date.max


def test_given_names_when_read_back_then_offsets_are_those_that_were_written_and_other_names_are_nobodys() -> None:
    day = datetime.date(2026, 11, 28)
    key = folder("/a/", "us.orders", 3) + name(day, 100)
    assert key == "a/topic=us.orders/partition=3/date=2026-11-28/00000000000000000100.parquet"
    assert offsets(key) == (100, None)
    letters = folder("a", "us.orders", 3, dead_letters=True) + name(None, 100, 150)
    assert letters.startswith("a/_dead_letters/topic=us.orders/partition=3/date=unknown/")
    assert offsets(letters) == (100, 150)
    assert offsets(folder("a", "t", 0) + "date=2026-11-28/_SUCCESS") is None
