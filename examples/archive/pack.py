"""A chunk as Parquet: the good records, and apart from them the dead letters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from examples.archive.chunk import Chunk, Record
from examples.archive.decoding import Decoder
from examples.archive.errors import Undecodable

_SLICE = 1_000  # records that are decoded at once: what is in memory beside the chunk's bytes
_AROUND = [
    ("offset", pa.int64()),
    ("timestamp", pa.timestamp("ms", "UTC")),
    ("key", pa.binary()),
    ("headers", pa.list_(pa.struct([("name", pa.string()), ("value", pa.binary())]))),
]
DEAD_LETTER = pa.schema([*_AROUND, ("value", pa.binary()), ("error", pa.string())])


class Packed(NamedTuple):
    """`body` may have no rows; `dead_letters` is None if there are none, and `dead` is their number."""

    body: bytes
    dead_letters: bytes | None
    good: int
    dead: int


def pack(chunk: Chunk, decoder: Decoder) -> Packed:
    """Decode the chunk and compress it (zstd). What can't be decoded, or doesn't fit its column, is a dead letter."""
    good = _Table(pa.schema([*_AROUND, ("value", decoder.column)]))
    dead = _Table(DEAD_LETTER)
    for start in range(0, len(chunk.records), _SLICE):
        rows, failed = _decoded(chunk.records[start : start + _SLICE], decoder)
        try:
            good.write(rows)
        except (pa.ArrowException, ValueError, TypeError, OverflowError):
            for row, record in zip(
                rows, [r for r in chunk.records[start : start + _SLICE] if r.offset not in failed], strict=True
            ):
                try:
                    good.write([row])
                except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
                    failed[record.offset] = {
                        **_around(record),
                        "value": record.value,
                        "error": f"doesn't fit: {error}"[:500],
                    }
        dead.write([failed[offset] for offset in sorted(failed)])
    return Packed(good.finish(), dead.finish() if dead.rows else None, good.rows, dead.rows)


def _decoded(records: Sequence[Record], decoder: Decoder) -> tuple[list[dict[str, Any]], dict[int, dict[str, Any]]]:
    rows: list[dict[str, Any]] = []
    failed: dict[int, dict[str, Any]] = {}
    for record in records:
        try:
            if record.broken is not None:
                raise Undecodable(record.broken)
            value = None if record.value is None else decoder.decode(record.value)
        except Undecodable as error:
            failed[record.offset] = {**_around(record), "value": record.value, "error": str(error)}
        else:
            rows.append({**_around(record), "value": value})
    return rows, failed


def _around(record: Record) -> dict[str, Any]:
    headers = [{"name": name, "value": value} for name, value in record.headers]
    return {"offset": record.offset, "timestamp": record.timestamp_ms, "key": record.key, "headers": headers}


class _Table:
    """Rows of one schema, written slice by slice."""

    def __init__(self, schema: pa.Schema) -> None:
        self.rows = 0
        self._schema = schema
        self._sink = pa.BufferOutputStream()
        self._writer = pq.ParquetWriter(self._sink, schema, compression="zstd")

    def write(self, rows: list[dict[str, Any]]) -> None:
        """All of them, or none if one doesn't fit."""
        if rows:
            self._writer.write_table(pa.Table.from_pylist(rows, schema=self._schema))
            self.rows += len(rows)

    def finish(self) -> bytes:
        """The whole file."""
        self._writer.close()
        return bytes(self._sink.getvalue())
