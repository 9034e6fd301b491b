"""The ledger entry of a source partition: what has been copied, to where, as one instant; and its codec.

Key: one type byte (1), then the source topic and partition. Other type bytes are other things that live in the ledger
(2 `lane_record`, 3 `topic_problem`); `decode` passes them over. Keys carry no version: compaction needs them equal.

Value: one version byte, then the fields in a fixed order. A field added later goes to the end, with the version byte
unchanged, as long as a worker that doesn't know it may ignore it: older and newer workers share a ledger during a
rolling upgrade. Only a change that an older worker must not ignore takes a new version byte, and is written only where
it applies: version 2 is version 1 of a partition in fenced writing, whose position isn't known without a look at the
target's tail. Under `writing: transactions` everything stays readable for workers that know version 1 alone. Version 3
is no entry: the partition has moved to another lane (`moved`), which a worker that doesn't know it mustn't ignore.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from replicator.ledger.codec import LedgerFormatError, Reader, put_string, put_varint
from replicator.states import PartitionFault, Reason, State, Way

__all__ = [
    "DETAIL_MAX_BYTES",
    "TOPIC_MAX_BYTES",
    "Entry",
    "Gap",
    "LedgerFormatError",
    "PartitionFault",
    "Reason",
    "State",
    "Way",
    "cut_detail",
    "decode",
    "decode_key",
    "encode_entry",
    "encode_key",
    "reason_code",
    "reason_of",
]

TOPIC_MAX_BYTES = 249  # Kafka's own limit
BY_MAX_BYTES = 256
MAX_GAPS = 16  # kept per partition; the audit trail has them all
MAP_TAIL_MAX_BYTES = 4096
DETAIL_MAX_BYTES = 1024  # what people read; longer details are cut when they are written

_KEY_PARTITION = 1
_VERSIONS = {Way.TRANSACTIONS: 1, Way.FENCED: 2}
_WAYS = {version: way for way, version in _VERSIONS.items()}
MOVED_VERSION = 3
_MAX_VALUE_BYTES = 64 * 1024  # room for fields of later versions; an entry of this version stays below 8 KiB
_MAX_KEY_BYTES = 1024

# Numbers on disk. Never renumber; add at the end.
_STATE_CODES = {
    State.PENDING: 1,
    State.COPYING: 2,
    State.PAUSED: 3,
    State.FAULTED: 4,
    State.PROMOTED: 5,
    State.FAILED_OVER: 6,
}
_REASON_CODES = {
    Reason.SOURCE_UNREACHABLE: 1,
    Reason.TARGET_UNREACHABLE: 2,
    Reason.NOT_AUTHORIZED: 3,
    Reason.RECORD_TOO_LARGE: 4,
    Reason.CORRUPT_BATCH: 5,
    Reason.RETENTION_OVERRUN: 6,
    Reason.SOURCE_TRUNCATED: 7,
    Reason.SOURCE_RECREATED: 8,
    Reason.SOURCE_MISSING: 9,
    Reason.TARGET_TRUNCATED: 10,
    Reason.TARGET_RECREATED: 11,
    Reason.TARGET_MISSING: 12,
    Reason.RECORD_REFUSED: 13,
    Reason.FOREIGN_WRITER: 14,
    Reason.RECOVERY_AMBIGUOUS: 15,
    Reason.UNSUPPORTED_FORMAT: 16,
    Reason.TOPIC_NAME_INVALID: 17,
    Reason.TOPIC_REFUSED: 18,
    Reason.INTERNAL_ERROR: 19,
    Reason.LEDGER_UNREADABLE: 20,
    Reason.UNKNOWN: 255,
}
_NO_REASON = 0
_STATES = {code: state for state, code in _STATE_CODES.items()}
_REASONS = {code: reason for reason, code in _REASON_CODES.items()}


@dataclass(frozen=True, slots=True)
class Gap:
    """What is missing in the copy, and for good: somebody, or the link's policy, chose to go on without it.

    `source_from` to `source_to` (exclusive) are the offsets that were passed over on the source, `target_from` to
    `target_to` those that the target lost; equal where there are none on that side.
    """

    reason: Reason
    source_from: int
    source_to: int
    target_from: int
    target_to: int
    at_ms: int
    by: str  # "policy", or who accepted it


@dataclass(frozen=True, slots=True)
class Entry:
    """One source partition's position and state. All positions describe one instant (rule B).

    `source_next` is the next source offset to copy. `target_next` is the target's log position after what was copied,
    -1 when unknown. `producer_id` and `producer_epoch` are those that wrote last (-1: none yet), `next_sequence` is the
    sequence that its next batch gets. Times are in ms since the epoch; `record_timestamp_ms` is that of the last copied
    record, -1 when it has none. `map_tail` holds the newest runs of the offset map, `map_chunks` is the number that the
    next chunk of it will get in the map topic. `gaps` are the last ones, oldest first. In the fenced way, more than the
    entry says may be on the target: what `producer_id` wrote from `next_sequence` on. `moves` counts how often the
    partition has moved to another lane.
    """

    topic: str
    partition: int
    source_topic_id: UUID
    source_leader_epoch: int
    target_topic: str
    target_topic_id: UUID
    source_next: int
    target_next: int
    producer_id: int
    producer_epoch: int
    next_sequence: int
    state: State
    reason: Reason | None
    detail: str
    since_ms: int
    record_timestamp_ms: int
    written_ms: int
    map_chunks: int = 0
    map_tail: bytes = b""
    gaps: tuple[Gap, ...] = ()
    way: Way = Way.TRANSACTIONS
    moves: int = 0


def encode_key(topic: str, partition: int) -> bytes:
    """The key of a source partition's entry; ValueError for what can't be a Kafka topic and partition."""
    if not topic or partition < 0:
        raise ValueError(f"not a topic partition: {topic!r}, {partition}")
    out = bytearray((_KEY_PARTITION,))
    put_string(out, topic, TOPIC_MAX_BYTES)
    put_varint(out, partition)
    return bytes(out)


def decode_key(key: bytes) -> tuple[str, int] | None:
    """The source topic and partition of an entry's key; None for keys of other things that live in the ledger.

    Raises LedgerFormatError for a key that no version of Replicator writes.
    """
    if len(key) > _MAX_KEY_BYTES:
        raise LedgerFormatError(f"a ledger key has {len(key)} bytes; at most {_MAX_KEY_BYTES} are allowed")
    reader = Reader(key)
    if reader.byte() != _KEY_PARTITION:
        return None
    topic, partition = reader.string(TOPIC_MAX_BYTES), reader.varint()
    if not topic or not 0 <= partition < 1 << 31 or reader.remaining:
        raise LedgerFormatError(f"a ledger key names no topic partition: {topic!r}, {partition}")
    return topic, partition


def encode_entry(entry: Entry) -> bytes:
    """The value of an entry, below 8 KiB. A `detail` of more than DETAIL_MAX_BYTES bytes is cut."""
    out = bytearray((_VERSIONS[entry.way],))
    out += entry.source_topic_id.bytes
    put_varint(out, entry.source_leader_epoch)
    put_string(out, entry.target_topic, TOPIC_MAX_BYTES)
    out += entry.target_topic_id.bytes
    put_varint(out, entry.source_next)
    put_varint(out, entry.target_next)
    put_varint(out, entry.producer_id)
    put_varint(out, entry.producer_epoch)
    put_varint(out, entry.next_sequence)
    out.append(_STATE_CODES[entry.state])
    out.append(reason_code(entry.reason))
    put_string(out, cut_detail(entry.detail), DETAIL_MAX_BYTES)
    put_varint(out, entry.since_ms)
    put_varint(out, entry.record_timestamp_ms)
    put_varint(out, entry.written_ms)
    if len(entry.map_tail) > MAP_TAIL_MAX_BYTES:
        raise ValueError(
            f"a map tail of {len(entry.map_tail)} bytes, at most {MAP_TAIL_MAX_BYTES}: it could not be read"
        )
    put_varint(out, entry.map_chunks)
    put_varint(out, len(entry.map_tail))
    out += entry.map_tail
    gaps = entry.gaps[-MAX_GAPS:]
    put_varint(out, len(gaps))
    for gap in gaps:
        out.append(reason_code(gap.reason))
        for number in (gap.source_from, gap.source_to, gap.target_from, gap.target_to, gap.at_ms):
            put_varint(out, number)
        put_string(out, gap.by[: BY_MAX_BYTES // 4], BY_MAX_BYTES)
    put_varint(out, entry.moves)
    return bytes(out)


def decode(key: bytes, value: bytes | None) -> Entry | None:
    """The entry that a ledger record holds; None for a tombstone, for what isn't a partition's entry, and for one that
    has moved to another lane (`moved.decode_moved`).

    Raises LedgerFormatError for damaged bytes, and for a version or state that only a newer Replicator knows.
    """
    where = decode_key(key)
    if where is None or value is None or value[:1] == bytes((MOVED_VERSION,)):
        return None
    topic, partition = where
    try:
        return _decode_value(topic, partition, value)
    except LedgerFormatError as error:
        raise LedgerFormatError(f"ledger entry of {topic}-{partition}: {error}") from error


def is_of_known_version(value: bytes) -> bool:
    """Whether this Replicator can tell what a partition's record is."""
    return len(value) > 0 and (value[0] in _WAYS or value[0] == MOVED_VERSION)


def _decode_value(topic: str, partition: int, value: bytes) -> Entry:
    if len(value) > _MAX_VALUE_BYTES:
        raise LedgerFormatError(f"it has {len(value)} bytes; at most {_MAX_VALUE_BYTES} are allowed")
    reader = Reader(value)
    version = reader.byte()
    if version not in _WAYS:
        raise LedgerFormatError(
            f"it has format version {version}, and this Replicator reads versions up to {max(_WAYS)}: "
            "another worker of the link runs a newer Replicator; upgrade this one"
        )
    return Entry(
        topic=topic,
        partition=partition,
        source_topic_id=reader.uuid(),
        source_leader_epoch=reader.varint(),
        target_topic=reader.string(TOPIC_MAX_BYTES),
        target_topic_id=reader.uuid(),
        source_next=reader.varint(),
        target_next=reader.varint(),
        producer_id=reader.varint(),
        producer_epoch=reader.varint(),
        next_sequence=reader.varint(),
        state=_state(reader.byte()),
        reason=reason_of(reader.byte()),
        detail=reader.string(DETAIL_MAX_BYTES),
        since_ms=reader.varint(),
        record_timestamp_ms=reader.varint(),
        written_ms=reader.varint(),
        way=_WAYS[version],
        **_later_fields(reader),
    )


def _later_fields(reader: Reader) -> dict[str, Any]:
    """What entries of earlier versions end without."""
    if not reader.remaining:
        return {}
    return {
        "map_chunks": reader.varint(),
        "map_tail": reader.blob(MAP_TAIL_MAX_BYTES),
        "gaps": tuple(_gap(reader) for _ in range(reader.count(MAX_GAPS))),
        "moves": reader.varint() if reader.remaining else 0,
    }


def _gap(reader: Reader) -> Gap:
    return Gap(
        reason=reason_of(reader.byte()) or Reason.UNKNOWN,
        source_from=reader.varint(),
        source_to=reader.varint(),
        target_from=reader.varint(),
        target_to=reader.varint(),
        at_ms=reader.varint(),
        by=reader.string(BY_MAX_BYTES),
    )


def _state(code: int) -> State:
    try:
        return _STATES[code]
    except KeyError:
        raise LedgerFormatError(
            f"it has state number {code}, which this Replicator doesn't know: upgrade this worker"
        ) from None


def reason_code(reason: Reason | None) -> int:
    """The number of a reason on disk; 0 is none."""
    return _NO_REASON if reason is None else _REASON_CODES[reason]


def reason_of(code: int) -> Reason | None:
    """The reason that a number on disk stands for."""
    # A reason that a newer worker added stops a partition just as well; only its text is unknown here.
    return None if code == _NO_REASON else _REASONS.get(code, Reason.UNKNOWN)


def cut_detail(detail: str) -> str:
    """`detail` within DETAIL_MAX_BYTES, cut at a character where it is longer."""
    encoded = detail.encode()
    if len(encoded) <= DETAIL_MAX_BYTES:
        return detail
    return encoded[: DETAIL_MAX_BYTES - 3].decode(errors="ignore") + "…"
