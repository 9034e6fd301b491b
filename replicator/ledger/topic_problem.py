"""The ledger's records of topics that can't be copied as a whole: no partition of theirs may have an entry yet.

The owner of lane 0 decides about topics, and writes these into lane 0's partition of the ledger: key type 3 and the
source topic; a tombstone when the problem is over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from replicator.ledger.codec import LedgerFormatError, Reader, put_string, put_varint
from replicator.ledger.entry import DETAIL_MAX_BYTES, TOPIC_MAX_BYTES, cut_detail, reason_code, reason_of
from replicator.ledger.selection import TopicProblem
from replicator.states import Reason

_KEY_TOPIC_PROBLEM = 3
_VERSION = 1


@dataclass(frozen=True, slots=True)
class StoredProblem:
    """A topic's problem, and since when it has had this reason (ms since the epoch)."""

    reason: Reason
    detail: str
    since_ms: int


def problems_from_records(records: Iterable[tuple[bytes | None, bytes | None]]) -> dict[str, StoredProblem]:
    """The problems that hold now, by source topic, from (key, value) pairs in log order."""
    problems: dict[str, StoredProblem] = {}
    for key, value in records:
        if key is not None:
            take_problem(problems, key, value)
    return problems


def take_problem(problems: dict[str, StoredProblem], key: bytes, value: bytes | None) -> bool:
    """Apply one ledger record to `problems`; whether it was of this kind. LedgerFormatError if it can't be read."""
    if key[:1] != bytes((_KEY_TOPIC_PROBLEM,)):
        return False
    topic = Reader(key[1:]).string(TOPIC_MAX_BYTES)
    if value is None:
        problems.pop(topic, None)
        return True
    reader = Reader(value)
    version = reader.byte()
    if version != _VERSION:
        raise LedgerFormatError(
            f"problem of topic {topic}: format version {version}, and this Replicator reads {_VERSION}: upgrade it"
        )
    reason = reason_of(reader.byte())
    problems[topic] = StoredProblem(reason or Reason.UNKNOWN, reader.string(DETAIL_MAX_BYTES), reader.varint())
    return True


def problem_changes(
    known: Mapping[str, StoredProblem], current: Mapping[str, TopicProblem], now_ms: int
) -> tuple[list[tuple[bytes, bytes | None]], dict[str, StoredProblem]]:
    """The records to write so that the ledger says `current` where it said `known`; and what it says then."""
    updated: dict[str, StoredProblem] = {}
    records: list[tuple[bytes, bytes | None]] = []
    for topic, problem in current.items():
        before = known.get(topic)
        since_ms = before.since_ms if before is not None and before.reason is problem.reason else now_ms
        stored = StoredProblem(problem.reason, cut_detail(problem.detail), since_ms)
        updated[topic] = stored
        if stored != before:
            records.append((_key(topic), _value(stored)))
    records += [(_key(topic), None) for topic in known if topic not in current]
    return records, updated


def _key(topic: str) -> bytes:
    out = bytearray((_KEY_TOPIC_PROBLEM,))
    put_string(out, topic, TOPIC_MAX_BYTES)
    return bytes(out)


def _value(problem: StoredProblem) -> bytes:
    out = bytearray((_VERSION, reason_code(problem.reason)))
    put_string(out, problem.detail, DETAIL_MAX_BYTES)
    put_varint(out, problem.since_ms)
    return bytes(out)
