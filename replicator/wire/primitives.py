"""The primitive types of the Kafka protocol, read with bounds and written as byte strings.

Source: the "Protocol Primitive Types" of Kafka's protocol guide. Flexible versions (KIP-482) use the compact forms.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TypeVar
from uuid import UUID

from replicator.errors import ProtocolError

T = TypeVar("T")

INT8 = struct.Struct(">b")
INT16 = struct.Struct(">h")
INT32 = struct.Struct(">i")
INT64 = struct.Struct(">q")
UINT32 = struct.Struct(">I")

NO_TAGS = b"\x00"
NO_TOPIC_ID = UUID(int=0)

Bytes = bytes | bytearray | memoryview


class Reader:
    """A cursor over one response. Every length is checked against what is left before anything is taken."""

    __slots__ = ("end", "pos", "view")

    def __init__(self, view: memoryview, pos: int = 0) -> None:
        self.view = view
        self.pos = pos
        self.end = len(view)

    def skip(self, count: int) -> int:
        """Move on by `count` bytes and return where they began; ProtocolError if there are fewer."""
        start = self.pos
        if count < 0 or start + count > self.end:
            raise ProtocolError(f"response ends at byte {self.end}, {count} more were announced at {start}")
        self.pos = start + count
        return start

    def int8(self) -> int:
        return int(INT8.unpack_from(self.view, self.skip(1))[0])

    def int16(self) -> int:
        return int(INT16.unpack_from(self.view, self.skip(2))[0])

    def int32(self) -> int:
        return int(INT32.unpack_from(self.view, self.skip(4))[0])

    def int64(self) -> int:
        return int(INT64.unpack_from(self.view, self.skip(8))[0])

    def boolean(self) -> bool:
        return self.int8() != 0

    def uuid(self) -> UUID:
        start = self.skip(16)
        return UUID(bytes=bytes(self.view[start : start + 16]))

    def uvarint(self) -> int:
        pos = self.pos
        if pos < self.end and (byte := self.view[pos]) < 0x80:  # most are lengths of little
            self.pos = pos + 1
            return byte
        value = shift = 0
        while True:
            byte = self.view[self.skip(1)]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 28:
                raise ProtocolError(f"unsigned varint at byte {self.pos} is longer than 5 bytes")

    def raw(self, length: int) -> memoryview:
        start = self.skip(length)
        return self.view[start : start + length]

    def compact_string(self) -> str:
        """A compact string; a null one reads as the empty string."""
        length = self.uvarint() - 1
        return str(self.raw(length), "utf-8", "replace") if length > 0 else ""

    def string(self) -> str:
        """A string; a null one reads as the empty string."""
        length = self.int16()
        return str(self.raw(length), "utf-8", "replace") if length > 0 else ""

    def bytes32(self) -> memoryview:
        """BYTES: 32-bit length; null reads as empty."""
        length = self.int32()
        return self.raw(length) if length > 0 else self.view[:0]

    def compact_bytes(self) -> memoryview:
        """COMPACT_BYTES, COMPACT_RECORDS; null reads as empty."""
        length = self.uvarint() - 1
        return self.raw(length) if length > 0 else self.view[:0]

    def array_length(self) -> int:
        """Length of an ARRAY; null reads as 0. Refused when it can't fit in what is left."""
        return self._checked(self.int32())

    def compact_array_length(self) -> int:
        return self._checked(self.uvarint() - 1)

    def compact_array(self, item: Callable[[], T]) -> list[T]:
        return [item() for _ in range(self.compact_array_length())]

    def tags(self) -> dict[int, memoryview]:
        """Tagged fields, undecoded."""
        count = self.uvarint()
        if not count:
            return {}
        self._checked(count)
        found = {}
        for _ in range(count):
            tag = self.uvarint()
            found[tag] = self.raw(self.uvarint())
        return found

    def _checked(self, count: int) -> int:
        if count > self.end - self.pos:
            raise ProtocolError(f"array of {count} announced at byte {self.pos} where {self.end - self.pos} are left")
        return max(count, 0)


_ONE_BYTE = [bytes((value,)) for value in range(0x80)]


def uvarint(value: int) -> bytes:
    if value < 0x80:
        return _ONE_BYTE[value]
    if value < 0x4000:
        return bytes((value & 0x7F | 0x80, value >> 7))
    if value < 0x20_0000:  # the usual batch
        return bytes((value & 0x7F | 0x80, value >> 7 & 0x7F | 0x80, value >> 14))
    out = bytearray()
    while value > 0x7F:
        out.append((value & 0x7F) | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def string(value: str | None) -> bytes:
    if value is None:
        return INT16.pack(-1)
    data = value.encode()
    return INT16.pack(len(data)) + data


def compact_string(value: str | None) -> bytes:
    if value is None:
        return b"\x00"
    data = value.encode()
    return uvarint(len(data) + 1) + data


def compact_array(items: list[bytes]) -> bytes:
    return uvarint(len(items) + 1) + b"".join(items)
