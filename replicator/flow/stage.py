"""What becomes of each batch of a fetch response: dropped, passed through, or rebuilt.

Rules, in this order: a batch whose CRC is wrong stops the partition (it is never re-stamped into a valid one);
control batches, empty ones and those of aborted transactions are dropped; the rest passes through, unless `Rebuild`
has a reason.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from replicator.errors import ProtocolError
from replicator.flow.backpressure import Lease
from replicator.flow.batch import PASSED, Batch
from replicator.flow.rebuild import Rebuild, rebuild, rebuild_legacy
from replicator.states import PartitionFault, Reason
from replicator.wire import batch as v2
from replicator.wire.compression import CODECS
from replicator.wire.fetch import FetchedPartition
from replicator.wire.records import Record, decode_legacy

_ABORT_MARKER = 0


@dataclass(slots=True)
class Staged:
    """What one partition's part of a response came to. `next_offset` is where to fetch next, also after a fault."""

    batches: list[Batch]
    next_offset: int
    last_epoch: int  # leader epoch of the last batch seen, -1 if none
    dropped: dict[str, int] = field(default_factory=dict)
    fault: PartitionFault | None = None


class Stage:
    """Stages the partitions of one link; `compression` is the link's setting."""

    def __init__(self, compression: str) -> None:
        self._codec = None if compression == "source" else CODECS[compression]

    def stage(self, fetched: FetchedPartition, start: int, lease: Lease) -> Staged:
        """The batches in `fetched` from offset `start` on. Batches that pass through hold `lease`.

        On bad input the batches before it are returned, with the fault: nothing behind it is touched.
        """
        view = fetched.records
        staged = Staged([], start, -1)
        aborted = sorted(fetched.aborted, key=lambda item: item[1], reverse=True)  # the next one to begin is last
        aborting: set[int] = set()
        legacy: list[Record] = []
        position = 0
        while (frame := v2.frame_at(view, position)) is not None:
            size, magic = frame
            data = view[position : position + size]
            try:
                if magic < 2:
                    self._take_legacy(data, magic, staged, legacy)
                else:
                    self._flush_legacy(staged, legacy)
                    self._take(data, magic, staged, aborted, aborting, lease)
            except PartitionFault as fault:
                staged.fault = fault
                break
            position += size
        self._flush_legacy(staged, legacy)
        return staged

    def _take(
        self,
        data: memoryview,
        magic: int,
        staged: Staged,
        aborted: list[tuple[int, int]],
        aborting: set[int],
        lease: Lease,
    ) -> None:
        if magic != 2 or len(data) < v2.HEADER_BYTES:
            raise PartitionFault(
                Reason.UNSUPPORTED_FORMAT, f"Batch of {len(data)} bytes with magic {magic}.", offset=staged.next_offset
            )
        header = v2.read_header(data, 0)
        last = header.base_offset + header.last_offset_delta
        if (
            last < staged.next_offset
        ):  # the broker begins with the batch that holds the offset; an empty one may be before
            return
        if v2.checksum(data) != header.crc:
            raise PartitionFault(
                Reason.CORRUPT_BATCH,
                f"Batch of offsets {header.base_offset} to {last}: CRC {header.crc:#010x} is stored, "
                f"{v2.checksum(data):#010x} computed.",
                offset=header.base_offset,
            )
        why_dropped = _dropped(header, data, last, aborted, aborting)
        if why_dropped:
            staged.dropped[why_dropped] = staged.dropped.get(why_dropped, 0) + 1
        else:
            batch = self._convert(data, header, staged.next_offset, lease)
            if batch is not None:
                staged.batches.append(batch)
        staged.next_offset = last + 1
        staged.last_epoch = header.leader_epoch

    def _convert(self, data: memoryview, header: v2.BatchHeader, start: int, lease: Lease) -> Batch | None:
        why = self._rebuild_reason(header, start)
        if why is None:
            return Batch(
                data,
                header.record_count,
                header.base_offset,
                header.base_offset + header.last_offset_delta + 1,
                header.max_timestamp,
                PASSED,
                source_epoch=header.leader_epoch,
                lease=lease.hold(),
            )
        codec = header.attributes & v2.CODEC_MASK if self._codec is None else self._codec
        try:
            return rebuild(data, header, start=start, codec=codec, why=why)
        except ProtocolError as error:
            raise PartitionFault(Reason.CORRUPT_BATCH, str(error), offset=header.base_offset) from error

    def _rebuild_reason(self, header: v2.BatchHeader, start: int) -> Rebuild | None:
        if header.last_offset_delta + 1 != header.record_count:
            return Rebuild.HOLES
        if header.attributes & v2.LOG_APPEND_TIME:
            return Rebuild.APPEND_TIME
        if header.base_offset < start:
            return Rebuild.PARTIAL
        if self._codec is not None and header.attributes & v2.CODEC_MASK != self._codec:
            return Rebuild.COMPRESSION
        return None

    def _take_legacy(self, data: memoryview, magic: int, staged: Staged, legacy: list[Record]) -> None:
        try:
            messages = list(decode_legacy(data, magic))
        except ProtocolError as error:
            raise PartitionFault(Reason.CORRUPT_BATCH, str(error), offset=staged.next_offset) from error
        legacy += [message for message in messages if message.offset >= staged.next_offset]
        if messages:
            staged.next_offset = max(staged.next_offset, messages[-1].offset + 1)

    def _flush_legacy(self, staged: Staged, legacy: list[Record]) -> None:
        if legacy:
            staged.batches += rebuild_legacy(legacy, self._codec or 0)
            legacy.clear()


def _dropped(
    header: v2.BatchHeader, data: memoryview, last: int, aborted: list[tuple[int, int]], aborting: set[int]
) -> str | None:
    """Why a batch isn't copied, or None. Follows the Java consumer: a producer's aborted range begins at the first
    offset that the broker names and ends with its abort marker."""
    while aborted and aborted[-1][1] <= last:
        aborting.add(aborted.pop()[0])
    if header.attributes & v2.CONTROL:
        if _control_type(data) == _ABORT_MARKER:
            aborting.discard(header.producer_id)
        return "control"
    if header.attributes & v2.TRANSACTIONAL and header.producer_id in aborting:
        return "aborted"
    return "empty" if header.record_count == 0 else None


def _control_type(data: memoryview) -> int:
    """The type in a control record's key (version i16, type i16); -1 if the marker was emptied by compaction."""
    if len(data) < v2.HEADER_BYTES + 9:
        return -1
    record = bytes(data[v2.HEADER_BYTES :])
    position = 0
    for skipped in range(3):  # length, (attributes byte), timestamp delta, offset delta: varints, one byte or more
        while record[position] & 0x80:
            position += 1
        position += 1
        if skipped == 0:
            position += 1
    key_length = record[position] >> 1
    position += 1
    return int.from_bytes(record[position + 2 : position + 4], "big") if key_length == 4 else -1
