"""Records decoded and encoded in plain Python: for header keys that aren't UTF-8, which aiokafka's codec refuses.

The protocol calls header keys strings, but brokers don't look, and clients other than Java's write any bytes. Here such
keys read as text with surrogate escapes (PEP 383), and are written as the bytes that they were.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from replicator.errors import ProtocolError

_MAX_VARINT_BITS = 70

Headers = tuple[tuple[str, bytes | None], ...]
Fields = tuple[int, int, bytes | None, bytes | None, Headers]  # offset delta, timestamp delta, key, value, headers


def read(payload: memoryview, count: int) -> Iterator[Fields]:
    """The `count` records of an uncompressed payload; ProtocolError if they don't fill it exactly."""
    cursor = _Cursor(payload)
    for _ in range(count):
        size = cursor.varint()
        end = cursor.position + size
        cursor.skip(1)  # attributes
        timestamp_delta, offset_delta = cursor.varint(), cursor.varint()
        key, value = cursor.nullable(), cursor.nullable()
        headers = []
        for _ in range(cursor.varint()):
            name = cursor.nullable()
            if name is None:
                raise ProtocolError("a record's header has no key")
            headers.append((name.decode("utf-8", "surrogateescape"), cursor.nullable()))
        if cursor.position != end:
            raise ProtocolError(f"a record announces {size} bytes and has {size + cursor.position - end}")
        yield offset_delta, timestamp_delta, key, value, tuple(headers)
    if cursor.position != len(payload):
        raise ProtocolError(f"{len(payload) - cursor.position} bytes follow the last record")


def written(records: Sequence[Fields]) -> bytearray:
    """These records as an uncompressed payload."""
    payload = bytearray()
    for offset_delta, timestamp_delta, key, value, headers in records:
        body = bytearray(b"\x00")
        _put_varint(body, timestamp_delta)
        _put_varint(body, offset_delta)
        _put(body, key)
        _put(body, value)
        _put_varint(body, len(headers))
        for name, content in headers:
            _put(body, name.encode("utf-8", "surrogateescape"))
            _put(body, content)
        _put_varint(payload, len(body))
        payload += body
    return payload


class _Cursor:
    def __init__(self, payload: memoryview) -> None:
        self.position = 0
        self._payload = payload

    def skip(self, size: int) -> memoryview:
        start, end = self.position, self.position + size
        if size < 0 or end > len(self._payload):
            raise ProtocolError(f"a record's field of {size} bytes begins at {start} of {len(self._payload)}")
        self.position = end
        return self._payload[start:end]

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.skip(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return (value >> 1) ^ -(value & 1)
            shift += 7
            if shift >= _MAX_VARINT_BITS:
                raise ProtocolError("a record's varint is longer than ten bytes")

    def nullable(self) -> bytes | None:
        size = self.varint()
        return None if size == -1 else bytes(self.skip(size))


def _put_varint(out: bytearray, value: int) -> None:
    value = (value << 1) ^ (value >> 63)
    while value > 0x7F:
        out.append((value & 0x7F) | 0x80)
        value >>= 7
    out.append(value)


def _put(out: bytearray, content: bytes | None) -> None:
    if content is None:
        _put_varint(out, -1)
    else:
        _put_varint(out, len(content))
        out += content
