"""Heartbeats along a chain, as MirrorMaker 2 sends them: their topics' names say who copies from whom."""

from __future__ import annotations

from pathlib import Path

import pytest

from replicator.sync.mm2_formats import Heartbeat, decode_heartbeat
from tests.support.bundled import BundledCluster
from tests.support.checker import read_partition
from tests.support.replicator import Installation
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def test_given_a_chain_and_a_way_back_when_running_then_every_heartbeat_arrives_under_its_chain(tmp_path: Path) -> None:
    with BundledCluster(name="a") as a, BundledCluster(name="b") as b, BundledCluster(name="c") as c:
        clusters = {"a": a, "b": b, "c": c}
        beating = {"lanes": 2, "topics": {"include": ["orders"]}, "sync": {"heartbeats": True, "every": 1}}
        links = [
            {"name": "a-b", "source": "a", "target": "b", **beating},
            {"name": "b-a", "source": "b", "target": "a", **beating},
            {
                "name": "b-c",
                "source": "b",
                "target": "c",
                **beating,
                "topics": {"include": ["orders"], "naming": "identical"},
            },
        ]
        expected = {
            "a": {"heartbeats": {("b", "a")}, "b.heartbeats": {("a", "b"), ("c", "b")}},
            "b": {"heartbeats": {("a", "b"), ("c", "b")}, "a.heartbeats": {("b", "a")}},
            "c": {
                "heartbeats": {("b", "c")},
                "b.heartbeats": {("a", "b"), ("c", "b")},
                "b.a.heartbeats": {("b", "a")},
            },
        }

        def beats(alias: str, topic: str) -> list[Heartbeat]:
            records = read_partition(clusters[alias].client_config, topic, 0)
            return [decode_heartbeat(record.key, record.value) for record in records]

        def seen() -> dict[str, dict[str, set[tuple[str, str]]]]:
            return {
                alias: {
                    topic: {(beat.source, beat.target) for beat in beats(alias, topic)}
                    for topic in cluster.admin().list_topics(timeout=5).topics
                    if not topic.startswith("__")
                }
                for alias, cluster in clusters.items()
            }

        def arrived() -> None:
            assert seen() == expected

        installation = Installation(tmp_path, clusters, links)
        with installation.worker() as worker:
            worker.wait_ready()
            wait_for(lambda: arrived() is None, within=45, what="all heartbeats are everywhere")
            newest = max(beat.timestamp_ms for beat in beats("c", "b.a.heartbeats"))

            def later() -> bool:
                return max(beat.timestamp_ms for beat in beats("c", "b.a.heartbeats")) >= newest + 1500

            wait_for(later, within=20, what="they go on")
            worker.terminate()
        assert seen() == expected
