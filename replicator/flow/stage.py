"""What becomes of each batch of a fetch response: dropped, passed through, or rebuilt.

Rules, in this order: a batch whose CRC is wrong stops the partition (it is never re-stamped into a valid one);
control batches, empty ones and those of aborted transactions are dropped, and under identical names those that links
brought here and that aren't to go further (`looped`); runs of small ones of one origin are merged (`coalesce`); the
rest passes through, unless `Rebuild` has a reason.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from replicator.errors import ProtocolError
from replicator.flow import coalesce
from replicator.flow.backpressure import Lease
from replicator.flow.batch import PASSED, Batch
from replicator.flow.ports import NATIVE, Origins
from replicator.flow.rebuild import Rebuild, rebuild, rebuild_legacy
from replicator.states import PartitionFault, Reason
from replicator.wire import batch as v2
from replicator.wire.compression import CODECS
from replicator.wire.fetch import FetchedPartition
from replicator.wire.records import Record, decode_legacy

LOOPED = "looped"
_ABORT_MARKER = 0
_HEAD = v2.HEADER_BYTES
_PECULIAR = v2.CONTROL | v2.TRANSACTIONAL


@dataclass(slots=True)
class Staged:
    """What one partition's part of a response came to. `next_offset` is where to fetch next, also after a fault.

    `unknown` are producers of which nobody has said yet what they write: what follows is to be fetched again then.
    """

    batches: list[Batch]
    next_offset: int
    last_epoch: int  # leader epoch of the last batch seen, -1 if none
    dropped: dict[str, int] = field(default_factory=dict)
    fault: PartitionFault | None = None
    small: coalesce.Run = field(default_factory=list)  # may be merged with what follows
    small_origin: str = NATIVE
    looped_records: int = 0
    looped_bytes: int = 0
    unknown: Collection[int] = ()


class Stage:
    """Stages the partitions of one link; `compression` is the link's setting. Without `origins` all is copied."""

    def __init__(self, compression: str, origins: Origins | None = None) -> None:
        self._origins = origins
        self._codec = None if compression == "source" else CODECS[compression]
        self._merges_singles = not self._codec  # as they are: without compression

    def stage(self, fetched: FetchedPartition, start: int, lease: Lease) -> Staged:
        """The batches in `fetched` from offset `start` on. Those that pass through hold `lease`, others one of theirs.

        On bad input the batches before it are returned, with the fault: nothing behind it is touched.
        """
        view = fetched.records
        staged = Staged([], start, -1)
        aborted = sorted(fetched.aborted, key=lambda item: item[1], reverse=True)  # the next one to begin is last
        aborting: set[int] = set()
        legacy: list[Record] = []
        position = not_before = 0
        merges = self._merges_singles
        while (frame := v2.frame_at(view, position)) is not None:
            size, magic = frame
            data = view[position : position + size]
            try:
                if (
                    merges
                    and size > _HEAD
                    and v2.count_at(view, position) == 1
                    and position >= not_before
                    and not legacy
                ):
                    singles = coalesce.merge_singles(view, position, staged.next_offset, self._origins)
                    if singles.batch is not None:
                        self._flush_small(staged, lease)
                        _append(staged, singles.batch, lease)
                        position = singles.end
                        continue
                    not_before = singles.end
                if magic < 2:
                    self._take_legacy(data, magic, staged, legacy)
                else:
                    if legacy:
                        self._flush_legacy(staged, legacy, lease)
                    self._take(data, magic, staged, aborted, aborting, lease)
            except _UnknownOriginError:
                staged.unknown = self._unknown_in(view[position:])
                break
            except Exception as error:  # noqa: BLE001 - bytes that nobody thought of stop this partition, no other
                staged.fault = _as_fault(error, staged)
                break
            position += size
        try:
            self._flush_small(staged, lease)
        except Exception as error:  # noqa: BLE001 - as above; it is before whatever stopped the loop
            staged.fault = _as_fault(error, staged)
        self._flush_legacy(staged, legacy, lease)
        if position == 0 and len(view) and staged.fault is None and not staged.unknown:
            staged.fault = _no_batch(view, staged.next_offset)
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
        if v2.crc32c_of(data[21:]) != header.crc:
            raise PartitionFault(
                Reason.CORRUPT_BATCH,
                f"Batch of offsets {header.base_offset} to {last}: CRC {header.crc:#010x} is stored, "
                f"{v2.checksum(data):#010x} computed.",
                offset=header.base_offset,
            )
        if not 0 <= header.record_count <= header.last_offset_delta + 1:
            raise PartitionFault(
                Reason.CORRUPT_BATCH,
                f"Batch of offsets {header.base_offset} to {last} claims to hold {header.record_count} records.",
                offset=header.base_offset,
            )
        if last < staged.next_offset:
            return  # the broker begins with the batch that holds the offset; an empty one may be before
        why_dropped = None
        if aborted or header.attributes & _PECULIAR or not header.record_count:
            why_dropped = _dropped(header, data, last, aborted, aborting)
        origin = NATIVE
        if why_dropped is None and self._origins is not None and header.producer_id >= 0:
            found = self._origins.of(header.producer_id)
            if found is None:
                raise _UnknownOriginError
            origin = found
            if not self._origins.passes(origin):
                why_dropped = LOOPED
                staged.looped_records += header.record_count
                staged.looped_bytes += len(data)
        if why_dropped:
            staged.dropped[why_dropped] = staged.dropped.get(why_dropped, 0) + 1
        else:
            self._keep(data, header, origin, staged, lease)
        staged.next_offset = last + 1
        staged.last_epoch = header.leader_epoch

    def _unknown_in(self, view: memoryview) -> set[int]:
        """All producers that are to be asked about, in one go."""
        assert self._origins is not None
        return {producer_id for producer_id in v2.producers_in(view) if self._origins.of(producer_id) is None}

    def drops(self, header: v2.BatchHeader) -> bool:
        """Whether a batch that isn't control was dropped for where its records are from."""
        origin = None if self._origins is None else self._origins.of(header.producer_id)
        return origin is not None and self._origins is not None and not self._origins.passes(origin)

    def _keep(self, data: memoryview, header: v2.BatchHeader, origin: str, staged: Staged, lease: Lease) -> None:
        if staged.small and (origin != staged.small_origin or not self._alike(staged.small[-1][1], header)):
            self._flush_small(staged, lease)
        staged.small_origin = origin
        if header.base_offset >= staged.next_offset and coalesce.is_small(header, len(data)):
            staged.small.append((data, header))
            return
        if staged.small:
            self._flush_small(staged, lease)
        batch = self._convert(data, header, staged.next_offset, lease)
        if batch is not None:
            batch.origin = origin
            staged.batches.append(batch)

    def _flush_small(self, staged: Staged, lease: Lease) -> None:
        """Stage what waited to be merged. When one of it can't be staged, it is where to fetch next."""
        run, staged.small = staged.small, []
        if not run:
            return
        behind, staged.next_offset = staged.next_offset, run[0][1].base_offset
        if len(run) < coalesce.LEAST_RUN or not self._merge(run, staged, lease):
            for data, header in run:
                staged.next_offset = header.base_offset
                one = self._convert(data, header, header.base_offset, lease)
                if one is not None:
                    one.origin = staged.small_origin
                    staged.batches.append(one)
        staged.next_offset = behind

    def _merge(self, run: coalesce.Run, staged: Staged, lease: Lease) -> bool:
        """Whether they decode. Alone, what doesn't shows itself, or passes through as it is."""
        try:
            batches = coalesce.merged(run, self._codec_of(run[0][1]))
        except ProtocolError:
            return False
        for batch in batches:
            batch.lease = lease.another(len(batch.data))
            batch.origin = staged.small_origin
        staged.batches += batches
        return True

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
        try:
            batch = rebuild(data, header, start=start, codec=self._codec_of(header), why=why)
        except ProtocolError as error:
            raise PartitionFault(Reason.CORRUPT_BATCH, str(error), offset=header.base_offset) from error
        if batch is not None:
            batch.lease = lease.another(len(batch.data))
        return batch

    def _alike(self, one: v2.BatchHeader, other: v2.BatchHeader) -> bool:
        """Whether two batches may become one, which says of which leader its records are."""
        return one.leader_epoch == other.leader_epoch and self._codec_of(one) == self._codec_of(other)

    def _codec_of(self, header: v2.BatchHeader) -> int:
        """The compression that its records are to have."""
        return header.attributes & v2.CODEC_MASK if self._codec is None else self._codec

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

    def _flush_legacy(self, staged: Staged, legacy: list[Record], lease: Lease) -> None:
        if legacy:
            batches = rebuild_legacy(legacy, self._codec or 0)
            for batch in batches:
                batch.lease = lease.another(len(batch.data))
            staged.batches += batches
            legacy.clear()


class _UnknownOriginError(Exception):
    """Who wrote the next batch has to be found out first."""


def _as_fault(error: Exception, staged: Staged) -> PartitionFault:
    if isinstance(error, PartitionFault):
        return error
    return PartitionFault(
        Reason.INTERNAL_ERROR,
        f"Batch behind offset {staged.next_offset}: {type(error).__name__}: {error}.",
        offset=staged.next_offset,
    )


def _append(staged: Staged, batch: Batch, lease: Lease) -> None:
    """A batch that stands for a run of the response."""
    batch.lease = lease.another(len(batch.data))
    staged.batches.append(batch)
    staged.next_offset, staged.last_epoch = batch.source_next, batch.source_epoch


def _no_batch(view: memoryview, offset: int) -> PartitionFault:
    """The fault for an answer that doesn't begin with a whole batch: asking again would give the same, for ever.

    Brokers send at least the first batch whole, whatever limit was asked for (KIP-74).
    """
    announced = 12 + v2.INT32.unpack_from(view, 8)[0] if len(view) >= 12 else 12
    return PartitionFault(
        Reason.CORRUPT_BATCH,
        f"The answer from offset {offset} on begins with {len(view)} of {announced} bytes of a batch.",
        offset=offset,
    )


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
    try:
        for skipped in range(3):  # length, (attributes byte), timestamp delta, offset delta: varints, one byte or more
            while record[position] & 0x80:
                position += 1
            position += 1
            if skipped == 0:
                position += 1
        key_length = record[position] >> 1
    except IndexError:
        return -1
    kind = record[position + 3 : position + 5]
    return int.from_bytes(kind, "big") if key_length == 4 and len(kind) == 2 else -1
