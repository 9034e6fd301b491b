"""The topics that are copied: what is in them, how they are written, and what came of it on disk."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from confluent_kafka import Producer

from bench.brokers import create_topic
from bench.ondisk import OnDisk, on_disk
from tests.support.kafka import KafkaCluster

PARTITIONS = 8
_RUN = 64  # records in a row to one partition: keeps librdkafka's queues, and so its batches, full


@dataclass(frozen=True)
class Load:
    """One topic. `value(i)` is the value of record i: different for every i, so that the last one can be recognised."""

    name: str
    title: str
    records: int
    quick_records: int
    value: Callable[[int], bytes]
    producer: dict[str, Any]

    def of(self, records: int) -> Load:
        """The same with so many records."""
        return replace(self, records=records)


@dataclass(frozen=True)
class Written:
    """A load as it lies in the source's log."""

    load: Load
    records: tuple[int, ...]  # by partition
    last_values: tuple[bytes, ...]  # by partition
    on_disk: OnDisk


def _padded(size: int) -> Callable[[int], bytes]:
    padding = b"x" * (size - 12)
    return lambda index: b"%012d" % index + padding


def _orders() -> Callable[[int], bytes]:
    """Orders as JSON, about 680 bytes; lz4 leaves a good quarter of a batch."""
    dice = random.Random(730)
    cities = ("Amsterdam", "Bratislava", "Copenhagen", "Dublin", "Ljubljana", "Madrid", "Reykjavik", "Tallinn")
    words = [f"{dice.getrandbits(40):010x}" for _ in range(4096)]
    items = ",".join('{"sku":"%s","name":"Garden chair, foldable","quantity":%d,"unit_price_cents":%d}' for _ in "1234")
    text = (
        '{"event":"order_created","order_id":%d,"customer":{"id":"%s","city":"%s","segment":"consumer"},"session":"%s'
        '%s","currency":"EUR","channel":"web","items":[' + items + '],"shipping":{"carrier":"standard","tracking":"%s",'
        '"promised":"2026-03-%02dT12:00:00Z"},"total_cents":%d,"notes":null}'
    )

    def value(index: int) -> bytes:
        pick = (index * 2654435761) & 0xFFFFFFFF
        word = [words[(pick >> shift) & 4095] for shift in (0, 3, 7, 11, 14, 17, 19, 20)]
        sold = [part for n in range(4) for part in (word[n], (pick >> n) % 9 + 1, (pick >> 2 * n) % 90_000)]
        return (
            text % (index, word[4], cities[pick % 8], word[5], word[6], *sold, word[7], pick % 28 + 1, pick)
        ).encode()

    return value


_FULL_BATCHES: dict[str, Any] = {"batch.size": 65536, "linger.ms": 500}
LOADS = (
    Load("1k", "1 KB, none", 1_500_000, 200_000, _padded(1024), _FULL_BATCHES),
    Load("json", "JSON, lz4", 1_500_000, 200_000, _orders(), _FULL_BATCHES | {"compression.type": "lz4"}),
    Load("100b", "100 B, none", 6_000_000, 1_000_000, _padded(100), _FULL_BATCHES | {"batch.num.messages": 100_000}),
    Load("single", "100 B, one a batch", 400_000, 60_000, _padded(100), {"batch.num.messages": 1, "linger.ms": 0}),
)


def write(load: Load, cluster: KafkaCluster) -> Written:
    """Create the topic and write it; RuntimeError if a record is refused."""
    create_topic(cluster.admin(), load.name, PARTITIONS)
    refused: list[object] = []
    # In order though many requests are under way: a broker serves a connection's in turn, and nothing is sent again.
    settings = {"acks": "1", "enable.idempotence": False, "queue.buffering.max.kbytes": 262_144}
    producer = Producer(
        cluster.client_config
        | settings
        | {"retries": 0, "queue.buffering.max.messages": 2_000_000}
        | {"error_cb": refused.append}
        | load.producer
    )
    counts = [0] * PARTITIONS
    last = [0] * PARTITIONS
    for index in range(load.records):
        partition = (index // _RUN) % PARTITIONS
        _produce(producer, load, index, partition)
        counts[partition] += 1
        last[partition] = index
    if producer.flush(300) or refused:
        raise RuntimeError(f"writing {load.name} failed: {refused[:1] or 'not within 300 s'}")
    stored = on_disk(cluster, load.name, PARTITIONS)
    if stored.records != load.records:
        raise RuntimeError(f"{load.name}: {stored.records} records in the source's log, {load.records} written")
    return Written(load, tuple(counts), tuple(load.value(index) for index in last), stored)


def _produce(producer: Producer, load: Load, index: int, partition: int) -> None:
    while True:
        try:
            producer.produce(load.name, load.value(index), partition=partition)
            return
        except BufferError:
            producer.poll(0.05)
