"""`placement: by_load`: of two hot partitions one goes to the other worker, and nothing is lost or twice on the way."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from replicator.ledger.lanes import lane_of
from tests.e2e.pairs import LONG_KAFKA, on
from tests.e2e.rig import Pair
from tests.support.checker import compare_topics
from tests.support.copying import create
from tests.support.kafka import KafkaCluster
from tests.support.replicator import Installation
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

LANES = 4
PARTITIONS = 16
TOPIC = "hot"
VALUE = b"x" * 50_000
PER_SECOND = 80  # of each hot partition: 8 MB/s together


class Heat:
    """Writes to these partitions at a steady rate, until it is stopped."""

    def __init__(self, cluster: Any, partitions: list[int]) -> None:
        self._producer = Producer({**cluster.client_config, "linger.ms": 20})
        self._partitions = partitions
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(30)
        assert self._producer.flush(30) == 0

    def _write(self) -> None:
        began, sent = time.monotonic(), 0
        while not self._over.wait(0.02):
            while sent < (time.monotonic() - began) * PER_SECOND:
                for partition in self._partitions:
                    self._producer.produce(TOPIC, b"%d " % sent + VALUE, partition=partition)
                sent += 1
            self._producer.poll(0)


@on(LONG_KAFKA)
def test_given_two_hot_partitions_with_one_worker_then_one_moves_to_the_other_and_each_record_is_there_once(
    pair: Pair, tmp_path: Path
) -> None:
    source, target = pair
    assert isinstance(source, KafkaCluster)
    create(source.admin(), TOPIC, PARTITIONS)
    link = {
        "name": "l",
        "source": "us",
        "target": "eu",
        "lanes": LANES,
        "placement": "by_load",
        "topics": {"include": [TOPIC]},
    }
    installation = Installation(tmp_path, {"us": source, "eu": target}, [link])

    def lanes() -> dict[str, list[int]]:
        (found,) = json.loads(installation.run("status", "-o", "json").stdout)["links"]
        return {worker["member_id"]: worker["lanes"] for worker in found["workers"]}

    with installation.worker() as one, installation.worker() as other:
        one.wait_ready()
        other.wait_ready()
        wait_for(
            lambda: sorted(map(len, lanes().values())) == [2, 2], within=60, every=0.5, what="the lanes are shared"
        )
        busy = next(iter(lanes().values()))
        hot = [p for p in range(PARTITIONS) if lane_of(TOPIC, p, LANES) in busy][:2]
        assert len(hot) == 2

        def spread() -> bool:
            now = {p: row["lane"] for (_, p), row in installation.status().items() if p in hot}
            assert sum(lane in busy for lane in now.values()) == 1, now
            return True

        with Heat(source, hot):
            wait_for(spread, within=420, every=5, what="one of the hot partitions is with the other worker")
        installation.wait_until_copied(PARTITIONS, within=120)
    verdict = compare_topics(source.client_config, target.client_config, {TOPIC: PARTITIONS}, rename="us.{}")
    assert not verdict.problems
