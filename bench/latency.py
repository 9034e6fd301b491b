"""End-to-end latency: a steady trickle into the source, and when a reader of the target's committed records has it."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import Consumer, Producer, TopicPartition

from bench.brokers import Pair, clear, create_topic
from bench.contestants import Contestant
from bench.copying import BenchError
from bench.loads import PARTITIONS
from bench.watching import Watcher
from tests.support.waiting import wait_for

TOPIC = "latency"
RATES = (500, 2000)  # records a second
_STAMP = struct.Struct(">d")
_VALUE_BYTES = 1024
_UNMEASURED = 0.25  # of the time, at the start
_START_S = 60.0


@dataclass(frozen=True)
class Latency:
    """Milliseconds from `produce` in one client to the record's arrival in the other, both on this machine."""

    sent: int
    received: int
    p50_ms: float
    p99_ms: float


def latency(
    contestant: Contestant, pair: Pair, directory: Path, seconds: float, rates: Sequence[int] = RATES
) -> dict[int, Latency]:
    """By rate, each measured over that many seconds in the same process; leaves both clusters empty again."""
    measured: dict[int, Latency] = {}
    create_topic(pair.source.admin(), TOPIC, PARTITIONS)
    with contestant.copying(TOPIC, pair, directory) as running:
        watcher = Watcher(pair.target, running.remote_topic, PARTITIONS)
        producer = Producer(pair.source.client_config | {"linger.ms": 0, "acks": "all"})
        try:
            _warm_up(producer, watcher)
            for rate in rates:
                measured[rate] = _at_rate(rate, producer, pair, running.remote_topic, seconds)
        except (AssertionError, RuntimeError) as error:
            raise BenchError(f"{contestant.name}, latency: {error}\n{running.log()[-3000:]}") from None
        finally:
            watcher.close()
    clear(pair.target.admin())
    clear(pair.source.admin())
    return measured


def _at_rate(rate: int, producer: Producer, pair: Pair, topic: str, seconds: float) -> Latency:
    reader = _Reader(pair, topic)
    began = time.time()
    sent = _trickle(producer, began, seconds, rate)
    arrived = reader.finish(sent)
    late = sorted(late for stamp, late in arrived if stamp >= began + seconds * _UNMEASURED)
    return Latency(sent, len(arrived), _quantile(late, 0.5), _quantile(late, 0.99))


def _warm_up(producer: Producer, watcher: Watcher) -> None:
    """Have every partition copied once, and be idle again."""
    for partition in range(PARTITIONS):
        producer.produce(TOPIC, _STAMP.pack(0.0), partition=partition)
    producer.flush(30)

    def copied() -> bool:
        ends = watcher.ends(committed=True)
        return bool(ends) and all(value is not None for value in watcher.last_values(ends))

    wait_for(copied, within=_START_S, every=0.2, what="the first records are copied")


def _trickle(producer: Producer, began: float, seconds: float, rate: int) -> int:
    """Produce at the rate; how many."""
    padding = b"x" * (_VALUE_BYTES - _STAMP.size)
    sent = 0
    while (elapsed := time.time() - began) < seconds:
        while sent < elapsed * rate:
            producer.produce(TOPIC, _STAMP.pack(time.time()) + padding, partition=sent % PARTITIONS)
            sent += 1
        producer.poll(0.001)
    producer.flush(30)
    return sent


def _quantile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1e3 if ordered else float("nan")


class _Reader:
    """Notes when records arrive, in a thread of its own, from now on."""

    def __init__(self, pair: Pair, topic: str) -> None:
        settings = {"group.id": "bench", "enable.auto.commit": False, "isolation.level": "read_committed"}
        self._consumer = Consumer(pair.target.client_config | settings | {"fetch.wait.max.ms": 100})
        starts = []
        for partition in range(PARTITIONS):
            _low, end = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
            starts.append(TopicPartition(topic, partition, end))
        self._consumer.assign(starts)
        self._arrived: list[tuple[float, float]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, name="latency-reader", daemon=True)
        self._thread.start()

    def finish(self, expected: int) -> list[tuple[float, float]]:
        """Wait for so many records, at most 15 s; (when produced, seconds until it was here) of all that arrived."""
        deadline = time.monotonic() + 15
        while len(self._arrived) < expected and time.monotonic() < deadline:
            time.sleep(0.05)
        self._stop.set()
        self._thread.join(timeout=10)
        self._consumer.close()
        return self._arrived

    def _read(self) -> None:
        while not self._stop.is_set():
            message = self._consumer.poll(0.1)
            if message is None or message.error() is not None:
                continue
            now = time.time()
            (stamp,) = _STAMP.unpack_from(message.value() or b"")
            self._arrived.append((stamp, now - stamp))
