"""One segment of a log: a file of whole batches and, in memory, where each of them stands."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator

from broker.storage.batch import HEADER_SIZE, LOG_OVERHEAD, BatchHeader, InvalidBatch, checksum, read_header
from broker.storage.files import Buffer, File, Files

SCAN_CHUNK = 4 * 1024 * 1024


def segment_name(base_offset: int) -> str:
    """Kafka's file name: the base offset in twenty digits."""
    return f"{base_offset:020d}.log"


class Segment:
    """Batches from `base_offset` on, in offset order, with holes where the cleaner or a transaction left them."""

    def __init__(self, files: Files, directory: str, base_offset: int) -> None:
        self.base_offset = base_offset
        self.name = f"{directory}/{segment_name(base_offset)}"
        self._files = files
        self.file: File = files.open(self.name)
        self.first_offsets = array("q")
        self.last_offsets = array("q")
        self.positions = array("q")
        self.max_timestamps = array("q")
        self.indexed_size = 0
        self.max_timestamp = -1
        self.created_ms: int | None = None
        """When its first batch was appended, by that batch's timestamp; `segment.ms` counts from here."""

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def size(self) -> int:
        """Bytes of whole batches."""
        return self.indexed_size

    @property
    def next_offset(self) -> int:
        """One past the last offset, or the base offset while it is empty."""
        return self.last_offsets[-1] + 1 if self.last_offsets else self.base_offset

    def append(self, parts: list[Buffer], first_offset: int, last_offset: int, max_timestamp: int) -> None:
        """Write one batch. On OSError the file may hold a torn tail, which `recover` cuts off."""
        position = self.indexed_size
        self.file.append(parts)
        self._index(position, first_offset, last_offset, max_timestamp, self.file.size)

    def find(self, offset: int) -> int:
        """Index of the first batch that ends at or after `offset`; `len(self)` when there is none."""
        return bisect_left(self.last_offsets, offset)

    def read(self, first: int, last: int) -> list[Buffer]:
        """The bytes of batches `first` to `last`, the latter not included."""
        start = self.positions[first]
        end = self.positions[last] if last < len(self.positions) else self.indexed_size
        return self.file.read(start, end - start)

    def batch(self, index: int) -> memoryview:
        """The bytes of one batch."""
        parts = self.read(index, index + 1)
        return memoryview(parts[0] if len(parts) == 1 else b"".join(parts))

    def batches(self, first: int = 0) -> Iterator[tuple[BatchHeader, memoryview]]:
        """Every batch from index `first` on, with its header."""
        for index in range(first, len(self)):
            data = self.batch(index)
            yield read_header(data), data

    def recover(self, check: bool) -> Iterator[BatchHeader]:
        """Index the file from scratch, yielding each batch's header.

        A torn tail is cut off; with `check` also everything from the first batch with a wrong checksum on.
        """
        position = self.indexed_size
        size = self.file.size
        expected = self.base_offset
        while position < size:
            window = memoryview(b"".join(self.file.read(position, SCAN_CHUNK)))
            used = 0
            while len(window) - used >= HEADER_SIZE:
                header = read_header(window, used)
                if header.magic != 2 or header.size < HEADER_SIZE or header.base_offset < expected:
                    self._cut(position + used)
                    return
                if used + header.size > len(window):
                    break
                if check and checksum(window[used : used + header.size]) != header.crc:
                    self._cut(position + used)
                    return
                start = position + used
                used += header.size
                expected = header.last_offset + 1
                self._index(start, header.base_offset, header.last_offset, header.max_timestamp, start + header.size)
                yield header
            if used == 0:
                used = self._recover_large(position, check)
                if not used:
                    self._cut(position)
                    return
                header = read_header(self.batch(len(self) - 1))
                expected = header.last_offset + 1
                yield header
            position += used

    def truncate(self, offset: int) -> None:
        """Remove every batch that reaches `offset` or beyond."""
        index = self.find(offset)
        if index < len(self):
            self._cut(self.positions[index])
            del self.first_offsets[index:], self.last_offsets[index:], self.positions[index:]
            del self.max_timestamps[index:]
            self.max_timestamp = max(self.max_timestamps, default=-1)

    def close(self) -> None:
        self.file.close()

    def delete(self) -> None:
        """Close it and remove the file."""
        self.file.close()
        self._files.delete(self.name)

    def _recover_large(self, position: int, check: bool) -> int:
        # A batch larger than the scan window, or a torn tail.
        head = b"".join(self.file.read(position, HEADER_SIZE))
        try:
            header = read_header(head)
        except InvalidBatch:
            return 0
        if header.length < HEADER_SIZE - LOG_OVERHEAD or position + header.size > self.file.size:
            return 0
        if check and checksum(b"".join(self.file.read(position, header.size))) != header.crc:
            return 0
        self._index(position, header.base_offset, header.last_offset, header.max_timestamp, position + header.size)
        return header.size

    def _index(self, position: int, first_offset: int, last_offset: int, max_timestamp: int, end: int) -> None:
        self.positions.append(position)
        self.first_offsets.append(first_offset)
        self.last_offsets.append(last_offset)
        self.max_timestamps.append(max_timestamp)
        self.indexed_size = end
        self.max_timestamp = max(self.max_timestamp, max_timestamp)

    def _cut(self, size: int) -> None:
        self.file.truncate(size)
        self.indexed_size = size
