"""The primitive encodings of what coordinators store, classic and flexible, as Kafka's messages define them."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from broker.protocol import uvarint
from broker.storage.batch import Buffer

SHORT = struct.Struct(">h")
INT = struct.Struct(">i")
LONG = struct.Struct(">q")
NO_TAGS = b"\x00"

T = TypeVar("T")


class FieldReader:
    """Reads fields one after the other. Raises ValueError for what runs past the end of the record."""

    def __init__(self, data: Buffer) -> None:
        self._data = memoryview(data)
        self._at = 0

    def _take(self, size: int) -> memoryview:
        if size < 0 or self._at + size > len(self._data):
            raise ValueError("stored record is cut short")
        self._at += size
        return self._data[self._at - size : self._at]

    def read_byte(self) -> int:
        """An int8."""
        return int.from_bytes(self._take(1), "big", signed=True)

    def read_short(self) -> int:
        """An int16."""
        return int(SHORT.unpack(self._take(2))[0])

    def read_int(self) -> int:
        """An int32."""
        return int(INT.unpack(self._take(4))[0])

    def read_long(self) -> int:
        """An int64."""
        return int(LONG.unpack(self._take(8))[0])

    def read_uuid(self) -> uuid.UUID:
        """A topic id."""
        return uuid.UUID(bytes=bytes(self._take(16)))

    def read_nullable_string(self) -> str | None:
        """A string with a length of two bytes, or null."""
        length = self.read_short()
        return None if length < 0 else bytes(self._take(length)).decode()

    def read_string(self) -> str:
        """A string with a length of two bytes; null counts as empty."""
        return self.read_nullable_string() or ""

    def read_bytes(self) -> bytes:
        """Bytes with a length of four bytes."""
        return bytes(self._take(self.read_int()))

    def read_uvarint(self) -> int:
        """An unsigned varint of at most five bytes."""
        value = shift = 0
        while True:
            byte = self._take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 28:
                raise ValueError("varint is longer than five bytes")

    def read_nullable_compact_string(self) -> str | None:
        """A string of the flexible encoding, or null."""
        length = self.read_uvarint()
        return None if length == 0 else bytes(self._take(length - 1)).decode()

    def read_compact_string(self) -> str:
        """A string of the flexible encoding; null counts as empty."""
        return self.read_nullable_compact_string() or ""

    def read_compact_array(self, read_item: Callable[[], T]) -> list[T]:
        """An array of the flexible encoding; every item takes at least a byte, which bounds the count."""
        count = max(self.read_uvarint() - 1, 0)
        if count > len(self._data) - self._at:
            raise ValueError("stored record is cut short")
        return [read_item() for _ in range(count)]

    def read_tags(self) -> Iterator[tuple[int, FieldReader]]:
        """The tagged fields at the end of a structure: number and content."""
        for _ in range(self.read_uvarint()):
            tag = self.read_uvarint()
            yield tag, FieldReader(self._take(self.read_uvarint()))

    def skip_tags(self) -> None:
        """Pass over the tagged fields at the end of a structure."""
        for _ in self.read_tags():
            pass


def string(value: str | None) -> bytes:
    """What `read_nullable_string` reads."""
    if value is None:
        return SHORT.pack(-1)
    encoded = value.encode()
    return SHORT.pack(len(encoded)) + encoded


def byte_array(value: bytes) -> bytes:
    """What `read_bytes` reads."""
    return INT.pack(len(value)) + value


def compact_string(value: str | None) -> bytes:
    """What `read_nullable_compact_string` reads."""
    if value is None:
        return b"\x00"
    encoded = value.encode()
    return uvarint(len(encoded) + 1) + encoded


def compact_array(items: Iterable[bytes]) -> bytes:
    """What `read_compact_array` reads, from encoded items."""
    encoded = list(items)
    return uvarint(len(encoded) + 1) + b"".join(encoded)


def tagged(tag: int, content: bytes) -> bytes:
    """One tagged field; a structure's tags are their number as a varint and then these."""
    return uvarint(tag) + uvarint(len(content)) + content
