"""Produce (API 0): versions 9 to 12 (topic names) and 13 (topic ids, KIP-516); batches go out as they are."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from replicator.wire.primitives import INT32, NO_TAGS, Bytes, Reader, compact_string, uvarint

PRODUCE = 0
MIN_VERSION, TOPIC_ID_VERSION, MAX_VERSION = 9, 13, 13
MAX_TRANSACTIONAL_VERSION = 11  # from 12 on, brokers expect an epoch per transaction (KIP-890)
PROVEN_VERSION = 12  # Kafka 4.0: fenced writing was shown on these brokers
ACKS_ALL = -1

_HEAD = struct.Struct(">hi")  # acks, timeout ms
_ANSWER = struct.Struct(">ihqqq")  # index, error, base offset, log append time, log start offset
_GOOD_ANSWER = struct.Struct(">ihqqqBBB")  # the same, no record errors, no message, no tags: nearly all of them

TopicKey = str | bytes  # as the version names topics: by name, or by the 16 bytes of the id


class ProducedPartition(NamedTuple):
    """What became of one batch. `base_offset` is -1 unless it was written now or is a duplicate still remembered."""

    topic: TopicKey
    partition: int
    error: int
    base_offset: int
    log_start_offset: int
    message: str


def encode_produce(
    version: int,
    topics: Mapping[TopicKey, Sequence[tuple[int, Bytes]]],
    *,
    transactional_id: str | None = None,
    acks: int = ACKS_ALL,
    timeout_ms: int = 30_000,
) -> list[Bytes]:
    """The body of a request, as parts to be gathered: the batches themselves aren't copied."""
    parts: list[Bytes] = [compact_string(transactional_id) + _HEAD.pack(acks, timeout_ms) + uvarint(len(topics) + 1)]
    pending = b""
    for topic, batches in topics.items():
        name = topic if isinstance(topic, bytes) else compact_string(topic)
        pending += name + uvarint(len(batches) + 1)
        for index, batch in batches:
            parts.append(pending + INT32.pack(index) + uvarint(len(batch) + 1))
            parts.append(batch)
            pending = NO_TAGS
        pending += NO_TAGS
    parts.append(pending + NO_TAGS)
    return parts


class Produced(NamedTuple):
    """What a broker said to a request: of each batch, and how long it wants us to wait (KIP-219: it waits itself)."""

    partitions: Sequence[ProducedPartition]
    throttle_time_ms: int


def decode_produce(version: int, response: memoryview) -> Produced:
    """One result per batch; the first record error stands in for a missing message."""
    reader = Reader(response)
    results = []
    unpack = _GOOD_ANSWER.unpack_from
    by_id = version >= TOPIC_ID_VERSION
    for _ in range(reader.compact_array_length()):
        topic: TopicKey = bytes(reader.raw(16)) if by_id else reader.compact_string()
        for _ in range(reader.compact_array_length()):
            if reader.pos + _GOOD_ANSWER.size <= reader.end:
                index, error, base, _, start, errors, message_length, tags = unpack(reader.view, reader.pos)
                if errors == 1 and not message_length and not tags:
                    reader.pos += _GOOD_ANSWER.size
                    results.append(ProducedPartition(topic, index, error, base, start, ""))
                    continue
            index, error, base, _, start = _ANSWER.unpack_from(reader.view, reader.skip(_ANSWER.size))
            first = ""
            for _ in range(reader.compact_array_length()):
                record, said = reader.int32(), reader.compact_string()
                reader.tags()
                first = first or f"record {record}: {said}"
            message = reader.compact_string()
            reader.tags()
            results.append(ProducedPartition(topic, index, error, base, start, first or message))
        reader.tags()
    return Produced(results, reader.int32())
