"""Where an object is.

    PREFIX/topic=T/partition=P/date=YYYY-MM-DD/FIRST.parquet
    PREFIX/_dead_letters/topic=T/partition=P/date=YYYY-MM-DD/FIRST-NEXT.parquet

FIRST is the offset of the object's first record, NEXT the one behind its last; both with 20 digits, so that names sort
as offsets do. NEXT of an object stands in its metadata.

Invariants, per partition:
A. The objects are a chain: each begins where the one before it ends, or behind a hole that the topic itself has.
B. Of one FIRST there is one object, and nobody writes over it.
C. A dead-letter object counts if the object FIRST says the same NEXT. Others are a crash's leftovers, and are removed.
"""

from __future__ import annotations

import datetime
import re

_NAME = re.compile(r"/(\d{20})(?:-(\d{20}))?\.parquet$")
_MS_PER_DAY = 86_400_000
_EPOCH = datetime.date(1970, 1, 1)
_LAST_DAY = (datetime.date.max - _EPOCH).days
DEAD_LETTERS = "_dead_letters"  # engines pass over folders that begin with _


def date_of(timestamp_ms: int | None) -> datetime.date | None:
    """The day in UTC; None for a record without a time, or with one that no calendar has."""
    if timestamp_ms is None or not 0 <= timestamp_ms // _MS_PER_DAY <= _LAST_DAY:
        return None
    return _EPOCH + datetime.timedelta(days=timestamp_ms // _MS_PER_DAY)


def folder(prefix: str, topic: str, partition: int, *, dead_letters: bool = False) -> str:
    """What all names of the partition begin with, with a slash at the end."""
    parts = [prefix.strip("/"), DEAD_LETTERS if dead_letters else "", f"topic={topic}", f"partition={partition}"]
    return "/".join(part for part in parts if part) + "/"


def name(date: datetime.date | None, first: int, following: int | None = None) -> str:
    """The rest of the name; with `following` that of a dead-letter object."""
    day = "unknown" if date is None else date.isoformat()
    behind = "" if following is None else f"-{following:020}"
    return f"date={day}/{first:020}{behind}.parquet"


def offsets(key: str) -> tuple[int, int | None] | None:
    """FIRST, and NEXT of a dead-letter object; None if somebody else has put this object there."""
    match = _NAME.search(key)
    return None if match is None else (int(match[1]), int(match[2]) if match[2] else None)
