"""A copier for tests of what judges copies: record by record through librdkafka, nothing clever."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from tests.support.checker import Seen, read_partition


def create(admin: AdminClient, name: str, partitions: int = 1, config: Mapping[str, str] | None = None) -> None:
    """Create a topic whose records don't expire."""
    new = NewTopic(name, partitions, 1, config={"retention.ms": "-1", **(config or {})})
    admin.create_topics([new])[name].result(30)


def remove_heartbeats(admin: AdminClient) -> None:
    """Delete heartbeats and their copies: other links of a shared cluster would copy them, too."""
    names = [name for name in admin.list_topics(timeout=20).topics if name.split(".")[-1] == "heartbeats"]
    for future in admin.delete_topics(names).values() if names else ():
        future.result(30)


def produce(config: Mapping[str, str], topic: str, partition: int, records: Sequence[Seen]) -> None:
    """Write records as they are, but for their offsets."""
    _produce(_producer(config), topic, partition, records)


def copy(
    source: Mapping[str, str],
    target: Mapping[str, str],
    topics: Mapping[str, int],
    rename: str,
    damage: Callable[[str, list[Seen]], Sequence[Seen]] = lambda _where, records: records,
) -> None:
    """Copy whole topics, each partition's records passing through `damage` (`topic-partition`, records)."""
    producer = _producer(target)
    for topic, partitions in topics.items():
        for partition in range(partitions):
            records = read_partition(source, topic, partition)
            _produce(producer, rename.format(topic), partition, damage(f"{topic}-{partition}", records))


def _producer(config: Mapping[str, str]) -> Producer:
    return Producer({**config, "linger.ms": 20, "enable.idempotence": True, "compression.type": "lz4"})


def _produce(producer: Producer, topic: str, partition: int, records: Sequence[Seen]) -> None:
    for record in records:
        while True:
            try:
                producer.produce(
                    topic,
                    record.value,
                    record.key,
                    partition,
                    timestamp=record.timestamp_ms,
                    headers=list(record.headers) or None,
                )
                break
            except BufferError:
                producer.poll(0.5)
    assert producer.flush(60) == 0
