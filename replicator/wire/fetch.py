"""Fetch (API 1): versions 12 (topic names) and 13 to 17 (topic ids, KIP-516), always inside a fetch session.

Source: `FetchRequest.json`, `FetchResponse.json`, KIP-227 (sessions), KIP-595 (diverging epoch), KIP-392 (replicas).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple
from uuid import UUID

from replicator.errors import ProtocolError
from replicator.wire.primitives import (
    INT32,
    NO_TAGS,
    Reader,
    compact_string,
    uvarint,
)

FETCH = 1
MIN_VERSION, TOPIC_ID_VERSION, MAX_VERSION = 12, 13, 17
READ_UNCOMMITTED, READ_COMMITTED = 0, 1

TopicKey = str | UUID  # as the version names topics

_REQUEST = struct.Struct(">iiibii")  # max wait, min bytes, max bytes, isolation, session id, session epoch
_PARTITION = struct.Struct(">iiqiqiB")  # index, leader epoch, offset, last fetched epoch, log start, max bytes, tags
_ANSWER = struct.Struct(">ihqqq")  # index, error, high watermark, last stable offset, log start offset
_ABORTED = struct.Struct(">qqB")
_DIVERGING = struct.Struct(">iq")


class FetchPosition(NamedTuple):
    """From where to read one partition. `leader_epoch` and `last_fetched_epoch` are -1 where unknown."""

    partition: int
    leader_epoch: int
    offset: int
    last_fetched_epoch: int
    max_bytes: int


class FetchedPartition(NamedTuple):
    """One partition of a response. `records` is a view into it: batches back to back, the last one maybe cut off."""

    topic: TopicKey
    partition: int
    error: int
    high_watermark: int
    last_stable_offset: int
    log_start_offset: int
    aborted: list[tuple[int, int]]  # (producer id, first offset) of aborted transactions in this range
    preferred_read_replica: int
    diverging: tuple[int, int] | None  # (epoch, end offset) where the log differs from what was fetched (truncation)
    records: memoryview


class FetchResponse(NamedTuple):
    """The head of a response; the partitions follow lazily from `partitions`."""

    throttle_time_ms: int
    error: int
    session_id: int
    partitions: Iterator[FetchedPartition]


def encode_fetch(
    version: int,
    *,
    max_wait_ms: int,
    min_bytes: int,
    max_bytes: int,
    isolation: int,
    session_id: int,
    session_epoch: int,
    topics: dict[TopicKey, list[FetchPosition]],
    forgotten: dict[TopicKey, list[int]],
    rack: str,
) -> list[bytes]:
    """The body of a request. Keys of `topics` and `forgotten` are ids from version 13 on, names before."""
    parts = [INT32.pack(-1)] if version <= 14 else []
    parts.append(_REQUEST.pack(max_wait_ms, min_bytes, max_bytes, isolation, session_id, session_epoch))
    parts.append(uvarint(len(topics) + 1))
    pack = _PARTITION.pack
    for topic, positions in topics.items():
        parts += [_topic(topic), uvarint(len(positions) + 1)]
        parts += [
            pack(p.partition, p.leader_epoch, p.offset, p.last_fetched_epoch, -1, p.max_bytes, 0) for p in positions
        ]
        parts.append(NO_TAGS)
    parts.append(uvarint(len(forgotten) + 1))
    for topic, indexes in forgotten.items():
        parts += [_topic(topic), uvarint(len(indexes) + 1), struct.pack(f">{len(indexes)}i", *indexes), NO_TAGS]
    parts += [compact_string(rack), NO_TAGS]
    return [b"".join(parts)]


def decode_fetch(version: int, response: memoryview) -> FetchResponse:
    """The head now, the partitions as they are iterated; ProtocolError if lengths don't add up."""
    reader = Reader(response)
    return FetchResponse(reader.int32(), reader.int16(), reader.int32(), _partitions(version, reader))


def _topic(topic: TopicKey) -> bytes:
    return topic.bytes if isinstance(topic, UUID) else compact_string(topic)


def _partitions(version: int, reader: Reader) -> Iterator[FetchedPartition]:
    view, by_id = reader.view, version >= TOPIC_ID_VERSION
    for _ in range(reader.compact_array_length()):
        topic: TopicKey = reader.uuid() if by_id else reader.compact_string()
        for _ in range(reader.compact_array_length()):
            index, error, high, stable, start = _ANSWER.unpack_from(view, reader.skip(_ANSWER.size))
            aborted = [_aborted(reader) for _ in range(reader.compact_array_length())]
            preferred = reader.int32()
            records = reader.compact_bytes()
            tags = reader.tags()
            diverging = None
            if 0 in tags:
                if len(tags[0]) < _DIVERGING.size:
                    raise ProtocolError("diverging epoch of a fetch response is cut off")
                diverging = _DIVERGING.unpack_from(tags[0])
            yield FetchedPartition(topic, index, error, high, stable, start, aborted, preferred, diverging, records)
        reader.tags()


def _aborted(reader: Reader) -> tuple[int, int]:
    producer_id, first_offset, tags = _ABORTED.unpack_from(reader.view, reader.skip(_ABORTED.size))
    if tags:
        raise ProtocolError("unexpected tagged fields in an aborted transaction")
    return producer_id, first_offset
