"""Creating, growing, deleting and configuring topics."""

from __future__ import annotations

import time
import uuid
from typing import Any

import pytest
from kio.schema.errors import ErrorCode

from tests.kafka.scene import READ_UNCOMMITTED, Scene, unique, values
from tests.support.rawclient import batch, read_batches
from tests.support.waiting import wait_for

SET, DELETE, APPEND, SUBTRACT = range(4)
TOPIC = 2


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("", ErrorCode.invalid_topic_exception),
        (".", ErrorCode.invalid_topic_exception),
        ("..", ErrorCode.invalid_topic_exception),
        ("a b", ErrorCode.invalid_topic_exception),
        ("ä", ErrorCode.invalid_topic_exception),
        ("x" * 250, ErrorCode.invalid_topic_exception),
    ],
    ids=["empty", "dot", "dots", "space", "umlaut", "long"],
)
def test_given_a_bad_name_when_a_topic_is_created_then_it_is_refused(scene: Scene, name: str, code: ErrorCode) -> None:
    assert scene.create(name).error_code == code


def test_given_topics_when_created_again_or_colliding_then_they_are_refused(scene: Scene) -> None:
    name = unique("c") + ".d"
    made = scene.create(name, 2)
    assert (made.error_code, made.num_partitions, made.replication_factor) == (ErrorCode.none, 2, 1)
    assert made.topic_id == scene.topic_id(name)
    assert scene.create(name).error_code == ErrorCode.topic_already_exists
    assert scene.create(name.replace(".", "_")).error_code == ErrorCode.invalid_topic_exception


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"num_partitions": 0}, ErrorCode.invalid_partitions),
        ({"num_partitions": -2}, ErrorCode.invalid_partitions),
        ({"replication_factor": 0}, ErrorCode.invalid_replication_factor),
        ({"replication_factor": 99}, ErrorCode.invalid_replication_factor),
        ({"configs": [{"name": "nope", "value": "1"}]}, ErrorCode.invalid_config),
        ({"configs": [{"name": "retention.ms", "value": "soon"}]}, ErrorCode.invalid_config),
        ({"configs": [{"name": "retention.ms", "value": None}]}, ErrorCode.invalid_config),
        (
            {
                "assignments": [{"partition_index": 0, "broker_ids": [99]}],
                "num_partitions": -1,
                "replication_factor": -1,
            },
            ErrorCode.invalid_replica_assignment,
        ),
        ({"num_partitions": -1, "replication_factor": -1}, ErrorCode.none),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_given_bad_fields_when_a_topic_is_created_then_the_code_is_kafkas(
    scene: Scene, fields: dict[str, Any], code: ErrorCode
) -> None:
    topic = {"name": unique("t"), "num_partitions": 1, "replication_factor": 1, **fields}
    made = scene.client.call("create_topics", 7, topics=[topic], timeout=5000).topics[0]
    assert made.error_code == code, made
    assert (made.error_message is None) == (code == ErrorCode.none)


def test_given_validate_only_when_created_then_nothing_is_made(scene: Scene) -> None:
    name = unique("t")
    topic = {"name": name, "num_partitions": 1, "replication_factor": 1}
    made = scene.client.call("create_topics", 7, topics=[topic], timeout=5000, validate_only=True).topics[0]
    assert made.error_code == ErrorCode.none
    assert scene.client.call("metadata", 12, topics=[{"name": name}]).topics[0].error_code != ErrorCode.none


def test_given_a_topic_when_it_is_deleted_and_made_again_then_its_id_is_another(scene: Scene) -> None:
    topic = scene.topic()
    scene.write(topic, b"a")
    first = scene.topic_id(topic)
    done = scene.client.call("delete_topics", 6, topics=[{"name": topic}], timeout=5000).responses[0]
    assert (done.error_code, done.topic_id) == (ErrorCode.none, first)
    wait_for(lambda: scene.create(topic).error_code == ErrorCode.none, within=10, what="topic made again")
    assert scene.topic_id(topic) != first
    wait_for(lambda: scene.fetch(topic).error_code == ErrorCode.none, within=10, what="the new topic's leader")
    assert scene.end(topic) == 0
    by_id = scene.client.call("delete_topics", 6, topics=[{"topic_id": first}], timeout=5000).responses[0]
    assert by_id.error_code == ErrorCode.unknown_topic_id
    unknown = scene.client.call("delete_topics", 6, topics=[{"name": "nope"}], timeout=5000).responses[0]
    assert unknown.error_code == ErrorCode.unknown_topic_or_partition


@pytest.mark.parametrize(("count", "code"), [(5, 0), (3, 37), (2, 37), (0, 37)])
def test_given_three_partitions_when_another_number_is_asked_then_only_growth_is_possible(
    scene: Scene, count: int, code: int
) -> None:
    topic = scene.topic(3)
    asked = [{"name": topic, "count": count, "assignments": None}]
    assert scene.client.call("create_partitions", 3, topics=asked, timeout=5000).results[0].error_code == code
    found = wait_for(
        lambda: scene.client.call("metadata", 12, topics=[{"name": topic}]).topics[0].partitions,
        within=5,
        what="metadata",
    )
    if code:
        assert len(found) == 3


def test_given_topic_ids_when_metadata_is_asked_then_unknown_ones_are_told(scene: Scene) -> None:
    topic = scene.topic()
    topic_id, other = scene.topic_id(topic), uuid.uuid4()
    asked = [{"topic_id": topic_id, "name": None}, {"topic_id": other, "name": None}]
    found = {row.topic_id: row for row in scene.client.call("metadata", 12, topics=asked).topics}
    assert (found[topic_id].error_code, found[topic_id].name) == (ErrorCode.none, topic)
    assert found[other].error_code == ErrorCode.unknown_topic_id
    everything = scene.client.call("metadata", 12, topics=None)
    assert topic in [each.name for each in everything.topics]
    assert everything.controller_id in [each.node_id for each in everything.brokers]
    missing = scene.client.call("metadata", 12, topics=[{"name": "no-such-topic"}], allow_auto_topic_creation=False)
    assert missing.topics[0].error_code == ErrorCode.unknown_topic_or_partition


def alter(scene: Scene, name: str, *changes: tuple[str, int, str | None], kind: int = TOPIC, dry: bool = False) -> Any:
    rows = [{"name": key, "config_operation": operation, "value": value} for key, operation, value in changes]
    asked = [{"resource_type": kind, "resource_name": name, "configs": rows}]
    return scene.client.call("incremental_alter_configs", 1, resources=asked, validate_only=dry).responses[0]


def describe(scene: Scene, name: str, *keys: str, kind: int = TOPIC) -> Any:
    asked = [{"resource_type": kind, "resource_name": name, "configuration_keys": list(keys) or None}]
    return scene.client.call("describe_configs", 4, resources=asked, include_synonyms=True).results[0]


def setting(scene: Scene, topic: str, key: str) -> tuple[str | None, int]:
    """(value, source) once what was altered has reached the broker."""
    (row,) = describe(scene, topic, key).configs
    return row.value, row.config_source


def test_given_settings_when_altered_then_value_and_source_change(scene: Scene) -> None:
    topic = scene.topic(retention_ms="1000000")
    assert setting(scene, topic, "retention.ms") == ("1000000", 1)
    assert alter(scene, topic, ("retention.ms", SET, "2000000")).error_code == ErrorCode.none
    wait_for(lambda: setting(scene, topic, "retention.ms") == ("2000000", 1), within=5, what="SET")
    assert alter(scene, topic, ("retention.ms", SET, "3000000"), dry=True).error_code == ErrorCode.none
    assert setting(scene, topic, "retention.ms") == ("2000000", 1)
    assert alter(scene, topic, ("retention.ms", DELETE, None)).error_code == ErrorCode.none
    wait_for(lambda: setting(scene, topic, "retention.ms") == ("604800000", 5), within=5, what="DELETE")
    assert alter(scene, topic, ("cleanup.policy", APPEND, "compact")).error_code == ErrorCode.none
    wait_for(lambda: setting(scene, topic, "cleanup.policy") == ("delete,compact", 1), within=5, what="APPEND")
    assert alter(scene, topic, ("cleanup.policy", SUBTRACT, "delete")).error_code == ErrorCode.none
    wait_for(lambda: setting(scene, topic, "cleanup.policy") == ("compact", 1), within=5, what="SUBTRACT")


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (("retention.ms", SET, "-5"), 40, "Invalid value -5 for configuration retention.ms: Value must be at least -1"),
        (("retention.ms", SET, "x"), 40, "Invalid value x for configuration retention.ms: Not a number of type LONG"),
        (("retention.ms", SET, None), 42, "Null value not supported for : retention.ms"),
        (("nope", SET, "1"), 40, "Unknown topic config name: nope"),
        (("nope", DELETE, None), 0, None),
        (("retention.ms", APPEND, "1"), 40, "Can't APPEND to key retention.ms because its type is not LIST."),
        (
            ("min.insync.replicas", SET, "0"),
            40,
            "Invalid value 0 for configuration min.insync.replicas: Value must be at least 1",
        ),
        (
            ("cleanup.policy", SET, "x"),
            40,
            "Invalid value x for configuration cleanup.policy: String must be one of: compact, delete",
        ),
    ],
    ids=lambda value: "" if not isinstance(value, tuple) else f"{value[0]}-{value[2]}",
)
def test_given_a_bad_change_when_altered_then_code_and_message_are_kafkas(
    scene: Scene, change: tuple[str, int, str | None], code: int, message: str | None
) -> None:
    done = alter(scene, scene.topic(), change)
    assert (done.error_code, done.error_message) == (code, message)


def test_given_resources_that_do_not_exist_when_described_or_altered_then_they_are_refused(scene: Scene) -> None:
    assert describe(scene, "no-such-topic").error_code == ErrorCode.unknown_topic_or_partition
    assert alter(scene, "no-such-topic", ("retention.ms", SET, "1")).error_code == ErrorCode.unknown_topic_or_partition
    assert alter(scene, "", ("retention.ms", SET, "1")).error_code == ErrorCode.invalid_request
    assert describe(scene, "x", kind=4).error_code == ErrorCode.invalid_request
    twice = (("retention.ms", SET, "1"), ("retention.ms", SET, "2"))
    assert alter(scene, scene.topic(), *twice).error_code == ErrorCode.invalid_request


def test_given_a_topic_when_described_then_every_property_of_kafka_4_1_is_there(scene: Scene) -> None:
    found = {row.name: (row.value, row.config_type) for row in describe(scene, scene.topic()).configs}
    assert len(found) == 33
    assert found["max.message.bytes"] == ("1048588", 3)
    assert found["message.timestamp.before.max.ms"] == ("9223372036854775807", 5)
    assert found["min.cleanable.dirty.ratio"] == ("0.5", 6)
    assert found["cleanup.policy"] == ("delete", 7)
    assert found["unclean.leader.election.enable"] == ("false", 1)
    assert found["compression.type"] == ("producer", 2)


def test_given_a_compacted_topic_when_cleaned_then_holes_keep_offsets_sequences_and_the_last_batch(
    scene: Scene,
) -> None:
    topic = scene.topic(
        cleanup_policy="compact", min_cleanable_dirty_ratio="0.01", segment_ms="100", delete_retention_ms="0"
    )
    producer_id = scene.producer_id()

    def put(sequence: int, *pairs: tuple[bytes, bytes | None]) -> None:
        data = batch(pairs, producer_id=producer_id, epoch=0, sequence=sequence)
        done = scene.produce(topic, data)
        assert done.error_code == ErrorCode.none, done

    put(0, (b"a", b"1"), (b"b", b"1"), (b"c", b"1"))
    put(3, (b"b", b"2"), (b"a", b"2"))
    put(5, (b"b", b"3"))
    time.sleep(0.15)  # let the segment grow old
    put(6, (b"z", b"rolls the segment"))

    def cleaned() -> bool:
        return values(scene.all_batches(topic)) == [b"1", b"2", b"3", b"rolls the segment"]

    wait_for(cleaned, within=25, what="a round of the cleaner")
    first, second, *_ = scene.all_batches(topic)
    assert (first.base_offset, first.last_offset, first.sequence, first.count) == (0, 2, 0, 1)
    assert first.records[0][:2] == (2, b"c")
    assert (second.base_offset, second.last_offset, second.sequence, second.count) == (3, 4, 3, 1)
    assert read_batches(scene.fetch(topic, 1, isolation_level=READ_UNCOMMITTED).records)[0].base_offset == 0


def test_given_one_name_twice_when_created_then_both_are_refused(scene: Scene) -> None:
    topic = {"name": unique("t"), "num_partitions": 1, "replication_factor": 1}
    made = scene.client.call("create_topics", 7, topics=[topic, topic], timeout=5000).topics
    assert {row.error_code for row in made} == {ErrorCode.invalid_request}


@pytest.mark.kafka
def test_given_both_brokers_when_versions_are_compared_then_ours_are_among_kafkas(
    bundled_broker: Any, request: pytest.FixtureRequest
) -> None:
    kafka = request.getfixturevalue("kafka_source")

    def versions(bootstrap: str) -> dict[int, tuple[int, int]]:
        with Scene(bootstrap, "") as made:
            answer = made.client.call("api_versions", 3, client_software_name="test", client_software_version="1")
        return {row.api_key: (row.min_version, row.max_version) for row in answer.api_keys}

    ours, theirs = versions(bundled_broker.bootstrap), versions(kafka.bootstrap)
    assert len(ours) >= 39
    for key, (low, high) in ours.items():
        assert theirs[key][0] <= low <= high <= theirs[key][1], f"API {key}: {low}-{high}, Kafka has {theirs[key]}"
    older = {key for key, (_, high) in ours.items() if high < theirs[key][1]}
    assert older <= {1, 2}  # Fetch, ListOffsets: their newest versions are about tiered storage and remote replicas
