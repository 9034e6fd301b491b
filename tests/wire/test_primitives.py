"""The protocol's primitive types: round trips against kio, and bounds."""

from __future__ import annotations

import io
import struct
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kio.serial import readers, writers

from replicator.errors import ProtocolError
from replicator.wire.primitives import Reader, compact_array, compact_string, string, uvarint


def written(write: object, *values: object) -> memoryview:
    buffer = io.BytesIO()
    for value in values:
        write(buffer, value)  # type: ignore[operator]
    return memoryview(buffer.getvalue())


@given(st.integers(0, 2**31 - 1))
def test_unsigned_varints_are_kios(value: int) -> None:
    assert uvarint(value) == bytes(written(writers.write_unsigned_varint, value))
    assert Reader(memoryview(uvarint(value))).uvarint() == value


@given(st.none() | st.text(max_size=300))
def test_strings_are_kios(value: str | None) -> None:
    assert readers.read_compact_string_nullable(compact_string(value), 0)[0] == value
    assert readers.read_nullable_legacy_string(string(value), 0)[0] == value
    assert Reader(memoryview(compact_string(value))).compact_string() == (value or "")
    assert Reader(memoryview(string(value))).string() == (value or "")


@given(st.integers(-128, 127), st.integers(-(2**15), 2**15 - 1), st.integers(-(2**31), 2**31 - 1),
       st.integers(-(2**63), 2**63 - 1), st.uuids(), st.booleans())  # fmt: skip
def test_fixed_sizes_are_read_one_after_the_other(a: int, b: int, c: int, d: int, e: uuid.UUID, f: bool) -> None:
    reader = Reader(memoryview(struct.pack(">bhiq", a, b, c, d) + e.bytes + bytes([f])))
    assert (reader.int8(), reader.int16(), reader.int32(), reader.int64(), reader.uuid(), reader.boolean()) == (
        a, b, c, d, e, f,
    )  # fmt: skip
    assert reader.pos == reader.end


@given(st.none() | st.binary(max_size=200))
def test_bytes_of_both_kinds_are_read(value: bytes | None) -> None:
    long = struct.pack(">i", -1 if value is None else len(value)) + (value or b"")
    compact = b"\x00" if value is None else uvarint(len(value) + 1) + value
    assert Reader(memoryview(long)).bytes32() == (value or b"")
    assert Reader(memoryview(compact)).compact_bytes() == (value or b"")


@given(st.dictionaries(st.integers(0, 2**31 - 1), st.binary(max_size=40), max_size=5))
def test_tagged_fields_are_read_undecoded(tags: dict[int, bytes]) -> None:
    data = uvarint(len(tags)) + b"".join(uvarint(tag) + uvarint(len(value)) + value for tag, value in tags.items())
    assert Reader(memoryview(data)).tags() == tags


@given(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=20))
def test_compact_arrays_are_read_item_by_item(items: list[int]) -> None:
    reader = Reader(memoryview(compact_array([struct.pack(">i", item) for item in items])))
    assert reader.compact_array(reader.int32) == items


HUGE = b"\xff\xff\xff\xff\x07"  # 2**31 - 1 as a varint
HOSTILE = {
    "compact string": (HUGE + b"abc", "compact_string"),
    "string": (b"\x7f\xffabc", "string"),
    "bytes": (b"\x7f\xff\xff\xffabc", "bytes32"),
    "compact bytes": (HUGE + b"abc", "compact_bytes"),
    "array": (b"\x7f\xff\xff\xffabc", "array_length"),
    "compact array": (HUGE + b"abc", "compact_array_length"),
    "tag count": (HUGE + b"abc", "tags"),
    "tag size": (b"\x01\x00" + HUGE + b"abc", "tags"),
    "endless varint": (b"\xff" * 12, "uvarint"),
    "cut varint": (b"\x80", "uvarint"),
    "uuid": (b"abc", "uuid"),
    "int64": (b"abc", "int64"),
}


@pytest.mark.parametrize(("data", "method"), HOSTILE.values(), ids=HOSTILE)
def test_given_a_length_beyond_what_is_there_then_it_is_refused_before_memory_is_taken(
    data: bytes, method: str
) -> None:
    with pytest.raises(ProtocolError):
        getattr(Reader(memoryview(data)), method)()


def test_given_negative_lengths_then_they_are_empty() -> None:
    assert Reader(memoryview(b"\x80\x00")).string() == ""
    assert Reader(memoryview(b"\x80\x00\x00\x00")).bytes32() == b""
    assert Reader(memoryview(b"\x80\x00\x00\x00")).array_length() == 0
    with pytest.raises(ProtocolError):
        Reader(memoryview(b"abc")).skip(-1)
