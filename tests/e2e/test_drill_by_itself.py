"""Drills that nobody starts, and drills that lose something: seen from outside."""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition

from replicator.config.librdkafka import client_properties
from replicator.config.load import load
from replicator.config.models import Settings
from replicator.dr.canary import PARTITIONS, Canary, canary_settings
from replicator.dr.drill import Drill
from replicator.dr.holds import Choice, pause
from replicator.ledger.control_client import ControlClient
from replicator.ledger.drills import DrillRecords, DrillResult, encode_result
from replicator.worker.crew import crew
from tests.e2e.pairs import BUNDLED, LONG_KAFKA, on
from tests.e2e.rig import Pair, records
from tests.support.checker import Seen, read_partition
from tests.support.copying import create, produce
from tests.support.replicator import Installation
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(150)]

WEEK_MS = 7 * 86_400_000


def installation(pair: Pair, directory: Path, name: str, **link: Any) -> Installation:
    """A link with a topic of 50 records."""
    create(pair[0].admin(), f"{name}-orders")
    produce(pair[0].client_config, f"{name}-orders", 0, records(50))
    about = {"source": "us", "target": "eu", "lanes": 2, "sync": {"every": 1}, "topics": {"include": [f"{name}-.*"]}}
    return Installation(directory, {"us": pair[0], "eu": pair[1]}, [{"name": name, **about, **link}])


@contextlib.contextmanager
def control(settings: Settings, name: str) -> Iterator[ControlClient]:
    properties = client_properties(settings.clusters["eu"], client_id="test-control")
    with ControlClient(properties, name, cluster="eu") as client:
        yield client


def metrics(text: str) -> dict[str, float]:
    """Of drills, by name."""
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("replicator_drill_")]
    return {name.partition("{")[0]: float(value) for name, value in lines}


@on(BUNDLED, LONG_KAFKA)
def test_given_a_schedule_when_the_last_drill_is_long_ago_then_a_running_pair_drills_and_tells(
    pair: Pair, tmp_path: Path
) -> None:
    name = "scheduled"
    made = installation(pair, tmp_path, name, drill={"every": "7d"})
    with made.worker() as worker:
        worker.wait_ready()
        made.wait_until_copied(1)
        code, text = worker.get("/metrics")
        assert (code, metrics(text)) == (200, {}), "it doesn't drill the moment it starts for the first time"
        worker.terminate(within=15)
    settings = load(made.file)
    long_ago = DrillResult(int(time.time() * 1000) - WEEK_MS - 1000, "promote", "ann", True, 9_000, 4_999_999, 0, 0)
    with control(settings, name) as client:
        client.write(encode_result(long_ago, DrillRecords()))
    with made.worker() as worker:
        worker.wait_ready()

        def drilled() -> dict[str, Any]:
            code, text = worker.get(f"/v1/links/{name}")
            assert code == 200, text
            found: dict[str, Any] = json.loads(text)["drill"]
            assert found["rto_ms"] != long_ago.rto_ms, "the one of a week ago"
            return found

        shown = wait_for(drilled, within=90, every=0.5, what="it has drilled by itself")
        assert shown["ok"], shown
        assert shown["rpo_records"] == 0
        assert 0 < shown["rto_ms"] < 60_000

        def counted() -> bool:
            told = metrics(worker.get("/metrics")[1])
            assert told["replicator_drill_success"] == 1
            assert told["replicator_drill_rto_seconds"] == shown["rto_ms"] / 1000
            assert told["replicator_drill_last_timestamp_seconds"] > time.time() - 120
            return True

        wait_for(counted, within=20, what="metrics say so")
        assert {row["state"] for row in made.status().values()} == {"COPYING"}, "the link itself went on"
        for cluster in pair:
            assert not [topic for topic in cluster.admin().list_topics(timeout=10).topics if "drill" in topic]
        known = DrillRecords()
        with control(settings, name) as client:
            for pair_ in client.read():
                known.take(*pair_)
        assert [each.by for _, each in sorted(known.results.items())] == ["ann", "schedule"], "one, and no second"
        assert not known.runs(int(time.time() * 1000))


class Losing(Drill):
    """Copying stands still while clients go on, as when the way between the clusters is gone before the source is."""

    given_up_ms = -1
    canary: Canary
    ends: dict[int, int]  # where the copy ended when it was given up, by partition

    def _failover(self, canary: Canary, source: str, target: str) -> None:
        pause(self._own, self._there, Choice(None), why="the way is gone", wait_s=30, by="test")
        super()._failover(canary, source, target)

    def _measure(self, canary: Canary, target: str, since_ms: int) -> None:
        self.given_up_ms, self.canary = since_ms, canary
        at = self._settings.clusters[target].bootstrap_servers
        observer = Consumer({"bootstrap.servers": at, "group.id": "observer"})
        with contextlib.closing(observer):
            places = [TopicPartition(canary.copy, partition) for partition in range(PARTITIONS)]
            self.ends = {each.partition: observer.get_watermark_offsets(each, 10)[1] for each in places}
        super()._measure(canary, target, since_ms)


@on(BUNDLED, LONG_KAFKA)
def test_given_a_drill_that_loses_records_then_its_report_is_what_the_logs_say_and_restore_brings_all_of_them_back(
    pair: Pair, tmp_path: Path
) -> None:
    name = "losing"
    made = installation(pair, tmp_path, name)
    with made.worker() as worker:
        worker.wait_ready()
        made.wait_until_copied(1)
        worker.terminate(within=15)
    settings = load(made.file)
    link = settings.link(name)
    topic = canary_settings(settings, link)[1].topics.include[0]
    logs: dict[str, list[list[Seen]]] = {}

    @contextlib.contextmanager
    def watched(own: Settings) -> Iterator[None]:
        """An observer reads both logs when all is done, before they are cleaned up."""
        with crew(own):
            yield
        for alias, cluster, at in (("us", pair[0], topic), ("eu", pair[1], f"us.{topic}")):
            logs[alias] = [read_partition(cluster.client_config, at, number) for number in range(PARTITIONS)]

    lines: list[str] = []
    drill = Losing(settings, link, "failover", watched, by="test", say=lines.append)
    result = drill.run()
    assert result.ok, (result, lines)
    written_ms, copied_late = drill.canary.written_ms, set[bytes]()
    for number, log in enumerate(logs["eu"]):
        values = [each.value or b"" for each in log if each.offset >= drill.ends[number]]
        copied_late |= {value for value in values if value.startswith(b"us ")}
    lost = {value for value in copied_late if written_ms[value] <= drill.given_up_ms}
    assert result.rpo_records == len(lost) > 20
    assert result.rpo_ms == drill.given_up_ms - min(written_ms[value] for value in lost) > 0
    held = {alias: Counter(seen.value for log in logs[alias] for seen in log) for alias in logs}
    assert held["us"] == held["eu"] == drill.canary.written, "every record once on both sides: those lost, too"
    with control(settings, name) as client:
        known = DrillRecords()
        for pair_ in client.read():
            known.take(*pair_)
    assert known.last == result
