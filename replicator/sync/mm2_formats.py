"""MirrorMaker 2's own records, byte for byte: heartbeats, checkpoints, offset syncs, stored positions.

The first three are Kafka `Struct`s of `org.apache.kafka.connect.mirror` (Heartbeat, Checkpoint, OffsetSync): integers
are big-endian, a STRING is an int16 length and UTF-8, and only the first two's values begin with a version (0). Stored
positions are Connect's JSON (`OffsetStorageWriter`, `MirrorUtils.wrapPartition`).
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass

VERSION = 0

_INT16 = struct.Struct(">h")
_INT32 = struct.Struct(">i")
_TWO_INT64 = struct.Struct(">qq")
_HEARTBEAT_VALUE = struct.Struct(">hq")
_CHECKPOINT_VALUE = struct.Struct(">hqq")


class Mm2FormatError(ValueError):
    """A record isn't of the form that its topic holds."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """`timestamp_ms` is when it was written; `target` is the cluster that it was written to."""

    source: str
    target: str
    timestamp_ms: int


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A group's position: `upstream` on the source, `downstream` on the target, whose name for the topic it has."""

    group: str
    topic: str
    partition: int
    upstream: int
    downstream: int
    metadata: str = ""


@dataclass(frozen=True, slots=True)
class OffsetSync:
    """The source's record `upstream` of this source partition is the target's record `downstream`."""

    topic: str
    partition: int
    upstream: int
    downstream: int


@dataclass(frozen=True, slots=True)
class StoredPosition:
    """The last source offset that a connector says it has copied; None: it forgot the partition."""

    connector: str
    cluster: str
    topic: str
    partition: int
    offset: int | None


def encode_heartbeat(heartbeat: Heartbeat) -> tuple[bytes, bytes]:
    """Key and value."""
    key = _string(heartbeat.source) + _string(heartbeat.target)
    return key, _HEARTBEAT_VALUE.pack(VERSION, heartbeat.timestamp_ms)


def decode_heartbeat(key: bytes | None, value: bytes | None) -> Heartbeat:
    """Mm2FormatError for anything that `Heartbeat.deserializeRecord` wouldn't take."""
    reader = _Reader(key)
    source, target = reader.string(), reader.string()
    version, timestamp_ms = _Reader(value).unpack(_HEARTBEAT_VALUE)
    _require_version(version)
    return Heartbeat(source, target, timestamp_ms)


def encode_checkpoint_key(group: str, topic: str, partition: int) -> bytes:
    """The key under which the newest checkpoint of a group's partition stays."""
    return _string(group) + _string(topic) + _INT32.pack(partition)


def encode_checkpoint(checkpoint: Checkpoint) -> tuple[bytes, bytes]:
    """Key and value."""
    key = encode_checkpoint_key(checkpoint.group, checkpoint.topic, checkpoint.partition)
    value = _CHECKPOINT_VALUE.pack(VERSION, checkpoint.upstream, checkpoint.downstream)
    return key, value + _string(checkpoint.metadata)


def decode_checkpoint(key: bytes | None, value: bytes | None) -> Checkpoint:
    """Mm2FormatError for anything that `Checkpoint.deserializeRecord` wouldn't take."""
    group, topic, partition = decode_checkpoint_key(key)
    reader = _Reader(value)
    version, upstream, downstream = reader.unpack(_CHECKPOINT_VALUE)
    _require_version(version)
    return Checkpoint(group, topic, partition, upstream, downstream, reader.string())


def decode_checkpoint_key(key: bytes | None) -> tuple[str, str, int]:
    """Group, topic and partition; Mm2FormatError if it is no such key."""
    reader = _Reader(key)
    group, topic = reader.string(), reader.string()
    (partition,) = reader.unpack(_INT32)
    return group, topic, partition


def encode_offset_sync(sync: OffsetSync) -> tuple[bytes, bytes]:
    """Key and value."""
    return _string(sync.topic) + _INT32.pack(sync.partition), _TWO_INT64.pack(sync.upstream, sync.downstream)


def decode_offset_sync(key: bytes | None, value: bytes | None) -> OffsetSync:
    """Mm2FormatError for anything that `OffsetSync.deserializeRecord` wouldn't take."""
    reader = _Reader(key)
    topic = reader.string()
    (partition,) = reader.unpack(_INT32)
    upstream, downstream = _Reader(value).unpack(_TWO_INT64)
    return OffsetSync(topic, partition, upstream, downstream)


def decode_stored_position(key: bytes | None, value: bytes | None) -> StoredPosition | None:
    """A record of Connect's offsets topic; None if it isn't a position of a topic's partition (a heartbeat's, say).

    Mm2FormatError for one that is neither.
    """
    try:
        connector, where = json.loads(key or b"")
        if not isinstance(connector, str) or not isinstance(where, dict):
            raise Mm2FormatError(f"not a key of Connect's offsets: {(key or b'')[:80]!r}")
        if not {"cluster", "topic", "partition"} <= where.keys():
            return None
        offset = json.loads(value)["offset"] if value is not None else None
        found = StoredPosition(connector, str(where["cluster"]), str(where["topic"]), int(where["partition"]), offset)
    except (ValueError, TypeError, KeyError) as error:
        raise Mm2FormatError(f"not a position of Connect's: {(key or b'')[:80]!r}: {error}") from error
    if offset is not None and (not isinstance(offset, int) or isinstance(offset, bool) or offset < 0):
        raise Mm2FormatError(f"not an offset: {offset!r} of {found.topic}-{found.partition}")
    return found


def _string(text: str) -> bytes:
    """ValueError for more than 32,767 bytes, which a STRING can't hold."""
    encoded = text.encode()
    if len(encoded) > 0x7FFF:
        raise ValueError(f"{len(encoded)} bytes of text where a STRING holds 32767")
    return _INT16.pack(len(encoded)) + encoded


def _require_version(version: int) -> None:
    if version != VERSION:
        raise Mm2FormatError(f"version {version} isn't known; 0 is")


class _Reader:
    """Takes what Kafka's `Schema.read` takes: bytes behind the last field are left alone."""

    def __init__(self, data: bytes | None) -> None:
        if data is None:
            raise Mm2FormatError("nothing where a record's key and value should be")
        self._data = data
        self._at = 0

    def unpack(self, form: struct.Struct) -> tuple[int, ...]:
        if self._at + form.size > len(self._data):
            raise Mm2FormatError(f"{len(self._data)} bytes are too few")
        values = form.unpack_from(self._data, self._at)
        self._at += form.size
        return values

    def string(self) -> str:
        (length,) = self.unpack(_INT16)
        end = self._at + length
        if length < 0 or end > len(self._data):
            raise Mm2FormatError(f"a string of {length} bytes in {len(self._data)}")
        try:
            text = self._data[self._at : end].decode()
        except UnicodeDecodeError as error:
            raise Mm2FormatError(f"a string that isn't UTF-8: {error}") from error
        self._at = end
        return text
