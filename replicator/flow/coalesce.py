"""Many small batches of one partition as few larger ones.

A produce request carries one batch of a partition, so a run of one-record batches would travel one record a request.
What is merged has come in one fetch response, so it waits anyway: an idle link's records pass through as they come.

Order, timestamps, headers and compression stay as they are. Runs of one-record batches without compression, which are
the usual case, aren't decoded: their records are put one behind the other with new deltas. The others go through the
codec.
"""

from __future__ import annotations

from typing import NamedTuple

from replicator.flow.batch import Batch
from replicator.flow.ports import NATIVE, Origins
from replicator.flow.rebuild import Rebuild, merge
from replicator.wire import batch as v2
from replicator.wire.batch import BatchHeader

LEAST_RUN = 4
SMALL_RECORDS = 10  # above it, passing through costs less a record than merging
SMALL_BYTES = 16 << 10
MERGED_BYTES = 512 << 10
MERGED_RECORDS = 8192


Run = list[tuple[memoryview, BatchHeader]]


def is_small(header: BatchHeader, size: int) -> bool:
    """Whether a batch is better merged with others than sent alone."""
    return header.record_count <= SMALL_RECORDS and size <= SMALL_BYTES


def merged(run: Run, codec: int) -> list[Batch]:
    """The records of these batches in as few as is sensible. ProtocolError if one doesn't decode."""
    batches: list[Batch] = []
    group: Run = []
    size = records = 0
    for data, header in run:
        if group and (size + len(data) > MERGED_BYTES or records + header.record_count > MERGED_RECORDS):
            batches.append(merge(group, codec))
            group, size, records = [], 0, 0
        group.append((data, header))
        size += len(data)
        records += header.record_count
    batches.append(merge(group, codec))
    return batches


def _varint(value: int) -> bytes:
    """Zigzag, as the fields of a record."""
    rest = (value << 1) ^ (value >> 63)
    out = bytearray()
    while rest >= 0x80:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


_HEAD = v2.HEADER_BYTES
_PLAIN = b"\x00\x00\x00"  # of a one-record batch's record: attributes, timestamp delta, offset delta
_VARINTS = [_varint(value) for value in range(MERGED_RECORDS)]
_ONE_BYTE_REST = 64  # of a record's length and what it counts: up to here the length takes one byte, then two
_BEGINNINGS = [varint + _PLAIN for varint in _VARINTS]


class Singles(NamedTuple):
    """A merged run of one-record batches, if it was long enough, and where it ends in the response."""

    batch: Batch | None
    end: int


def merge_singles(view: memoryview, position: int, start: int, origins: Origins | None = None) -> Singles:
    """The native one-record batches without compression, transaction or peculiarity from `position` on, as one batch.

    Without a batch if there are fewer than `LEAST_RUN` of them, or the first begins before offset `start`. A batch that
    isn't perfectly plain, or whose CRC is wrong, ends the run: the ordinary way decides about it.
    """
    ahead = _look_ahead(view, position)
    if ahead.end > position:
        return ahead
    data = bytes(view[position : position + MERGED_BYTES + SMALL_BYTES])
    parts: list[bytes] = []
    offsets: list[int] = []
    unpack, crc32c, varints, beginnings = v2.HEADER.unpack_from, v2.crc32c_of, _VARINTS, _BEGINNINGS
    first_time = latest = leader_epoch = at = count = 0
    expected, limit = start, len(data)
    while at + _HEAD < limit and at < MERGED_BYTES and count < MERGED_RECORDS:
        base, length, epoch, magic, crc, attributes, last_delta, time, _, producer, _, _, records = unpack(data, at)
        end = at + 12 + length
        body = at + _HEAD
        rest = end - body
        size = rest - 1 if rest <= _ONE_BYTE_REST else rest - 2
        if records != 1 or magic != 2 or attributes or last_delta or base < expected:
            break
        if end > limit or not len(_PLAIN) < size < MERGED_RECORDS or not data.startswith(beginnings[size], body):
            break
        if crc32c(data[at + 21 : end]) != crc:
            break
        if origins is not None and producer >= 0 and origins.of(producer) != NATIVE:
            break
        if not count:
            first_time = latest = time
            leader_epoch = epoch
        elif epoch != leader_epoch:  # a batch says of which leader its records are
            break
        elif time > latest:
            latest = time
        elapsed = time - first_time
        timestamp = varints[elapsed] if 0 <= elapsed < MERGED_RECORDS else _varint(elapsed)
        index = varints[count]
        tail = data[end - size + len(_PLAIN) : end]
        size += len(timestamp) + len(index) - 2
        parts += (varints[size] if size < MERGED_RECORDS else _varint(size), b"\x00", timestamp, index, tail)
        offsets.append(base)
        expected, at = base + 1, end
        count += 1
    if count < LEAST_RUN:
        return Singles(None, position + at)
    header = BatchHeader(0, 0, -1, 2, 0, 0, count - 1, first_time, latest, -1, -1, -1, count)
    batch = Batch(
        memoryview(v2.assembled(header, parts)),
        count,
        offsets[0],
        expected,
        latest,
        Rebuild.COALESCED,
        offsets=None if expected - offsets[0] == count else offsets,
        source_epoch=leader_epoch,
    )
    return Singles(batch, position + at)


def _look_ahead(view: memoryview, position: int) -> Singles:
    """Nothing, and `position` itself if a run may begin there, else what is behind the batch that isn't part of one."""
    at = position
    for _ in range(LEAST_RUN):
        frame = v2.frame_at(view, at)
        if frame is None:
            return Singles(None, at + 1)
        size, magic = frame
        if magic != 2 or not _HEAD < size <= SMALL_BYTES or v2.read_header(view, at).record_count != 1:
            return Singles(None, at + size)
        at += size
    return Singles(None, position)
