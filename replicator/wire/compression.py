"""The compression codecs of record batches, with explicit levels, and bounded when they inflate.

Source: `org.apache.kafka.common.record.CompressionType`. Snappy is read in both framings that clients write (the
"xerial" blocks of snappy-java, and raw) and written in the former, as the Java client does.
"""

from __future__ import annotations

import mmap
import struct
import zlib

import cramjam

from replicator.errors import ProtocolError

NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)
CODECS = {"none": NONE, "gzip": GZIP, "snappy": SNAPPY, "lz4": LZ4, "zstd": ZSTD}

MAX_INFLATED_BYTES = 256 << 20  # no broker accepts more than 100 MiB in a request by default
_XERIAL_MAGIC = b"\x82SNAPPY\x00"
_XERIAL_HEADER = _XERIAL_MAGIC + struct.pack(">ii", 1, 1)
_XERIAL_BLOCK = 32 << 10
_GZIP_WINDOW = 16 + zlib.MAX_WBITS


def decompress(codec: int, data: memoryview, limit: int = MAX_INFLATED_BYTES) -> bytes | memoryview:
    """The records inside a batch. ProtocolError for an unknown codec, broken data, or more than `limit` bytes."""
    try:
        if codec == NONE:
            return data
        if codec == GZIP:
            return _gunzip(data, limit)
        if codec == SNAPPY:
            return _unsnappy(data, limit)
        if codec == LZ4:
            return _grow(cramjam.lz4.decompress_into, data, limit)
        if codec == ZSTD:
            return _grow(cramjam.zstd.decompress_into, data, limit)
    except (cramjam.DecompressionError, zlib.error, struct.error) as error:
        raise ProtocolError(f"batch can't be decompressed (codec {codec}): {error}") from error
    raise ProtocolError(f"unknown compression codec {codec}")


def compress(codec: int, data: bytes) -> bytes:
    """Compress with the level that Kafka's own producer uses by default, gzip apart (6, as zlib's)."""
    if codec == GZIP:
        packer = zlib.compressobj(6, zlib.DEFLATED, _GZIP_WINDOW)
        return packer.compress(data) + packer.flush()
    if codec == SNAPPY:
        blocks = [_XERIAL_HEADER]
        for start in range(0, len(data), _XERIAL_BLOCK):
            block = bytes(cramjam.snappy.compress_raw(data[start : start + _XERIAL_BLOCK]))
            blocks += [struct.pack(">i", len(block)), block]
        return b"".join(blocks)
    if codec == LZ4:
        # Kafka refuses linked blocks.
        lz4 = cramjam.lz4.Compressor(level=1, content_checksum=False, block_linked=False)
        lz4.compress(data)
        return bytes(lz4.finish())
    if codec == ZSTD:
        return bytes(cramjam.zstd.compress(data, level=3))
    raise ProtocolError(f"unknown compression codec {codec}")


def _gunzip(data: memoryview, limit: int) -> bytes:
    inflater = zlib.decompressobj(_GZIP_WINDOW)
    out = inflater.decompress(data, limit)
    if inflater.unconsumed_tail:
        raise _too_large(limit)
    if not inflater.eof:
        raise ProtocolError("gzip data of a batch ends early")
    return out


def _unsnappy(data: memoryview, limit: int) -> bytes:
    if bytes(data[:8]) != _XERIAL_MAGIC:
        return _unsnappy_block(data, 0, limit)
    position, blocks, total = 16, [], 0
    while position < len(data):
        (length,) = struct.unpack_from(">i", data, position)
        position += 4
        if length < 0 or position + length > len(data):
            raise ProtocolError("snappy block of a batch ends early")
        blocks.append(_unsnappy_block(data[position : position + length], total, limit))
        total += len(blocks[-1])
        position += length
    return b"".join(blocks)


def _unsnappy_block(data: memoryview, before: int, limit: int) -> bytes:
    if before + cramjam.snappy.decompress_raw_len(data) > limit:
        raise _too_large(limit)
    return bytes(cramjam.snappy.decompress_raw(data))


def _grow(decompress_into: object, data: memoryview, limit: int) -> memoryview:
    """Frames don't say how large they inflate: try a buffer of likely size, then one of `limit` bytes.

    The latter is a mapping, which takes memory only where it is written: frames that lie (or are corrupt) cost nothing.
    """
    guess = min(max(4 * len(data), 64 << 10), limit)
    for mapped in (False, True):
        buffer = memoryview(mmap.mmap(-1, limit) if mapped else bytearray(guess))
        try:
            return buffer[: decompress_into(data, buffer)]  # type: ignore[operator]
        except cramjam.DecompressionError as error:
            if not _needs_room(error):
                raise
    raise _too_large(limit)


def _needs_room(error: Exception) -> bool:
    text = str(error).lower()
    return "whole buffer" in text or "too small" in text or "write zero" in text


def _too_large(limit: int) -> ProtocolError:
    return ProtocolError(f"batch inflates to more than {limit} bytes; refused to protect memory")
