"""A drill goes there and back on a canary, says how long it took, and nothing else notices."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.pairs import LONG_BUNDLED, LONG_KAFKA, on
from tests.e2e.rig import AnyCluster, Pair, records
from tests.support.checker import Seen, read_partition
from tests.support.copying import create, produce
from tests.support.groups import commit, committed
from tests.support.replicator import Installation
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def everything(cluster: AnyCluster, topics: list[str], group: str) -> tuple[dict[str, list[Seen]], Any]:
    logs = {topic: read_partition(cluster.client_config, topic, 0) for topic in topics}
    return logs, committed(cluster, group)


@pytest.mark.parametrize("mode", ["promote", "failover"])
@on(LONG_BUNDLED, LONG_KAFKA)
def test_given_a_drill_then_it_goes_there_and_back_and_users_topics_and_positions_are_untouched(
    pair: Pair, tmp_path: Path, mode: str
) -> None:
    source, target = pair
    name = f"d{mode[0]}"
    link: dict[str, Any] = {
        "name": name,
        "source": "us",
        "target": "eu",
        "lanes": 2,
        "sync": {"every": 1},
        "topics": {"include": [f"{name}-.*"]},
    }
    create(source.admin(), f"{name}-orders")
    produce(source.client_config, f"{name}-orders", 0, records(50))
    commit(source, f"{name}-g", {(f"{name}-orders", 0): 20})
    installation = Installation(tmp_path, {"us": source, "eu": target}, [link])
    drill = ("drill", "--link", name, "--mode", mode, "-o", "json")
    assert "never run" in installation.run(*drill).stderr
    with installation.worker() as worker:
        worker.wait_ready()
        copy = f"us.{name}-orders"
        installation.wait_until_copied(1)
        wait_for(lambda: committed(target, f"{name}-g"), within=40, every=0.3, what="the group is there")
        before = everything(source, [f"{name}-orders"], f"{name}-g"), everything(target, [copy], f"{name}-g")
        page = tmp_path / "drill.html"
        done = installation.run(*drill, "--report", str(page), "--report", str(tmp_path / "drill.json"), timeout=170)
        assert done.returncode == 0, done.stdout + done.stderr
        (found,) = json.loads(done.stdout)["drills"]
        assert found["ok"], found
        assert 0 < found["rto_ms"] < 60_000
        assert (found["rpo_records"] == 0) is (mode == "promote" or found["rpo_ms"] == 0)
        assert json.loads((tmp_path / "drill.json").read_text()) == found
        assert "passed" in page.read_text()
        assert before == (
            everything(source, [f"{name}-orders"], f"{name}-g"), everything(target, [copy], f"{name}-g")
        )  # fmt: skip
        for cluster in pair:
            left = [topic for topic in cluster.admin().list_topics(timeout=10).topics if "drill" in topic]
            assert not left
        assert {row["state"] for row in installation.status().values()} == {"COPYING"}
