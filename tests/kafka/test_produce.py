"""What a broker accepts and refuses of produced batches, with the same codes on both."""

from __future__ import annotations

import time
import uuid

import pytest
from kio.schema.errors import ErrorCode

from tests.kafka.scene import Scene
from tests.support.rawclient import CONTROL, LOG_APPEND_TIME, TRANSACTIONAL, Closed, batch, record, varint

DAY_MS = 24 * 3600 * 1000


def test_given_a_plain_batch_when_produced_then_it_is_read_back_byte_for_byte(scene: Scene) -> None:
    topic = scene.topic()
    sent = batch([(b"k", b"v"), b"only value", (b"only key", None)])
    done = scene.produce(topic, sent)
    assert (done.error_code, done.base_offset, done.log_start_offset) == (ErrorCode.none, 0, 0)
    stored = bytes(scene.fetch(topic).records)
    assert stored[16:] == sent[16:]  # behind base offset, length and leader epoch
    assert stored[:12] == sent[:12]


@pytest.mark.parametrize(
    ("what", "records", "code"),
    [
        ("two batches", batch([b"a"]) + batch([b"b"]), ErrorCode.invalid_record),
        ("no batch", b"", ErrorCode.invalid_record),
        ("magic 1", batch([b"a"], magic=1), ErrorCode.invalid_record),
        ("wrong checksum", batch([b"a"], crc=1), ErrorCode.corrupt_message),
        ("cut short", batch([b"abc"])[:-1], ErrorCode.invalid_record),
        ("base offset 5", batch([b"a"], base_offset=5), ErrorCode.invalid_record),
        ("count above delta", batch([b"a", b"b"], last_offset_delta=0), ErrorCode.invalid_record),
        ("delta above count", batch([b"a", b"b"], last_offset_delta=2), ErrorCode.invalid_record),
        ("no records", batch([], last_offset_delta=0, count=0), ErrorCode.invalid_record),
        ("fewer records than counted", batch([b"a"], count=2, last_offset_delta=1), ErrorCode.invalid_record),
        ("more records than counted", batch([b"a", b"b"], count=1, last_offset_delta=0), ErrorCode.invalid_record),
        (
            "offsets with a hole",
            batch([], payload=record(0, b"a") + record(2, b"b"), count=2, last_offset_delta=1),
            ErrorCode.none,
        ),
        (
            "garbage as records",
            batch([], payload=varint(100) + b"x", count=1, last_offset_delta=0),
            ErrorCode.invalid_record,
        ),
        ("control batch", batch([b"a"], attributes=CONTROL), ErrorCode.invalid_record),
        (
            "transactional without producer",
            batch([b"a"], attributes=TRANSACTIONAL),
            ErrorCode.transactional_id_authorization_failed,
        ),
        ("producer without sequence", batch([b"a"], producer_id=9, epoch=0), ErrorCode.invalid_record),
        ("epoch without producer", batch([b"a"], epoch=3), ErrorCode.none),
        ("unknown codec", batch([b"a"], attributes=6), ErrorCode.unknown_server_error),
        ("delete horizon", batch([b"a"], attributes=0x40), ErrorCode.none),
        ("log append time", batch([b"a"], attributes=LOG_APPEND_TIME), ErrorCode.none),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
def test_given_a_batch_that_breaks_a_rule_when_produced_then_its_code_is_kafkas(
    scene: Scene, what: str, records: bytes | None, code: ErrorCode
) -> None:
    topic = scene.topic()
    done = scene.produce(topic, records)
    assert done.error_code == code, f"{what}: {done}"
    assert (scene.end(topic) > 0) == (code == ErrorCode.none)


@pytest.mark.parametrize(("acks", "code"), [(2, 21), (-2, 21), (1, 0), (-1, 0)])
def test_given_acks_when_produced_then_only_0_1_and_all_are_valid(scene: Scene, acks: int, code: int) -> None:
    assert scene.produce(scene.topic(), batch([b"a"]), acks=acks).error_code == code


def test_given_acks_0_when_produced_then_there_is_no_answer(scene: Scene) -> None:
    topic = scene.topic()
    data = {"name": topic, "partition_data": [{"index": 0, "records": batch([b"a"])}]}
    scene.client.send("produce", 9, acks=0, timeout=1000, topic_data=[data])
    assert scene.end(topic) == 1  # the next answer on the connection is ListOffsets'


def test_given_unknown_partitions_when_produced_then_unknown_topic_or_partition(scene: Scene) -> None:
    topic = scene.topic()
    assert scene.produce(topic, batch([b"a"]), partition=7).error_code == ErrorCode.unknown_topic_or_partition
    assert scene.produce("does-not-exist", batch([b"a"])).error_code == ErrorCode.unknown_topic_or_partition
    data = {"topic_id": uuid.uuid4(), "partition_data": [{"index": 0, "records": batch([b"a"])}]}
    answer = scene.client.call("produce", 13, acks=-1, timeout=1000, topic_data=[data]).responses[0]
    assert answer.partition_responses[0].error_code == ErrorCode.unknown_topic_id


def test_given_a_topic_id_when_produced_with_v13_then_it_is_the_topic(scene: Scene) -> None:
    topic = scene.topic()
    data = {"topic_id": scene.topic_id(topic), "partition_data": [{"index": 0, "records": batch([b"a"])}]}
    answer = scene.client.call("produce", 13, acks=-1, timeout=1000, topic_data=[data]).responses[0]
    assert answer.partition_responses[0].error_code == ErrorCode.none
    assert scene.end(topic) == 1


def test_given_a_size_limit_when_the_batch_is_larger_then_message_too_large(scene: Scene) -> None:
    topic = scene.topic(max_message_bytes="500")
    assert scene.produce(topic, batch([b"x" * 600])).error_code == ErrorCode.message_too_large
    overhead = len(batch([b"x" * 400])) - 400
    assert scene.produce(topic, batch([b"x" * (500 - overhead)])).error_code == ErrorCode.none
    assert scene.produce(topic, batch([b"x" * (501 - overhead)])).error_code == ErrorCode.message_too_large


@pytest.mark.parametrize(("age_ms", "code"), [(0, 0), (30_000, 0), (90_000, 32), (-30_000, 0), (-90_000, 32)])
def test_given_timestamp_limits_when_a_record_lies_outside_then_invalid_timestamp(
    scene: Scene, age_ms: int, code: int
) -> None:
    topic = scene.topic(message_timestamp_before_max_ms="60000", message_timestamp_after_max_ms="60000")
    done = scene.produce(topic, batch([b"a"], timestamp=round(time.time() * 1000) - age_ms))
    assert done.error_code == code
    assert [error.batch_index for error in done.record_errors] == ([0] if code else [])


def test_given_old_records_when_produced_to_a_topic_without_limits_then_they_are_kept_as_they_are(scene: Scene) -> None:
    topic = scene.topic(retention_ms="-1")
    for timestamp in (1, 0, -1, 1_000_000_000_000):
        assert scene.produce(topic, batch([b"a"], timestamp=timestamp)).error_code == ErrorCode.none
    assert [each.base_timestamp for each in scene.all_batches(topic)] == [1, 0, -1, 1_000_000_000_000]
    late = scene.produce(topic, batch([b"a"], timestamp=round(time.time() * 1000) + 2 * 3600 * 1000))
    assert late.error_code == ErrorCode.invalid_timestamp  # message.timestamp.after.max.ms is an hour by default


def test_given_a_compacted_topic_when_a_key_is_missing_then_the_record_is_named(scene: Scene) -> None:
    topic = scene.topic(cleanup_policy="compact")
    done = scene.produce(topic, batch([(b"k", b"v"), b"no key", (b"k", None)]))
    assert done.error_code == ErrorCode.invalid_record
    assert [error.batch_index for error in done.record_errors] == [1]
    assert scene.produce(topic, batch([(b"k", b"v"), (b"k", None)])).error_code == ErrorCode.none


def test_given_log_append_time_when_produced_then_the_broker_sets_the_time(scene: Scene) -> None:
    topic = scene.topic(message_timestamp_type="LogAppendTime")
    before = round(time.time() * 1000)
    done = scene.produce(topic, batch([b"a"], timestamp=1))
    assert done.error_code == ErrorCode.none
    appended = round(done.log_append_time.timestamp() * 1000)
    assert before - 1000 <= appended <= before + 20_000
    (stored,) = scene.batches(topic)
    assert stored.attributes & LOG_APPEND_TIME
    assert stored.max_timestamp == appended
    assert stored.base_timestamp == 1
    refused = scene.produce(topic, batch([b"a"], attributes=LOG_APPEND_TIME))
    assert refused.error_code == ErrorCode.invalid_timestamp


@pytest.mark.parametrize(
    ("codec", "number"), [("gzip", 1), ("snappy", 2), ("lz4", 3), ("zstd", 4), ("uncompressed", 0)]
)
def test_given_a_topic_codec_when_produced_then_the_broker_recompresses(scene: Scene, codec: str, number: int) -> None:
    topic = scene.topic(compression_type=codec)
    assert scene.write(topic, b"x" * 1000, b"y" * 1000) == 0
    (stored,) = scene.batches(topic)
    assert stored.attributes & 7 == number
    assert stored.count == 2


def test_given_a_broken_request_when_sent_then_the_connection_is_closed(scene: Scene) -> None:
    for frame in (
        b"",
        b"\x00\x00",
        b"\x7f\xff\x00\x00\x00\x00\x00\x01\xff\xff",
        b"\x00\x00\x00\x09\x00\x00\x00\x01\x7f\xff",
    ):
        with scene.connect() as client:
            client.send_frame(frame)
            with pytest.raises(Closed):
                client.receive_frame()
    with scene.connect() as client:
        client.send_body(18, 99, b"", flexible=True)  # ApiVersions of the future: version 0 answers
        assert client.receive("api_versions", 0).error_code == ErrorCode.unsupported_version


def test_given_a_batch_larger_than_a_segment_when_produced_then_record_list_too_large(scene: Scene) -> None:
    topic = scene.topic(segment_bytes=str(1 << 20), max_message_bytes=str(1 << 22))
    assert scene.produce(topic, batch([b"x" * 1_500_000])).error_code == ErrorCode.record_list_too_large


def test_given_more_replicas_demanded_than_there_are_when_produced_then_it_depends_on_their_number(
    scene: Scene,
) -> None:
    topic = scene.topic(min_insync_replicas="2")  # of one replica, all are in sync
    assert scene.produce(topic, batch([b"a"])).error_code == ErrorCode.none


@pytest.mark.parametrize(("version", "code"), [(6, 76), (7, 0)])
def test_given_zstd_when_produced_with_an_old_version_then_unsupported_compression_type(
    scene: Scene, version: int, code: int
) -> None:
    topic, sent = scene.topic(), scene.topic(compression_type="zstd")
    scene.write(sent, b"x" * 100)
    compressed = bytearray(scene.fetch(sent).records)
    assert scene.produce(topic, bytes(compressed), version=version).error_code == code


def test_given_versions_of_produce_when_used_then_each_is_answered_in_its_own_shape(scene: Scene) -> None:
    topic = scene.topic()
    for offset, version in enumerate(range(3, 13)):
        done = scene.produce(topic, batch([b"a"]), version=version)
        assert (done.error_code, done.base_offset) == (ErrorCode.none, offset)
    for version in range(4, 13):
        assert len(scene.batches(topic, version=version)) == 10
