"""The source is killed: what `failover` says is lost is what `restore` finds later; nothing else is touched."""

from __future__ import annotations

import base64
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.pairs import KAFKA, LONG_BUNDLED
from tests.e2e.rig import AnyCluster, records
from tests.e2e.test_settings import alter
from tests.support.bundled import BundledCluster
from tests.support.checker import compare_topics, read_partition
from tests.support.copying import create, produce
from tests.support.groups import commit, committed
from tests.support.kafka import KafkaCluster
from tests.support.replicator import Installation
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

WITHIN_MS = 10_000


def cluster(kind: str, name: str) -> AnyCluster:
    return BundledCluster(name=name, persistent=True) if kind == "bundled" else KafkaCluster(name=name)


def failed_over(installation: Installation, file: Path, *more: str) -> dict[str, Any]:
    done = installation.run("failover", "--all", "--yes", "-o", "json", "--snapshot", str(file), *more)
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)["links"]
    assert found["took_ms"] < WITHIN_MS, found["steps"]
    return dict(found)


@pytest.mark.parametrize("kind", [KAFKA, LONG_BUNDLED])
def test_given_a_dead_source_when_failed_over_then_the_loss_is_what_was_said_and_nothing_changes_any_more(
    kind: str, tmp_path: Path
) -> None:
    with cluster(kind, "source") as source, cluster(kind, "target") as target:
        for name in ("orders", "quiet"):
            create(source.admin(), name, 2)
        link: dict[str, Any] = {"name": "l", "source": "us", "target": "eu", "lanes": 4, "groups": {"include": ["g"]}}
        link["sync"] = {"every": 1}
        installation = Installation(tmp_path, {"us": source, "eu": target}, [link])
        produce(source.client_config, "orders", 0, records(100))
        produce(source.client_config, "quiet", 0, records(10))
        with installation.worker() as worker:
            worker.wait_ready()
            installation.wait_until_copied(4)
            commit(source, "g", {("orders", 0): 100, ("quiet", 0): 4})
            expected = {("us.orders", 0): 100, ("us.quiet", 0): 4}
            wait_for(lambda: committed(target, "g") == expected, within=20, what="positions are there")
            assert installation.run("pause", "--topic", "orders", "--yes").returncode == 0
            produce(source.client_config, "orders", 0, records(40, start=100))
            produce(source.client_config, "orders", 1, records(7))
            lags = {("orders", 0): 40, ("orders", 1): 7, ("quiet", 0): 0, ("quiet", 1): 0}
            time.sleep(6)  # a sighting's interval: that nobody knows better is what this is about
            source.kill_node(0)

            def told() -> bool:
                done = installation.run("failover", "--all", "--dry-run", "-o", "json")
                (found,) = json.loads(done.stdout)["links"]
                assert found["source_error"], found
                assert {(loss["topic"], loss["partition"]): loss["records"] for loss in found["losses"]} == lags
                return True

            wait_for(told, within=30, every=0.5, what="the loss is known")
            said = installation.run("failover", "--all", "--dry-run").stdout
            assert re.search(r"l: it was seen last at \S+; what was written there later comes on top", said), said
            found = failed_over(installation, tmp_path / "before.json", "--why", "the data centre burns")
            assert found["lost_records"] == 47
            assert found["waiting"] == 0
            before = json.loads((tmp_path / "before.json").read_text())
            assert {row["state"] for row in before["status"]["partitions"]} <= {"PAUSED", "COPYING", "FAULTED"}
            rows = installation.status()
            assert {row["state"] for row in rows.values()} == {"FAILED_OVER"}
            assert all("failover by" in row["detail"] and "burns" in row["detail"] for row in rows.values())
            again = failed_over(installation, tmp_path / "again.json")
            assert again["lost_records"] == 47
            for verb in (["pause", "--yes"], ["resume"]):
                refused = installation.run(*verb, "--all")
                assert refused.returncode == 4
                assert "FAILED_OVER" in refused.stderr
            source.start_node(0)
            alter(source, "quiet", {"segment.bytes": "7000000"})
            commit(source, "g", {("quiet", 0): 9})
            produce(source.client_config, "quiet", 1, records(5))
            create(source.admin(), "new")
            wait_for(lambda: not installation.run("lag").stderr, within=30, every=0.5, what="the source answers")
            time.sleep(4)  # some rounds of all that might copy, create or change something
            copied = {("orders", 0): 100, ("orders", 1): 0, ("quiet", 0): 10, ("quiet", 1): 0}
            found_there = {at: len(read_partition(target.client_config, f"us.{at[0]}", at[1])) for at in copied}
            assert found_there == copied
            positions = committed(target, "g")
            assert positions.pop(("us.orders", 0)) in (100, 101)  # the next record; a marker may stand before it
            assert positions == {("us.quiet", 0): 4}
            assert "us.new" not in target.admin().list_topics(timeout=10).topics
            tried = installation.run("restore", "--all", "--dry-run", "-o", "json", timeout=90)
            assert tried.returncode == 0, tried.stderr
            told = json.loads(tried.stdout)["links"][0]
            stranded = {(each["topic"], each["partition"]): each["records"] for each in told["stranded"]}
            assert stranded == {("orders", 0): 40, ("orders", 1): 7, ("quiet", 1): 5}  # and what came when it was back
            saving = installation.run("restore", "--topic", "quiet", "--yes", "--export", str(tmp_path / "saved"))
            assert saving.returncode == 0, saving.stderr
            lines = (tmp_path / "saved" / "l" / "quiet-1.jsonl").read_text().splitlines()
            kept = [base64.b64decode(json.loads(line)["value"]) for line in lines]
            assert kept == [record.value for record in read_partition(source.client_config, "quiet", 1)]
            for _ in range(2):  # what is there isn't written again
                into = installation.run("restore", "--topic", "quiet", "--yes", "--recovery-topic", "saved")
                assert into.returncode == 0, into.stderr
            saved = read_partition(target.client_config, "saved", 0)
            stranded_there = read_partition(source.client_config, "quiet", 1)
            origins = [(("replicator.stranded", f"l:quiet:1:{record.offset}".encode()),) for record in stranded_there]
            assert [record.value for record in saved] == kept
            assert [tuple(record.headers[-1:]) for record in saved] == origins
            positions = committed(target, "g")
            done = installation.run("restore", "--topic", "orders", "--yes", "-o", "json")
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout)["links"][0]["records"] == 47
            assert {row["state"] for row in installation.status().values() if row["topic"] != "new"} == {"PROMOTED"}
            copies = {"orders": 2}
            verdict = compare_topics(source.client_config, target.client_config, copies, rename="us.{}")
            assert not verdict.problems
            assert not read_partition(target.client_config, "us.quiet", 1)
            assert committed(target, "g") == positions
            nothing = ("restore", "--topic", "orders", "--yes", "--recovery-topic", "empty", "-o", "json")
            again = json.loads(installation.run(*nothing).stdout)
            assert (again["links"][0]["records"], again["links"][0]["recovery_topic"]) == (0, None)
            assert "empty" not in target.admin().list_topics(timeout=10).topics, "no topic for nothing"
