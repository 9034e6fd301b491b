"""Where copying begins: at the earliest record, the latest, or a time; and at the start of what is born later."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.bundled import BundledCluster
from tests.support.checker import Seen, read_partition
from tests.support.copying import create, produce
from tests.support.replicator import Installation
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

NOON_MS = 1_790_000_000_000
NOON_AND_FIVE_SECONDS = "2026-09-21T14:13:25Z"


def records(start: int, count: int) -> list[Seen]:
    return [Seen(i, b"k", b"%d" % i, (), NOON_MS + i * 1000) for i in range(start, start + count)]


def test_given_each_way_to_start_then_copying_begins_there_and_new_topics_at_their_start(tmp_path: Path) -> None:
    with BundledCluster(name="source") as source, BundledCluster(name="target") as target:
        starts = {"first": "earliest", "last": "latest", "since": NOON_AND_FIVE_SECONDS}
        links = [
            {"name": alias, "source": alias, "target": "eu", "topics": {"include": ["t.*"], "start": start}}
            for alias, start in starts.items()
        ]
        installation = Installation(tmp_path, {**dict.fromkeys(starts, source), "eu": target}, links)
        create(source.admin(), "told")
        produce(source.client_config, "told", 0, records(0, 10))

        def holds(topic: str, expected: range) -> None:
            def does() -> bool:
                assert topic in target.admin().list_topics(timeout=5).topics, f"{topic} doesn't exist yet"
                found = [int(record.value or b"") for record in read_partition(target.client_config, topic, 0)]
                assert found == list(expected), f"{topic} holds {found}"
                return True

            wait_for(does, within=20, every=0.3, what=f"{topic} holds {expected}")

        with installation.worker() as worker:
            worker.wait_ready()
            holds("first.told", range(10))
            holds("since.told", range(5, 10))
            wait_for(
                lambda: len(_started(worker.get("/metrics")[1], "last")) == 1,
                within=20, every=0.3, what="the link that starts at the latest record has begun",
            )  # fmt: skip
            produce(source.client_config, "told", 0, records(10, 5))
            holds("last.told", range(10, 15))
            create(source.admin(), "topical")
            produce(source.client_config, "topical", 0, records(0, 3))
            holds("first.topical", range(3))
            holds("last.topical", range(3))
            holds("since.topical", range(0))
            produce(source.client_config, "topical", 0, records(5, 1))
            holds("since.topical", range(5, 6))
            worker.terminate()


def _started(metrics: str, link: str) -> list[str]:
    return [
        line
        for line in metrics.splitlines()
        if line.startswith("replicator_source_next_offset{") and f'link="{link}"' in line and line.endswith(" 10.0")
    ]


def test_given_orders_that_can_be_read_only_late_then_topics_are_copied_as_soon_as_they_are_known(
    tmp_path: Path,
) -> None:
    with BundledCluster(name="us") as us, BundledCluster(name="eu") as eu:
        every_s = 600  # it must not take a period until the topics are looked at again
        link = {"name": "late", "source": "us", "target": "eu", "sync": {"every": every_s}}
        create(us.admin(), "orders")
        produce(us.client_config, "orders", 0, records(0, 10))
        eu.fault("fail", "ListOffsets", error=6, topic="__replicator_late_control", times=5)
        installation = Installation(tmp_path, {"us": us, "eu": eu}, [link])
        with installation.worker() as worker:
            worker.wait_ready()
            installation.wait_until_copied(1, within=40)
        assert eu.faults_hit() == {"ListOffsets fail": 5}


def test_given_a_source_without_topics_and_start_latest_then_what_is_born_after_the_start_is_copied_from_its_beginning(
    tmp_path: Path,
) -> None:
    with BundledCluster(name="us") as us, BundledCluster(name="eu") as eu:
        link = {"name": "first", "source": "us", "target": "eu", "topics": {"start": "latest"}}
        installation = Installation(tmp_path, {"us": us, "eu": eu}, [link])
        with installation.worker() as worker:
            worker.wait_ready()
            create(us.admin(), "orders")
            produce(us.client_config, "orders", 0, records(0, 10))
            installation.wait_until_copied(1)
        found = [int(record.value or b"") for record in read_partition(eu.client_config, "us.orders", 0)]
        assert found == list(range(10))
