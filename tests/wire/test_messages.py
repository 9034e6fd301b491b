"""Requests and responses of the data plane against kio's schemas, for every version that is used."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kio.index import load_request_schema
from kio.serial import entity_reader

from replicator.errors import ProtocolError
from replicator.wire.connection import Connection
from replicator.wire.fetch import FetchedPartition, FetchPosition, decode_fetch, encode_fetch
from replicator.wire.kafka_errors import BrokerError
from replicator.wire.list_offsets import ListedOffset, list_offsets
from replicator.wire.metadata import Broker, PartitionMetadata, fetch_metadata
from replicator.wire.primitives import Bytes
from replicator.wire.produce import ProducedPartition, decode_produce, encode_produce
from replicator.wire.producer_id import ProducerIdAndEpoch, init_producer_id
from tests.wire.fakebroker import body_of

IDS = [uuid.UUID(int=7), uuid.UUID(int=2**127)]
FETCH_VERSIONS, PRODUCE_VERSIONS = range(12, 18), range(9, 14)


def decoded(api: int, version: int, parts: list[Bytes] | list[bytes]) -> Any:
    """The request that kio reads in these bytes: all of them."""
    data = b"".join(parts)
    found, size = entity_reader(load_request_schema(api, version))(data, 0)
    assert size == len(data)
    return found


@pytest.mark.parametrize("version", FETCH_VERSIONS)
def test_given_positions_then_kio_reads_the_same_fetch_request(version: int) -> None:
    names: list[Any] = IDS if version >= 13 else ["orders", "x" * 200]
    position = FetchPosition(3, 5, 2**40, 4, 1 << 20)
    data = encode_fetch(
        version, max_wait_ms=500, min_bytes=1, max_bytes=8 << 20, isolation=1, session_id=77, session_epoch=9,
        topics={names[0]: [position, position._replace(partition=200, leader_epoch=-1)], names[1]: [position]},
        forgotten={names[1]: [0, 300]}, rack="eu-1a",
    )  # fmt: skip
    request = decoded(1, version, data)
    key = "topic_id" if version >= 13 else "topic"
    assert [(getattr(t, key), [p.partition for p in t.partitions]) for t in request.topics] == [
        (names[0], [3, 200]), (names[1], [3]),
    ]  # fmt: skip
    row = request.topics[0].partitions[0]
    assert (row.current_leader_epoch, row.fetch_offset, row.last_fetched_epoch) == (5, 2**40, 4)
    assert (row.log_start_offset, row.partition_max_bytes) == (-1, 1 << 20)
    assert [(getattr(t, key), t.partitions) for t in request.forgotten_topics_data] == [(names[1], (0, 300))]
    assert (request.min_bytes, request.max_bytes, request.isolation_level) == (1, 8 << 20, 1)
    assert (request.session_id, request.session_epoch, request.rack_id) == (77, 9, "eu-1a")
    assert request.max_wait.total_seconds() == 0.5
    if version <= 14:
        assert request.replica_id == -1


def fetch_answer(version: int) -> memoryview:
    key = "topic_id" if version >= 13 else "topic"
    row = {
        "partition_index": 3, "error_code": 0, "high_watermark": 90, "last_stable_offset": 80, "log_start_offset": 7,
        "aborted_transactions": [{"producer_id": 5, "first_offset": 60}, {"producer_id": 6, "first_offset": 61}],
        "preferred_read_replica": 2, "records": b"batches",
    }  # fmt: skip
    diverged = row | {
        "partition_index": 4, "error_code": 6, "aborted_transactions": None, "records": None,
        "diverging_epoch": {"epoch": 8, "end_offset": 50}, "current_leader": {"leader_id": 1, "leader_epoch": 9},
    }  # fmt: skip
    names: list[Any] = IDS if version >= 13 else ["orders", "other"]
    topics = [{key: names[0], "partitions": [row, diverged]}, {key: names[1], "partitions": [row | {"records": b""}]}]
    fields: dict[str, Any] = {"throttle_time": 250, "error_code": 0, "session_id": 12, "responses": topics}
    if version >= 16:
        fields["node_endpoints"] = [{"node_id": 1, "host": "h", "port": 1, "rack": None}]
    return body_of(1, version, fields)


@pytest.mark.parametrize("version", FETCH_VERSIONS)
def test_given_kios_fetch_response_then_all_of_it_is_read(version: int) -> None:
    names: list[Any] = IDS if version >= 13 else ["orders", "other"]
    response = decode_fetch(version, fetch_answer(version))
    assert (response.throttle_time_ms, response.error, response.session_id) == (250, 0, 12)
    aborted = [(5, 60), (6, 61)]
    first, second, third = response.partitions
    assert first == FetchedPartition(names[0], 3, 0, 90, 80, 7, aborted, 2, None, memoryview(b"batches"))
    assert second == FetchedPartition(names[0], 4, 6, 90, 80, 7, [], 2, (8, 50), memoryview(b""))
    assert third == FetchedPartition(names[1], 3, 0, 90, 80, 7, aborted, 2, None, memoryview(b""))


def test_given_a_writable_frame_then_records_are_views_into_it() -> None:
    frame = memoryview(bytearray(fetch_answer(13)))
    first = next(decode_fetch(13, frame).partitions)
    first.records[0] = ord("B")
    assert b"Batches" in bytes(frame)


@pytest.mark.parametrize("version", PRODUCE_VERSIONS)
def test_given_batches_then_kio_reads_the_same_produce_request(version: int) -> None:
    names: list[Any] = IDS if version >= 13 else ["orders", "other"]
    large = bytes(range(256)) * 600
    keys = [name.bytes if version >= 13 else name for name in names]
    parts = encode_produce(
        version, {keys[0]: [(0, b"one"), (9, memoryview(large))], keys[1]: [(1, bytearray(b"three"))]},
        transactional_id="t", timeout_ms=1500,
    )  # fmt: skip
    assert any(part is not large and len(part) == len(large) for part in parts)
    request = decoded(0, version, parts)
    assert (request.transactional_id, request.acks, request.timeout.total_seconds()) == ("t", -1, 1.5)
    key = "topic_id" if version >= 13 else "name"
    found = [(getattr(t, key), [(p.index, bytes(p.records)) for p in t.partition_data]) for t in request.topic_data]
    assert found == [(names[0], [(0, b"one"), (9, large)]), (names[1], [(1, b"three")])]


@pytest.mark.parametrize("version", PRODUCE_VERSIONS)
def test_given_kios_produce_response_then_all_of_it_is_read(version: int) -> None:
    names: list[Any] = IDS if version >= 13 else ["orders", "other"]
    key = "topic_id" if version >= 13 else "name"
    row = {
        "index": 2, "error_code": 0, "base_offset": 70, "log_append_time": -1, "log_start_offset": 3,
        "record_errors": [], "error_message": None,
    }  # fmt: skip
    bad = row | {
        "index": 5, "error_code": 87, "base_offset": -1, "error_message": "One or more",
        "record_errors": [
            {"batch_index": 1, "batch_index_error_message": "null key"},
            {"batch_index": 2, "batch_index_error_message": None},
        ],
        "current_leader": {"leader_id": 4, "leader_epoch": 6},
    }  # fmt: skip
    said = row | {"index": 6, "error_code": 10, "error_message": "too large"}
    if version < 10:
        bad.pop("current_leader")
    topics = [{key: names[0], "partition_responses": [row, bad]}, {key: names[1], "partition_responses": [said]}]
    results, throttle_ms = decode_produce(version, body_of(0, version, {"responses": topics, "throttle_time": 5}))
    assert throttle_ms == 5
    keys = [name.bytes if version >= 13 else name for name in names]
    assert results == [
        ProducedPartition(keys[0], 2, 0, 70, 3, ""),
        ProducedPartition(keys[0], 5, 87, -1, 3, "record 1: null key"),
        ProducedPartition(keys[1], 6, 10, 70, 3, "too large"),
    ]


class Scripted(Connection):
    """A connection that answers each request with a body that kio made."""

    def __init__(self, versions: dict[int, tuple[int, int]], fields: dict[str, Any] | bytes) -> None:
        super().__init__("us", "b:1", "me", 1 << 20)
        self.versions = versions
        self.asked: list[Any] = []
        self._fields = fields

    def request(self, api: int, version: int, body: Any, **_: Any) -> asyncio.Future[memoryview]:
        self.asked.append(decoded(api, version, body))
        future: asyncio.Future[memoryview] = asyncio.get_running_loop().create_future()
        future.set_result(
            memoryview(self._fields) if isinstance(self._fields, bytes) else body_of(api, version, self._fields)
        )
        return future


@pytest.mark.parametrize("version", [10, 11, 12])
async def test_given_kios_metadata_then_the_view_has_all_of_it(version: int) -> None:
    partition = {
        "error_code": 5, "partition_index": 1, "leader_id": -1, "leader_epoch": 8, "replica_nodes": [1, 2],
        "isr_nodes": [2], "offline_replicas": [1],
    }  # fmt: skip
    fields = {
        "throttle_time": 0, "cluster_id": "c-1", "controller_id": 2,
        "brokers": [{"node_id": 1, "host": "a", "port": 9092, "rack": "r"}, {"node_id": 2, "host": "b", "port": 1}],
        "topics": [
            {"error_code": 0, "name": "t", "topic_id": IDS[0], "is_internal": True, "partitions": [partition]},
            {"error_code": 3, "name": "gone", "topic_id": uuid.UUID(int=0), "is_internal": False, "partitions": []},
        ],
    }  # fmt: skip
    connection = Scripted({3: (0, version)}, fields)
    view = await fetch_metadata(connection, ["t", "gone"])
    assert view.brokers == {1: Broker(1, "a", 9092, "r"), 2: Broker(2, "b", 1, "")}
    assert (view.cluster_id, view.controller) == ("c-1", 2)
    assert (view.topics["t"].topic_id, view.topics["t"].internal) == (IDS[0], True)
    assert view.topics["t"].partitions == {1: PartitionMetadata(-1, 8, 5)}
    assert view.topics["gone"].error == 3
    await fetch_metadata(connection, None)
    some, every = connection.asked
    assert [topic.name for topic in some.topics] == ["t", "gone"]
    assert every.topics is None
    assert not some.allow_auto_topic_creation


async def test_given_metadata_with_very_many_replicas_or_cut_off_then_it_is_read_or_refused() -> None:
    many = {
        "error_code": 0, "partition_index": 0, "leader_id": 1, "leader_epoch": 2, "replica_nodes": list(range(300)),
        "isr_nodes": [], "offline_replicas": list(range(127)),
    }  # fmt: skip
    topic = {"error_code": 0, "name": "t", "topic_id": IDS[0], "is_internal": False}
    rows = [many, {**many, "partition_index": 1, "replica_nodes": [1]}]
    fields = {"throttle_time": 0, "cluster_id": "c", "controller_id": 1, "brokers": []}
    fields["topics"] = [{**topic, "partitions": rows}]
    view = await fetch_metadata(Scripted({3: (0, 12)}, fields), None)
    assert view.topics["t"].partitions == {0: PartitionMetadata(1, 2, 0), 1: PartitionMetadata(1, 2, 0)}
    whole = bytes(body_of(3, 12, fields))
    for end in range(len(whole) - 1):  # the last byte, of tags, is nothing to us
        with pytest.raises(ProtocolError):
            await fetch_metadata(Scripted({3: (0, 12)}, whole[:end]), None)


@pytest.mark.parametrize("version", [6, 7])
async def test_given_kios_list_offsets_then_each_partition_is_read(version: int) -> None:
    rows = [
        {"partition_index": 0, "error_code": 0, "timestamp": -1, "offset": 5, "leader_epoch": 2},
        {"partition_index": 1, "error_code": 6, "timestamp": -1, "offset": -1, "leader_epoch": -1},
    ]
    connection = Scripted({2: (1, version)}, {"throttle_time": 0, "topics": [{"name": "t", "partitions": rows}]})
    found = await list_offsets(connection, [("t", 0, -1), ("t", 1, 1_700_000_000_000), ("u", 0, -2)])
    assert found == {("t", 0): ListedOffset(0, -1, 5, 2), ("t", 1): ListedOffset(6, -1, -1, -1)}
    (request,) = connection.asked
    assert (request.replica_id, request.isolation_level) == (-1, 1)
    assert [(t.name, [p.partition_index for p in t.partitions]) for t in request.topics] == [("t", [0, 1]), ("u", [0])]


@pytest.mark.parametrize("version", [2, 3, 4])
async def test_given_kios_init_producer_id_then_the_producer_is_read(version: int) -> None:
    fields = {"throttle_time": 0, "error_code": 0, "producer_id": 2**40, "producer_epoch": 7}
    connection = Scripted({22: (0, version)}, fields)
    assert await init_producer_id(connection) == ProducerIdAndEpoch(2**40, 7)
    assert await init_producer_id(connection, "tx", 1000) == ProducerIdAndEpoch(2**40, 7)
    plain, transactional = connection.asked
    assert (plain.transactional_id, transactional.transactional_id) == (None, "tx")
    with pytest.raises(BrokerError, match=r"CLUSTER_AUTHORIZATION_FAILED \(31\)"):
        await init_producer_id(Scripted({22: (0, version)}, fields | {"error_code": 31}))


def consume_fetch(data: memoryview) -> None:
    list(decode_fetch(17, data).partitions)


DECODERS: list[tuple[str, Callable[[memoryview], Any]]] = [
    ("fetch", consume_fetch),
    ("produce", lambda data: decode_produce(13, data)),
]


@pytest.mark.parametrize("decode", [decode for _, decode in DECODERS], ids=[name for name, _ in DECODERS])
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_given_damaged_or_hostile_bytes_then_decoding_ends_in_an_error_of_ours_or_none(
    decode: Callable[[memoryview], Any], data: st.DataObject
) -> None:
    whole = bytearray(fetch_answer(17))
    for _ in range(data.draw(st.integers(0, 4))):
        position = data.draw(st.integers(0, len(whole) - 1))
        whole[position] = data.draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]))
    cut = data.draw(st.integers(0, len(whole)))
    for hostile in (bytes(whole[:cut]), data.draw(st.binary(max_size=40))):
        with suppress(ProtocolError):
            decode(memoryview(hostile))


@pytest.mark.parametrize(
    "ask",
    [
        lambda connection: fetch_metadata(connection, None),
        lambda connection: list_offsets(connection, [("t", 0, -1)]),
        lambda connection: init_producer_id(connection),
    ],
    ids=["metadata", "list offsets", "init producer id"],
)
async def test_given_hostile_answers_to_small_questions_then_they_are_refused(
    ask: Callable[[Connection], Coroutine[Any, Any, Any]],
) -> None:
    for body in (b"", b"\x00" * 4, b"\x00" * 4 + b"\xff\xff\xff\xff\x0f", b"\xff" * 64):
        with pytest.raises((ProtocolError, BrokerError)):
            await ask(Scripted({2: (0, 7), 3: (0, 12), 22: (0, 4)}, body))
