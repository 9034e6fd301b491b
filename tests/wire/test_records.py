"""Batch headers, records and compression, against aiokafka's codec and the plain libraries."""

from __future__ import annotations

import gzip
import random
import struct
import zlib
from contextlib import suppress
from typing import Any

import cramjam
import pytest
from aiokafka import codec as libraries
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from hypothesis import given, settings
from hypothesis import strategies as st

from replicator.errors import ProtocolError
from replicator.wire import batch as v2
from replicator.wire import compression, plain_records, records
from replicator.wire.records import Record

TIMES = st.sampled_from([-1, 0, 1, 1_700_000_000_123, 2**63 - 1]) | st.integers(-1, 2**63 - 1)
BYTES = st.none() | st.binary(max_size=30)
RECORDS = st.lists(
    st.tuples(TIMES, BYTES, BYTES, st.lists(st.tuples(st.text(max_size=4), BYTES), max_size=3).map(tuple)),
    min_size=1,
    max_size=8,
).map(lambda drawn: [Record(offset, *rest) for offset, rest in enumerate(drawn)])


def stamped(content: list[Record], codec: int = 0, **changes: Any) -> memoryview:
    data, count = records.encode(content, codec)
    assert count == len(content)
    settings_ = {"producer_id": 9, "producer_epoch": 2, "base_sequence": 40, "transactional": False}
    v2.stamp(memoryview(data), **(settings_ | changes))
    return memoryview(data)


@settings(max_examples=100, deadline=None)
@given(RECORDS, st.integers(0, 4))
def test_given_any_records_then_they_come_back_as_they_were_and_aiokafka_agrees(
    content: list[Record], codec: int
) -> None:
    data = stamped(content, codec)
    header = v2.read_header(data, 0)
    assert list(records.decode(data, header)) == content
    independent = DefaultRecordBatch(bytes(data))
    assert independent.validate_crc()
    assert [(r.offset, r.timestamp, r.key, r.value, tuple(r.headers)) for r in independent] == content
    assert (header.base_timestamp, header.max_timestamp) == (content[0].timestamp, max(r.timestamp for r in content))
    assert (header.last_offset_delta, header.record_count) == (len(content) - 1, len(content))
    assert header.attributes == codec


def test_given_duplicate_and_null_headers_then_order_and_nulls_stay() -> None:
    content = [Record(0, 5, b"", b"", (("a", None), ("a", b""), ("a", b"1"), ("", b"x")))]
    assert list(records.decode(stamped(content), v2.read_header(stamped(content), 0))) == content


@pytest.mark.parametrize("attributes", [0, v2.DELETE_HORIZON, v2.TRANSACTIONAL | v2.DELETE_HORIZON])
@pytest.mark.parametrize("transactional", [False, True])
def test_given_a_stored_batch_when_it_is_stamped_then_it_is_ours_and_its_records_are_the_same(
    attributes: int, transactional: bool
) -> None:
    content = [Record(n, 1_700_000_000_000 + n, b"k", b"v%d" % n, (("h", b"1"),)) for n in range(3)]
    data = stamped(content, 3)
    v2.INT64.pack_into(data, 0, 12345)
    v2.INT32.pack_into(data, 12, 77)
    v2.INT16.pack_into(data, 21, attributes | 3)
    v2.stamp(data, producer_id=2**40, producer_epoch=3, base_sequence=2**31 - 1, transactional=transactional)
    header = v2.read_header(data, 0)
    assert (header.base_offset, header.leader_epoch) == (0, -1)
    assert (header.producer_id, header.producer_epoch, header.base_sequence) == (2**40, 3, 2**31 - 1)
    assert header.attributes == 3 | (v2.TRANSACTIONAL if transactional else 0)
    assert header.crc == v2.checksum(data)
    independent = DefaultRecordBatch(bytes(data))
    assert independent.validate_crc()
    assert [(r.offset, r.timestamp, r.key, r.value, tuple(r.headers)) for r in independent] == content


def test_given_log_append_time_then_all_records_carry_it() -> None:
    data = stamped([Record(n, n, b"k", b"v", ()) for n in range(3)])
    v2.INT16.pack_into(data, 21, v2.LOG_APPEND_TIME)
    v2.INT64.pack_into(data, 35, 999)
    assert [r.timestamp for r in records.decode(data, v2.read_header(data, 0))] == [999] * 3


def test_given_batches_back_to_back_then_frames_are_found_up_to_the_one_that_is_cut_off() -> None:
    one = bytes(stamped([Record(0, 1, None, b"x" * 50, ())]))
    view = memoryview(one + one[:-1])
    assert v2.frame_at(view, 0) == (len(one), 2)
    assert v2.frame_at(view, len(one)) is None
    assert v2.frame_at(view, len(view)) is None
    assert v2.frame_at(memoryview(struct.pack(">qiib", 0, -1, 0, 2)), 0) is None
    assert v2.frame_at(memoryview(struct.pack(">qiib", 0, 0, 0, 2)), 0) is None


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_given_damaged_records_then_decoding_ends_in_a_protocol_error_or_in_records(data: st.DataObject) -> None:
    whole = stamped(
        [Record(n, n, b"key", b"value" * 5, (("h", b"1"),)) for n in range(4)], data.draw(st.integers(0, 4))
    )
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(v2.HEADER_BYTES, len(whole) - 1))] = data.draw(st.integers(0, 255))
    header = v2.read_header(whole, 0)._replace(record_count=data.draw(st.sampled_from([4, 0, 5, 2**31 - 1])))
    v2.INT32.pack_into(whole, 57, header.record_count)
    with suppress(ProtocolError):
        assert len(list(records.decode(whole, header))) <= 4


@pytest.mark.parametrize("codec", [0, 4])
def test_given_header_keys_that_are_not_utf8_then_their_bytes_stay(codec: int) -> None:
    """Brokers don't look at them, and clients other than Java's write any bytes."""
    data = stamped([Record(n, n - 1, b"k", None, (("a", None), ("hh", b"%d" % n))) for n in range(3)])
    position = bytes(data).rindex(b"hh")  # the last record's: those before it are decoded by then
    data[position : position + 2] = b"\xff\xfe"
    found = list(records.decode(data, v2.read_header(data, 0)))
    assert [r.timestamp for r in found] == [-1, 0, 1]
    assert found[2].headers == (("a", None), ("\udcff\udcfe", b"2"))
    again = stamped(found[1:], codec)
    assert b"\xff\xfe" in bytes(again) or codec
    assert [r[1:] for r in records.decode(again, v2.read_header(again, 0))] == [r[1:] for r in found[1:]]


@settings(max_examples=60, deadline=None)
@given(RECORDS)
def test_given_any_records_then_the_plain_codec_writes_and_reads_what_aiokafkas_does(content: list[Record]) -> None:
    data = stamped(content)
    header = v2.read_header(data, 0)
    fields = list(plain_records.read(data[v2.HEADER_BYTES :], header.record_count))
    assert [(key, value, headers) for _, _, key, value, headers in fields] == [tuple(r[2:]) for r in content]
    assert plain_records.written(fields) == data[v2.HEADER_BYTES :]


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 5))
def test_given_hostile_payloads_then_the_plain_codec_refuses_them(payload: bytes, count: int) -> None:
    with suppress(ProtocolError):
        assert len(list(plain_records.read(memoryview(payload), count))) == count


# compression

TEXT = b'{"order": 17, "customer": "ann"}' * 3000
NOISE = random.Random(3).randbytes(100_000)
PAYLOADS = {"text": TEXT, "noise": NOISE, "nothing": b"", "a byte": b"x", "zeroes": bytes(1 << 20)}


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
@pytest.mark.parametrize("codec", range(1, 5))
def test_given_what_we_compress_then_we_and_the_libraries_inflate_it(codec: int, payload: bytes) -> None:
    packed = compression.compress(codec, payload)
    assert bytes(compression.decompress(codec, memoryview(packed))) == payload
    if not payload:
        return  # aiokafka doesn't take xerial's framing of nothing; batches hold a record at least
    decode = (None, libraries.gzip_decode, libraries.snappy_decode, libraries.lz4_decode, libraries.zstd_decode)[codec]
    assert bytes(decode(packed)) == payload  # type: ignore[misc]


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
def test_given_what_the_libraries_compress_then_we_inflate_it(payload: bytes) -> None:
    packed = {
        "gzip": (1, gzip.compress(payload)),
        "gzip of aiokafka": (1, libraries.gzip_encode(payload)),
        "snappy": (2, bytes(cramjam.snappy.compress_raw(payload))),
        "xerial": (2, libraries.snappy_encode(payload)),
        "lz4": (3, libraries.lz4_encode(payload)),
        "lz4 of cramjam": (3, bytes(cramjam.lz4.compress(payload))),
        "zstd": (4, libraries.zstd_encode(payload)),
    }
    for name, (codec, data) in packed.items():
        assert bytes(compression.decompress(codec, memoryview(data))) == payload, name


@pytest.mark.parametrize("codec", range(1, 5))
def test_given_a_bomb_then_it_is_refused_at_the_limit(codec: int) -> None:
    bomb = compression.compress(codec, bytes(4 << 20))
    with pytest.raises(ProtocolError, match="more than 65536 bytes"):
        compression.decompress(codec, memoryview(bomb), limit=1 << 16)
    fits = compression.compress(codec, bytes(1 << 16))
    assert len(compression.decompress(codec, memoryview(fits), limit=1 << 16)) == 1 << 16


def test_given_a_snappy_length_that_lies_then_no_memory_is_taken_for_it() -> None:
    with pytest.raises(ProtocolError):
        compression.decompress(2, memoryview(b"\xff\xff\xff\xff\x0f" + b"x" * 20))


@pytest.mark.parametrize("codec", range(1, 5))
@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9])
def test_given_compressed_data_that_ends_early_then_it_is_a_protocol_error_or_less(codec: int, keep: float) -> None:
    packed = compression.compress(codec, TEXT)
    try:
        found = compression.decompress(codec, memoryview(packed[: int(len(packed) * keep)]))
    except ProtocolError:
        return
    assert len(found) < len(TEXT)  # the count of records, checked by `decode`, tells


def test_given_an_unknown_codec_then_it_is_named() -> None:
    with pytest.raises(ProtocolError, match="unknown compression codec 5"):
        compression.decompress(5, memoryview(b"x"))
    with pytest.raises(ProtocolError, match="unknown compression codec 5"):
        compression.compress(5, b"x")


@pytest.mark.parametrize("codec", range(1, 5))
@pytest.mark.parametrize("keep", [0, 1, 0.5, 0.95])
def test_given_a_batch_whose_payload_is_cut_then_it_does_not_decode(codec: int, keep: float) -> None:
    data = stamped([Record(n, n, b"k", b"v" * 100, ()) for n in range(50)], codec)
    payload = len(data) - v2.HEADER_BYTES
    cut = data[: v2.HEADER_BYTES + int(payload * keep if keep != 1 else payload - 1)]
    with pytest.raises(ProtocolError):
        list(records.decode(cut, v2.read_header(cut, 0)))


# old formats


def legacy(magic: int, codec: int, offsets: list[int]) -> bytearray:
    """A wrapper as brokers store it: v0 with absolute offsets inside, v1 counted from the first one that ever was."""
    builder = LegacyRecordBatchBuilder(magic=magic, compression_type=codec, batch_size=1 << 20)
    for offset in offsets:
        inner = offset - 100 if magic else offset
        builder.append(inner, timestamp=1000 + offset if magic else None, key=b"k%d" % offset, value=b"v")
    data = bytearray(builder.build())
    data[0:8] = offsets[-1].to_bytes(8, "big")
    return data


@pytest.mark.parametrize(("magic", "codec"), [(0, 1), (0, 2), (1, 1), (1, 2), (1, 3)])
@pytest.mark.parametrize("offsets", [[100, 101, 102], [101, 104]])
def test_given_old_wrappers_even_compacted_ones_then_offsets_are_right(
    magic: int, codec: int, offsets: list[int]
) -> None:
    found = list(records.decode_legacy(memoryview(legacy(magic, codec, offsets)), magic))
    assert found == [Record(n, 1000 + n if magic else -1, b"k%d" % n, b"v", ()) for n in offsets]


def test_given_old_messages_with_log_append_time_then_the_wrappers_time_counts() -> None:
    data = legacy(1, 1, [100, 101])
    data[17] |= v2.LOG_APPEND_TIME
    v2.INT64.pack_into(data, 18, 777)
    struct.pack_into(">I", data, 12, zlib.crc32(bytes(data[16:])))
    assert [r.timestamp for r in records.decode_legacy(memoryview(data), 1)] == [777, 777]


def test_given_an_old_wrapper_that_is_a_bomb_then_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    builder = LegacyRecordBatchBuilder(magic=1, compression_type=1, batch_size=1 << 25)
    builder.append(0, timestamp=1, key=None, value=bytes(4 << 20))
    monkeypatch.setattr(compression, "MAX_INFLATED_BYTES", 1 << 16)
    monkeypatch.setattr(compression.decompress, "__defaults__", (1 << 16,))
    with pytest.raises(ProtocolError, match="more than 65536"):
        list(records.decode_legacy(memoryview(builder.build()), 1))


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_given_damaged_old_messages_then_decoding_ends_in_a_protocol_error(data: st.DataObject) -> None:
    whole = legacy(1, data.draw(st.integers(1, 3)), [100, 101])
    position = data.draw(st.integers(16, len(whole) - 1))
    whole[position] ^= data.draw(st.integers(1, 255))
    if position > 17 and data.draw(st.booleans()):  # damage that the CRC doesn't show
        struct.pack_into(">I", whole, 12, zlib.crc32(bytes(whole[16:])))
    try:
        found = list(records.decode_legacy(memoryview(whole), 1))
    except ProtocolError:
        return
    assert len(found) <= 2


def test_the_builder_still_has_the_fault_that_encode_works_around() -> None:
    """When aiokafka mends it, `records.encode` can give it timestamps as they are."""
    builder = DefaultRecordBatchBuilder(
        magic=2, compression_type=0, is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=-1,
        batch_size=1 << 20,
    )  # fmt: skip
    builder.append(0, -1, None, b"x", [])
    builder.append(1, 500, None, b"x", [])
    assert [r.timestamp for r in DefaultRecordBatch(bytes(builder.build()))] != [-1, 500]
