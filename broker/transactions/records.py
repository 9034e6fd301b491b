"""What is stored in `__transaction_state`: TransactionLogKey v0 and TransactionLogValue v1 (v0 is read, too)."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from broker.storage.batch import Buffer
from broker.transactions.metadata import NO_EPOCH, NO_ID, Transaction, TransactionState

MAX_PARTITIONS = 1_000_000
_SHORT = struct.Struct(">h")
_FIXED = struct.Struct(">qhib")
_LAST = struct.Struct(">qq")
_LONG = struct.Struct(">q")
_INT = struct.Struct(">i")
_STATES = {state.number: state for state in TransactionState}
_PREVIOUS_PRODUCER_ID, _NEXT_PRODUCER_ID, _CLIENT_VERSION, _LAST_EPOCH = 0, 1, 2, 100
"""Tags of v1. The last one is ours: Kafka forgets the last epoch; unknown tags are skipped by its readers."""
BUMPING_VERSION = 2


def encode_key(transactional_id: str) -> bytes:
    """TransactionLogKey v0."""
    encoded = transactional_id.encode()
    return _SHORT.pack(0) + _SHORT.pack(len(encoded)) + encoded


def decode_key(data: Buffer) -> str | None:
    """The transactional id, or None for another type of key."""
    view = memoryview(data)
    if len(view) < 4:
        raise ValueError("stored key is cut short")
    version, length = struct.unpack_from(">hh", view)
    if version != 0:
        return None
    if length < 0 or len(view) < 4 + length:
        raise ValueError("stored key is cut short")
    return bytes(view[4 : 4 + length]).decode()


def encode(transaction: Transaction) -> bytes:
    """TransactionLogValue v1 (flexible)."""
    out = bytearray(_SHORT.pack(1))
    out += _FIXED.pack(
        transaction.producer_id, transaction.producer_epoch, transaction.timeout_ms, transaction.state.number
    )
    if transaction.state is TransactionState.EMPTY:
        out += _uvarint(0)  # null
    else:
        topics: dict[str, list[int]] = {}
        for topic, partition in sorted(transaction.partitions):
            topics.setdefault(topic, []).append(partition)
        out += _uvarint(len(topics) + 1)
        for topic, partitions in topics.items():
            name = topic.encode()
            out += _uvarint(len(name) + 1) + name + _uvarint(len(partitions) + 1)
            out += b"".join(_INT.pack(partition) for partition in partitions) + _uvarint(0)
    out += _LAST.pack(transaction.updated_ms, transaction.started_ms)
    out += _tags(
        [
            (_PREVIOUS_PRODUCER_ID, transaction.previous_producer_id, NO_ID, _LONG),
            (_NEXT_PRODUCER_ID, transaction.next_producer_id, NO_ID, _LONG),
            (_CLIENT_VERSION, BUMPING_VERSION if transaction.bumps_epoch else 0, 0, _SHORT),
            (_LAST_EPOCH, transaction.last_epoch, NO_EPOCH, _SHORT),
        ]
    )
    return bytes(out)


def decode(transactional_id: str, data: Buffer) -> Transaction:
    """TransactionLogValue v0 or v1. Raises ValueError for anything else."""
    try:
        return _decode(transactional_id, memoryview(data))
    except (struct.error, IndexError) as error:
        raise ValueError("stored transaction is cut short") from error


def _decode(transactional_id: str, view: memoryview) -> Transaction:
    (version,) = _SHORT.unpack_from(view)
    if version not in (0, 1):
        raise ValueError(f"TransactionLogValue v{version}")
    flexible = version == 1
    producer_id, epoch, timeout_ms, status = _FIXED.unpack_from(view, 2)
    at = 2 + _FIXED.size
    partitions = set()
    topics, at = _length(view, at, flexible, _INT)
    for _ in range(max(topics, 0)):
        size, at = _length(view, at, flexible, _SHORT)
        topic = bytes(view[at : at + size]).decode()
        count, at = _length(view, at + size, flexible, _INT)
        if count > MAX_PARTITIONS:
            raise ValueError(f"{count} partitions in a stored transaction")
        for _ in range(count):
            partitions.add((topic, int(_INT.unpack_from(view, at)[0])))
            at += _INT.size
        if flexible:
            _, at = _read_tags(view, at)
    updated_ms, started_ms = _LAST.unpack_from(view, at)
    tags = _read_tags(view, at + _LAST.size)[0] if flexible else {}

    def tagged(tag: int, default: int, kind: struct.Struct) -> int:
        return int(kind.unpack(tags[tag])[0]) if tag in tags else default

    return Transaction(
        transactional_id,
        producer_id,
        epoch,
        tagged(_LAST_EPOCH, NO_EPOCH, _SHORT),
        tagged(_PREVIOUS_PRODUCER_ID, NO_ID, _LONG),
        tagged(_NEXT_PRODUCER_ID, NO_ID, _LONG),
        timeout_ms,
        _STATES[status],
        frozenset(partitions),
        started_ms,
        updated_ms,
        tagged(_CLIENT_VERSION, 0, _SHORT) >= BUMPING_VERSION,
    )


def _length(view: memoryview, at: int, flexible: bool, legacy: struct.Struct) -> tuple[int, int]:
    if flexible:
        value, at = _read_uvarint(view, at)
        value -= 1
    else:
        value, at = int(legacy.unpack_from(view, at)[0]), at + legacy.size
    if value > len(view):
        raise ValueError("stored transaction is cut short")
    return value, at


def _tags(values: Iterable[tuple[int, int, int, struct.Struct]]) -> bytes:
    present = [(tag, kind.pack(value)) for tag, value, default, kind in values if value != default]
    return _uvarint(len(present)) + b"".join(_uvarint(tag) + _uvarint(len(data)) + data for tag, data in present)


def _read_tags(view: memoryview, at: int) -> tuple[dict[int, bytes], int]:
    tags = {}
    count, at = _read_uvarint(view, at)
    for _ in range(min(count, 1000)):
        tag, at = _read_uvarint(view, at)
        size, at = _read_uvarint(view, at)
        tags[tag] = bytes(view[at : at + size])
        at += size
    return tags, at


def _uvarint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


def _read_uvarint(view: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = view[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 28:
            raise ValueError("varint is longer than five bytes")
