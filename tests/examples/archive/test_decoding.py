"""Good values become columns, bad ones dead letters, and a few bytes can't become more than the process has."""

from __future__ import annotations

import contextlib
import decimal
import io
import json
import struct
from pathlib import Path
from typing import Any

import fastavro
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.archive import sample
from examples.archive.chunk import Chunk, Record
from examples.archive.decoding import AvroDecoder, Decoder, JsonDecoder
from examples.archive.errors import SettingsError, Undecodable
from examples.archive.pack import pack

SCHEMAS = Path(sample.__file__).parent / "schemas"
ORDERS = AvroDecoder(SCHEMAS / "order.avsc", SCHEMAS)


def packed(values: list[bytes | None], decoder: Decoder) -> tuple[list[Any], list[Any]]:
    """The rows of the object, and those of its dead letters."""
    chunk = Chunk("t", 0, opened_at=0)
    for offset, value in enumerate(values):
        chunk.add(Record(offset, 1_790_000_000_000, b"k", value, (("h", b"x"), ("n", None))))
    done = pack(chunk, decoder)
    good = pq.read_table(io.BytesIO(done.body)).to_pylist()
    dead = pq.read_table(io.BytesIO(done.dead_letters)).to_pylist() if done.dead_letters else []
    assert (done.good, done.dead) == (len(good), len(dead))
    assert sorted(row["offset"] for row in good + dead) == list(range(len(values)))
    return good, dead


def test_given_values_of_two_schemas_when_packed_then_all_have_the_columns_of_the_topics_own() -> None:
    good, dead = packed([sample.order(4), sample.order(5), None], ORDERS)
    assert not dead
    assert [row["value"] and row["value"]["status"] for row in good] == ["NEW", "PAID", None]
    assert good[0]["value"]["amount"] == decimal.Decimal("0.04")
    assert good[1]["value"]["items"] == ["a", "b"]
    assert good[0]["headers"] == [{"name": "h", "value": b"x"}, {"name": "n", "value": None}]


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b"", "too few"),
        (b"\x00\x00", "too few"),
        (b"\x01\x00\x00\x00\x01x", "begins with byte 1"),
        (b"\x00\x00\x00\x00\x63x", "schema 99 is unknown"),
        (sample.order(4)[:-1], "not of schema 1"),
        (sample.order(4) + b"\x00", "1 bytes more"),
        (struct.pack(">bI", 0, 2) + b"\xff" * 200, "not of schema 2"),
    ],
)
def test_given_damaged_avro_when_packed_then_it_is_a_dead_letter_that_says_why(value: bytes, why: str) -> None:
    good, dead = packed([sample.order(1), value, sample.order(3)], ORDERS)
    assert [row["offset"] for row in good] == [0, 2]
    assert dead[0]["value"] == value
    assert why in dead[0]["error"]


@pytest.mark.parametrize(
    "value",
    [b"{", b"", b"\xff", b"NaN", b"[" * 200_000, b"9" * 10_000, b'{"a": 1} x', b"\xef\xbb\xbf{}"],
)
def test_given_what_is_not_json_when_packed_then_it_is_a_dead_letter(value: bytes) -> None:
    good, dead = packed([b'{"a": "\\ud800"}', value, b"1"], JsonDecoder())
    assert [row["value"] for row in good] == ['{"a": "\\ud800"}', "1"]
    assert [row["value"] for row in dead] == [value]


def test_given_values_that_avro_reads_but_their_column_does_not_take_when_packed_then_only_they_are_dead_letters(
    tmp_path: Path,
) -> None:
    schema = json.loads((SCHEMAS / "1.avsc").read_text())
    stream = io.BytesIO(struct.pack(">bI", 0, 1))
    stream.seek(0, io.SEEK_END)
    plain = fastavro.parse_schema(
        {"type": "record", "name": "Order", "fields": [
            {"name": "id", "type": "long"}, {"name": "customer", "type": "string"},
            {"name": "amount", "type": "bytes"}, {"name": "placed", "type": "long"}]}, named_schemas={},
    )  # fmt: skip
    assert [field["name"] for field in schema["fields"]] == ["id", "customer", "amount", "placed"]
    value = {"id": 1, "customer": "c", "amount": b"\x7f" * 9, "placed": 0}  # 20 digits, where 12 are declared
    fastavro.schemaless_writer(stream, plain, value)
    good, dead = packed([sample.order(0), stream.getvalue(), sample.order(2)], ORDERS)
    assert [row["offset"] for row in good] == [0, 2]
    assert [row["offset"] for row in dead] == [1]


@given(st.binary(max_size=200))
def test_given_any_bytes_when_decoded_then_they_are_read_or_refused_and_nothing_else_happens(value: bytes) -> None:
    for decoder, text in ((ORDERS, struct.pack(">bI", 0, 2) + value), (JsonDecoder(), value)):
        with contextlib.suppress(Undecodable):
            decoder.decode(text)


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"type": "array", "items": "null"}, "take no bytes"),
        ({"type": "array", "items": {"type": "record", "name": "E", "fields": []}}, "take no bytes"),
        (["null", "R"], "contains itself"),
        (["int", "string"], "can't be one column"),
        ("nowhere", "nowhere"),
    ],
)
def test_given_a_schema_that_can_not_be_read_within_bounds_when_loaded_then_it_is_refused(
    tmp_path: Path, schema: Any, why: str
) -> None:
    file = tmp_path / "r.avsc"
    file.write_text(json.dumps({"type": "record", "name": "R", "fields": [{"name": "f", "type": schema}]}))
    with pytest.raises(SettingsError, match=why):
        AvroDecoder(file, tmp_path)
