"""The demo's orders: written into one cluster, read from the other, counted, and timed on the way."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from replicator.cli.demo_shop import make_order

_TICK_S = 0.01
_LATENCIES = 4000  # the last ones, for the percentiles
_SHOWN = 6


@dataclass(slots=True)
class Tally:
    """What was written and what arrived. Every partition's orders are numbered, so that a gap or a repetition shows."""

    produced: int = 0
    arrived: int = 0
    missing: int = 0
    repeated: int = 0
    latencies_ms: deque[float] = field(default_factory=lambda: deque(maxlen=_LATENCIES))
    last: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=_SHOWN))
    expected: dict[int, int] = field(default_factory=dict)  # partition -> number of the next order
    failure: str | None = None

    def arrive(self, partition: int, number: int, latency_ms: float) -> None:
        """Count an order that was read from the target."""
        due = self.expected.get(partition, 0)
        if number < due:
            self.repeated += 1
            return
        self.missing += number - due
        self.expected[partition] = number + 1
        self.arrived += 1
        self.latencies_ms.append(latency_ms)

    def percentile(self, part: float) -> float | None:
        """Of the latest orders' times from being written to being read, in milliseconds."""
        ordered = sorted(self.latencies_ms)
        return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else None


class _Thread:
    """A loop in a thread of its own, whose failure is told rather than lost."""

    def __init__(self, name: str, tally: Tally) -> None:
        self.tally = tally
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._guarded, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, and wait for it."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(5)

    def _guarded(self) -> None:
        try:
            self.loop()
        except KafkaException as error:
            self.tally.failure = f"{self._thread.name}: {error.args[0]}"

    def loop(self) -> None:
        """What the thread does until it is stopped."""
        raise NotImplementedError


class OrderWriter(_Thread):
    """Writes `rate` orders per second, evenly over the partitions, until stopped; what was accepted is `produced`."""

    def __init__(self, properties: dict[str, Any], topic: str, partitions: int, rate: int, tally: Tally) -> None:
        super().__init__("order writer", tally)
        self._producer = Producer({**properties, "linger.ms": 1, "enable.idempotence": True, "compression.type": "lz4"})
        self._topic = topic
        self._partitions = partitions
        self._rate = rate
        self._numbers = [0] * partitions
        self._random = random.Random()

    def loop(self) -> None:
        """Write as many as are due by the clock, so that the rate holds whatever a round takes."""
        began, written = time.monotonic(), 0
        while not self._stop.is_set():
            due = int((time.monotonic() - began) * self._rate)
            for _ in range(min(due - written, self._rate)):
                self._write(written)
                written += 1
            self._producer.poll(0)
            self._stop.wait(_TICK_S)
        self._producer.flush(5)

    def _write(self, count: int) -> None:
        partition = count % self._partitions
        order = make_order(self._random, self._numbers[partition])
        self._numbers[partition] += 1
        self._producer.produce(
            self._topic,
            json.dumps(order).encode(),
            key=str(order["customer"]).encode(),
            partition=partition,
            headers={"shop": "demo"},
            on_delivery=self._written,
        )

    def _written(self, error: Any, _message: Message) -> None:
        if error is not None:
            raise KafkaException(error)
        self.tally.produced += 1


class OrderReader(_Thread):
    """Reads the copies and holds them against the numbers that they were written with."""

    def __init__(self, properties: dict[str, Any], topic: str, partitions: int, tally: Tally) -> None:
        super().__init__("order reader", tally)
        self._topic = topic
        self._partitions = partitions
        self._consumer = Consumer(
            {
                **properties,
                "group.id": "demo-reader",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 100,
                "topic.metadata.refresh.interval.ms": 500,
            }
        )

    def loop(self) -> None:
        """Wait for the copy to be created, then read it from its beginning."""
        while not self._exists():
            if self._stop.wait(0.1):
                self._consumer.close()
                return
        self._consumer.assign([TopicPartition(self._topic, partition, 0) for partition in range(self._partitions)])
        while not self._stop.is_set():
            for message in self._consumer.consume(500, timeout=0.02):
                self._read(message)
        self._consumer.close()

    def _exists(self) -> bool:
        try:
            return self._topic in self._consumer.list_topics(timeout=10).topics
        except KafkaException as error:
            if error.args[0].retriable() or error.args[0].code() == KafkaError._TRANSPORT:
                return False  # connections move from the bootstrap address to the brokers just then
            raise

    def _read(self, message: Message) -> None:
        if message.error() is not None:
            return  # librdkafka tries again by itself; what never comes shows as missing
        value, partition = message.value(), message.partition()
        if value is None or partition is None:
            return
        order = json.loads(value)
        latency_ms = time.time() * 1000 - message.timestamp()[1]
        self.tally.arrive(partition, order["number"], latency_ms)
        self.tally.last.appendleft(order | {"partition": partition, "latency_ms": latency_ms})
