"""Compression codecs of record batches, with a bound on what they may expand to."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import cramjam

from broker.storage.batch import HEADER_SIZE, BatchHeader, Buffer, InvalidBatch

NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)
NAMES = {"none": NONE, "uncompressed": NONE, "gzip": GZIP, "snappy": SNAPPY, "lz4": LZ4, "zstd": ZSTD}
MAX_DECOMPRESSED = 256 * 1024 * 1024
_XERIAL_MAGIC = b"\x82SNAPPY\x00"
_XERIAL_HEADER = _XERIAL_MAGIC + struct.pack(">ii", 1, 1)
_XERIAL_BLOCK = 32 * 1024


def records_of(batch: Buffer, header: BatchHeader) -> Buffer:
    """The uncompressed records of a batch: a view where it isn't compressed. Raises InvalidBatch."""
    payload = memoryview(batch)[HEADER_SIZE:]
    return decompress(header.compression, payload) if header.compression else payload


def decompress(codec: int, payload: bytes | memoryview, limit: int = MAX_DECOMPRESSED) -> bytes:
    """The decompressed records. Raises InvalidBatch for broken data, an unknown codec, or more than `limit` bytes."""
    try:
        if codec == SNAPPY:
            return _snappy(bytes(payload), limit)
        module = {GZIP: cramjam.gzip, LZ4: cramjam.lz4, ZSTD: cramjam.zstd}.get(codec)
        if module is None:
            raise InvalidBatch(f"unknown compression codec {codec}")
        return _bounded(module.decompress_into, payload, limit)
    except cramjam.DecompressionError as error:
        raise InvalidBatch(f"records can't be decompressed: {error}") from error


def compress(codec: int, payload: bytes, level: int | None = None) -> bytes:
    """Records compressed as Kafka's clients expect them: framed lz4, xerial snappy, gzip, zstd."""
    if codec == NONE:
        return payload
    if codec == GZIP:
        return bytes(cramjam.gzip.compress(payload, level=6 if level is None or level < 0 else level))
    if codec == LZ4:
        return bytes(cramjam.lz4.compress(payload, level=1))
    if codec == ZSTD:
        return bytes(cramjam.zstd.compress(payload, level=3 if level is None else level))
    if codec == SNAPPY:
        out = bytearray(_XERIAL_HEADER)
        for start in range(0, len(payload), _XERIAL_BLOCK):
            block = bytes(cramjam.snappy.compress_raw(payload[start : start + _XERIAL_BLOCK]))
            out += struct.pack(">i", len(block)) + block
        return bytes(out)
    raise InvalidBatch(f"unknown compression codec {codec}")


def _bounded(decompress_into: Callable[..., Any], payload: bytes | memoryview, limit: int) -> bytes:
    size = min(limit, max(64 * 1024, 8 * len(payload)))
    while True:
        output = bytearray(size)
        try:
            written = decompress_into(payload, output)
        except cramjam.DecompressionError:
            if size >= limit:
                raise
            size = min(limit, 8 * size)  # either too small a buffer or broken data: only the largest attempt tells
            continue
        return bytes(memoryview(output)[:written])


def _snappy(payload: bytes, limit: int) -> bytes:
    blocks = [payload]
    if payload.startswith(_XERIAL_MAGIC):
        blocks = []
        position = 16
        while position < len(payload):
            if position + 4 > len(payload):
                raise InvalidBatch("snappy block header is cut short")
            (size,) = struct.unpack_from(">i", payload, position)
            position += 4
            if size < 0 or position + size > len(payload):
                raise InvalidBatch("snappy block is cut short")
            blocks.append(payload[position : position + size])
            position += size
    out = bytearray()
    for block in blocks:
        if len(out) + cramjam.snappy.decompress_raw_len(block) > limit:
            raise InvalidBatch(f"records expand to more than {limit} bytes")
        out += bytes(cramjam.snappy.decompress_raw(block))
    return bytes(out)
