"""The few binary forms that ledger records are made of: varints, strings and UUIDs, each with a bound.

Integers are zigzag varints as in Kafka's record format (at most 10 bytes for 64 bits), strings are a varint length
and UTF-8, UUIDs are 16 bytes.
"""

from __future__ import annotations

from uuid import UUID

from replicator.errors import ReplicatorError

_INT64_MIN, _INT64_MAX = -(1 << 63), (1 << 63) - 1
_MAX_VARINT_BYTES = 10


class LedgerFormatError(ReplicatorError):
    """A ledger record can't be read: damaged, foreign, or written by a newer version of Replicator."""

    exit_code = 4


def put_varint(out: bytearray, value: int) -> None:
    """Append `value` (a signed 64-bit integer) as a zigzag varint; ValueError when it doesn't fit."""
    if not _INT64_MIN <= value <= _INT64_MAX:
        raise ValueError(f"{value} doesn't fit into 64 bits")
    zigzag = (value << 1) ^ (value >> 63)
    while zigzag > 0x7F:
        out.append(zigzag & 0x7F | 0x80)
        zigzag >>= 7
    out.append(zigzag)


def put_string(out: bytearray, text: str, limit: int) -> None:
    """Append `text` as varint length and UTF-8; ValueError when it has more than `limit` bytes."""
    encoded = text.encode()
    if len(encoded) > limit:
        raise ValueError(f"{len(encoded)} bytes of text where at most {limit} are allowed")
    put_varint(out, len(encoded))
    out += encoded


class Reader:
    """Reads the forms above from `data`, in order; LedgerFormatError where the bytes don't suffice or don't fit."""

    __slots__ = ("_data", "_position")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    @property
    def remaining(self) -> int:
        """Bytes not read yet."""
        return len(self._data) - self._position

    def byte(self) -> int:
        """The next byte as a number."""
        if self._position >= len(self._data):
            raise self._ended()
        self._position += 1
        return self._data[self._position - 1]

    def varint(self) -> int:
        """The next signed 64-bit integer."""
        data, position = self._data, self._position  # plain code: a status decodes hundreds of thousands of these
        try:
            byte = data[position]
            zigzag, shift = byte & 0x7F, 7
            while byte > 0x7F:
                if shift == 7 * _MAX_VARINT_BYTES:
                    raise LedgerFormatError("a number in a ledger record has more than 10 bytes")
                position += 1
                byte = data[position]
                zigzag |= (byte & 0x7F) << shift
                shift += 7
        except IndexError:
            raise self._ended() from None
        self._position = position + 1
        value = (zigzag >> 1) ^ -(zigzag & 1)
        if not _INT64_MIN <= value <= _INT64_MAX:
            raise LedgerFormatError("a number in a ledger record doesn't fit into 64 bits")
        return value

    def string(self, limit: int) -> str:
        """The next string, of at most `limit` bytes."""
        length = self.varint()
        if not 0 <= length <= limit:
            raise LedgerFormatError(f"a text in a ledger record claims {length} bytes; at most {limit} are allowed")
        try:
            return self._take(length).decode()
        except UnicodeDecodeError as error:
            raise LedgerFormatError(f"a text in a ledger record isn't UTF-8: {error}") from error

    def blob(self, limit: int) -> bytes:
        """The next byte string, of at most `limit` bytes."""
        return self._take(self.count(limit))

    def count(self, limit: int) -> int:
        """The next number of things, at most `limit`."""
        count = self.varint()
        if not 0 <= count <= limit:
            raise LedgerFormatError(f"a ledger record claims {count} where at most {limit} are allowed")
        return count

    def uuid(self) -> UUID:
        """The next UUID."""
        return UUID(bytes=self._take(16))

    def _take(self, length: int) -> bytes:
        end = self._position + length
        if end > len(self._data):
            raise self._ended()
        taken = self._data[self._position : end]
        self._position = end
        return taken

    def _ended(self) -> LedgerFormatError:
        return LedgerFormatError(f"a ledger record ends after {len(self._data)} bytes, in the middle of a field")
