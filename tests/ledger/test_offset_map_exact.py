"""The map that workers leave behind, held against what an independent reader finds on both sides."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from replicator.ledger.map_reader import MapReader
from tests.e2e.scenario import PREFIX, Cluster, Scenario
from tests.support.bundled import BundledCluster
from tests.support.checker import read_partition
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def bundled_pair() -> Iterator[tuple[BundledCluster, BundledCluster]]:
    with BundledCluster(name="source") as source, BundledCluster(name="target") as target:
        yield source, target


CASES = [
    pytest.param("bundled", "exactly_once", id="bundled-exactly-once", marks=pytest.mark.soak),
    pytest.param("bundled", "at_least_once", id="bundled-at-least-once"),
    pytest.param("kafka", "exactly_once", id="kafka-exactly-once", marks=pytest.mark.kafka),
]


@pytest.mark.parametrize(("brokers", "delivery"), CASES)
def test_given_the_mix_and_a_crash_when_copied_then_every_position_is_exact_both_ways(
    brokers: str, delivery: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    pair: tuple[Cluster, Cluster]
    if brokers == "bundled":
        pair = request.getfixturevalue("bundled_pair")
    else:
        pair = request.getfixturevalue("kafka_source"), request.getfixturevalue("kafka_target")
    crash = delivery == "exactly_once"  # a record that is there twice has no one place
    name = f"map-{delivery[:2]}"
    scenario = Scenario(*pair, tmp_path, name, delivery=delivery)
    scenario.corpus.write()
    with scenario.installation.worker() as survivor, scenario.installation.worker() as victim:
        survivor.wait_ready()
        victim.wait_ready()
        with scenario.corpus.keep_writing(scenario.acks) as writer:
            scenario.wait_until_all_move(within=20)
            if crash:
                victim.kill()
            scenario.wait_until_all_move(within=20)
            rounds = writer.rounds
            wait_for(lambda: writer.rounds > rounds + 20, within=30, what="producers go on")
        scenario.wait_until_copied()
        survivor.terminate()
    found = [
        check(scenario, name, topic, partition)
        for topic, count in scenario.corpus.topics.items()
        for partition in range(count)
    ]
    print(f"{sum(compared for compared, _ in found)} positions, {sum(chunks for _, chunks in found)} chunks")
    assert sum(compared for compared, _ in found) > 2000

    topic = f"{name}-plain"
    answer = scenario.installation.run("translate", f"{topic}:0:0", "-o", "json")
    assert answer.returncode == 0, answer.stderr
    there = json.loads(answer.stdout)["links"][0]["to"]
    assert (there["cluster"], there["topic"], there["partition"]) == ("eu", PREFIX + topic, 0)
    back = scenario.installation.run("translate", f"{PREFIX}{topic}:0:{there['offset']}", "--reverse", "-o", "json")
    assert json.loads(back.stdout)["links"][0]["to"]["offset"] == 0


def check(scenario: Scenario, link: str, topic: str, partition: int) -> tuple[int, int]:
    """Hold one partition's map against both logs; how many positions were compared, and how many chunks it has."""
    source, target = (
        read_partition(cluster.client_config, name, partition)
        for cluster, name in ((scenario.source, topic), (scenario.target, PREFIX + topic))
    )
    reader = MapReader(dict(scenario.target.client_config), link, cluster="eu")
    try:
        loaded = reader.load(topic, partition)
    finally:
        reader.close()
    assert loaded is not None
    entry, known = loaded
    compacted = "compacted" in topic
    assert known.exact
    if not compacted:
        assert [record.content() for record in source] == [record.content() for record in target]
    places = {record.content(): record.offset for record in target}
    pairs = {record.offset: places[record.content()] for record in source if record.content() in places}
    assert len(pairs) > 20
    back = {t: s for s, t in pairs.items()}
    compared = 0
    for records, translate in ((pairs, known.to_target), (back, known.to_source)):
        expected: int | None = None
        for offset in range(max(records) + 2, -1, -1):
            expected = records.get(offset, expected)
            if compacted and offset not in records:
                continue  # what was there may have been copied before it went away
            assert (topic, partition, offset, translate(offset)) == (topic, partition, offset, expected)
            compared += 1
    return compared, entry.map_chunks
