"""Copies that the ledger doesn't know: refused, or adopted by what they hold, or copied again; never by accident."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from confluent_kafka import Producer

from replicator.ledger.entry import encode_key
from replicator.ledger.lanes import lane_of
from tests.support.bundled import BundledCluster
from tests.support.checker import Seen, read_partition
from tests.support.copying import create, produce
from tests.support.replicator import Installation
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

Pair = tuple[BundledCluster, BundledCluster]
LANES = 4


def records(count: int, start: int = 0) -> list[Seen]:
    return [
        Seen(i, b"k%d" % i, b"v%d" % i, (("h", b"%d" % i),), 1_790_000_000_000 + i) for i in range(start, start + count)
    ]


class Rig:
    """Topics of one partition, all of one link from us to eu."""

    def __init__(self, pair: Pair, directory: Path, link: str, *topics: str) -> None:
        self.source, self.target = pair
        self.topics = [f"{link}-{topic}" for topic in topics]
        for topic in self.topics:
            create(self.source.admin(), topic)
        self.link = link
        wanted = {"name": link, "source": "us", "target": "eu", "lanes": LANES, "topics": {"include": [f"{link}-.*"]}}
        self.installation = Installation(directory, {"us": self.source, "eu": self.target}, [wanted])

    def write(self, topic: str, what: list[Seen]) -> None:
        produce(self.source.client_config, topic, 0, what)

    def copy(self, *arguments: str) -> str:
        """Run a worker with these arguments until everything is copied; what it logged."""
        with self.installation.worker(*arguments) as worker:
            worker.wait_ready()
            self.installation.wait_until_copied(len(self.topics))
            worker.terminate()
        return worker.log()

    def lose_ledger(self) -> None:
        names = [f"__replicator_{self.link}_{what}" for what in ("ledger", "map", "control")]
        admin = self.target.admin()
        for future in admin.delete_topics(names).values():
            future.result(15)
        wait_for(
            lambda: not admin.list_topics(timeout=5).topics.keys() & set(names), within=15, what="they are deleted"
        )

    def erase_entry(self, topic: str) -> None:
        eraser = Producer(self.target.client_config)
        lane = lane_of(topic, 0, LANES)
        eraser.produce(f"__replicator_{self.link}_ledger", None, encode_key(topic, 0), partition=lane)
        assert eraser.flush(15) == 0

    def wait_until(self, stopped: str, reason: str, *copied: str) -> str:
        """Until one topic is stopped for this reason and the others are copied; what it says."""

        def shown() -> str:
            status = self.installation.status()
            lags = {topic: status[topic, 0]["lag"] for topic in copied}
            assert set(lags.values()) == {0}, lags
            assert status[stopped, 0]["reason"] == reason, status[stopped, 0]
            return str(status[stopped, 0]["detail"])

        return wait_for(shown, within=40, every=0.3, what=f"{stopped} shows {reason}")

    def values(self, topic: str) -> list[bytes | None]:
        return [record.value for record in read_partition(self.target.client_config, f"us.{topic}", 0)]


def test_given_a_lost_ledger_then_refused_and_adopted_copying_goes_on_exactly(pair: Pair, tmp_path: Path) -> None:
    rig = Rig(pair, tmp_path, "lost", "a", "b", "twice", "foreign")
    a, b, twice, foreign = rig.topics
    rig.write(a, records(1500))
    rig.write(b, records(20))
    rig.copy()
    rig.lose_ledger()
    rig.write(a, records(40, start=1500))
    for topic in (twice, foreign):
        rig.write(topic, records(100))
    produce(rig.target.client_config, f"us.{twice}", 0, [*records(60), *records(30, start=50)])  # it began again once
    produce(rig.target.client_config, f"us.{foreign}", 0, records(30, start=1000))
    refused = rig.installation.run("run", timeout=60)
    assert refused.returncode == 4
    assert "--adopt" in refused.stderr
    assert "--from-scratch" in refused.stderr

    with rig.installation.worker("--adopt", "--workers", "2") as worker:
        worker.wait_ready()
        detail = rig.wait_until(foreign, "RECOVERY_AMBIGUOUS", a, b, twice)
        assert "none of the copied records is on the source" in detail
        worker.terminate()
    assert rig.values(a) == [b"v%d" % i for i in range(1540)]
    assert rig.values(b) == [b"v%d" % i for i in range(20)]
    assert rig.values(twice) == [b"v%d" % i for i in (*range(60), *range(50, 100))]
    assert rig.values(foreign) == [b"v%d" % i for i in range(1000, 1030)]
    exact = rig.installation.run("translate", f"{a}:0:1495", "-o", "json")
    at = json.loads(exact.stdout)["links"][0]["to"]["offset"]
    copies = {record.value: record.offset for record in read_partition(rig.target.client_config, f"us.{a}", 0)}
    assert at == copies[b"v1495"]
    unknown = rig.installation.run("translate", f"{a}:0:3")
    assert unknown.returncode == 4, unknown.stdout
    assert "can't be translated" in unknown.stderr

    rig.erase_entry(b)
    rig.write(a, records(5, start=1540))
    rig.write(b, records(5, start=20))
    with rig.installation.worker() as worker:
        worker.wait_ready()
        detail = rig.wait_until(b, "FOREIGN_WRITER", a, twice)
        assert "--adopt" in detail
        worker.terminate()
    assert rig.values(b) == [b"v%d" % i for i in range(20)]

    with rig.installation.worker("--adopt") as worker:
        worker.wait_ready()
        rig.wait_until(foreign, "RECOVERY_AMBIGUOUS", a, b, twice)
        worker.terminate()
    assert rig.values(a) == [b"v%d" % i for i in range(1545)]
    assert rig.values(b) == [b"v%d" % i for i in range(25)]


@pytest.mark.soak
def test_given_from_scratch_then_all_is_copied_again_once_and_said_in_numbers(pair: Pair, tmp_path: Path) -> None:
    rig = Rig(pair, tmp_path, "scratch", "a")
    (a,) = rig.topics
    rig.write(a, records(20))
    rig.copy()
    rig.lose_ledger()
    log = rig.copy("--from-scratch")
    assert "copying everything again" in log
    assert "offsets_to_copy=20" in log.replace('"offsets_to_copy": ', "offsets_to_copy="), log
    assert rig.values(a) == [b"v%d" % i for i in (*range(20), *range(20))]
    rig.write(a, records(5, start=20))
    assert "copying everything again" not in rig.copy("--from-scratch")
    assert rig.values(a) == [b"v%d" % i for i in (*range(20), *range(25))]
    (gap,) = rig.installation.status()[a, 0]["gaps"]
    assert gap["by"] == "run --from-scratch"
