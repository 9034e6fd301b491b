"""The checksum of a partition, as `verify` reports it: the same on both sides if a consumer sees the same records.

SHA-256 over segments of 10,000 records: each segment's digest is folded into the one before, so that what was computed
so far can be written down at the end of a segment and gone on with later. Offsets aren't part of it: they differ.
"""

from __future__ import annotations

import struct
from hashlib import sha256
from typing import Protocol, Self

SEGMENT = 10_000

_HEAD = struct.Struct(">qiii")  # timestamp, length of the key, of the value (-1: null), number of headers
_LENGTHS = struct.Struct(">ii")  # of a header's name and value


class Content(Protocol):
    """What a consumer sees of a record."""

    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> tuple[tuple[str, bytes | None], ...]: ...
    @property
    def timestamp_ms(self) -> int: ...


class Checksum:
    """Takes records in order. `folded` is the state at the end of the last whole segment."""

    __slots__ = ("_open", "count", "folded")

    def __init__(self, count: int = 0, folded: bytes = b"") -> None:
        self.count = count
        self.folded = folded
        self._open = sha256()

    def update(self, record: Content) -> bool:
        """Take the next record; whether it ends a segment."""
        key, value, headers = record.key, record.value, record.headers
        head = _HEAD.pack(
            record.timestamp_ms, -1 if key is None else len(key), -1 if value is None else len(value), len(headers)
        )
        self._open.update(b"".join((head, key or b"", value or b"")))
        if headers:
            self._take_headers(headers)
        self.count += 1
        if self.count % SEGMENT:
            return False
        self.folded, self._open = self._fold(), sha256()
        return True

    def copy(self) -> Self:
        """Another one that has taken the same."""
        made = type(self)(self.count, self.folded)
        made._open = self._open.copy()
        return made

    def hexdigest(self) -> str:
        """Of all that was taken; "" of nothing."""
        if not self.count:
            return ""
        return (self._fold() if self.count % SEGMENT else self.folded).hex()

    def _fold(self) -> bytes:
        return sha256(self.folded + self._open.digest()).digest()

    def _take_headers(self, headers: tuple[tuple[str, bytes | None], ...]) -> None:
        for name, value in headers:
            encoded = name.encode()
            lengths = _LENGTHS.pack(len(encoded), -1 if value is None else len(value))
            self._open.update(b"".join((lengths, encoded, value or b"")))
