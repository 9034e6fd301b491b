"""A planned move: nothing is promoted while somebody writes; then everything is there, and positions are exact."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from tests.e2e.pairs import KAFKA, LONG_BUNDLED, on
from tests.e2e.rig import Pair, records
from tests.support.checker import compare_topics
from tests.support.copying import create, produce
from tests.support.groups import commit, committed
from tests.support.replicator import Installation
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

AFTER_QUIET_MS = 15_000


@on(KAFKA, LONG_BUNDLED)
def test_given_a_planned_move_when_producers_have_stopped_then_all_is_there_and_groups_go_on_at_the_next_record(
    pair: Pair, tmp_path: Path
) -> None:
    source, target = pair
    name = f"move{tmp_path.parent.name[-4:]}"
    link: dict[str, Any] = {
        "name": name, "source": "us", "target": "eu", "lanes": 4, "sync": {"every": 30},
        "topics": {"include": [f"{name}-.*"]}, "groups": {"include": [name]},
    }  # fmt: skip
    create(source.admin(), f"{name}-a", 2)
    create(source.admin(), f"{name}-b", 1)
    installation = Installation(tmp_path, {"us": source, "eu": target}, [link])
    promote = ("promote", "--all", "--yes", "-o", "json")
    produce(source.client_config, f"{name}-a", 0, records(50))
    assert installation.run(*promote).returncode == 4  # it has never run
    with installation.worker() as worker:
        worker.wait_ready()
        installation.wait_until_copied(3)
        stop = threading.Event()
        producer = Producer(source.client_config)

        def write() -> None:
            while not stop.wait(0.05):
                producer.produce(f"{name}-b", b"on and on")
                producer.poll(0)

        writer = threading.Thread(target=write)
        writer.start()
        try:
            refused = installation.run(*promote, "--quiet", "2", "--wait", "3")
            assert refused.returncode == 4
            assert f"producers still write: somebody wrote to {name}-b (" in refused.stderr
            assert {row["state"] for row in installation.status().values()} == {"COPYING"}
        finally:
            stop.set()
            writer.join()
            producer.flush(10)
        produce(source.client_config, f"{name}-a", 1, records(33))
        commit(source, name, {(f"{name}-a", 0): 20, (f"{name}-a", 1): 33})
        done = installation.run(*promote, "--quiet", "2", "--why", "tuesday")
        assert done.returncode == 0, done.stderr
        (found,) = json.loads(done.stdout)["links"]
        assert found["after_quiet_ms"] < AFTER_QUIET_MS, found["steps"]
        assert {row["state"] for row in installation.status().values()} == {"PROMOTED"}
        copies = {f"{name}-a": 2, f"{name}-b": 1}
        verdict = compare_topics(source.client_config, target.client_config, copies, rename="us.{}")
        assert not verdict.problems
        assert verdict.records > 83
        positions = committed(target, name)
        assert positions[f"us.{name}-a", 0] == 20
        assert positions[f"us.{name}-a", 1] in (33, 34)  # behind the last record: a marker may stand there
        again = installation.run(*promote)
        assert again.returncode == 0, again.stderr
        late = installation.run("failover", "--all", "--yes")
        assert late.returncode == 4
        assert "was promoted" in late.stderr
        produce(source.client_config, f"{name}-a", 0, records(5, start=50))
        commit(source, name, {(f"{name}-a", 0): 55})
        wait_for(lambda: worker.running, within=5, what="it goes on")
        assert compare_topics(source.client_config, target.client_config, {f"{name}-b": 1}, rename="us.{}").records
        assert committed(target, name) == positions
    trail = json.loads(installation.run("audit", "-o", "json").stdout)["audit"]
    assert [(row["verb"], row["result"]) for row in trail][::-1] == [
        ("promote", "refused"),
        ("promote", "ok"),
        ("promote", "ok"),
    ]
