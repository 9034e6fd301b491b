"""Data that is missing for good: the partition waits, goes on when it is told to, and the gap stays recorded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from tests.support.bundled import BundledCluster
from tests.support.checker import Seen, read_partition
from tests.support.copying import create, produce
from tests.support.replicator import Installation
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

Pair = tuple[BundledCluster, BundledCluster]


def records(start: int, count: int) -> list[Seen]:
    return [Seen(i, b"k%d" % i, b"v%d" % i, (), 1_790_000_000_000 + i) for i in range(start, start + count)]


def values(cluster: BundledCluster, topic: str) -> list[bytes | None]:
    return [record.value for record in read_partition(cluster.client_config, topic, 0)]


class Rig:
    """One topic of one partition from us to eu, with twenty records copied."""

    def __init__(self, pair: Pair, directory: Path, topic: str, **link: Any) -> None:
        self.source, self.target = pair
        self.topic = topic
        create(self.source.admin(), topic)
        both = {"us": self.source, "eu": self.target}
        wanted = {"name": topic, "source": "us", "target": "eu", "topics": {"include": [topic]}, **link}
        self.installation = Installation(directory, both, [{"delivery": "exactly_once", **wanted}])
        self.write(0, 20)

    def write(self, start: int, count: int) -> None:
        produce(self.source.client_config, self.topic, 0, records(start, count))

    def copy_and_stop(self) -> None:
        with self.installation.worker() as worker:
            worker.wait_ready()
            self.installation.wait_until_copied(1)
            worker.terminate()

    def lose_until(self, offset: int) -> None:
        place = TopicPartition(self.topic, 0, offset)
        admin = self.source.admin()
        admin.delete_records([place])[place].result(15)

    def recreate(self, cluster: BundledCluster, topic: str) -> None:
        admin = cluster.admin()
        admin.delete_topics([topic])[topic].result(15)
        wait_for(lambda: topic not in admin.list_topics(timeout=5).topics, within=15, what=f"{topic} is deleted")
        create(admin, topic)

    def wait_for_reason(self, reason: str | None) -> dict[str, Any]:
        def shown() -> dict[str, Any]:
            found = self.installation.status()[self.topic, 0]
            assert found["reason"] == reason, f"{found}"
            return found

        return wait_for(shown, within=40, every=0.3, what=f"reason {reason}")


def test_given_a_retention_overrun_when_the_gap_is_accepted_then_the_rest_is_copied(pair: Pair, tmp_path: Path) -> None:
    rig = Rig(pair, tmp_path, "overrun")
    rig.copy_and_stop()
    rig.write(20, 20)
    rig.lose_until(30)
    with rig.installation.worker() as worker:
        worker.wait_ready()
        rig.wait_for_reason("RETENTION_OVERRUN")
        refused = rig.installation.run("resume", "--all")
        assert refused.returncode == 4
        assert "--accept-gap" in refused.stderr
        tried = rig.installation.run("resume", "--all", "--accept-gap", "--dry-run")
        assert tried.returncode == 0
        assert "20 to 29" in tried.stdout
        rig.wait_for_reason("RETENTION_OVERRUN")
        done = rig.installation.run("resume", "--topic", "over.*", "--accept-gap", "--yes", "-o", "json")
        assert done.returncode == 0, done.stderr
        assert [row["topic"] for row in json.loads(done.stdout)["accepted"]] == ["overrun"]
        (entry,) = json.loads(rig.installation.run("audit", "-o", "json").stdout)["audit"]
        assert (entry["verb"], entry["what"], entry["result"]) == ("resume", "--topic over.* --accept-gap", "ok")
        assert entry["detail"].startswith("overrun-0: RETENTION_OVERRUN: ")
        rig.installation.wait_until_copied(1)
        (gap,) = rig.installation.status()["overrun", 0]["gaps"]
        assert (gap["reason"], gap["source_from"], gap["source_to"]) == ("RETENTION_OVERRUN", 20, 30)
        assert "source offsets 20 to 29" in rig.installation.run("status").stdout
        again = rig.installation.run("resume", "--all", "--accept-gap", "--yes")
        assert "No partition is stopped by a gap." in again.stdout
        worker.terminate()
    assert values(rig.target, "us.overrun") == [b"v%d" % i for i in (*range(20), *range(30, 40))]
    rig.write(40, 5)
    rig.copy_and_stop()  # a new owner goes on behind the gap too
    assert values(rig.target, "us.overrun")[-5:] == [b"v%d" % i for i in range(40, 45)]


def test_given_a_source_that_was_cut_when_accepted_then_positions_before_the_cut_are_still_translated(
    pair: Pair, tmp_path: Path
) -> None:
    rig = Rig(pair, tmp_path, "cut")
    rig.write(20, 20)
    rig.copy_and_stop()
    copies = {record.value: record.offset for record in read_partition(rig.target.client_config, "us.cut", 0)}
    with rig.installation.worker() as worker:
        worker.wait_ready()
        rig.source.elect_unclean("cut", 0, 20)
        rig.write(500, 5)
        rig.wait_for_reason("SOURCE_TRUNCATED")
        done = rig.installation.run("resume", "--all", "--accept-gap", "--yes")
        assert done.returncode == 0, done.stderr
        rig.installation.wait_until_copied(1)
        worker.terminate()
    assert values(rig.target, "us.cut") == [b"v%d" % i for i in (*range(40), *range(500, 505))]
    copies |= {record.value: record.offset for record in read_partition(rig.target.client_config, "us.cut", 0)}
    for offset, value in ((7, b"v7"), (19, b"v19"), (20, b"v500")):
        found = rig.installation.run("translate", f"cut:0:{offset}", "-o", "json")
        answer = json.loads(found.stdout)["links"][0]
        assert (answer["to"]["offset"], answer["exact"]) == (copies[value], True), answer


@pytest.mark.parametrize(
    ("name", "damage", "expected"),
    [
        ("lost", lambda rig: (rig.write(20, 20), rig.lose_until(30)), [*range(20), *range(30, 40)]),
        (
            "reborn",
            lambda rig: (rig.recreate(rig.source, rig.topic), rig.write(100, 5)),
            [*range(20), *range(100, 105)],
        ),
        ("emptied", lambda rig: (rig.recreate(rig.target, f"us.{rig.topic}"), rig.write(20, 5)), [*range(20, 25)]),
    ],
    ids=["retention", "source recreated", "target recreated"],
)
def test_given_a_policy_to_go_on_then_gaps_are_passed_without_a_person(
    pair: Pair, tmp_path: Path, name: str, damage: Callable[[Rig], None], expected: list[int]
) -> None:
    rig = Rig(pair, tmp_path, f"policy-{name}", on_gap="continue")
    rig.copy_and_stop()
    damage(rig)
    with rig.installation.worker() as worker:
        worker.wait_ready()
        wait_for(
            lambda: values(rig.target, f"us.{rig.topic}") == [b"v%d" % i for i in expected],
            within=40, every=0.3, what="what is left is copied",
        )  # fmt: skip
        rig.wait_for_reason(None)
        assert "policy on_gap: continue" in worker.log()
        worker.terminate()


def test_given_a_command_while_no_worker_runs_then_it_stands_until_one_does(pair: Pair, tmp_path: Path) -> None:
    rig = Rig(pair, tmp_path, "standing")
    rig.copy_and_stop()
    rig.write(20, 20)
    rig.lose_until(30)
    with rig.installation.worker() as worker:
        worker.wait_ready()
        rig.wait_for_reason("RETENTION_OVERRUN")
        worker.terminate()
    late = rig.installation.run("resume", "--all", "--accept-gap", "--yes", "--wait", "1")
    assert late.returncode == 4
    assert "the command stands" in late.stderr
    rig.copy_and_stop()
    assert values(rig.target, "us.standing") == [b"v%d" % i for i in (*range(20), *range(30, 40))]
