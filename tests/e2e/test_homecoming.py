"""A disaster and the way home: what was stranded is saved and counted, and every record is on both sides once."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from confluent_kafka import Producer

from tests.e2e.homecoming import PARTITIONS, Homecoming
from tests.e2e.pairs import LONG_BUNDLED, LONG_KAFKA
from tests.e2e.test_failover import cluster
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


class Clients(threading.Thread):
    """They produce until the cluster is gone. `acknowledged`: what they were told is there."""

    def __init__(self, home: Homecoming) -> None:
        super().__init__(daemon=True)
        self.acknowledged: Counter[bytes] = Counter()
        self._home = home
        self._ended = threading.Event()

    def run(self) -> None:
        config = {**self._home.clusters["us"].client_config, "linger.ms": 2, "message.timeout.ms": 3000}
        producer = Producer({**config, "log_level": 0})
        number = 0
        while not self._ended.wait(0.002):
            value = b"us running %d" % number
            producer.produce(self._home.name("us"), value, b"k", number % PARTITIONS, on_delivery=self._told)
            producer.poll(0)
            number += 1
        producer.flush(5)

    def _told(self, error: object, message: object) -> None:
        if error is None:
            self.acknowledged[message.value()] += 1  # type: ignore[attr-defined]

    def end(self) -> None:
        self._ended.set()
        self.join()


@pytest.mark.parametrize("kind", [LONG_BUNDLED, LONG_KAFKA])
@pytest.mark.parametrize(
    ("naming", "producers"), [("prefix", "running"), ("identical", "running"), ("prefix", "ended")]
)
def test_given_a_source_killed_under_its_producers_when_all_is_over_then_nothing_is_lost_and_nothing_twice(
    kind: str, naming: str, producers: str, tmp_path: Path
) -> None:
    """`producers`: whether they still run when the source dies, or were turned away a few seconds before."""
    with cluster(kind, "us") as us, cluster(kind, "eu") as eu:
        home = Homecoming({"us": us, "eu": eu}, tmp_path, naming)
        with home.installation.worker() as worker:
            worker.wait_ready()
            home.write("us", 200)
            home.consume("us", 50)
            home.installation.wait_until_copied(PARTITIONS, link=home.there)
            home.wait_group("eu")
            clients = Clients(home)
            clients.start()
            wait_for(lambda: clients.acknowledged.total() > 500, within=30, what="they produce")
            assert home.installation.run("pause", "--all", "--link", home.there, "--yes").returncode == 0
            if producers == "ended":
                wait_for(lambda: clients.acknowledged.total() > 900, within=30, what="they produce what isn't copied")
                clients.end()
            behind_since = time.monotonic()  # longer than it takes a worker to note where the source ends
            wait_for(lambda: time.monotonic() - behind_since > 7, within=30, what="the copy is behind")
            us.kill_node(0)
            clients.end()
            failed = home.installation.run(
                "failover", "--all", "--link", home.there, "--yes", "-o", "json", "--snapshot", str(tmp_path / "before")
            )
            assert failed.returncode == 0, failed.stderr
            (told,) = json.loads(failed.stdout)["links"]
            assert told["source_error"]
            assert home.refused("reverse", home.there, code=3)
            copied = home.log("eu")
            home.write("eu", 80)
            us.start_node(0)
            wait_for(lambda: home.log("us"), within=60, what="the old source is back")
            held = home.log("us")
            assert not clients.acknowledged - held, "the source itself has lost something"
            home.written |= held
            assert "replicator restore" in home.refused("reverse", home.there)
            done = home.do("restore", home.there)
            stranded = (held - copied).total()
            assert done["links"][0]["records"] == stranded > 0
            assert 0 < told["lost_records"] <= stranded, "what was written after the last look nobody can foretell"
            if producers == "ended":
                assert told["lost_records"] == stranded, "all of it was seen, and all that was seen is lost"
            found = home.do("reverse", home.there)
            home.write("eu", 20)
            home.wait_same()
            assert home.copied(worker, home.back)[0] == 100
            assert found["late"] == 0
            home.consume("eu")
            home.wait_group("us")
            home.promote(home.back)
            home.do("reverse", home.back)
            home.write("us", 40)
            home.wait_same()
            home.wait_group("eu")
            home.consume("us")
            assert home.seen == home.written
